// The body of a batch publish, as JSON or NDJSON, cut into its items. An item that is no JSON is refused by itself.

import { ok, type Result, refuse } from "../errors";
import { limits } from "../limits";
import { isRecord, parseBody, parseJson } from "./json";

export type Batch = Readonly<{ values: readonly Result<unknown>[]; atomic: boolean }>;

const NDJSON = /^application\/(?:x-ndjson|ndjson|jsonl|jsonlines)\s*(?:;|$)/i;
const NEWLINE = 0x0a;

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
