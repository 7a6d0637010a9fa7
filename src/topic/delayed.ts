// Delayed messages: each waits, without an offset, until it is due. The order in which they take their offsets is
// by instant, and among those of one instant in the order they were published. Pure.

import { packRecords, unpackRecord } from "../record-batch";
import type { DelayedPlace } from "../topic-calls";

/** What is known of a delayed message when it is published. Its fingerprint is empty when the broker made its id. */
export type NewDelayed = Readonly<{
  id: string;
  deliverAt: number;
  fingerprint: string;
  record: Uint8Array;
}>;
export type Delayed = NewDelayed & DelayedPlace;

/** The record of a delayed message that is moved to `deliverAt`: what is left of it to live begins there. */
export function movedRecord(record: Uint8Array, deliverAt: number): Uint8Array {
  const message = unpackRecord(record, { start: 0, end: record.byteLength });
  const { deliverAt: before = deliverAt, expiresAt } = message;
  const moved = { ...message, deliverAt };
  return packRecords([
    expiresAt === undefined ? moved : { ...moved, expiresAt: expiresAt + deliverAt - before },
  ]);
}
