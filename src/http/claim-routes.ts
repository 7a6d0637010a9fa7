// Claims that a push request handed over to its receiver (clause 14): it answered 202, and completes, extends or fails
// them here, by the fence that the request carried. The same below a subscription and a queue.

import { z } from "zod";
import { inParallel } from "../catalog/entry-lifecycle";
import { ok, type Result } from "../errors";
import { pushClaimId, pushNamespace } from "../ledger/claim";
import type { ClaimRef, LedgerStore } from "../ledger/ledger-store";
import { limits } from "../limits";
import { type LeaseRef, receiverLeaseId, type SubscriptionCalls } from "../subscription-calls";
import type { Broker } from "./broker";
import { present } from "./json";
import { subscriptionAt } from "./partition-routes";
import { type Found, type SubscriptionPlace, withFresh } from "./place-routes";
import { nackFields } from "./pull-routes";
import { type Route, reply, route } from "./route";
import { instant, messageId, whole } from "./schemas";

const claim = z
  .strictObject({
    partition: whole(0, limits.partitions - 1).meta({ description: "`pennypost-partition` of the request." }),
    offset: whole(0, Number.MAX_SAFE_INTEGER).meta({ description: "`pennypost-offset`." }),
    messageId: messageId.meta({ description: "`webhook-id`; in a batch, the message's `id`." }),
    fence: whole(0, Number.MAX_SAFE_INTEGER).meta({
      description: "`pennypost-claim-fence`; in a batch, the message's `claimFence`.",
    }),
    replay: whole(0, Number.MAX_SAFE_INTEGER)
      .default(0)
      .meta({ description: "`pennypost-replay`, when the request has it." }),
  })
  .meta({ id: "PushClaim" });
const claims = z.array(claim).min(1).max(limits.claimsPerCall);
const leaseMs = whole(limits.minClaimLeaseMs, limits.maxClaimLeaseMs).default(limits.handOverMs);

const settled = z
  .object({
    results: z.array(
      z.object({
        ...{ partition: z.int(), offset: z.int() },
        status: z.enum(["completed", "failed", "extended", "claim-lost"]),
        leaseUntil: instant.optional().meta({ description: "When extended." }),
      }),
    ),
  })
  .meta({ id: "SettledPushClaims" });
const answers = { 200: { description: "One result per claim, in their order.", schema: settled } };

type PushClaim = z.output<typeof claim>;
type Written = Readonly<{ status: "completed" | "failed" | "extended" | "claim-lost"; leaseUntil?: number }>;
type Call = Readonly<{ namespace: string; items: readonly ClaimRef[] }>;

/** What is done with a claim: first in the ledger, which decides; then the subscription is told. */
type Ending = Readonly<{
  write(ledger: LedgerStore, call: Call): Promise<readonly Written[]>;
  tell(partition: SubscriptionCalls, refs: readonly LeaseRef[]): Promise<Result<unknown>>;
}>;

/** The routes of a receiver that answered 202. */
export function claimRoutes({ base, tag, params, find }: SubscriptionPlace): readonly Route[] {
  return [
    route({
      ...{ method: "post", path: `${base}/claims/complete`, tag, access: ["consume"] },
      summary: "Complete messages whose push was answered 202",
      params,
      body: z.strictObject({ claims }).meta({ id: "CompletePushClaims" }),
      answers,
      handle: async ({ broker, params: path, body }) => {
        const results = await withFresh(
          broker,
          () => find(broker, path),
          (found) => endClaims(broker, found, body.claims, completing),
        );
        return results.ok ? reply(200, { results: results.value }) : results;
      },
    }),
    route({
      ...{ method: "post", path: `${base}/claims/fail`, tag, access: ["consume"] },
      summary: "Give messages back whose push was answered 202",
      params,
      body: z.strictObject({ claims, ...nackFields }).meta({ id: "FailPushClaims" }),
      answers,
      handle: async ({ broker, params: path, body: { claims, ...how } }) => {
        const results = await withFresh(
          broker,
          () => find(broker, path),
          (found) => endClaims(broker, found, claims, failing(present(how))),
        );
        return results.ok ? reply(200, { results: results.value }) : results;
      },
    }),
    route({
      ...{ method: "post", path: `${base}/claims/extend`, tag, access: ["consume"] },
      summary: "Keep messages longer whose push was answered 202",
      params,
      body: z.strictObject({ claims, leaseMs }).meta({ id: "ExtendPushClaims" }),
      answers,
      handle: async ({ broker, params: path, body }) => {
        const results = await withFresh(
          broker,
          () => find(broker, path),
          (found) => endClaims(broker, found, body.claims, extending(body.leaseMs)),
        );
        return results.ok ? reply(200, { results: results.value }) : results;
      },
    }),
  ];
}

const completing: Ending = {
  write: async (ledger, call) => (await ledger.complete(call)).map((status) => ({ status })),
  tell: (partition, refs) => partition.ack({ refs }),
};

type Nack = Readonly<{ delayMs?: number; deadLetter?: boolean; reason?: string }>;

function failing(how: Nack): Ending {
  return {
    write: async (ledger, call) => (await ledger.failAll(call)).map((status) => ({ status })),
    tell: (partition, refs) => partition.nack({ refs, ...how }),
  };
}

function extending(leaseMs: number): Ending {
  return {
    write: async (ledger, call) =>
      (await ledger.extendAll({ ...call, leaseMs })).map((end) =>
        end === "claim-lost" ? { status: end } : { status: "extended", leaseUntil: end },
      ),
    tell: (partition, refs) => partition.extend({ refs, ackDeadlineMs: leaseMs }),
  };
}

/**
 * Ends claims, partition by partition. What the ledger says is the answer: a subscription that is told before it knows
 * that its dispatcher handed the delivery over finds out from the dispatcher. A fault is answered as one, and the
 * request may be repeated.
 */
async function endClaims(
  broker: Broker,
  { topic, subscription }: Found,
  asked: readonly PushClaim[],
  { write, tell }: Ending,
): Promise<Result<readonly (Pick<PushClaim, "partition" | "offset"> & Written)[]>> {
  const written = new Map<PushClaim, Written>();
  const refusals: Result<never>[] = [];
  const existing = asked.filter(({ partition }) => partition < topic.partitions);
  const byNamespace = Map.groupBy(existing, ({ partition, replay }) =>
    pushNamespace(subscription.generation, partition, replay),
  );
  await inParallel([...byNamespace], async ([namespace, mine]) => {
    const items = mine.map((each) => ({ messageId: pushClaimId(each), fence: each.fence }));
    const statuses = await write(broker.ledger, { namespace, items });
    const held = mine.filter((_, index) => statuses[index]?.status !== "claim-lost");
    const refs = held.map(({ offset, fence }) => ({ offset, leaseId: receiverLeaseId(fence) }));
    const partition = mine[0]?.partition ?? 0;
    const told = refs.length > 0 ? await tell(subscriptionAt(broker, subscription, partition), refs) : ok([]);
    if (!told.ok) refusals.push(told);
    mine.forEach((each, index) => {
      written.set(each, statuses[index] ?? { status: "claim-lost" });
    });
  });
  if (refusals[0]) return refusals[0];
  return ok(
    asked.map((each) => {
      const { partition, offset } = each;
      return { partition, offset, ...(written.get(each) ?? { status: "claim-lost" as const }) };
    }),
  );
}
