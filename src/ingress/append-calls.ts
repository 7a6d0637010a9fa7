// What one batch of the Cloudflare Queue asks for: its messages opened, sorted by the object they are bound for, and
// packed into as few append calls as the topic's row allows.

import { limits } from "../limits";
import { objectName } from "../object-name";
import { type RecordBatch, recordSpans, unpackRecordBatch } from "../record-batch";

/** The record batches bound for one object, as the append calls that carry them: one call, one row. */
export type Consignment = Readonly<{ object: string; calls: readonly (readonly RecordBatch[])[] }>;

/** The record batch in a message's body, or undefined when there is none: such a body can reach no topic. */
export function openBody(body: unknown): RecordBatch | undefined {
  try {
    const batch = unpackRecordBatch(bytesOf(body));
    return isWhole(batch) ? batch : undefined;
  } catch {
    return undefined;
  }
}

/** The bytes of a message's body, whatever it is. */
export function bytesOf(body: unknown): Uint8Array {
  if (body instanceof ArrayBuffer) return new Uint8Array(body);
  if (ArrayBuffer.isView(body)) return new Uint8Array(body.buffer, body.byteOffset, body.byteLength);
  return new TextEncoder().encode(textOf(body));
}

/** Sorts record batches by their object, in their order; one that comes twice is carried once. */
export function consignments(batches: readonly RecordBatch[]): readonly Consignment[] {
  const byObject = new Map<string, Map<string, RecordBatch>>();
  for (const batch of batches) {
    const object = objectName(batch.generation, batch.partition);
    const bound = byObject.get(object) ?? new Map<string, RecordBatch>();
    bound.set(batch.batchId, batch);
    byObject.set(object, bound);
  }
  return [...byObject].map(([object, bound]) => ({ object, calls: packCalls([...bound.values()]) }));
}

/** Cuts batches into calls whose records fit one row; a batch is never cut. */
function packCalls(batches: readonly RecordBatch[]): RecordBatch[][] {
  const calls: RecordBatch[][] = [];
  let room = 0;
  for (const batch of batches) {
    const call = calls.at(-1);
    if (call && batch.records.byteLength <= room) call.push(batch);
    else {
      calls.push([batch]);
      room = limits.rowBytes;
    }
    room -= batch.records.byteLength;
  }
  return calls;
}

function textOf(body: unknown): string {
  if (typeof body === "string") return body;
  try {
    return JSON.stringify(body) ?? String(body);
  } catch {
    return String(body);
  }
}

function isWhole(batch: RecordBatch): boolean {
  const { batchId, generation, partition, count, clientIds, records } = batch;
  return (
    typeof batchId === "string" &&
    batchId !== "" &&
    typeof generation === "string" &&
    generation !== "" &&
    Number.isInteger(partition) &&
    partition >= 0 &&
    Array.isArray(clientIds) &&
    count > 0 &&
    recordSpans(records).length === count
  );
}
