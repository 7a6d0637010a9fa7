// A record batch is the messages of one publish request bound for one partition: the unit that travels
// through the Cloudflare Queue, that is stored and that is billed. A record is one message, packed.
//
//   record       = u32 meta length, u32 body length (little-endian), meta (JSON, UTF-8), body
//   records      = records back to back: a run of them can be cut or joined without being read
//   record batch = u8 version (1), u32 head length, head (JSON, UTF-8), records

import type { EventShape, Message } from "./message";

/** An id that a client chose, with the fingerprint of the message's content, so that a retry can be told. */
export type ClientId = Readonly<{ index: number; id: string; fingerprint: string }>;

/** A message that takes its offset only at `deliverAt` (epoch milliseconds), told apart by its id until then. */
export type ScheduledItem = Readonly<{ index: number; id: string; deliverAt: number }>;

/** Who numbered the messages of a batch, and the number of the first: the others count up from it. */
export type ProducerMark = Readonly<{ name: string; sequence: number }>;

export type RecordBatch = Readonly<{
  /** Made once per publish request and partition; every retry inside the broker repeats it. */
  batchId: string;
  /** The generation of the topic it was published to. It is never re-addressed to another. */
  generation: string;
  partition: number;
  /** The topic's number of partitions when it was bound; absent from batches of before it could be raised. */
  partitions?: number;
  count: number;
  clientIds: readonly ClientId[];
  /** Its delayed messages, in order; left out when there are none. So nobody has to unpack records to know. */
  scheduled?: readonly ScheduledItem[];
  /** It is then taken whole or not at all, and never cut. */
  producer?: ProducerMark;
  records: Uint8Array;
}>;

/** Where one record lies within records: bytes `start` to `end`. */
export type Span = Readonly<{ start: number; end: number }>;

type Meta = {
  i: string;
  t: number;
  c: string;
  k?: string;
  s?: string;
  a?: Readonly<Record<string, string>>;
  h?: Readonly<Record<string, string>>;
  p?: string;
  q?: string;
  e?: EventShape;
  d?: number;
  x?: number;
  r?: string;
  n?: number;
  u?: 1;
};

const VERSION = 1;
const RECORD_HEAD_BYTES = 8;
const BATCH_HEAD_BYTES = 5;
const QUOTE = '"'.charCodeAt(0);
const COLON = ":".charCodeAt(0);
const ORDERING_KEY = "k".charCodeAt(0);
const EXPIRES_AT = "x".charCodeAt(0);
const NO_TERMS: DeliveryTerms = {};
const utf8 = new TextEncoder();
const utf8Strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Packs messages back to back, in their order. */
export function packRecords(messages: readonly Message[]): Uint8Array {
  return joinBytes(messages.map(packRecord));
}

function packRecord(message: Message): Uint8Array {
  const meta = utf8.encode(JSON.stringify(toMeta(message)));
  const record = new Uint8Array(RECORD_HEAD_BYTES + meta.byteLength + message.body.byteLength);
  const head = new DataView(record.buffer);
  head.setUint32(0, meta.byteLength, true);
  head.setUint32(4, message.body.byteLength, true);
  record.set(meta, RECORD_HEAD_BYTES);
  record.set(message.body, RECORD_HEAD_BYTES + meta.byteLength);
  return record;
}

/** Where each record lies. Throws on bytes that are not whole records: that is corruption, not input. */
export function recordSpans(records: Uint8Array): Span[] {
  const view = viewOf(records);
  const spans: Span[] = [];
  let start = 0;
  while (start < records.byteLength) {
    const end = start + RECORD_HEAD_BYTES + view.getUint32(start, true) + view.getUint32(start + 4, true);
    if (end > records.byteLength) throw new Error(`records are cut short at byte ${start}`);
    spans.push({ start, end });
    start = end;
  }
  return spans;
}

/** Unpacks the record at `span`. Its body is a view of `records`, not a copy. */
export function unpackRecord(records: Uint8Array, span: Span): Message {
  const view = viewOf(records);
  const metaStart = span.start + RECORD_HEAD_BYTES;
  const bodyStart = metaStart + view.getUint32(span.start, true);
  const meta = JSON.parse(utf8Strict.decode(records.subarray(metaStart, bodyStart))) as Meta;
  return fromMeta(meta, records.subarray(bodyStart, span.end));
}

/** What delivery looks at before a message is handed out. */
export type DeliveryTerms = Readonly<{ orderingKey?: string; expiresAt?: number }>;

/**
 * The terms of the record at `span`. Most records have none, and tell so unparsed: JSON escapes quotes, so a quoted
 * letter before a colon stands in the meta only as a member's name.
 */
export function deliveryTerms(records: Uint8Array, span: Span): DeliveryTerms {
  const start = span.start + RECORD_HEAD_BYTES;
  const end = start + viewOf(records).getUint32(span.start, true);
  if (!hasMember(records, start, end, ORDERING_KEY, EXPIRES_AT)) return NO_TERMS;
  const { orderingKey, expiresAt } = unpackRecord(records, span);
  return { ...(orderingKey !== undefined && { orderingKey }), ...(expiresAt !== undefined && { expiresAt }) };
}

function hasMember(bytes: Uint8Array, start: number, end: number, one: number, other: number): boolean {
  for (let at = start; at < end - 3; at++) {
    if (bytes[at] !== QUOTE || bytes[at + 2] !== QUOTE || bytes[at + 3] !== COLON) continue;
    if (bytes[at + 1] === one || bytes[at + 1] === other) return true;
  }
  return false;
}

/** Unpacks records in their order; bodies are views. */
export function unpackRecords(records: Uint8Array): Message[] {
  return recordSpans(records).map((span) => unpackRecord(records, span));
}

/** Packs a whole record batch, as it crosses the Cloudflare Queue or lies stranded in D1. */
export function packRecordBatch(batch: RecordBatch): Uint8Array {
  const { records, ...head } = batch;
  const headBytes = utf8.encode(JSON.stringify(head));
  const packed = new Uint8Array(BATCH_HEAD_BYTES + headBytes.byteLength + records.byteLength);
  packed[0] = VERSION;
  new DataView(packed.buffer).setUint32(1, headBytes.byteLength, true);
  packed.set(headBytes, BATCH_HEAD_BYTES);
  packed.set(records, BATCH_HEAD_BYTES + headBytes.byteLength);
  return packed;
}

/** Unpacks a record batch. Throws when the version is unknown or the bytes are no record batch. */
export function unpackRecordBatch(packed: Uint8Array): RecordBatch {
  if (packed[0] !== VERSION) throw new Error(`unknown record batch version ${packed[0]}`);
  const headEnd = BATCH_HEAD_BYTES + viewOf(packed).getUint32(1, true);
  const head = JSON.parse(utf8Strict.decode(packed.subarray(BATCH_HEAD_BYTES, headEnd)));
  return { ...head, records: packed.slice(headEnd) } as RecordBatch;
}

/** A fresh array with the bytes of all `parts`, in order. */
export function joinBytes(parts: readonly Uint8Array[]): Uint8Array {
  const joined = new Uint8Array(parts.reduce((sum, part) => sum + part.byteLength, 0));
  let at = 0;
  for (const part of parts) {
    joined.set(part, at);
    at += part.byteLength;
  }
  return joined;
}

/**
 * The partition of a key, 0 to `partitions` - 1: FNV-1a over its UTF-8 bytes (Fowler, Noll, Vo: 32 bits,
 * offset basis 2166136261, prime 16777619), finished by the mixer of MurmurHash3 because FNV's low bits are weak.
 */
export function partitionOf(key: string, partitions: number): number {
  let hash = 0x811c9dc5;
  for (const byte of utf8.encode(key)) hash = Math.imul(hash ^ byte, 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return ((hash ^ (hash >>> 16)) >>> 0) % partitions;
}

function toMeta(message: Message): Meta {
  const meta: Meta = { i: message.id, t: message.publishedAt, c: message.contentType };
  if (message.orderingKey !== undefined) meta.k = message.orderingKey;
  if (message.subject !== undefined) meta.s = message.subject;
  if (message.attributes !== undefined) meta.a = message.attributes;
  if (message.headers !== undefined) meta.h = message.headers;
  if (message.traceparent !== undefined) meta.p = message.traceparent;
  if (message.tracestate !== undefined) meta.q = message.tracestate;
  if (message.eventShape !== undefined) meta.e = message.eventShape;
  if (message.deliverAt !== undefined) meta.d = message.deliverAt;
  if (message.expiresAt !== undefined) meta.x = message.expiresAt;
  if (message.replyTo !== undefined) meta.r = message.replyTo;
  if (message.hops !== undefined) meta.n = message.hops;
  if (message.unmatched) meta.u = 1;
  return meta;
}

function fromMeta(meta: Meta, body: Uint8Array): Message {
  return {
    id: meta.i,
    publishedAt: meta.t,
    contentType: meta.c,
    body,
    ...(meta.k !== undefined && { orderingKey: meta.k }),
    ...(meta.s !== undefined && { subject: meta.s }),
    ...(meta.a !== undefined && { attributes: meta.a }),
    ...(meta.h !== undefined && { headers: meta.h }),
    ...(meta.p !== undefined && { traceparent: meta.p }),
    ...(meta.q !== undefined && { tracestate: meta.q }),
    ...(meta.e !== undefined && { eventShape: meta.e }),
    ...(meta.d !== undefined && { deliverAt: meta.d }),
    ...(meta.x !== undefined && { expiresAt: meta.x }),
    ...(meta.r !== undefined && { replyTo: meta.r }),
    ...(meta.n !== undefined && { hops: meta.n }),
    ...(meta.u !== undefined && { unmatched: true as const }),
  };
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
