// What the fingerprint of a message is taken over: everything a publisher says of it, nothing that differs
// between two sends of the same message (trace headers, kept headers, times of ours). Two messages under one id are
// the same message when the SHA-256 of these bytes is the same.
//
//   "pennypost-fingerprint-1", then one field after another, in this order:
//     content type · ordering key · subject · number of attributes · each attribute's name and value, sorted
//     by name · deliver at · delay · ttl, each in milliseconds and as it was asked for · body · of a request alone
//     the word "request": what nobody is to answer is another message
//   field = u32 length (little-endian) and as many bytes; an absent field is the length 0xFFFFFFFF alone
//
// Every field carries its length, so no two messages share their bytes.

import type { AskedTiming, Message } from "./message";
import { joinBytes } from "./record-batch";

const utf8 = new TextEncoder();
const PREFIX = utf8.encode("pennypost-fingerprint-1");
const ABSENT = Uint8Array.of(0xff, 0xff, 0xff, 0xff);

/** The bytes whose SHA-256 is the message's fingerprint. `timing` is what its publisher asked for, not what came of it. */
export function fingerprintBytes(message: Message, timing: AskedTiming = {}): Uint8Array {
  const { contentType, orderingKey, subject, attributes = {}, body } = message;
  const names = Object.keys(attributes).sort();
  const texts: (string | undefined)[] = [contentType, orderingKey, subject, String(names.length)];
  for (const name of names) texts.push(name, attributes[name]);
  const { deliverAt, delayMs, ttlMs } = timing;
  for (const asked of [deliverAt, delayMs, ttlMs]) texts.push(asked?.toString());
  const request = message.replyTo === undefined ? [] : textField("request");
  return joinBytes([PREFIX, ...texts.flatMap(textField), ...field(body), ...request]);
}

function textField(text: string | undefined): Uint8Array[] {
  return text === undefined ? [ABSENT] : field(utf8.encode(text));
}

function field(bytes: Uint8Array): Uint8Array[] {
  const length = new Uint8Array(4);
  new DataView(length.buffer).setUint32(0, bytes.byteLength, true);
  return [length, bytes];
}
