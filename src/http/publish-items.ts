// What a publisher sent, read as messages: one from headers and a raw body, many from JSON. An item that cannot
// be read is refused by itself, its neighbours are not. Read by hand and not by a schema: it is the hot path.

import { ok, type Refused, type Result, refuse } from "../errors";
import { limits } from "../limits";
import { type AskedTiming, checkMessage, type Message } from "../message";
import type { TopicSettings } from "../settings";
import { readTrace, type TraceContext } from "../trace-context";
import { isRecord, isTooDeep } from "./json";
import { headerPriority, readPriority } from "./priorities";
import { headerTiming, readTiming, timedFields } from "./timing";

/**
 * A well-formed message, whether its id is the publisher's choice (only such an id can meet its first publish), and
 * the timing and priority that were asked for.
 */
export type Draft = Readonly<{
  message: Message;
  isClientId: boolean;
  timing?: AskedTiming;
  /** Absent: the default. Where a message lies tells it, so the message itself does not. */
  priority?: number;
}>;

/** What is the same for every message of a request. */
export type Stamp = Readonly<{ publishedAt: number; newId(): string } & TraceContext>;
export type HeaderReader = Readonly<{
  get(name: string): string | null;
  entries(): Iterable<[string, string]>;
}>;

const ATTRIBUTE_PREFIX = "pennypost-attr-";
const TEXT_FIELDS = ["id", "orderingKey", "subject", "contentType"] as const;
const TIMING_FIELDS = ["delayMs", "deliverAt", "ttlMs"] as const;
const ITEM_FIELDS: ReadonlySet<string> = new Set([
  ...TEXT_FIELDS,
  ...TIMING_FIELDS,
  ...["data", "dataBase64", "attributes", "priority"],
]);
const utf8 = new TextEncoder();

/** The W3C trace context of a request; one that is not well formed counts as absent, as its standard says. */
export function traceOf(headers: HeaderReader): TraceContext {
  return readTrace(headers.get("traceparent"), headers.get("tracestate"));
}

/** Whether the publisher asks to be answered only when the message is stored (`Prefer: wait`, RFC 7240). */
export function prefersWait(headers: HeaderReader): boolean {
  const prefer = headers.get("prefer");
  return prefer !== null && /(?:^|,)\s*wait\s*(?:[=;,]|$)/i.test(prefer);
}

/** Whether the publisher asks how many subscriptions its messages matched (`Prefer: matched`). */
export function prefersMatched(headers: HeaderReader): boolean {
  const prefer = headers.get("prefer");
  return prefer !== null && /(?:^|,)\s*matched\s*(?:[=;,]|$)/i.test(prefer);
}

// ── one message: headers and a raw body ──────────────────────────────────────────────────────────────

/** Reads one message whose body is the request's and whose headers carry the rest. */
export function readRaw(
  headers: HeaderReader,
  body: Uint8Array,
  { keepHeaders, idHeader }: TopicSettings,
  { newId, ...stamp }: Stamp,
): Result<Draft> {
  const timing = headerTiming((name) => headers.get(name), stamp.publishedAt);
  if (!timing.ok) return timing;
  const priority = headerPriority(headers.get("pennypost-priority"));
  if (!priority.ok) return priority;
  const id = readId(headers, idHeader);
  if (!id.ok) return id;
  const orderingKey = headers.get("pennypost-ordering-key");
  const subject = headers.get("pennypost-subject");
  const message: Message = {
    id: id.value ?? newId(),
    ...stamp,
    contentType: headers.get("content-type") || "application/octet-stream",
    body,
    ...(orderingKey !== null && { orderingKey }),
    ...(subject !== null && { subject }),
    ...attributesOf(headers),
    ...keptHeaders(headers, keepHeaders),
    ...timedFields(timing.value, stamp.publishedAt),
  };
  const checked = checkMessage(message);
  return checked.ok ? ok(draft(message, id.value !== undefined, timing.value, priority.value)) : checked;
}

/** `Idempotency-Key` is a structured string (in quotes), though many senders leave the quotes out. */
export function readId(headers: HeaderReader, idHeader: string | undefined): Result<string | undefined> {
  const key = headers.get("idempotency-key");
  if (key === null) return ok((idHeader && headers.get(idHeader)) || undefined);
  if (!key.startsWith('"')) return ok(key);
  const quoted = /^"((?:[^"\\]|\\["\\])*)"$/.exec(key);
  if (quoted?.[1] !== undefined) return ok(quoted[1].replace(/\\(["\\])/g, "$1"));
  return refuse("invalid-request", "Idempotency-Key begins with a quote but is no quoted string.", {
    field: "id",
  });
}

export function attributesOf(headers: HeaderReader): { attributes?: Record<string, string> } {
  const found: [string, string][] = [];
  for (const [name, value] of headers.entries()) {
    if (name.startsWith(ATTRIBUTE_PREFIX)) found.push([name.slice(ATTRIBUTE_PREFIX.length), value]);
  }
  return found.length > 0 ? { attributes: Object.fromEntries(found) } : {};
}

export function keptHeaders(
  headers: HeaderReader,
  names: readonly string[],
): { headers?: Record<string, string> } {
  const kept = names.flatMap((name) => {
    const value = headers.get(name);
    return value === null ? [] : [[name, value] as const];
  });
  return kept.length > 0 ? { headers: Object.fromEntries(kept) } : {};
}

// ── many messages: JSON, or NDJSON ───────────────────────────────────────────────────────────────────

/** Reads the item at `index` of a batch. */
export function readItem(item: unknown, index: number, stamp: Stamp): Result<Draft> {
  return readItemAt(item, `messages[${index}]`, stamp);
}

/** Reads an item that is the field `field` of a request. */
export function readItemAt(item: unknown, field: string, stamp: Stamp): Result<Draft> {
  const at = `${field}.`;
  if (!isRecord(item)) return wrong(field, "an object");
  const fault = checkFields(item, at) ?? checkTexts(item, at);
  if (fault) return fault;
  const data = readData(item, at);
  if (!data.ok) return data;
  const timing = readTiming(item as TimedItem, at, stamp.publishedAt);
  if (!timing.ok) return timing;
  const priority = readPriority(item.priority, `${at}priority`);
  if (!priority.ok) return priority;
  const { id, orderingKey, subject, contentType, attributes } = item as ItemTexts;
  const message: Mutable<Message> = {
    id: id ?? stamp.newId(),
    publishedAt: stamp.publishedAt,
    contentType: contentType ?? data.value.contentType,
    body: data.value.body,
  };
  if (orderingKey !== undefined) message.orderingKey = orderingKey;
  if (subject !== undefined) message.subject = subject;
  if (attributes !== undefined) message.attributes = attributes;
  if (stamp.traceparent !== undefined) message.traceparent = stamp.traceparent;
  if (stamp.tracestate !== undefined) message.tracestate = stamp.tracestate;
  if (timing.value !== undefined) Object.assign(message, timedFields(timing.value, stamp.publishedAt));
  const checked = checkMessage(message, at);
  return checked.ok ? ok(draft(message, id !== undefined, timing.value, priority.value)) : checked;
}

type TimedItem = Readonly<Record<(typeof TIMING_FIELDS)[number], unknown>>;
type Mutable<T> = { -readonly [K in keyof T]: T[K] };
type ItemTexts = Readonly<
  Partial<Record<"id" | "orderingKey" | "subject" | "contentType", string>> & {
    attributes?: Readonly<Record<string, string>>;
  }
>;

function checkFields(item: Readonly<Record<string, unknown>>, at: string): Refused | undefined {
  for (const name of Object.keys(item)) {
    if (ITEM_FIELDS.has(name)) continue;
    const field = `${at}${name.slice(0, limits.attributeNameLength)}`;
    return refuse(
      "invalid-request",
      `A message has no field "${name.slice(0, limits.attributeNameLength)}".`,
      {
        field,
      },
    );
  }
  return undefined;
}

function checkTexts(item: Readonly<Record<string, unknown>>, at: string): Refused | undefined {
  for (const name of TEXT_FIELDS) {
    const text = item[name];
    if (text !== undefined && !isText(text)) return wrong(`${at}${name}`, "a string of whole characters");
  }
  const { attributes } = item;
  if (attributes === undefined || (isRecord(attributes) && Object.values(attributes).every(isText))) {
    return undefined;
  }
  return wrong(`${at}attributes`, "an object of strings");
}

export type Data = { body: Uint8Array; contentType: string };

/** The message's bytes: a string is its UTF-8, `dataBase64` what it encodes, any other value its JSON. */
export function readData({ data, dataBase64 }: Readonly<Record<string, unknown>>, at: string): Result<Data> {
  if (data !== undefined && dataBase64 !== undefined) {
    return refuse("invalid-request", "A message has data or dataBase64, not both.", { field: `${at}data` });
  }
  if (dataBase64 !== undefined) return readBase64(dataBase64, `${at}dataBase64`);
  if (data === undefined) {
    return refuse("invalid-request", "A message has data or dataBase64.", { field: `${at}data` });
  }
  if (typeof data === "string") {
    if (!data.isWellFormed()) return wrong(`${at}data`, "a string of whole characters");
    return ok({ body: utf8.encode(data), contentType: "text/plain; charset=utf-8" });
  }
  if (isTooDeep(data, limits.jsonDepth)) {
    return refuse("invalid-request", `JSON is nested at most ${limits.jsonDepth} deep.`, {
      field: `${at}data`,
      limit: limits.jsonDepth,
    });
  }
  return ok({ body: utf8.encode(JSON.stringify(data)), contentType: "application/json" });
}

function readBase64(text: unknown, field: string): Result<Data> {
  if (typeof text !== "string") return wrong(field, "a string");
  try {
    const body = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
    return ok({ body, contentType: "application/octet-stream" });
  } catch {
    return wrong(field, "base64");
  }
}

// ── what both share ──────────────────────────────────────────────────────────────────────────────────

/** A lone surrogate has no UTF-8: what comes out would not be what went in. */
function isText(value: unknown): value is string {
  return typeof value === "string" && value.isWellFormed();
}

function wrong(field: string, what: string): Refused {
  return refuse("invalid-request", `${field} must be ${what}.`, { field });
}

function draft(message: Message, isClientId: boolean, timing?: AskedTiming, priority?: number): Draft {
  if (timing === undefined && priority === undefined) return { message, isClientId };
  return {
    ...{ message, isClientId },
    ...(timing !== undefined && { timing }),
    ...(priority !== undefined && { priority }),
  };
}
