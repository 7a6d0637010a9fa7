// Claims that a push request handed over to its receiver (clause 14): it answered 202, and completes, extends or fails
// them here, by the claim that the request carried. The same below a subscription and a queue.

import { z } from "zod";
import { inParallel } from "../catalog/entry-lifecycle";
import { ok, type Result } from "../errors";
import { type PushClaim, pushClaimId, pushNamespace } from "../ledger/claim";
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

const CLAIM = /^(0|[1-9]\d{0,2})\.(0|[1-9]\d{0,14})\.(0|[1-9]\d{0,14})\.(0|[1-9]\d{0,14})$/;

const claimText = z
  .string()
  .max(64)
  .regex(CLAIM, "this is no claim of a push request")
  .transform((text): PushClaim & { text: string } => {
    const [partition = 0, offset = 0, replay = 0, fence = 0] = text.split(".").map(Number);
    return { text, partition, offset, replay, fence };
  })
  .meta({
    type: "string",
    description: "`pennypost-claim` of the request; in a batch, the message's `claim`.",
    example: "0.42.0.1790000000000",
  });
const claim = z
  .strictObject({
    claim: claimText,
    messageId: messageId.meta({ description: "`webhook-id`; in a batch, the message's `id`." }),
  })
  .meta({ id: "PushClaim" });
const claims = z.array(claim).min(1).max(limits.claimsPerCall);
const leaseMs = whole(limits.minClaimLeaseMs, limits.maxClaimLeaseMs).default(limits.handOverMs);

const settled = z
  .object({
    results: z.array(
      z.object({
        claim: z.string(),
        status: z.enum(["completed", "failed", "extended", "claim-lost"]),
        leaseUntil: instant.optional().meta({ description: "When extended." }),
      }),
    ),
  })
  .meta({ id: "SettledPushClaims" });
const answers = { 200: { description: "One result per claim, in their order.", schema: settled } };

type Asked = z.output<typeof claim>;
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
      ...{ method: "post", path: `${base}/claims/complete`, tag, access: ["consume"], settles: true },
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
      ...{ method: "post", path: `${base}/claims/fail`, tag, access: ["consume"], settles: true },
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
      ...{ method: "post", path: `${base}/claims/extend`, tag, access: ["consume"], settles: true },
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
  asked: readonly Asked[],
  { write, tell }: Ending,
): Promise<Result<readonly ({ claim: string } & Written)[]>> {
  const written = new Map<Asked, Written>();
  const refusals: Result<never>[] = [];
  const existing = asked.filter(({ claim }) => claim.partition < topic.partitions);
  // Claims of one replay of a partition share a namespace.
  const byNamespace = Map.groupBy(existing, ({ claim: { partition, replay } }) =>
    pushNamespace(subscription.generation, partition, replay),
  );
  await inParallel([...byNamespace], async ([namespace, mine]) => {
    const items = mine.map(({ messageId, claim: { offset, fence } }) => ({
      ...{ messageId: pushClaimId({ offset, messageId }), fence },
    }));
    const statuses = await write(broker.ledger, { namespace, items });
    mine.forEach((each, index) => {
      written.set(each, statuses[index] ?? LOST);
    });
    const held = mine.filter((each) => written.get(each)?.status !== "claim-lost");
    const [first] = held;
    if (!first) return;
    const refs = held.map(({ claim }) => ({ offset: claim.offset, leaseId: receiverLeaseId(claim.fence) }));
    const told = await tell(subscriptionAt(broker, subscription, first.claim.partition), refs);
    if (!told.ok) refusals.push(told);
  });
  if (refusals[0]) return refusals[0];
  return ok(asked.map((each) => ({ claim: each.claim.text, ...(written.get(each) ?? LOST) })));
}

const LOST: Written = { status: "claim-lost" };
