// A message is what was published. It never changes: its bytes reach every reader as they came.

import { type BrokerError, ok, type Result, refuse } from "./errors";
import { limits } from "./limits";

export type Message = Readonly<{
  /** 1 to 128 printable ASCII characters, without space and `.`, because it becomes `webhook-id`. */
  id: string;
  /** When http/ took the message in, in epoch milliseconds. */
  publishedAt: number;
  contentType: string;
  body: Uint8Array;
  /** Messages with one ordering key are delivered one at a time and in order. */
  orderingKey?: string;
  /** Dot-separated words that subscriptions may filter on. */
  subject?: string;
  attributes?: Readonly<Record<string, string>>;
  /** Headers of a foreign sender that the topic asks to keep, by lower-case name. */
  headers?: Readonly<Record<string, string>>;
  /** W3C Trace Context of the publish. */
  traceparent?: string;
  tracestate?: string;
  /** How it stood as a CloudEvent, so that it goes out exactly as it came. No part of its content. */
  eventShape?: EventShape;
  /** When a delayed message is due to take its offset, in epoch milliseconds. */
  deliverAt?: number;
  /** From then on nobody is handed it, in epoch milliseconds. */
  expiresAt?: number;
  /** It is a request: where its reply goes (reply-calls.ts). */
  replyTo?: string;
  /** How often it was forwarded from topic to topic. No part of its content. */
  hops?: number;
  /** No subscription of its topic matched it when it was stored there. No part of its content. */
  unmatched?: true;
}>;

/** How an event stood in its request, as far as its attributes and content type do not tell. */
export type EventShape = Readonly<{
  /** It came without a `datacontenttype`. */
  untyped?: true;
  /** How its data stood, when the content type suggests another form. */
  data?: DataForm;
  /** Extensions that were numbers or booleans in JSON, and not strings. */
  bare?: readonly string[];
}>;
export type DataForm = "json" | "text" | "base64";

/** The timing that a publisher asked for, as it was asked: a retry asks for the same, whenever it comes. */
export type AskedTiming = Readonly<{
  delayMs?: number;
  /** In epoch milliseconds. */
  deliverAt?: number;
  ttlMs?: number;
}>;

const MESSAGE_ID = /^[\x21-\x2d\x2f-\x7e]+$/;
const ATTRIBUTE_NAME = /^[A-Za-z0-9][A-Za-z0-9_-]*$/;
const CONTROL_CHARACTER = /\p{Cc}/u;
const utf8 = new TextEncoder();

/** The length of `text` in UTF-8, in bytes. */
export function utf8Bytes(text: string): number {
  return isAscii(text) ? text.length : utf8.encode(text).length;
}

/** Whether a message is well formed; the refusal names the field and the limit. `field` prefixes the name. */
export function checkMessage(message: Message, prefix = ""): Result<Message> {
  const fault =
    checkMessageId(message.id, `${prefix}id`) ??
    checkText(message.orderingKey, `${prefix}orderingKey`, limits.orderingKeyBytes) ??
    checkText(message.subject, `${prefix}subject`, limits.subjectBytes) ??
    checkText(message.contentType, `${prefix}contentType`, limits.contentTypeBytes) ??
    checkAttributes(message.attributes, `${prefix}attributes`) ??
    checkHeaders(message.headers, `${prefix}headers`) ??
    checkBody(message.body, `${prefix}data`);
  return fault ? { ok: false, error: fault } : ok(message);
}

/** What is wrong with a message id, if anything. */
export function checkMessageId(id: string, field: string): BrokerError | undefined {
  if (id.length >= 1 && id.length <= limits.messageIdLength && MESSAGE_ID.test(id)) return undefined;
  return refuse(
    "invalid-request",
    `A message id is 1 to ${limits.messageIdLength} printable ASCII characters without space or '.'.`,
    { field, limit: limits.messageIdLength },
  ).error;
}

function checkText(text: string | undefined, field: string, limitBytes: number): BrokerError | undefined {
  if (text === undefined) return undefined;
  if (text === "") return refuse("invalid-request", `${field} must not be empty.`, { field }).error;
  if (CONTROL_CHARACTER.test(text)) {
    return refuse("invalid-request", `${field} must not contain control characters.`, { field }).error;
  }
  if (utf8Bytes(text) <= limitBytes) return undefined;
  return refuse("invalid-request", `${field} is longer than ${limitBytes} bytes.`, {
    field,
    limit: limitBytes,
  }).error;
}

function checkAttributes(
  attributes: Readonly<Record<string, string>> | undefined,
  field: string,
): BrokerError | undefined {
  if (attributes === undefined) return undefined;
  const entries = Object.entries(attributes);
  if (entries.length > limits.attributeCount) {
    return refuse("invalid-request", `A message has at most ${limits.attributeCount} attributes.`, {
      field,
      limit: limits.attributeCount,
    }).error;
  }
  let totalBytes = 0;
  for (const [name, value] of entries) {
    totalBytes += utf8Bytes(name) + utf8Bytes(value);
    if (!ATTRIBUTE_NAME.test(name) || name.length > limits.attributeNameLength) {
      return refuse(
        "invalid-request",
        `An attribute name is 1 to ${limits.attributeNameLength} letters, digits, '-' or '_', and starts with a letter or digit.`,
        { field: `${field}.${name.slice(0, limits.attributeNameLength)}`, limit: limits.attributeNameLength },
      ).error;
    }
    if (CONTROL_CHARACTER.test(value)) {
      return refuse("invalid-request", "An attribute value must not contain control characters.", {
        field: `${field}.${name}`,
      }).error;
    }
  }
  if (totalBytes <= limits.attributesBytes) return undefined;
  return refuse("invalid-request", `Attributes are longer than ${limits.attributesBytes} bytes together.`, {
    field,
    limit: limits.attributesBytes,
  }).error;
}

function checkHeaders(headers: Message["headers"], field: string): BrokerError | undefined {
  if (headers === undefined) return undefined;
  const bytes = Object.entries(headers).reduce(
    (sum, [name, value]) => sum + utf8Bytes(name) + utf8Bytes(value),
    0,
  );
  if (bytes <= limits.keptHeadersBytes) return undefined;
  return refuse(
    "invalid-request",
    `The headers that the topic keeps are longer than ${limits.keptHeadersBytes} bytes together.`,
    { field, limit: limits.keptHeadersBytes },
  ).error;
}

function checkBody(body: Uint8Array, field: string): BrokerError | undefined {
  if (body.byteLength <= limits.messageBytes) return undefined;
  return refuse("payload-too-large", `A message is at most ${limits.messageBytes} bytes.`, {
    field,
    limit: limits.messageBytes,
  }).error;
}

function isAscii(text: string): boolean {
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) > 0x7f) return false;
  return true;
}
