// How a record batch becomes part of the log: what is new takes the next offsets, what was seen before gets
// its first answer, and an id that comes back with other content is refused. Pure: the caller looks up what
// was seen, and stores what comes back.

import { type BrokerError, refuse } from "../errors";
import { joinBytes, type RecordBatch, recordSpans } from "../record-batch";
import type { AppendException, BatchAnswer } from "../topic-calls";

/**
 * Where a client's id was first stored, and the fingerprint of what it named then. `partition` when that is another:
 * the one its key was in before a raise.
 */
export type SeenId = Readonly<{ id: string; offset: number; fingerprint: string; partition?: number }>;

export type Rejected = Readonly<{ messageId: string; error: BrokerError }>;

/** What one record batch adds to the log. */
export type Appended = Readonly<{
  answer: BatchAnswer;
  /** The records that are new, in order: they take the offsets from `answer.firstOffset` on. */
  records: Uint8Array;
  newCount: number;
  newIds: readonly SeenId[];
  rejected: readonly Rejected[];
}>;

/**
 * Decides one record batch. `seen` holds every client id of the batch that the topic knows, those of earlier
 * batches of the same call included. With `atomic`, one refused item refuses all.
 */
export function appendBatch(
  batch: RecordBatch,
  seen: ReadonlyMap<string, SeenId>,
  firstOffset: number,
  atomic: boolean,
): Appended {
  if (batch.clientIds.length === 0) return allNew(batch, firstOffset);
  const verdict = judgeIds(batch, seen, firstOffset);
  const refusedAny = verdict.rejected.length > 0;
  if (atomic && refusedAny) return noneNew(batch, verdict.rejected, verdict.exceptions, firstOffset);
  return {
    answer: answer(batch, firstOffset, verdict.exceptions),
    records: verdict.exceptions.length === 0 ? batch.records : withoutExceptions(batch, verdict.exceptions),
    newCount: batch.count - verdict.exceptions.length,
    newIds: verdict.newIds,
    rejected: verdict.rejected,
  };
}

function judgeIds(batch: RecordBatch, seen: ReadonlyMap<string, SeenId>, firstOffset: number) {
  const exceptions: AppendException[] = [];
  const newIds = new Map<string, SeenId>();
  const rejected: Rejected[] = [];
  for (const { index, id, fingerprint } of batch.clientIds) {
    const first = seen.get(id) ?? newIds.get(id);
    if (first === undefined) {
      newIds.set(id, { id, fingerprint, offset: firstOffset + index - exceptions.length });
    } else if (first.fingerprint === fingerprint) {
      const elsewhere = first.partition === undefined ? {} : { partition: first.partition };
      exceptions.push({ index, duplicateOf: first.offset, ...elsewhere });
    } else {
      const error = idReused(id);
      exceptions.push({ index, error });
      rejected.push({ messageId: id, error });
    }
  }
  return { exceptions, newIds: [...newIds.values()], rejected };
}

function allNew(batch: RecordBatch, firstOffset: number): Appended {
  return {
    answer: answer(batch, firstOffset, []),
    records: batch.records,
    newCount: batch.count,
    newIds: [],
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
  const all = Array.from({ length: batch.count }, (_, index) => ({ index, error: own.get(index) ?? other }));
  return {
    answer: answer(batch, firstOffset, all),
    records: new Uint8Array(),
    newCount: 0,
    newIds: [],
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

/** The records of a row from `from` on: what a read that starts inside a row gets. */
export function trimRun<R extends { firstOffset: number; records: Uint8Array }>(row: R, from: number): R {
  const skip = from - row.firstOffset;
  if (skip <= 0) return row;
  const start = recordSpans(row.records)[skip]?.start ?? row.records.byteLength;
  return { ...row, firstOffset: from, records: row.records.subarray(start) };
}
