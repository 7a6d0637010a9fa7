// Dead letters over the partitions of a subscription: a page of those that match, and a redrive or a purge of many,
// which is a bounded number of calls to each partition.

import type { DeadLetter, DeadLetterFilter, DeadLetterSelection, LetterAt } from "../dead-letter-calls";
import { type BrokerError, ok, type Result, refuse } from "../errors";
import { limits } from "../limits";
import type { Broker } from "./broker";
import { HIGHEST_EPOCH, type Redrive, type Selection } from "./dead-letter-schemas";
import { everyPartition, subscriptionAt } from "./partition-routes";
import type { Found } from "./place-routes";
import type { LetterPlace } from "./schemas";

// ── a page ───────────────────────────────────────────────────────────────────────────────────────────

export type LetterQuery = Readonly<{
  where: DeadLetterFilter;
  after: LetterPlace | undefined;
  limit: number;
}>;
type Listed = Readonly<{
  letters: readonly Readonly<{ partition: number; letter: DeadLetter }>[];
  next: LetterPlace | null;
}>;

const BEFORE_ALL = -1;

/** Those that match, through the partitions. A page looks at a bounded number, and may be short, or empty, before the end. */
export async function listLetters(
  broker: Broker,
  { topic, subscription }: Found,
  { where, after, limit }: LetterQuery,
): Promise<Result<Listed>> {
  const letters: { partition: number; letter: DeadLetter }[] = [];
  let at: LetterPlace = after ?? beginOf(0);
  let bytes = 0;
  for (let calls = 0; at.partition < topic.partitions; calls++) {
    const isFull = letters.length >= limit || bytes >= limits.readBytes || calls >= limits.selectionScans;
    if (isFull) return ok({ letters, next: nameable(at) });
    const { partition, epoch, offset } = at;
    const found = await subscriptionAt(broker, subscription, partition).findDeadLetters({
      ...{ all: true, where, after: { epoch, offset }, limit: limit - letters.length },
    });
    if (!found.ok) return found;
    for (const letter of found.value.letters) {
      letters.push({ partition, letter });
      bytes += letter.record?.byteLength ?? 0;
    }
    at = found.value.next ? { partition, ...found.value.next } : beginOf(partition + 1);
  }
  return ok({ letters, next: null });
}

function beginOf(partition: number): LetterPlace {
  return { partition, epoch: 0, offset: BEFORE_ALL };
}

/** The same place by a name that a client may send: before the first of a partition is after the last of the one before. */
function nameable(at: LetterPlace): LetterPlace {
  if (at.offset > BEFORE_ALL) return at;
  return { partition: at.partition - 1, epoch: HIGHEST_EPOCH, offset: 0 };
}

// ── many ─────────────────────────────────────────────────────────────────────────────────────────────

export type Refusal = Readonly<{ at: LetterPlace; error: BrokerError }>;
/** What one call came to: `done` left as was asked; the `superseded` were taken out, for they are delivered anyway. */
export type Step = Readonly<{
  done: number;
  superseded?: number;
  refusals?: readonly Refusal[];
  next?: LetterAt | undefined;
}>;
type Tally = Readonly<{ done: number; superseded: number; refused: number; refusals: readonly Refusal[] }>;
/** `more`: some were not come to. */
export type Count = Tally & Readonly<{ more: boolean }>;
export type Apply = (partition: number, chosen: DeadLetterSelection) => Promise<Result<Step>>;

const NOTHING: Tally = { done: 0, superseded: 0, refused: 0, refusals: [] };

/** Applies `apply` to what is chosen of each partition: side by side, or one after another. */
export async function applyToChosen(
  partitions: number,
  chosen: Selection,
  apply: Apply,
  inTurn = false,
): Promise<Result<Count>> {
  const ids = "ids" in chosen ? Map.groupBy(chosen.ids, ({ partition }) => partition) : undefined;
  const ask = (partition: number) =>
    "where" in chosen
      ? applyToMatching(partition, chosen.where, apply)
      : applyToSome(partition, ids?.get(partition) ?? [], apply);
  const counts = await (inTurn ? oneByOne(partitions, ask) : everyPartition(partitions, ask));
  if (!counts.ok) return counts;
  const tally = counts.value.reduce<Tally>(together, NOTHING);
  return ok({ ...tally, more: counts.value.some(({ more }) => more) });
}

async function oneByOne<T>(
  partitions: number,
  ask: (partition: number) => Promise<Result<T>>,
): Promise<Result<readonly T[]>> {
  const values: T[] = [];
  for (let partition = 0; partition < partitions; partition++) {
    const answer = await ask(partition);
    if (!answer.ok) return answer;
    values.push(answer.value);
  }
  return ok(values);
}

/** One call for each epoch, unless their messages are more than an answer carries. */
async function applyToSome(
  partition: number,
  ids: readonly LetterAt[],
  apply: Apply,
): Promise<Result<Count>> {
  let tally = NOTHING;
  for (const [epoch, letters] of Map.groupBy(ids, ({ epoch }) => epoch)) {
    let offsets = [...new Set(letters.map(({ offset }) => offset))];
    while (offsets.length > 0) {
      const step = await apply(partition, { epoch, offsets });
      if (!step.ok) return step;
      tally = together(tally, tallyOf(step.value));
      const { next } = step.value;
      offsets = next ? offsets.filter((offset) => offset > next.offset) : [];
    }
  }
  return ok({ ...tally, more: false });
}

/** A bounded number of calls: a redriven delivery may die again while the rest is being redriven. */
async function applyToMatching(
  partition: number,
  where: DeadLetterFilter,
  apply: Apply,
): Promise<Result<Count>> {
  let tally = NOTHING;
  let after: LetterAt | undefined;
  let fruitful = 0;
  for (let calls = 0; calls < limits.selectionScans && fruitful < limits.selectionCalls; calls++) {
    const limit = limits.deadLettersPerCall;
    const step = await apply(partition, { all: true, limit, where, ...(after && { after }) });
    if (!step.ok) return step;
    tally = together(tally, tallyOf(step.value));
    if (step.value.done > 0) fruitful += 1;
    after = step.value.next;
    if (!after) return ok({ ...tally, more: false });
  }
  return ok({ ...tally, more: true });
}

function tallyOf({ done, superseded = 0, refusals = [] }: Step): Tally {
  return { done, superseded, refused: refusals.length, refusals };
}

function together(a: Tally, b: Tally): Tally {
  return {
    done: a.done + b.done,
    superseded: a.superseded + b.superseded,
    refused: a.refused + b.refused,
    refusals: [...a.refusals, ...b.refusals].slice(0, limits.refusalsShown),
  };
}

// ── redrive, purge ───────────────────────────────────────────────────────────────────────────────────

/** Sends the chosen round again. `until`: when the next after them would be available, if they go at a rate. */
export async function redriveLetters(
  broker: Broker,
  { topic, subscription }: Found,
  chosen: Selection,
  { perSecond, notBefore, force }: Redrive,
): Promise<Result<Count & Readonly<{ until?: number }>>> {
  const everyMs = perSecond === undefined ? 0 : 1_000 / perSecond;
  const isPaced = perSecond !== undefined || notBefore !== undefined;
  let from = Math.max(broker.runtime.now(), notBefore ?? 0);
  const apply: Apply = async (partition, some) => {
    const at = subscriptionAt(broker, subscription, partition);
    const answer = await at.redrive({ ...some, force, ...(isPaced && { pace: { from, everyMs } }) });
    if (!answer.ok) return answer;
    const { redriven, superseded, refused = [], next } = answer.value;
    from += redriven * everyMs;
    const refusals = refused.map((letter) => ({ at: { partition, ...letter }, error: spent() }));
    return ok({ done: redriven, superseded, refusals, next });
  };
  // At a rate, one partition goes on where the one before ended: together they are no faster than was asked.
  const count = await applyToChosen(topic.partitions, chosen, apply, everyMs > 0);
  if (!count.ok || perSecond === undefined) return count;
  return ok({ ...count.value, until: Math.ceil(from) });
}

function spent(): BrokerError {
  return refuse("redrives-spent", "It was sent round as often as the subscription allows: say `force`.")
    .error;
}

/** Removes the chosen for good. */
export async function purgeLetters(
  broker: Broker,
  { topic, subscription }: Found,
  chosen: Selection,
): Promise<Result<Count>> {
  return applyToChosen(topic.partitions, chosen, async (partition, some) => {
    const answer = await subscriptionAt(broker, subscription, partition).purge(some);
    return answer.ok ? ok({ done: answer.value.purged, next: answer.value.next }) : answer;
  });
}

/** One dead letter; undefined when there is none at this place. */
export async function findLetter(
  broker: Broker,
  { topic, subscription }: Found,
  { partition, epoch, offset }: LetterPlace,
): Promise<Result<DeadLetter | undefined>> {
  if (partition >= topic.partitions) return ok(undefined);
  const at = subscriptionAt(broker, subscription, partition);
  const found = await at.deadLetters({ epoch, after: offset - 1, limit: 1 });
  if (!found.ok) return found;
  return ok(found.value.find((each) => each.epoch === epoch && each.offset === offset));
}
