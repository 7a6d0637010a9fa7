// Dead letters over the partitions of a subscription: a page of those that match, and a redrive or a purge of many,
// which is a bounded number of calls to each partition.

import type { DeadLetter, DeadLetterFilter, DeadLetterSelection, LetterAt } from "../dead-letter-calls";
import { type BrokerError, ok, type Result, refuse } from "../errors";
import { limits } from "../limits";
import type { Broker } from "./broker";
import { HIGHEST_EPOCH, type Redrive, type Selection } from "./dead-letter-schemas";
import { inEachPartition, subscriptionAt } from "./partition-routes";
import type { Found } from "./place-routes";
import { refusalOfFault } from "./request-routes";
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
  /** Why it went no further than that. */
  stopped?: BrokerError | undefined;
}>;
type Tally = Readonly<{ done: number; superseded: number; refused: number; refusals: readonly Refusal[] }>;
/** `more`: some were not come to. `stopped`: because a partition, or the other topic, could not go on. */
export type Count = Tally & Readonly<{ more: boolean; stopped?: BrokerError | undefined }>;
export type Apply = (partition: number, chosen: DeadLetterSelection) => Promise<Result<Step>>;

const NOTHING: Tally = { done: 0, superseded: 0, refused: 0, refusals: [] };

/**
 * Applies `apply` to what is chosen of each partition: side by side, or one after another. What stops it is refused when
 * nothing was done before, and told with the count of what was.
 */
export async function applyToChosen(
  known: number,
  chosen: Selection,
  apply: Apply,
  inTurn = false,
): Promise<Result<Count>> {
  const work =
    "ids" in chosen ? workOnIds(known, chosen.ids, apply) : workOnMatching(known, chosen.where, apply);
  const counts = await inEachPartition(
    [...work.keys()],
    inTurn,
    (partition) => work.get(partition)?.() ?? none(),
  );
  const tally = counts.reduce<Tally>(together, NOTHING);
  const stopped = counts.find((count) => count.stopped)?.stopped;
  if (stopped && tally.done + tally.superseded + tally.refused === 0) return { ok: false, error: stopped };
  return ok({ ...tally, more: counts.some(({ more }) => more), stopped });
}

type Work = ReadonlyMap<number, () => Promise<Count>>;
const none = async (): Promise<Count> => ({ ...NOTHING, more: false });

function workOnMatching(known: number, where: DeadLetterFilter, apply: Apply): Work {
  const partitions = [...Array(known).keys()];
  return new Map(partitions.map((partition) => [partition, () => applyToMatching(partition, where, apply)]));
}

/** Those that the ids name. One that is not known here may be new since a raise; there is nothing of one that is none. */
function workOnIds(known: number, ids: readonly LetterPlace[], apply: Apply): Work {
  const named = [...Map.groupBy(ids, ({ partition }) => partition)];
  const exist = named.filter(([partition]) => partition < limits.partitions);
  return new Map(
    exist.map(([partition, letters]) => [
      partition,
      async () => {
        const count = await applyToSome(partition, letters, apply);
        return partition >= known && count.stopped?.code === "gone" ? none() : count;
      },
    ]),
  );
}

/** One call for each epoch, unless their messages are more than an answer carries. */
async function applyToSome(partition: number, ids: readonly LetterAt[], apply: Apply): Promise<Count> {
  let tally = NOTHING;
  for (const [epoch, letters] of Map.groupBy(ids, ({ epoch }) => epoch)) {
    let offsets = [...new Set(letters.map(({ offset }) => offset))];
    while (offsets.length > 0) {
      const step = await tryStep(apply, partition, { epoch, offsets });
      tally = together(tally, tallyOf(step));
      const { next, stopped } = step;
      if (stopped) return { ...tally, more: true, stopped };
      offsets = next ? offsets.filter((offset) => offset > next.offset) : [];
    }
  }
  return { ...tally, more: false };
}

/** One step; a refusal or a fault has come to nothing, and stops. */
async function tryStep(apply: Apply, partition: number, chosen: DeadLetterSelection): Promise<Step> {
  try {
    const step = await apply(partition, chosen);
    return step.ok ? step.value : { done: 0, stopped: step.error };
  } catch (fault) {
    return { done: 0, stopped: refusalOfFault(fault) };
  }
}

/** A bounded number of calls: a redriven delivery may die again while the rest is being redriven. */
async function applyToMatching(partition: number, where: DeadLetterFilter, apply: Apply): Promise<Count> {
  let tally = NOTHING;
  let after: LetterAt | undefined;
  let fruitful = 0;
  for (let calls = 0; calls < limits.selectionScans && fruitful < limits.selectionCalls; calls++) {
    const limit = limits.deadLettersPerCall;
    const step = await tryStep(apply, partition, { all: true, limit, where, ...(after && { after }) });
    tally = together(tally, tallyOf(step));
    if (step.stopped) return { ...tally, more: true, stopped: step.stopped };
    if (step.done > 0) fruitful += 1;
    after = step.next;
    if (!after) return { ...tally, more: false };
  }
  return { ...tally, more: true };
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
  if (partition >= limits.partitions) return ok(undefined);
  const at = subscriptionAt(broker, subscription, partition);
  const found = await at.deadLetters({ epoch, after: offset - 1, limit: 1 });
  // A partition that is not known here may be new since a raise, or be none.
  if (!found.ok && found.error.code === "gone" && partition >= topic.partitions) return ok(undefined);
  if (!found.ok) return found;
  return ok(found.value.find((each) => each.epoch === epoch && each.offset === offset));
}
