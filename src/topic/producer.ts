// A producer numbers what it publishes to a partition: 1, 2, 3 and so on. What it sends again after a lost answer is
// then told from what is new, however often it was killed, and nothing can be left out unseen. Pure: the caller looks
// up how far the producer has come, and stores what comes back.

import { ok, type Result, refuse } from "../errors";
import { limits } from "../limits";
import type { ProducerMark } from "../record-batch";

/** How much of a batch is known, from its beginning on, and how far its producer has come when the rest is stored. */
export type Judged = Readonly<{ known: number; lastSequence: number }>;

/**
 * Judges `count` messages that begin at `sequence`, of a producer whose last accepted message was `lastSequence`: 0 when
 * there is none. Refused `sequence-gap`, with the last accepted number as its limit, when one before them is missing.
 */
export function judgeSequence(
  { name, sequence }: ProducerMark,
  count: number,
  lastSequence: number,
): Result<Judged> {
  if (sequence > lastSequence + 1) {
    const detail = `The last accepted sequence of the producer '${name}' is ${lastSequence}: ${lastSequence + 1} comes next, not ${sequence}.`;
    return refuse("sequence-gap", detail, { field: "Pennypost-Sequence", limit: lastSequence });
  }
  const known = Math.min(count, lastSequence - sequence + 1);
  return ok({ known, lastSequence: Math.max(lastSequence, sequence + count - 1) });
}

/** The refusal of one more producer than a partition remembers. */
export function tooManyProducers() {
  const detail = `A partition remembers at most ${limits.producersPerPartition} producers: delete those that are no more.`;
  return refuse("too-many-producers", detail, {
    field: "Pennypost-Producer",
    limit: limits.producersPerPartition,
  });
}
