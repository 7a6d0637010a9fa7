// A pull over the partitions of a subscription. One partition leases while it waits; of several, only what is there
// is leased, and while nothing is there they are waited for, which leases nothing. Of several priorities the highest
// comes first, and in one pull of ten the lowest.

import { waitUntil } from "cloudflare:workers";
import { inParallel } from "../catalog/entry-lifecycle";
import { ok, type Refused, type Result } from "../errors";
import { limits } from "../limits";
import { levelsOf, priorityShown } from "../priority";
import { type PulledMessage, showLease } from "../pulled-message";
import type { LeaseAnswer, LeaseCall } from "../subscription-calls";
import type { Broker } from "./broker";
import { subscriptionAt } from "./partition-routes";
import type { Found } from "./place-routes";

export type Pulling = Readonly<{ max: number; waitMs: number; ackDeadlineMs?: number | undefined }>;

type Pull = Readonly<
  {
    broker: Broker;
    found: Found;
    /** The partitions of each priority, the highest first. */
    levels: readonly (readonly number[])[];
    order: readonly number[];
    signal: AbortSignal;
    /** The leases that were taken for this pull so far. */
    taken: { partition: number; leaseId: string }[];
  } & Pulling
>;

/**
 * Leases up to `max` messages, of each priority beginning at a partition of chance. What was leased for a caller that went away in the
 * meantime is given back, no attempt counted, as far as its going is noticed.
 */
export function pullMessages(
  broker: Broker,
  found: Found,
  pulling: Pulling,
  signal: AbortSignal,
): Promise<Result<readonly PulledMessage[]>> {
  const levels = levelsOf(found.topic, broker.runtime.random());
  const order = levels.flat();
  const pull: Pull = { broker, found, levels, order, signal, taken: [], ...pulling };
  const pulled = order.length === 1 ? leaseFrom(pull, order, pulling.waitMs) : pullFromMany(pull);
  // Behind the request: with its caller gone, the request itself is cut off at any await.
  waitUntil(pulled.then(() => giveBackUnheard(pull)).catch(() => undefined));
  return pulled;
}

async function giveBackUnheard({ broker, found, signal, taken }: Pull): Promise<void> {
  if (!signal.aborted) return;
  await inParallel(taken, async ({ partition, leaseId }) => {
    await subscriptionAt(broker, found.subscription, partition).report({ leaseId, outcomes: [], done: true });
  });
}

async function pullFromMany(pull: Pull): Promise<Result<readonly PulledMessage[]>> {
  const { broker, order, waitMs, signal } = pull;
  const until = broker.runtime.now() + waitMs;
  const lease = (ready: readonly number[]) =>
    pull.levels.length > 1 ? leaseByPriority(pull) : leaseFrom(pull, [...ready, ...order], 0);
  let leased = await lease([]);
  // Every partition is waited for in its turn, a few at a time, so that each is heard within the wait.
  const groups = Math.ceil(order.length / limits.pullWaitPartitions);
  for (let turn = 0; leased.ok && leased.value.length === 0; turn++) {
    const leftMs = until - broker.runtime.now();
    if (leftMs <= 0 || signal.aborted) return leased;
    const begin = (turn % groups) * limits.pullWaitPartitions;
    const group = order.slice(begin, begin + limits.pullWaitPartitions);
    const ready = await firstReady(pull, group, Math.min(leftMs, Math.ceil(waitMs / groups)));
    if (!ready.ok) return ready;
    if (ready.value !== undefined && !signal.aborted) leased = await lease([ready.value]);
  }
  return leased;
}

/** The partition of `group` that first has something to lease, or undefined when none has within `waitMs`. */
async function firstReady(
  { broker, found }: Pull,
  group: readonly number[],
  waitMs: number,
): Promise<Result<number | undefined>> {
  const asked = group.map(async (partition) => {
    const answer = await subscriptionAt(broker, found.subscription, partition).ready({ waitMs });
    if (answer.ok && !answer.value.ready) throw new NotReady();
    return answer.ok ? ok(partition) : answer;
  });
  try {
    return await Promise.any(asked);
  } catch (fault) {
    const faults = fault instanceof AggregateError ? fault.errors : [fault];
    const [real] = faults.filter((each) => !(each instanceof NotReady));
    if (real !== undefined) throw real;
    return ok(undefined);
  }
}

class NotReady extends Error {}

// ── leasing ──────────────────────────────────────────────────────────────────────────────────────────

/** What a pull has so far, and has room for. `ended`: a partition refused or failed after others had leased something. */
type Leasing = { messages: PulledMessage[]; bytes: number; asked: Set<number>; ended: boolean };

/** Leases from one partition after another until `max`. What was leased is returned, whatever a later one says. */
async function leaseFrom(
  pull: Pull,
  partitions: readonly number[],
  waitMs: number,
): Promise<Result<readonly PulledMessage[]>> {
  const leasing = newLeasing();
  const refused = await fill(pull, leasing, partitions, waitMs);
  return refused ?? ok(leasing.messages);
}

/**
 * Leases from the highest priority first, and from lower ones what there is still room for. When the partition that is asked
 * first says that it is the lowest's turn, the lowest that has something goes before the highest.
 */
async function leaseByPriority(pull: Pull): Promise<Result<readonly PulledMessage[]>> {
  const leasing = newLeasing();
  const begun = await leaseOne(pull, leasing, pull.order[0] ?? 0, { waitMs: 0, takesTurn: true });
  if (!begun.ok) return begun;
  const lowestFirst = begun.value?.lowestFirst ? pull.levels.toReversed() : [];
  for (const level of lowestFirst) {
    const refused = await fill(pull, leasing, level, 0);
    if (refused) return refused;
    if (leasing.messages.length > 0) break;
  }
  const refused = await fill(pull, leasing, pull.order, 0);
  return refused ?? ok(leasing.messages);
}

function newLeasing(): Leasing {
  return { messages: [], bytes: limits.pullBytes, asked: new Set(), ended: false };
}

async function fill(
  pull: Pull,
  leasing: Leasing,
  partitions: readonly number[],
  waitMs: number,
): Promise<Refused | undefined> {
  for (const partition of partitions) {
    if (leasing.ended || leasing.messages.length >= pull.max || leasing.bytes <= 0) return undefined;
    if (leasing.asked.has(partition)) continue;
    const lease = await leaseOne(pull, leasing, partition, { waitMs });
    if (!lease.ok) return lease;
  }
  return undefined;
}

/** Asks one partition. Refused, or failed, only while nothing is leased: else that is the end, and no answer. */
async function leaseOne(
  { broker, found, max, ackDeadlineMs, taken }: Pull,
  leasing: Leasing,
  partition: number,
  how: Pick<LeaseCall, "waitMs" | "takesTurn">,
): Promise<Result<LeaseAnswer | undefined>> {
  const { messages, bytes } = leasing;
  const call = {
    ...{ leaseId: broker.runtime.newId(), max: max - messages.length, maxBytes: bytes, ...how },
    ...(ackDeadlineMs !== undefined && { ackDeadlineMs }),
  };
  try {
    const lease = await subscriptionAt(broker, found.subscription, partition).pull(call);
    if (!lease.ok && messages.length === 0) return lease;
    if (lease.ok) {
      const { deliveries, settled, records, lowestFirst } = lease.value;
      if (!lowestFirst) leasing.asked.add(partition);
      if (deliveries.length > 0 && !settled) taken.push({ partition, leaseId: call.leaseId });
      messages.push(...showLease(partition, lease.value, priorityShown(found.topic, partition)));
      leasing.bytes -= records.byteLength;
      return lease;
    }
  } catch (fault) {
    if (messages.length === 0) throw fault;
  }
  leasing.ended = true;
  return ok(undefined);
}
