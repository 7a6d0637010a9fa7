// What the audit log says of a change: fields with their values before and after, bounded, and without anything that may
// be a secret. Numbers and switches are shown; of texts only those of fields that are known to hold none.

import { limits } from "../limits";
import { type Entry, isTopic, type TopicKind } from "./catalog-entry";

/** Who makes a change. */
export type Actor = Readonly<{ id: string; name: string; requestId: string }>;

/** A change that the broker makes by itself. */
export const BROKER: Actor = { id: "broker", name: "broker", requestId: "" };

export type AuditValue = string | number | boolean | null;
/** A value, or what a field was and is; one that was not there before has no `from`. */
export type AuditDetails = Readonly<
  Record<string, AuditValue | Readonly<{ from?: AuditValue; to?: AuditValue }>>
>;

/** A change to be noted: what was done to what. */
export type AuditNote = Readonly<{
  by: Actor;
  /** A verb: `create`, `change`, `delete`, `pause`, … */
  action: string;
  /** As in the API's paths: `topics/{topic}/subscriptions/{subscription}`. */
  resource: string;
  details: AuditDetails;
}>;

/** Whose change it is, and of what. */
export type AuditSubject = Pick<AuditNote, "by" | "resource">;

/** An entry as the API's paths name it; a queue and its subscription are one. */
export function resourceOf(entry: Entry, topicKind: TopicKind = "topic"): string {
  if (isTopic(entry)) return `${entry.kind}s/${entry.name}`;
  if (topicKind === "queue") return `queues/${entry.topic}`;
  return `topics/${entry.topic}/subscriptions/${entry.name}`;
}

/** New settings of an entry: a change, or nothing but a pause, its end, or what a verification came to. */
export function noteOfSettings(subject: AuditSubject, before: object, after: object): AuditNote {
  const details = changedFields(before, after);
  const fields = Object.keys(details);
  const isPause = fields.includes("paused") && fields.every((field) => /^paused(Reason)?$/.test(field));
  // What a try came to, and not that one is asked for.
  const isVerifying =
    fields.includes("push.verification.tries") && !fields.includes("push.verification.since");
  const verb = "paused" in after && after.paused === true ? "pause" : "resume";
  return { ...subject, action: isPause ? verb : isVerifying ? "verify" : "change", details };
}

/** Fields, by their path, whose texts are shown. All others are `(set)`, and when they change `(another)`. */
const SHOWN_TEXTS: ReadonlySet<string> = new Set([
  ...[
    "name",
    "kind",
    "type",
    "onExhausted",
    "guarantee",
    "pausedReason",
    "keepHeaders",
    "idHeader",
    "priorities",
  ],
  ...["idFrom.header", "idFrom.pointer", "orderingKeyFrom.header", "orderingKeyFrom.pointer"],
  ...["subjectFrom.header", "subjectFrom.pointer"],
  ...["push.verification.by", "push.verification.base", "push.verification.reason"],
  ...["topic", "cron", "timeZone", "scopes", "at", "push.url", "toTopic", "to", "to.snapshot"],
]);
const SET = "(set)";
const ANOTHER = "(another)";

/** What differs between two states of something: the fields of both, nested ones by their path. */
export function changedFields(before: object, after: object): AuditDetails {
  const [was, is] = [flat(before), flat(after)];
  const names = [...new Set([...was.keys(), ...is.keys()])];
  const changed = names.filter((name) => JSON.stringify(was.get(name)) !== JSON.stringify(is.get(name)));
  return bounded(
    changed.map((name) => {
      const [from, to] = [shown(name, was.get(name)), shown(name, is.get(name))];
      // Two secrets look alike: that the one replaced the other is what is to be seen.
      const other = from !== undefined && from === to ? ANOTHER : to;
      return [name, { ...(from !== undefined && { from }), ...(other !== undefined && { to: other }) }];
    }),
  );
}

/** The fields of something as they are. */
export function shownFields(state: object): AuditDetails {
  return bounded(
    [...flat(state)].flatMap(([name, value]) => {
      const text = shown(name, value);
      return text === undefined ? [] : [[name, text] as const];
    }),
  );
}

/** Plain values by the path of their field; lists count as one value. */
function flat(state: object, prefix = "", into = new Map<string, unknown>()): Map<string, unknown> {
  for (const [key, value] of Object.entries(state)) {
    const path = prefix + key;
    const isPlain = value === null || typeof value !== "object" || Array.isArray(value);
    if (isPlain || ArrayBuffer.isView(value)) into.set(path, value);
    else flat(value as object, `${path}.`, into);
  }
  return into;
}

function shown(path: string, value: unknown): AuditValue | undefined {
  if (value === undefined) return undefined;
  if (value === null || typeof value === "number" || typeof value === "boolean") return value;
  if (!SHOWN_TEXTS.has(path)) return SET;
  const text = Array.isArray(value) ? value.join(" ") : String(value);
  return (path === "push.url" ? hostOf(text) : text).slice(0, limits.auditTextLength).toWellFormed();
}

/** Of a URL no more than whom it leads to: its path and query may be a secret. */
function hostOf(url: string): string {
  return URL.canParse(url) ? `${new URL(url).origin}/…` : SET;
}

function bounded(fields: readonly (readonly [string, AuditDetails[string]])[]): AuditDetails {
  const some = fields.slice(0, limits.auditFields);
  const left = fields.length - some.length;
  return Object.fromEntries([
    ...some.map(([name, value]) => [name.slice(0, limits.auditTextLength).toWellFormed(), value] as const),
    ...(left > 0 ? [["fieldsLeftOut", left] as const] : []),
  ]);
}
