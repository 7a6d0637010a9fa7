// Appends a record batch where it belongs by now. A partition that was raised meanwhile does not take what has left it:
// the batch is cut, and each part goes to its own partition. The parts are the same whenever the batch comes again,
// and so are their ids, so nothing is stored twice.

import type { Refused, Result } from "../errors";
import { cutMoved, type Part } from "../raise";
import type { RecordBatch } from "../record-batch";
import type { BatchAnswer } from "../topic-calls";

/** A part of the batch, and what its partition answered. */
export type Appended = Part & Readonly<{ answered: Result<BatchAnswer> }>;

/**
 * Appends `batch` by `append`, in as many parts as it takes. With `whole`, a batch that would have to be cut into several
 * is refused with that instead, and nothing of it is stored.
 */
export async function appendInParts(
  batch: RecordBatch,
  append: (batch: RecordBatch) => Promise<Result<BatchAnswer>>,
  whole?: Refused,
): Promise<readonly Appended[]> {
  const answered = await append(batch);
  const movedTo = answered.ok ? answered.value.movedTo : undefined;
  if (movedTo === undefined) return [{ batch, indexes: [...Array(batch.count).keys()], answered }];
  return appendMoved(batch, movedTo, append, whole);
}

/** The same for a batch that was not taken, because of a raise to `movedTo`. */
export async function appendMoved(
  batch: RecordBatch,
  movedTo: number,
  append: (batch: RecordBatch) => Promise<Result<BatchAnswer>>,
  whole?: Refused,
): Promise<readonly Appended[]> {
  const parts = cutMoved(batch, movedTo);
  const all = { batch, indexes: [...Array(batch.count).keys()] };
  if (whole && parts.length > 1) return [{ ...all, answered: whole }];
  const appended: Appended[] = [];
  for (const part of parts) {
    for (const inner of await appendInParts(part.batch, append, whole)) {
      appended.push({ ...inner, indexes: inner.indexes.map((index) => part.indexes[index] ?? index) });
    }
  }
  return appended;
}
