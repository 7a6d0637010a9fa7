// What a topic asks of the messages that come to it: an id, an ordering key and a subject that a foreign sender keeps in a
// header or in its body, and a JSON Schema. What the publisher itself says wins. A body is parsed at most once, and only
// when a setting needs it; whatever its content type says, because many senders of JSON name none. And whether it uses the
// priority that a message names.

import type { TopicEntry } from "../catalog/catalog-entry";
import { type FieldFault, ok, type Refused, type Result, refuse } from "../errors";
import type { ValueSource } from "../intake-form";
import { limits } from "../limits";
import { checkMessage, type Message } from "../message";
import { type Mismatch, type Validator, validatorOf, type Work } from "../schema/schema-validator";
import type { TopicSettings } from "../settings";
import { parseJson } from "./json";
import { notListed, usesPriority } from "./priorities";
import type { Draft, HeaderReader } from "./publish-items";

type Field = "id" | "orderingKey" | "subject";
type Source = Readonly<{ field: Field; from: ValueSource }>;
/** What a topic asks, and where a message stands in its request: its headers when it is the whole of it. */
type Asking = Readonly<{
  sources: readonly Source[];
  validator: Validator | undefined;
  work: Work;
  headers?: HeaderReader;
}>;

/** Reads one message, whose headers are the request's. */
export function takeInOne(draft: Draft, topic: TopicEntry, headers: HeaderReader): Result<Draft> {
  const { priority } = draft;
  if (priority !== undefined && !usesPriority(topic, priority)) return notListed(topic, priority, "");
  const asking = askingOf(topic);
  return asking ? takeIn(draft, { ...asking, headers }, "") : ok(draft);
}

/** Reads the messages of a batch, which the request calls `list`, each for itself. They have no headers of their own. */
export function takeInAll(
  items: readonly Result<Draft>[],
  topic: TopicEntry,
  list: string,
): readonly Result<Draft>[] {
  const asking = askingOf(topic);
  if (!asking && items.every((item) => !item.ok || usesPriority(topic, item.value.priority))) return items;
  return items.map((item, index) => {
    if (!item.ok) return item;
    const { priority } = item.value;
    const at = `${list}[${index}].`;
    if (priority !== undefined && !usesPriority(topic, priority)) return notListed(topic, priority, at);
    return asking ? takeIn(item.value, asking, at) : item;
  });
}

/** Undefined when the topic asks nothing, as most do. */
function askingOf({ generation, version, settings }: TopicEntry): Asking | undefined {
  const { schema } = settings;
  const sources = sourcesOf(settings);
  if (sources.length === 0 && schema === undefined) return undefined;
  const validator = schema && validatorOf(`${generation} ${version}`, schema);
  return { sources, validator, work: { left: limits.schemaSteps } };
}

function sourcesOf({ idFrom, orderingKeyFrom, subjectFrom }: TopicSettings): readonly Source[] {
  const all = { id: idFrom, orderingKey: orderingKeyFrom, subject: subjectFrom };
  return (Object.keys(all) as Field[]).flatMap((field) => {
    const from = all[field];
    return from ? [{ field, from }] : [];
  });
}

function takeIn(draft: Draft, { sources, validator, work, headers }: Asking, at: string): Result<Draft> {
  let parsed: Result<unknown> | undefined;
  const body = () => {
    parsed ??= parseJson(draft.message.body);
    return parsed;
  };
  if (validator) {
    const unmatched = mismatchOf(body(), validator, work, at);
    if (unmatched) return unmatched;
  }
  const found: Partial<Record<Field, string>> = {};
  for (const { field, from } of sources) {
    if (isGiven(draft, field)) continue;
    const value = readSource(from, body, headers);
    const text = fieldText(value, from, `${at}${field}`);
    if (!text.ok) return text;
    if (text.value !== undefined) found[field] = text.value;
  }
  return Object.keys(found).length > 0 ? withFound(draft, found, sources, at) : ok(draft);
}

function isGiven({ message, isClientId }: Draft, field: Field): boolean {
  return field === "id" ? isClientId : message[field] !== undefined;
}

// ── values ───────────────────────────────────────────────────────────────────────────────────────────

function readSource(
  from: ValueSource,
  body: () => Result<unknown>,
  headers: HeaderReader | undefined,
): unknown {
  if (from.header !== undefined) return headers?.get(from.header) || undefined;
  const parsed = body();
  return parsed.ok ? valueAt(parsed.value, from.pointer) : undefined;
}

/** The value at a JSON pointer (RFC 6901); undefined when there is none. */
export function valueAt(value: unknown, pointer: string): unknown {
  let at = value;
  for (const token of pointer.split("/").slice(1)) {
    const name = token.replaceAll("~1", "/").replaceAll("~0", "~");
    if (at === null || typeof at !== "object") return undefined;
    if (Array.isArray(at) && !/^(?:0|[1-9]\d*)$/.test(name)) return undefined;
    if (!Object.hasOwn(at, name)) return undefined;
    at = (at as Readonly<Record<string, unknown>>)[name];
  }
  return at;
}

/** A value as the text of a field; undefined when there is none. */
function fieldText(value: unknown, from: ValueSource, field: string): Result<string | undefined> {
  if (value === undefined || value === null) {
    return from.required ? unfit(field, from, "it is required, and is not there") : ok(undefined);
  }
  if (typeof value === "string") {
    return value.isWellFormed() ? ok(value) : unfit(field, from, "it must be a string of whole characters");
  }
  if (typeof value === "object") return unfit(field, from, "it must be a string, a number, true or false");
  // Beyond these bounds two numbers of the sender's would be one of ours, and two messages one.
  if (typeof value === "number" && Math.abs(value) > Number.MAX_SAFE_INTEGER) {
    const most = Number.MAX_SAFE_INTEGER;
    return unfit(field, from, `a number beyond ${most} is not read exactly: send it as a string`, most);
  }
  return ok(JSON.stringify(value));
}

/** What was well formed before can only be refused for what was found. */
function withFound(
  draft: Draft,
  found: Partial<Record<Field, string>>,
  sources: readonly Source[],
  at: string,
): Result<Draft> {
  const message: Message = { ...draft.message, ...found };
  const checked = checkMessage(message, at);
  if (checked.ok) return ok({ ...draft, message, isClientId: draft.isClientId || found.id !== undefined });
  const { field = "", detail, limit } = checked.error;
  const from = sources.find((source) => `${at}${source.field}` === field)?.from;
  return from ? unfit(field, from, detail, limit) : checked;
}

function unfit(field: string, from: ValueSource, what: string, limit?: number | string): Refused {
  const place = from.header === undefined ? `"${from.pointer}" of the body` : `the header ${from.header}`;
  return refuse("source-mismatch", `${field} is read from ${place}: ${what.replace(/\.$/, "")}.`, {
    field,
    ...(limit !== undefined && { limit }),
  });
}

// ── the schema ───────────────────────────────────────────────────────────────────────────────────────

function mismatchOf(
  body: Result<unknown>,
  validator: Validator,
  work: Work,
  at: string,
): Refused | undefined {
  const field = `${at}data`;
  if (!body.ok) {
    return refuse("schema-mismatch", `The topic has a schema. ${body.error.detail}`, { field });
  }
  const faults = validator.mismatches(body.value, work).map((mismatch) => faultOf(mismatch, field));
  const [first] = faults;
  if (!first) return undefined;
  const detail = faults.map(({ field, detail }) => `${field}: ${detail}`).join(" ");
  return refuse("schema-mismatch", detail, { field: first.field, faults });
}

function faultOf({ path, keyword, detail }: Mismatch, field: string): FieldFault {
  return { field: `${field}${path}`, detail: `${keyword}: ${detail}` };
}
