// CloudEvents as they are published: binary, with the attributes in `ce-*` headers; structured, the whole event as
// JSON; batched, an array of those. Here an event becomes what a message keeps of it, or is refused.

import {
  CORE_NAMES,
  EVENT_PREFIX,
  isExtensionName,
  isJsonType,
  isTimestamp,
  isUri,
  isUriReference,
  messageIdOf,
  SPECVERSION,
  usualForm,
} from "../cloud-event";
import { ok, type Refused, type Result, refuse } from "../errors";
import { limits } from "../limits";
import type { DataForm, EventShape } from "../message";
import { isRecord, isTooDeep } from "./json";
import { memberSources } from "./json-source";

/** What a message is made from, before it is checked as one. */
export type EventParts = Readonly<{
  messageId: string;
  contentType: string;
  body: Uint8Array;
  subject?: string;
  attributes: Readonly<Record<string, string>>;
  /** The extension `partitionkey`: what shall keep an order. */
  partitionKey?: string;
  /** The extensions of its trace, which it brings along from where it was made. */
  traceparent?: string;
  tracestate?: string;
  shape?: EventShape;
}>;

type Values = ReadonlyMap<string, string>;
type Data = Readonly<{ body: Uint8Array; form?: DataForm }>;
/** Where a fault is: `ce-type`, `type`, `[3].type`. */
type Naming = (name: string) => string;

const MIN_INTEGER = -2_147_483_648;
const MAX_INTEGER = 2_147_483_647;
const ESCAPED = /(?:%[0-9A-Fa-f]{2})+/g;
const utf8 = new TextEncoder();

// ── binary: the headers ──────────────────────────────────────────────────────────────────────────────

/** An event whose attributes are headers and whose data is the body. */
export function readBinaryEvent(headers: Iterable<[string, string]>, body: Uint8Array): Result<EventParts> {
  const values = new Map<string, string>();
  let contentType: string | undefined;
  for (const [name, value] of headers) {
    if (name === "content-type" && value !== "") contentType = value;
    if (name.startsWith(EVENT_PREFIX)) values.set(name.slice(EVENT_PREFIX.length), headerText(value));
  }
  const naming = (name: string) => `${EVENT_PREFIX}${name}`;
  for (const name of ["data", "data_base64", "datacontenttype"]) {
    if (!values.has(name)) continue;
    const detail = "In binary mode the data is the body, and datacontenttype is the header Content-Type.";
    return refuse("invalid-request", detail, { field: naming(name) });
  }
  return partsOf(values, naming, { contentType, data: { body }, bare: [] });
}

/** A header's value as the HTTP binding has it read: without quotes around it, percent-decoded. */
function headerText(value: string): string {
  const quoted = /^"((?:[^"\\]|\\.)*)"$/.exec(value)?.[1];
  return (quoted?.replace(/\\(.)/g, "$1") ?? value).replace(ESCAPED, (escaped) => {
    try {
      return decodeURIComponent(escaped);
    } catch {
      return escaped;
    }
  });
}

// ── structured: the JSON format ──────────────────────────────────────────────────────────────────────

/** An event as JSON: `value` is what `source` says. `at` prefixes the names of its fields in refusals. */
export function readJsonEvent(value: unknown, source: string, at = ""): Result<EventParts> {
  const naming = (name: string) => `${at}${name}`;
  if (!isRecord(value)) return wrong(at === "" ? "body" : at.replace(/\.$/, ""), "an event, a JSON object");
  const values = new Map<string, string>();
  const bare: string[] = [];
  for (const [name, given] of Object.entries(value)) {
    // An attribute that is null is one that is not there, says the format.
    if (name === "data" || name === "data_base64" || given === null) continue;
    const text = attributeText(given);
    if (text === undefined) return wrong(naming(name.slice(0, limits.attributeNameLength)), ATTRIBUTE_VALUE);
    values.set(name, text);
    if (typeof given !== "string") bare.push(name);
  }
  const contentType = values.get("datacontenttype");
  values.delete("datacontenttype");
  const data = jsonData(value, source, contentType, naming);
  return data.ok ? partsOf(values, naming, { contentType, data: data.value, bare }) : data;
}

const ATTRIBUTE_VALUE = "a string of whole characters, a boolean, or an integer of 32 bits";

function attributeText(value: unknown): string | undefined {
  if (typeof value === "string") return value.isWellFormed() ? value : undefined;
  if (typeof value === "boolean") return String(value);
  const isInteger = Number.isInteger(value) && Number(value) >= MIN_INTEGER && Number(value) <= MAX_INTEGER;
  return isInteger ? String(Number(value)) : undefined;
}

/** JSON data is taken as it stood; a string under another content type is its UTF-8. */
function jsonData(
  value: Readonly<Record<string, unknown>>,
  source: string,
  contentType: string | undefined,
  naming: Naming,
): Result<Data> {
  const { data, data_base64: base64 } = value;
  if (data !== undefined && base64 !== undefined) {
    return refuse("invalid-request", "An event has data or data_base64, not both.", {
      field: naming("data"),
    });
  }
  if (base64 !== undefined) return base64Data(base64, naming);
  if (data === undefined) return ok({ body: new Uint8Array() });
  if (typeof data === "string" && contentType !== undefined && !isJsonType(contentType)) {
    if (!data.isWellFormed()) return wrong(naming("data"), "a string of whole characters");
    return ok({ body: utf8.encode(data), form: "text" });
  }
  if (isTooDeep(data, limits.jsonDepth)) {
    const detail = `JSON is nested at most ${limits.jsonDepth} deep.`;
    return refuse("invalid-request", detail, { field: naming("data"), limit: limits.jsonDepth });
  }
  return ok({ body: utf8.encode(memberSources(source).get("data")), form: "json" });
}

function base64Data(text: unknown, naming: Naming): Result<Data> {
  try {
    if (typeof text !== "string") return wrong(naming("data_base64"), "a string");
    const body = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
    return ok({ body, form: "base64" });
  } catch {
    return wrong(naming("data_base64"), "base64");
  }
}

// ── what the modes share ─────────────────────────────────────────────────────────────────────────────

function partsOf(
  values: Values,
  naming: Naming,
  {
    contentType,
    data,
    bare,
  }: Readonly<{ contentType: string | undefined; data: Data; bare: readonly string[] }>,
): Result<EventParts> {
  const fault = checkCore(values, naming) ?? checkNames(values, naming);
  if (fault) return fault;
  const id = values.get("id") ?? "";
  const subject = values.get("subject");
  const { body } = data;
  // The format has an event without a content type be JSON; bytes of which nothing is known are just bytes.
  const isJson = body.byteLength === 0 || data.form === "json";
  const keptType = contentType ?? (isJson ? "application/json" : "application/octet-stream");
  const shape = shapeOf(keptType, contentType === undefined, data, bare);
  const partitionKey = values.get("partitionkey");
  return ok({
    messageId: messageIdOf(id),
    contentType: keptType,
    body,
    ...(subject !== undefined && { subject }),
    attributes: attributesOf(values, messageIdOf(id) !== id),
    ...(partitionKey !== undefined && { partitionKey }),
    ...traceOf(values),
    ...(shape && { shape }),
  });
}

/** Attributes of the message. The id is among them only when the message's is not the same. */
function attributesOf(values: Values, keepsId: boolean): Record<string, string> {
  const kept = [...values].filter(([name]) => name !== "subject" && (name !== "id" || keepsId));
  return Object.fromEntries(kept.map(([name, value]) => [`${EVENT_PREFIX}${name}`, value]));
}

function traceOf(values: Values): Pick<EventParts, "traceparent" | "tracestate"> {
  const [traceparent, tracestate] = [values.get("traceparent"), values.get("tracestate")];
  return {
    ...(traceparent !== undefined && { traceparent }),
    ...(tracestate !== undefined && { tracestate }),
  };
}

function shapeOf(
  contentType: string,
  untyped: boolean,
  { body, form }: Data,
  bare: readonly string[],
): EventShape | undefined {
  const isUsual = form === undefined || (form === usualForm(contentType) && body.byteLength > 0);
  if (!untyped && isUsual && bare.length === 0) return undefined;
  return {
    ...(untyped && { untyped }),
    ...(!isUsual && { data: form }),
    ...(bare.length > 0 && { bare: bare.filter((name) => !CORE_NAMES.has(name)) }),
  };
}

function checkCore(values: Values, naming: Naming): Refused | undefined {
  const complain = (name: string, what: string) => wrong(naming(name), what);
  if (values.get("specversion") !== SPECVERSION) return complain("specversion", `"${SPECVERSION}"`);
  for (const name of ["id", "source", "type"])
    if (!values.get(name)) return complain(name, "there, and not empty");
  if (!isUriReference(values.get("source") ?? "")) return complain("source", "a URI or a relative reference");
  const [time, dataschema] = [values.get("time"), values.get("dataschema")];
  if (time !== undefined && !isTimestamp(time)) return complain("time", "a timestamp as RFC 3339 has it");
  if (dataschema !== undefined && !isUri(dataschema)) return complain("dataschema", "an absolute URI");
  return undefined;
}

function checkNames(values: Values, naming: Naming): Refused | undefined {
  for (const name of values.keys()) {
    if (CORE_NAMES.has(name) || isExtensionName(name)) continue;
    const field = naming(name.slice(0, limits.attributeNameLength).toWellFormed());
    return refuse("invalid-request", "An event's attributes are named with a-z and 0-9, 61 at most.", {
      field,
    });
  }
  return undefined;
}

function wrong(field: string, what: string): Refused {
  return refuse("invalid-request", `${field} must be ${what}.`, { field });
}
