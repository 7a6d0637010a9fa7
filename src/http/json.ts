// JSON as it arrives: bytes that may be anything.

import { ok, type Result, refuse } from "../errors";
import { jsonFault } from "./json-scan";

const JSON_TYPE = /^application\/(?:[\w.+-]+\+)?json\s*(?:;|$)/i;
const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: false });

/** The value of a body that is to be JSON. None at all counts as `{}`. */
export function parseBody(bytes: Uint8Array, contentType: string | null): Result<unknown> {
  if (bytes.byteLength === 0) return ok({});
  if (contentType !== null && !JSON_TYPE.test(contentType)) {
    return refuse("unsupported-content-type", "The body is JSON: send `Content-Type: application/json`.", {
      field: "Content-Type",
    });
  }
  return parseJson(bytes);
}

/** The text of JSON bytes. */
export function decodeJson(bytes: Uint8Array): Result<string> {
  try {
    return ok(utf8.decode(bytes));
  } catch {
    return refuse("malformed-body", "The body is not JSON: its bytes are not UTF-8.", { field: "body" });
  }
}

/** The value of JSON bytes. */
export function parseJson(bytes: Uint8Array): Result<unknown> {
  const fault = jsonFault(bytes);
  if (fault) return refuse("invalid-request", fault.detail, { field: "body", limit: fault.limit });
  try {
    return ok(JSON.parse(utf8.decode(bytes)));
  } catch (fault) {
    const reason = fault instanceof SyntaxError ? fault.message : "its bytes are not UTF-8";
    return refuse("malformed-body", `The body is not JSON: ${reason.toWellFormed()}.`, { field: "body" });
  }
}

/** `fields` without those that are undefined: to leave one out is not to set it to nothing. */
export function present<T extends object>(fields: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  const named = Object.entries(fields).filter(([, value]) => value !== undefined);
  return Object.fromEntries(named) as { [K in keyof T]: Exclude<T[K], undefined> };
}

export function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return value !== null && typeof value === "object" && !Array.isArray(value);
}

/** Whether a JSON value is nested more than `levels` deep. It stops there, however deep the rest goes. */
export function isTooDeep(value: unknown, levels: number): boolean {
  if (value === null || typeof value !== "object") return false;
  if (levels === 0) return true;
  return Object.values(value).some((part) => isTooDeep(part, levels - 1));
}
