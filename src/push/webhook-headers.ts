// The headers of a webhook request: what each says, how a value is made safe, and which wins.
//
// A header carries printable ASCII. Every other character, `%` itself, and a space at either end is
// percent-encoded as UTF-8: a receiver gets the exact value back with one percent-decoding.

import { limits } from "../limits";
import type { Message } from "../message";
import { CLAIM, CLAIM_FENCE, CLAIM_LEASE_MS, type Claims } from "./hand-over";

/** Where a request comes from. */
export type Origin = Readonly<{ topic: string; subscription: string; partition: number }>;
export type HeaderList = Readonly<Record<string, string>>;

const TOKEN = /^[!#$%&'*+.^_`|~0-9a-z-]+$/;
/** These belong to one connection, or to the request as a whole: nobody sets them for us. */
const CONNECTION_HEADERS = new Set([
  "connection",
  "content-length",
  "expect",
  "host",
  "keep-alive",
  "proxy-authenticate",
  "proxy-authorization",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
]);
const OUR_HEADERS = new Set(["content-type", "traceparent", "tracestate"]);
const OUR_PREFIXES = ["webhook-", "pennypost-", "cf-"];
const UNSAFE = /[^\x20-\x24\x26-\x7e]+|^ +| +$/g;
const utf8 = new TextEncoder();

/** The headers of a request that carries one message, without its signature. */
export function messageHeaders(
  { topic, subscription, partition }: Origin,
  { message, offset, attempt }: Readonly<{ message: Message; offset: number; attempt: number }>,
): HeaderList {
  const { orderingKey, subject, attributes = {}, headers = {}, traceparent, tracestate, replyTo } = message;
  const list: Record<string, string> = foreignHeaders(headers);
  for (const [name, value] of Object.entries(attributes)) {
    list[`pennypost-attr-${name.toLowerCase()}`] = headerSafe(value);
  }
  list["content-type"] = headerSafe(message.contentType);
  list["pennypost-topic"] = headerSafe(topic);
  list["pennypost-subscription"] = headerSafe(subscription);
  list["pennypost-partition"] = String(partition);
  list["pennypost-offset"] = String(offset);
  list["pennypost-attempt"] = String(attempt);
  if (orderingKey !== undefined) list["pennypost-ordering-key"] = headerSafe(orderingKey);
  if (subject !== undefined) list["pennypost-subject"] = headerSafe(subject);
  if (replyTo !== undefined) list["pennypost-reply-to"] = replyTo;
  if (traceparent !== undefined) list.traceparent = headerSafe(traceparent);
  if (tracestate !== undefined) list.tracestate = headerSafe(tracestate);
  return list;
}

/** The headers of a request that carries several messages: what is theirs is in the body. */
export function batchHeaders({ topic, subscription, partition }: Origin, contentType: string): HeaderList {
  return {
    "content-type": contentType,
    "pennypost-topic": headerSafe(topic),
    "pennypost-subscription": headerSafe(subscription),
    "pennypost-partition": String(partition),
  };
}

/** What a receiver needs to complete the claims of its request: a batch has them in the body. */
export function claimHeaders(claims: Claims | undefined, isBatch: boolean): HeaderList {
  const [only] = claims?.values() ?? [];
  if (only === undefined) return {};
  const lease = { [CLAIM_LEASE_MS]: String(limits.handOverMs) };
  return isBatch ? lease : { ...lease, [CLAIM]: only.claim, [CLAIM_FENCE]: String(only.fence) };
}

/** Adds the endpoint's own headers: they win over a sender's, and lose to ours. */
export function withEndpointHeaders(list: HeaderList, endpoint: HeaderList): HeaderList {
  const own = Object.entries(endpoint).map(([name, value]) => [name.toLowerCase(), value] as const);
  const settable = own.filter(([name]) => isSettable(name));
  return { "user-agent": "Pennypost", ...list, ...Object.fromEntries(settable) };
}

/** `value` as a header can carry it. */
export function headerSafe(value: string): string {
  return value.replace(UNSAFE, (unsafe) => {
    const bytes = [...utf8.encode(unsafe)];
    return bytes.map((byte) => `%${byte.toString(16).toUpperCase().padStart(2, "0")}`).join("");
  });
}

/** The headers that the topic kept from a foreign sender, under their own names. Their values are as they came. */
function foreignHeaders(headers: HeaderList): Record<string, string> {
  const list: Record<string, string> = {};
  for (const [name, value] of Object.entries(headers)) {
    if (isSettable(name.toLowerCase())) list[name.toLowerCase()] = latin1(value);
  }
  return list;
}

function isSettable(name: string): boolean {
  if (!TOKEN.test(name) || CONNECTION_HEADERS.has(name) || OUR_HEADERS.has(name)) return false;
  return !OUR_PREFIXES.some((prefix) => name.startsWith(prefix));
}

/** A sender's value came over HTTP and can go over HTTP again; what could not have come so is encoded. */
function latin1(value: string): string {
  return /^[\x20-\x7e\x80-\xff\t]*$/.test(value) ? value : headerSafe(value);
}
