// A pull over the partitions of a subscription. One partition leases while it waits; of several, only what is there
// is leased, and while nothing is there they are waited for, which leases nothing.

import { waitUntil } from "cloudflare:workers";
import { inParallel } from "../catalog/entry-lifecycle";
import { ok, type Result } from "../errors";
import { limits } from "../limits";
import { type PulledMessage, showLease } from "../pulled-message";
import type { Broker } from "./broker";
import { subscriptionAt } from "./partition-routes";
import type { Found } from "./place-routes";

export type Pulling = Readonly<{ max: number; waitMs: number; ackDeadlineMs?: number | undefined }>;

type Pull = Readonly<
  {
    broker: Broker;
    found: Found;
    order: readonly number[];
    signal: AbortSignal;
    /** The leases that were taken for this pull so far. */
    taken: { partition: number; leaseId: string }[];
  } & Pulling
>;

/**
 * Leases up to `max` messages, beginning at a partition of chance. What was leased for a caller that went away in the
 * meantime is given back, no attempt counted, as far as its going is noticed.
 */
export function pullMessages(
  broker: Broker,
  found: Found,
  pulling: Pulling,
  signal: AbortSignal,
): Promise<Result<readonly PulledMessage[]>> {
  const { partitions } = found.topic;
  const first = Math.floor(broker.runtime.random() * partitions);
  const order = Array.from({ length: partitions }, (_, place) => (first + place) % partitions);
  const pull: Pull = { broker, found, order, signal, taken: [], ...pulling };
  const pulled = partitions === 1 ? leaseFrom(pull, [0], pulling.waitMs) : pullFromMany(pull);
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
  let leased = await leaseFrom(pull, order, 0);
  // Every partition is waited for in its turn, a few at a time, so that each is heard within the wait.
  const groups = Math.ceil(order.length / limits.pullWaitPartitions);
  for (let turn = 0; leased.ok && leased.value.length === 0; turn++) {
    const leftMs = until - broker.runtime.now();
    if (leftMs <= 0 || signal.aborted) return leased;
    const begin = (turn % groups) * limits.pullWaitPartitions;
    const group = order.slice(begin, begin + limits.pullWaitPartitions);
    const ready = await firstReady(pull, group, Math.min(leftMs, Math.ceil(waitMs / groups)));
    if (!ready.ok) return ready;
    if (ready.value !== undefined && !signal.aborted)
      leased = await leaseFrom(pull, [ready.value, ...order], 0);
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

/** Leases from one partition after another until `max`. What was leased is returned, whatever a later one says. */
async function leaseFrom(
  { broker, found, max, ackDeadlineMs, taken }: Pull,
  partitions: readonly number[],
  waitMs: number,
): Promise<Result<readonly PulledMessage[]>> {
  const messages: PulledMessage[] = [];
  let bytes: number = limits.pullBytes;
  for (const partition of new Set(partitions)) {
    if (messages.length >= max || bytes <= 0) break;
    const call = {
      ...{ leaseId: broker.runtime.newId(), max: max - messages.length, maxBytes: bytes, waitMs },
      ...(ackDeadlineMs !== undefined && { ackDeadlineMs }),
    };
    try {
      const lease = await subscriptionAt(broker, found.subscription, partition).pull(call);
      if (!lease.ok && messages.length === 0) return lease;
      if (!lease.ok) break;
      if (lease.value.deliveries.length > 0 && !lease.value.settled)
        taken.push({ partition, leaseId: call.leaseId });
      messages.push(...showLease(partition, lease.value));
      bytes -= lease.value.records.byteLength;
    } catch (fault) {
      if (messages.length === 0) throw fault;
      break;
    }
  }
  return ok(messages);
}
