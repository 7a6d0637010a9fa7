// Settling ack ids: each partition is asked once for all of its own, side by side, and the answers go back into the
// order in which they were asked.

import type { AckId } from "../ack-id";
import { inParallel } from "../catalog/entry-lifecycle";
import { ok, type Result } from "../errors";
import { limits } from "../limits";
import type { LeaseRef, SettleStatus, SubscriptionCalls } from "../subscription-calls";
import type { Broker } from "./broker";
import { subscriptionAt } from "./partition-routes";
import type { Found } from "./place-routes";
import { type Problem, problemOf } from "./problem";
import { refusalOfFault } from "./request-routes";

export type Settled = Readonly<{ ackId: string } & ({ status: SettleStatus } | { error: Problem })>;
type Ask = (
  partition: SubscriptionCalls,
  refs: readonly LeaseRef[],
) => Promise<Result<readonly SettleStatus[]>>;

/** Settles ack ids by `ask`. Refused when every partition refuses; else each item has its own result. */
export async function settle(
  broker: Broker,
  found: Found,
  ackIds: readonly AckId[],
  ask: Ask,
): Promise<Result<readonly Settled[]>> {
  const distinct = [...new Map(ackIds.map((each) => [each.ackId, each])).values()];
  const byPartition = Map.groupBy(distinct, ({ partition }) => partition);
  const results = new Map<string, Settled>();
  const refusals: Result<never>[] = [];
  let answered = 0;
  await inParallel([...byPartition], async ([partition, mine]) => {
    const refs = mine.map(({ offset, leaseId }) => ({ offset, leaseId }));
    const statuses = await tryAsk(broker, found, partition, (calls) => ask(calls, refs), refs);
    if (statuses.ok) answered += 1;
    else refusals.push(statuses);
    mine.forEach(({ ackId }, index) => {
      const status = statuses.ok ? (statuses.value[index] ?? "lease-lost") : undefined;
      if (status) results.set(ackId, { ackId, status });
      else if (!statuses.ok) results.set(ackId, { ackId, error: problemOf(statuses.error) });
    });
  });
  if (answered === 0 && refusals[0]) return refusals[0];
  return ok(ackIds.flatMap(({ ackId }) => results.get(ackId) ?? []));
}

async function tryAsk(
  broker: Broker,
  { topic, subscription }: Found,
  partition: number,
  ask: (calls: SubscriptionCalls) => ReturnType<Ask>,
  refs: readonly LeaseRef[],
): Promise<Result<readonly SettleStatus[]>> {
  // A partition that does not exist leased nothing: the ack id is from another life of the topic. But one that is new
  // may be unknown here yet, so it is asked.
  const lost = ok(refs.map(() => "lease-lost" as const));
  if (partition >= limits.partitions) return lost;
  try {
    const answer = await ask(subscriptionAt(broker, subscription, partition));
    const isAbsent = partition >= topic.partitions && !answer.ok && answer.error.code === "gone";
    return isAbsent ? lost : answer;
  } catch (fault) {
    return { ok: false, error: refusalOfFault(fault) };
  }
}
