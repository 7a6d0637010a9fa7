// The stored way of a publish: its record batches go to the partitions of the topic, and the answer is theirs.

import { appendInParts } from "../catalog/append-store";
import { inParallel } from "../catalog/entry-lifecycle";
import { type BrokerError, ok, type Refused, type Result, refuse } from "../errors";
import { limits } from "../limits";
import { objectName } from "../object-name";
import type { RecordBatch } from "../record-batch";
import type { BatchAnswer } from "../topic-calls";
import type { Broker } from "./broker";
import { type Bound, cutToRows, noteAll, noteStored, type Outcomes } from "./publish";
import { trying } from "./trying";

/** Stores record batches, partitions side by side. */
export async function store(broker: Broker, bounds: readonly Bound[], outcomes: Outcomes): Promise<void> {
  await inParallel(bounds, async (bound) => {
    // In order, and no further than the first that fails: a key's messages never overtake one another.
    let refusal: BrokerError | undefined;
    for (const cut of cutToRows(bound, () => broker.runtime.newId())) {
      if (refusal) noteAll(outcomes, cut, refusal);
      else refusal = await storeOne(broker, cut, false, outcomes);
    }
  });
}

/** Stores all of it or nothing, for which it must go to one partition. */
export async function storeAtomically(
  broker: Broker,
  bounds: readonly Bound[],
  outcomes: Outcomes,
): Promise<void> {
  const fault = atomicFault(bounds);
  for (const bound of bounds) {
    if (fault) noteAll(outcomes, bound, fault);
    else await storeOne(broker, bound, true, outcomes);
  }
}

function atomicFault(bounds: readonly Bound[]): BrokerError | undefined {
  if (bounds.length > 1) return spansPartitions(bounds).error;
  const tooLarge = bounds.some(({ batch }) => batch.records.byteLength > limits.rowBytes);
  if (!tooLarge) return undefined;
  return refuse("payload-too-large", `An atomic publish is at most ${limits.rowBytes} bytes.`, {
    field: "messages",
    limit: limits.rowBytes,
  }).error;
}

function spansPartitions([bound]: readonly Bound[]): Refused {
  if (bound?.batch.producer === undefined) {
    const detail =
      "The messages of an atomic publish go to one partition: give them one ordering key and one priority.";
    return refuse("atomic-spans-partitions", detail, { field: "atomic", limit: 1 });
  }
  const detail =
    "The messages that a producer numbers in one publish go to one partition: give them one ordering key, or none.";
  return refuse("producer-spans-partitions", detail, { field: "Pennypost-Producer", limit: 1 });
}

/** Stores one record batch, in parts if its partition was raised meanwhile. Answers the first refusal, if any. */
async function storeOne(
  broker: Broker,
  whole: Bound,
  atomic: boolean,
  outcomes: Outcomes,
): Promise<BrokerError | undefined> {
  const { batch, indexes } = whole;
  const append = (part: RecordBatch) => appendStored(broker, part, atomic);
  const parts = await appendInParts(batch, append, atomic ? spansPartitions([whole]) : undefined);
  let refusal: BrokerError | undefined;
  for (const part of parts) {
    const bound = { batch: part.batch, indexes: part.indexes.map((place) => indexes[place] ?? place) };
    if (part.answered.ok) noteStored(outcomes, bound, part.answered.value);
    else noteAll(outcomes, bound, part.answered.error);
    if (!part.answered.ok) refusal ??= part.answered.error;
  }
  return refusal;
}

/** Appends one record batch to its partition of the topic. */
async function appendStored(
  broker: Broker,
  batch: RecordBatch,
  atomic: boolean,
): Promise<Result<BatchAnswer>> {
  const name = objectName(batch.generation, batch.partition);
  const append = () => broker.env.TOPIC.getByName(name).append({ batches: [batch], atomic });
  const tried = await trying(broker, append, isOverloaded);
  if (!tried.ok) return tried;
  if (!tried.value.ok) return tried.value;
  const [answer] = tried.value.value;
  if (!answer) throw new Error("the topic answered no record batch");
  return ok(answer);
}

function isOverloaded(fault: unknown): BrokerError | undefined {
  if ((fault as { overloaded?: unknown } | null)?.overloaded !== true) return undefined;
  return refuse("overloaded", "The partition is overloaded.", { retryAfterMs: limits.catalogRetryMs }).error;
}
