// The body of a batch publish, as JSON, NDJSON or a batch of events, cut into its items. An item that is no JSON is refused
// by itself.

import { ok, type Result, refuse } from "../errors";
import { limits } from "../limits";
import { eventMode, readEventBatch } from "./event-items";
import { isRecord, parseBody, parseJson } from "./json";
import { type Draft, readItem, type Stamp } from "./publish-items";

export type Batch = Readonly<{ values: readonly Result<unknown>[]; atomic: boolean }>;

/** `list` is what the request calls its items: a batch of events has no name for them. */
export type ReadItems = Readonly<{ items: readonly Result<Draft>[]; atomic: boolean; list: string }>;

const NDJSON = /^application\/(?:x-ndjson|ndjson|jsonl|jsonlines)\s*(?:;|$)/i;
const NEWLINE = 0x0a;

/** The items of a request whose body is `body`. Refused is what cannot be cut into items. */
export function readItems(request: Request, body: Uint8Array, stamp: Stamp): Result<ReadItems> {
  const mode = eventMode(request.headers);
  if (!mode.ok) return mode;
  const atomic = readAtomic(new URL(request.url).searchParams.get("atomic"));
  if (!atomic.ok) return atomic;
  if (mode.value === "batched") {
    const items = readEventBatch(body, stamp);
    return items.ok ? ok({ items: items.value, atomic: atomic.value, list: "" }) : items;
  }
  const batch = readBatch(body, request.headers.get("content-type"), atomic.value);
  if (!batch.ok) return batch;
  const { values, ...rest } = batch.value;
  return ok({
    ...rest,
    list: "messages",
    items: values.map((value, index) => (value.ok ? readItem(value.value, index, stamp) : value)),
  });
}

/** Whether the URL asks for all or nothing, which is where a body that cannot say it has it said. */
export function readAtomic(atomic: string | null): Result<boolean> {
  if (atomic === null || atomic === "true" || atomic === "false") return ok(atomic === "true");
  return refuse("invalid-request", "atomic must be true or false.", { field: "atomic" });
}

/** Reads a batch. `atomic` is what the URL says. */
export function readBatch(bytes: Uint8Array, contentType: string | null, atomic: boolean): Result<Batch> {
  const batch = NDJSON.test(contentType ?? "") ? readLines(bytes) : readObject(bytes, contentType);
  if (!batch.ok) return batch;
  const { length } = batch.value.values;
  if (length < 1 || length > limits.publishMessages) {
    return refuse("invalid-request", `A batch has 1 to ${limits.publishMessages} messages.`, {
      field: "messages",
      limit: limits.publishMessages,
    });
  }
  return ok({ ...batch.value, atomic: batch.value.atomic || atomic });
}

function readObject(bytes: Uint8Array, contentType: string | null): Result<Batch> {
  const json = parseBody(bytes, contentType);
  if (!json.ok) return json;
  if (!isRecord(json.value))
    return refuse("invalid-request", "The body must be an object.", { field: "body" });
  const { messages, atomic, ...others } = json.value;
  const [unknown] = Object.keys(others);
  if (unknown !== undefined) {
    const field = unknown.slice(0, limits.attributeNameLength).toWellFormed();
    return refuse("invalid-request", `A batch has no field "${field}".`, { field });
  }
  if (!Array.isArray(messages)) {
    return refuse("invalid-request", "messages must be an array.", { field: "messages" });
  }
  if (atomic !== undefined && typeof atomic !== "boolean") {
    return refuse("invalid-request", "atomic must be true or false.", { field: "atomic" });
  }
  return ok({ values: messages.map((value) => ok(value)), atomic: atomic ?? false });
}

function readLines(bytes: Uint8Array): Result<Batch> {
  const values: Result<unknown>[] = [];
  // One more than allowed is enough to refuse them all.
  for (let start = 0; start < bytes.byteLength && values.length <= limits.publishMessages; ) {
    const newline = bytes.indexOf(NEWLINE, start);
    const end = newline === -1 ? bytes.byteLength : newline;
    const line = bytes.subarray(start, end);
    if (!line.every(isBlank)) values.push(parseLine(line, values.length));
    start = end + 1;
  }
  return ok({ values, atomic: false });
}

function parseLine(line: Uint8Array, index: number): Result<unknown> {
  const value = parseJson(line);
  return value.ok ? value : { ok: false, error: { ...value.error, field: `messages[${index}]` } };
}

function isBlank(byte: number): boolean {
  return byte === 0x20 || byte === 0x09 || byte === 0x0d;
}
