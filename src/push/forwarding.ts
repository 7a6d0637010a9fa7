// A lease that is forwarded, as record batches of the other topic: which partition each message goes to, what of it is
// another there, and which messages are not taken on. Pure.
//
// A message keeps all that its publisher said of it, when that was, and its trace. One hop more is counted, so that a loop
// ends; and what was delayed is not delayed again.

import { limits } from "../limits";
import type { Message } from "../message";
import { packRecords, partitionOf, type RecordBatch } from "../record-batch";
import type { Mismatch, Validator, Work } from "../schema/schema-validator";
import type { Guarantee } from "../settings";
import type { DeadLetterReason } from "../subscription-calls";
import type { Item } from "./dispatch-plan";

/** One life of the target topic, and how many partitions the default priority has in it. */
export type Target = Readonly<{ generation: string; partitions: number }>;

/** Messages bound for one partition of the target, in order: they fit one row of it. */
export type Parcel = Readonly<{ partition: number; items: readonly Item[] }>;

/** Why a message is not taken on, whatever the target says: no later attempt would go better. */
export type Unfit = Readonly<{ reason: DeadLetterReason; status: number; detail: string }>;

/** What a message that has come too far is answered: 508 Loop Detected (RFC 5842). */
const LOOP_DETECTED = 508;
const UNPROCESSABLE = 422;
/** A UUIDv7 (RFC 9562), as the broker makes message ids. */
const BROKER_ID = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;
const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: false });

/** The message as it comes to the target, which says anew whether somebody matches it. */
export function forwarded({ deliverAt: _, unmatched: __, hops = 0, ...message }: Message): Message {
  return { ...message, hops: hops + 1 };
}

/**
 * Whether the target is to know the message again by its id: one that a publisher chose, as if it were published there,
 * and under effectively-once each. It costs the target a row.
 */
export function isKnownById({ id }: Message, guarantee: Guarantee): boolean {
  return guarantee === "effectively-once" || !BROKER_ID.test(id);
}

/**
 * The messages by their partitions, as a publish chooses those: by ordering key, else by an id that is to be known
 * again, else all by the one choice of `lease`. Each line is of one partition, and in the order of the lease.
 */
export function linesOf(
  items: readonly Item[],
  { partitions }: Target,
  { lease, guarantee }: Readonly<{ lease: string; guarantee: Guarantee }>,
): readonly (readonly Parcel[])[] {
  const byPartition = Map.groupBy(items, ({ message }) => {
    const { orderingKey, id } = message;
    const known = isKnownById(message, guarantee) ? id : lease;
    return partitionOf(orderingKey ?? known, partitions);
  });
  return [...byPartition].map(([partition, line]) =>
    rowsOf(line).map((parcel) => ({ partition, items: parcel })),
  );
}

/** Cuts a line into what fits one row. */
function rowsOf(line: readonly Item[]): readonly (readonly Item[])[] {
  const rows: Item[][] = [];
  let room = 0;
  for (const item of line) {
    const bytes = packRecords([forwarded(item.message)]).byteLength;
    room -= bytes;
    const row = rows.at(-1);
    if (row && room >= 0) row.push(item);
    else {
      rows.push([item]);
      room = limits.rowBytes - bytes;
    }
  }
  return rows;
}

/** What names a record batch: whence its messages come, whither they go, and which they are. The same again is the same batch. */
export function batchSource(
  { generation, partition, replay }: Readonly<{ generation: string; partition: number; replay: number }>,
  target: Target,
  parcel: Parcel,
): string {
  const offsets = parcel.items.map(({ offset }) => offset);
  return JSON.stringify([
    ...[generation, partition, replay],
    ...[target.generation, target.partitions, parcel.partition],
    ...offsets,
  ]);
}

/** The record batch of a parcel. `fingerprints` are of those that the target is to know by their ids, by their place. */
export function batchOf(
  batchId: string,
  { generation, partitions }: Target,
  { partition, items }: Parcel,
  fingerprints: ReadonlyMap<number, string>,
): RecordBatch {
  const clientIds = items.flatMap(({ message: { id } }, index) => {
    const fingerprint = fingerprints.get(index);
    return fingerprint === undefined ? [] : [{ index, id, fingerprint }];
  });
  const records = packRecords(items.map(({ message }) => forwarded(message)));
  return { batchId, generation, partition, partitions, count: items.length, clientIds, records };
}

/** What keeps a message from being forwarded at all: it has come too far, or the target's schema refuses its body. */
export function unfit(message: Message, validator: Validator | undefined, work: Work): Unfit | undefined {
  const { hops = 0 } = message;
  if (hops >= limits.forwardHops) {
    const detail = `It was forwarded ${hops} times already, and ${limits.forwardHops} is the most: its topics make a loop.`;
    return { reason: "loop", status: LOOP_DETECTED, detail };
  }
  const [mismatch] = validator ? mismatches(message.body, validator, work) : [];
  if (!mismatch) return undefined;
  const detail = `The target topic's schema refuses it: data${mismatch.path}: ${mismatch.keyword}: ${mismatch.detail}`;
  return { reason: "rejected", status: UNPROCESSABLE, detail };
}

/** What the target refused of one message: its id is taken there. */
export function refusedThere(detail: string): Unfit {
  return { reason: "rejected", status: UNPROCESSABLE, detail };
}

function mismatches(body: Uint8Array, validator: Validator, work: Work): readonly Mismatch[] {
  try {
    return validator.mismatches(JSON.parse(utf8.decode(body)), work);
  } catch (fault) {
    if (!(fault instanceof SyntaxError || fault instanceof TypeError)) throw fault;
    return [{ path: "", keyword: "type", detail: "the body is not JSON" }];
  }
}
