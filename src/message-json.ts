// A message as JSON: how pull answers, browsing and batched webhooks show it.

import type { Message } from "./message";

/** Every member but the body as it is; the body as text, or as base64 when its bytes are not UTF-8. */
export type MessageJson = Readonly<{
  id: string;
  contentType: string;
  data?: string;
  dataBase64?: string;
  orderingKey?: string;
  subject?: string;
  attributes?: Readonly<Record<string, string>>;
  headers?: Readonly<Record<string, string>>;
  traceparent?: string;
  tracestate?: string;
  publishedAt: number;
  deliverAt?: number;
  expiresAt?: number;
}>;

// A byte order mark is part of the bytes: dropping it would change the message.
const utf8Strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const BASE64_CHUNK_BYTES = 0x8000;

/** The JSON of a message: exactly one of `data` and `dataBase64` is there. */
export function messageJson(message: Message): MessageJson {
  const { id, contentType, body, orderingKey, subject, attributes, headers } = message;
  const { traceparent, tracestate, publishedAt, deliverAt, expiresAt } = message;
  return {
    id,
    contentType,
    ...bodyJson(body),
    ...(orderingKey !== undefined && { orderingKey }),
    ...(subject !== undefined && { subject }),
    ...(attributes !== undefined && { attributes }),
    ...(headers !== undefined && { headers }),
    ...(traceparent !== undefined && { traceparent }),
    ...(tracestate !== undefined && { tracestate }),
    publishedAt,
    ...(deliverAt !== undefined && { deliverAt }),
    ...(expiresAt !== undefined && { expiresAt }),
  };
}

/** Bytes as text, or as base64 when they are not UTF-8. */
export function bodyJson(body: Uint8Array): { data: string } | { dataBase64: string } {
  try {
    return { data: utf8Strict.decode(body) };
  } catch {
    return { dataBase64: toBase64(body) };
  }
}

/** Base64 (RFC 4648, section 4, padded). In chunks, because a call takes only so many arguments. */
export function toBase64(bytes: Uint8Array): string {
  let binary = "";
  for (let start = 0; start < bytes.byteLength; start += BASE64_CHUNK_BYTES) {
    binary += String.fromCharCode(...bytes.subarray(start, start + BASE64_CHUNK_BYTES));
  }
  return btoa(binary);
}

/** Base64 as a URL takes it (RFC 4648, section 5), without padding. */
export function urlSafe(base64: string): string {
  return base64.replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

/** The bytes of base64. Throws when it is none. */
export function fromBase64(base64: string): Uint8Array {
  return Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
}
