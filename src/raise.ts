// What a raise of a topic's partitions does to where things are. The new count is a multiple of the old one, so a key
// of partition q was in partition q % old before: only new partitions have a parent, and no old one ever gets a key
// from elsewhere. Pure.

import { joinBytes, partitionOf, type RecordBatch, recordSpans, unpackRecord } from "./record-batch";

/** Where a partition's log ended when it was told of a raise to `partitions`: no key that left lies at `offset` or past it. */
export type Cut = Readonly<{ partitions: number; offset: number; cutAt: number }>;

/** A part of a record batch, and the place in it of each of the part's messages. */
export type Part = Readonly<{ batch: RecordBatch; indexes: readonly number[] }>;

/** The cut of `partition` behind which the keys of `child`, or of its ancestor, left it. */
export function cutFor(cuts: readonly Cut[], partition: number, child: number): Cut | undefined {
  return [...cuts]
    .sort((a, b) => a.partitions - b.partitions)
    .find(({ partitions }) => child % partitions !== partition);
}

/** Whether `key` left, with `cut`, for `child` or for an ancestor of it. */
export function leftFor(key: string, { partitions }: Cut, child: number): boolean {
  return partitionOf(key, partitions) === child % partitions;
}

/**
 * The count by which a batch must be cut before its partition takes it: the least of `counts` (rising) above the one
 * it was bound under by which one of its messages belongs elsewhere. Always the same for the same batch, however many
 * raises came meanwhile, so that its parts are the same when it comes again.
 */
export function movedTo(batch: RecordBatch, counts: readonly number[]): number | undefined {
  const later = counts.filter((count) => count > (batch.partitions ?? 0));
  if (later.length === 0) return undefined;
  const keys = bindingKeys(batch);
  return later.find((count) => keys.some((key) => homeOf(key, batch, count) !== batch.partition));
}

/** Cuts a batch by partition, as of the count `partitions`. The ids of the parts are made from the batch's own. */
export function cutMoved(batch: RecordBatch, partitions: number): readonly Part[] {
  const keys = bindingKeys(batch);
  const spans = recordSpans(batch.records);
  const byPartition = Map.groupBy(keys.keys(), (index) => homeOf(keys[index], batch, partitions));
  return [...byPartition].map(([partition, indexes]) => {
    const cut = indexes.flatMap((index) => spans[index] ?? []);
    const part = {
      ...{ ...batch, batchId: `${batch.batchId}/${partition}`, partition, partitions },
      ...{ count: indexes.length, clientIds: among(batch.clientIds, indexes) },
      ...(batch.scheduled && { scheduled: among(batch.scheduled, indexes) }),
      records: joinBytes(cut.map(({ start, end }) => batch.records.subarray(start, end))),
    };
    return { batch: part, indexes };
  });
}

/** What a head says of single messages, for those at `indexes` alone. */
function among<T extends Readonly<{ index: number }>>(items: readonly T[], indexes: readonly number[]): T[] {
  const places = new Map(indexes.map((index, place) => [index, place]));
  return items.flatMap((item) => {
    const place = places.get(item.index);
    return place === undefined ? [] : [{ ...item, index: place }];
  });
}

/** What binds each message to its partition: its ordering key, else its producer, else its client's id, else nothing. */
function bindingKeys({ records, clientIds, producer }: RecordBatch): (string | undefined)[] {
  const ids = new Map(clientIds.map(({ index, id }) => [index, id]));
  return recordSpans(records).map(
    (span, index) => unpackRecord(records, span).orderingKey ?? producer?.name ?? ids.get(index),
  );
}

function homeOf(key: string | undefined, { partition }: RecordBatch, partitions: number): number {
  return key === undefined ? partition : partitionOf(key, partitions);
}
