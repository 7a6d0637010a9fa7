// How a record batch becomes part of the log: what is new takes the next offsets, or waits until it is due; what was
// seen before gets its first answer, and an id that comes back with other content is refused. Pure: the caller looks
// up what was seen, and stores what comes back.

import { type BrokerError, refuse } from "../errors";
import { limits } from "../limits";
import { joinBytes, type ProducerMark, type RecordBatch, recordSpans } from "../record-batch";
import type { AppendException, BatchAnswer, Standing } from "../topic-calls";
import type { NewDelayed } from "./delayed";
import { judgeSequence, tooManyProducers } from "./producer";

/**
 * What became of an id, and the fingerprint of what it named first: empty when the broker made the id. `partition` when
 * that is another: the one its key was in before a raise.
 */
export type SeenId = Standing & Readonly<{ id: string; fingerprint: string; partition?: number }>;

export type Rejected = Readonly<{ messageId: string; error: BrokerError }>;

/** What one record batch adds to the log. */
export type Appended = Readonly<{
  answer: BatchAnswer;
  /** The records that are new, in order: they take the offsets from `answer.firstOffset` on. */
  records: Uint8Array;
  newCount: number;
  newIds: readonly SeenId[];
  /** Its messages that are to wait until they are due. */
  delayed: readonly NewDelayed[];
  rejected: readonly Rejected[];
  /** How far its producer has come with it; left out when it has none, or was refused. */
  producer?: Readonly<{ name: string; lastSequence: number }>;
}>;

/**
 * Decides one record batch. `seen` holds every client id of the batch that the topic knows, those of earlier
 * batches of the same call included. With `atomic`, one refused item refuses all. `room` is how many more messages
 * may be delayed; the first `known` messages were accepted before, by their producer's numbers.
 */
export function appendBatch(
  batch: RecordBatch,
  seen: ReadonlyMap<string, SeenId>,
  firstOffset: number,
  atomic: boolean,
  room: number,
  known = 0,
): Appended {
  if (batch.clientIds.length === 0 && batch.scheduled === undefined && known === 0) {
    return allNew(batch, firstOffset);
  }
  const verdict = judge(batch, seen, firstOffset, room, known);
  const refusedAny = verdict.rejected.length > 0;
  if (atomic && refusedAny) return noneNew(batch, verdict.rejected, verdict.exceptions, firstOffset);
  return {
    answer: answer(batch, firstOffset, verdict.exceptions),
    records: verdict.exceptions.length === 0 ? batch.records : withoutExceptions(batch, verdict.exceptions),
    newCount: batch.count - verdict.exceptions.length,
    newIds: verdict.newIds,
    delayed: verdict.delayed,
    rejected: verdict.rejected,
  };
}

/**
 * Decides a record batch whose messages its producer has numbered, whole. `lastSequence` is how far the producer has come
 * before it: 0 when it is new, and then `mayBegin` says whether there is room for one more.
 */
export function appendProduced(
  batch: RecordBatch & Readonly<{ producer: ProducerMark }>,
  seen: ReadonlyMap<string, SeenId>,
  firstOffset: number,
  { lastSequence, mayBegin }: Readonly<{ lastSequence: number; mayBegin: boolean }>,
): Appended {
  const { producer, count } = batch;
  const judged = mayBegin ? judgeSequence(producer, count, lastSequence) : tooManyProducers();
  if (!judged.ok) return refusedWhole(batch, judged.error, firstOffset);
  const appended = appendBatch(batch, seen, firstOffset, true, 0, judged.value.known);
  if (appended.rejected.length > 0) return appended;
  return { ...appended, producer: { name: producer.name, lastSequence: judged.value.lastSequence } };
}

function judge(
  batch: RecordBatch,
  seen: ReadonlyMap<string, SeenId>,
  firstOffset: number,
  room: number,
  known: number,
) {
  const exceptions: AppendException[] = knownItems(batch, known);
  const newIds = new Map<string, SeenId>();
  const delayed: NewDelayed[] = [];
  const rejected: Rejected[] = [];
  const spans = batch.scheduled === undefined ? [] : recordSpans(batch.records);
  for (const { index, id, fingerprint, deliverAt } of namedItems(batch)) {
    if (index < known) continue;
    const first = fingerprint === undefined ? undefined : (seen.get(id) ?? newIds.get(id));
    const isFull = deliverAt !== undefined && delayed.length >= room;
    if (first !== undefined && first.fingerprint === fingerprint) {
      exceptions.push({ index, ...repeated(first) });
    } else if (first !== undefined || isFull) {
      const error = first === undefined ? tooManyDelayed() : idReused(id);
      exceptions.push({ index, error });
      rejected.push({ messageId: id, error });
    } else if (deliverAt === undefined) {
      newIds.set(id, {
        id,
        fingerprint: fingerprint ?? "",
        offset: firstOffset + index - exceptions.length,
      });
    } else {
      exceptions.push({ index, scheduledFor: deliverAt });
      const { start, end } = spans[index] ?? { start: 0, end: 0 };
      delayed.push({
        id,
        deliverAt,
        fingerprint: fingerprint ?? "",
        record: batch.records.slice(start, end),
      });
      newIds.set(id, { id, fingerprint: fingerprint ?? "", scheduledFor: deliverAt });
    }
  }
  return { exceptions, newIds: [...newIds.values()], delayed, rejected };
}

function knownItems({ producer }: RecordBatch, known: number): AppendException[] {
  const first = producer?.sequence ?? 0;
  return Array.from({ length: known }, (_, index) => ({ index, knownSequence: first + index }));
}

type Named = Readonly<{ index: number; id: string; fingerprint?: string; deliverAt?: number }>;

/** The items that are not simply new: with an id of the client's, or delayed, or both. In their order. */
function namedItems({ clientIds, scheduled }: RecordBatch): readonly Named[] {
  if (scheduled === undefined) return clientIds;
  const named = new Map<number, Named>(clientIds.map((each) => [each.index, each]));
  for (const each of scheduled) named.set(each.index, { ...named.get(each.index), ...each });
  return [...named.values()].sort((a, b) => a.index - b.index);
}

/** What a message that met its first publish is answered. */
function repeated(first: SeenId) {
  const elsewhere = first.partition === undefined ? {} : { partition: first.partition };
  if ("offset" in first) return { duplicateOf: first.offset, ...elsewhere };
  if ("cancelled" in first) return { cancelled: true as const, ...elsewhere };
  return { scheduledFor: first.scheduledFor, duplicate: true as const, ...elsewhere };
}

function allNew(batch: RecordBatch, firstOffset: number): Appended {
  return {
    answer: answer(batch, firstOffset, []),
    records: batch.records,
    newCount: batch.count,
    newIds: [],
    delayed: [],
    rejected: [],
  };
}

function noneNew(
  batch: RecordBatch,
  rejected: readonly Rejected[],
  exceptions: readonly AppendException[],
  firstOffset: number,
): Appended {
  const own = new Map(exceptions.flatMap((e) => ("error" in e ? [[e.index, e.error] as const] : [])));
  const other = refuse("atomic-refused", "Another item of this atomic publish was refused.").error;
  return nothing(batch, (index) => own.get(index) ?? other, rejected, firstOffset);
}

function refusedWhole(batch: RecordBatch, error: BrokerError, firstOffset: number): Appended {
  return nothing(batch, () => error, [], firstOffset);
}

function nothing(
  batch: RecordBatch,
  errorOf: (index: number) => BrokerError,
  rejected: readonly Rejected[],
  firstOffset: number,
): Appended {
  const all = Array.from({ length: batch.count }, (_, index) => ({ index, error: errorOf(index) }));
  return {
    answer: answer(batch, firstOffset, all),
    records: new Uint8Array(),
    newCount: 0,
    newIds: [],
    delayed: [],
    rejected,
  };
}

function answer(
  { batchId, count }: RecordBatch,
  firstOffset: number,
  exceptions: readonly AppendException[],
): BatchAnswer {
  return { batchId, firstOffset, count, exceptions };
}

function withoutExceptions(batch: RecordBatch, exceptions: readonly AppendException[]): Uint8Array {
  const left = new Set(exceptions.map((exception) => exception.index));
  const kept = recordSpans(batch.records).filter((_, index) => !left.has(index));
  return joinBytes(kept.map(({ start, end }) => batch.records.subarray(start, end)));
}

function idReused(id: string): BrokerError {
  return refuse("id-reused", `The id '${id}' was published before with other content.`, { field: "id" })
    .error;
}

function tooManyDelayed(): BrokerError {
  return refuse(
    "too-many-delayed",
    `A partition delays at most ${limits.delayedMessages} messages at a time.`,
    {
      field: "deliverAt",
      limit: limits.delayedMessages,
    },
  ).error;
}

/** The records of a row from `from` on: what a read that starts inside a row gets. */
export function trimRun<R extends { firstOffset: number; records: Uint8Array }>(row: R, from: number): R {
  const skip = from - row.firstOffset;
  if (skip <= 0) return row;
  const start = recordSpans(row.records)[skip]?.start ?? row.records.byteLength;
  return { ...row, firstOffset: from, records: row.records.subarray(start) };
}
