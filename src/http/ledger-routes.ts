// The ledger over HTTP: claim a message id before its work, complete it after. It makes any consumer idempotent, in
// any language, without a database of its own.

import { z } from "zod";
import { type Result, refuse } from "../errors";
import { type Claim, type ClaimAnswer, ledgerNamespace } from "../ledger/claim";
import { limits } from "../limits";
import type { Runtime } from "../runtime";
import { isTooDeep } from "./json";
import { type Reply, type Route, reply, route } from "./route";
import { instant, messageId, name, text, whole } from "./schemas";

const tag = "Ledgers";
const base = "/v1/ledgers/{ledger}/claims";
const access = ["consume"] as const;

const ledgerParams = z.object({ ledger: name });
const claimParams = z.object({ ledger: name, messageId });
const fence = whole(0, Number.MAX_SAFE_INTEGER).meta({ description: "What the claim answered." });
const leaseMs = whole(limits.minClaimLeaseMs, limits.maxClaimLeaseMs).default(limits.defaultClaimLeaseMs);
const retentionMs = whole(limits.minLedgerRetentionMs, limits.maxLedgerRetentionMs)
  .default(limits.ledgerRetentionMs)
  .meta({
    description: "How long the id is remembered from this claim on, done or not: past its last redelivery.",
  });
const claimant = text(1, limits.claimantLength).meta({
  description: "Who claims. Claiming again under the same name returns the same claim.",
});
const wanted = {
  messageId,
  fingerprint: text(1, limits.fingerprintLength).optional().meta({
    description: "Of the content: another one under the same id is refused.",
  }),
};
const utf8 = new TextEncoder();
const result = z.unknown().superRefine((value, context) => {
  if (value === undefined) return;
  if (isTooDeep(value, limits.jsonDepth)) {
    const params = { limit: limits.jsonDepth };
    context.addIssue({ code: "custom", message: `at most ${limits.jsonDepth} deep`, params });
  } else if (utf8.encode(JSON.stringify(value)).byteLength > limits.resultBytes) {
    const params = { limit: limits.resultBytes };
    context.addIssue({ code: "custom", message: `at most ${limits.resultBytes} bytes of JSON`, params });
  }
});

const claim = z.object({
  messageId: z.string(),
  state: z.literal("claimed"),
  fence: z.int(),
  leaseUntil: instant,
  attempts: z.int().meta({ description: "Claims of this id so far, this one included." }),
  retainUntil: instant,
});
const completed = z.object({
  messageId: z.string(),
  state: z.literal("completed"),
  result: z.unknown().meta({ description: "What complete was given; null without." }),
});
const shown = z
  .object({
    messageId: z.string(),
    state: z.enum(["claimed", "completed", "failed"]),
    fence: z.int(),
    claimant: z.string(),
    leaseUntil: instant.meta({
      description: "Once it has passed, a `claimed` id is free for the next claimant.",
    }),
    attempts: z.int(),
    fingerprint: z.string().optional(),
    result: z.unknown().meta({ description: "What complete was given; null without." }),
    retainUntil: instant,
  })
  .meta({ id: "ShownClaim" });
const claims = z.object({
  claims: z.array(
    z.union([
      claim,
      completed,
      z.object({ messageId: z.string(), state: z.literal("in-progress"), leaseUntil: instant }),
      z.object({ messageId: z.string(), state: z.literal("reused") }),
    ]),
  ),
});

export const ledgerRoutes: readonly Route[] = [
  route({
    ...{ method: "post", path: base, tag, access },
    summary: "Claim a message id",
    description:
      "201: it is yours until `leaseUntil`. 200: it was completed before. 409: another is at work, until `Retry-After`.",
    params: ledgerParams,
    body: z.strictObject({ ...wanted, claimant, leaseMs, retentionMs }).meta({ id: "Claim" }),
    answers: {
      200: { description: "It was completed before.", schema: completed },
      201: { description: "It is claimed.", schema: claim },
    },
    handle: async ({ broker: { ledger, runtime }, params, body: { messageId, fingerprint, ...how } }) => {
      const message = { messageId, ...(fingerprint !== undefined && { fingerprint }) };
      const namespace = ledgerNamespace(params.ledger);
      const [answer] = await ledger.claim({ namespace, messages: [message], ...how });
      if (!answer) throw new Error("the ledger answered no claim");
      return replyToClaim(answer, runtime);
    },
  }),
  route({
    ...{ method: "post", path: "/v1/ledgers/{ledger}/claim-batches", tag, access },
    summary: "Claim many message ids",
    params: ledgerParams,
    body: z
      .strictObject({
        messages: z.array(z.strictObject(wanted)).min(1).max(limits.claimsPerCall),
        ...{ claimant, leaseMs, retentionMs },
      })
      .refine(({ messages }) => new Set(messages.map((each) => each.messageId)).size === messages.length, {
        path: ["messages"],
        message: "every message id stands once",
      })
      .meta({ id: "ClaimBatch" }),
    answers: { 200: { description: "One claim per id, in their order.", schema: claims } },
    handle: async ({ broker: { ledger }, params, body: { messages, ...how } }) => {
      const asked = messages.map(({ messageId, fingerprint }) => ({
        messageId,
        ...(fingerprint !== undefined && { fingerprint }),
      }));
      const answers = await ledger.claim({
        namespace: ledgerNamespace(params.ledger),
        messages: asked,
        ...how,
      });
      return reply(200, { claims: answers.map(showClaim) });
    },
  }),
  route({
    ...{ method: "get", path: `${base}/{messageId}`, tag, access },
    summary: "Show how a message id stands",
    params: claimParams,
    answers: { 200: { description: "Its newest claim.", schema: shown } },
    handle: async ({ broker: { ledger }, params }) => {
      const found = await ledger.read(ledgerNamespace(params.ledger), params.messageId);
      return found ? reply(200, showRow(found)) : refuse("claim-not-found", "Nobody has claimed this id.");
    },
  }),
  route({
    ...{ method: "post", path: `${base}/{messageId}/extend`, tag, access, settles: true },
    summary: "Move the end of a claim's lease",
    params: claimParams,
    body: z.strictObject({ fence, leaseMs }).meta({ id: "ExtendClaim" }),
    answers: { 200: { description: "The new end.", schema: z.object({ leaseUntil: instant }) } },
    handle: async ({ broker: { ledger }, params, body }) => {
      const namespace = ledgerNamespace(params.ledger);
      const extended = await ledger.extend({ namespace, messageId: params.messageId, ...body });
      return extended.ok ? reply(200, extended.value) : extended;
    },
  }),
  route({
    ...{ method: "post", path: `${base}/{messageId}/complete`, tag, access, settles: true },
    summary: "Complete a claim, with a result to be kept",
    params: claimParams,
    body: z.strictObject({ fence, result: result.optional() }).meta({ id: "CompleteClaim" }),
    answers: {
      200: { description: "It is completed.", schema: z.object({ state: z.literal("completed") }) },
    },
    handle: async ({ broker: { ledger }, params: { ledger: name, messageId }, body }) => {
      const kept = body.result === undefined ? {} : { result: JSON.stringify(body.result) };
      const items = [{ messageId, fence: body.fence, ...kept }];
      const [state] = await ledger.complete({ namespace: ledgerNamespace(name), items });
      return state === "completed" ? reply(200, { state }) : claimLost();
    },
  }),
  route({
    ...{ method: "post", path: `${base}/{messageId}/fail`, tag, access, settles: true },
    summary: "End a claim without success: the id can be claimed again at once",
    params: claimParams,
    body: z.strictObject({ fence }).meta({ id: "FailClaim" }),
    answers: { 200: { description: "It is free.", schema: z.object({ state: z.literal("failed") }) } },
    handle: async ({ broker: { ledger }, params, body }) => {
      const namespace = ledgerNamespace(params.ledger);
      const failed = await ledger.fail({ namespace, messageId: params.messageId, ...body });
      return failed.ok ? reply(200, { state: "failed" }) : failed;
    },
  }),
];

function replyToClaim(answer: ClaimAnswer, runtime: Runtime): Result<Reply> {
  if (answer.state === "claimed") return reply(201, showClaim(answer));
  if (answer.state === "completed") return reply(200, showClaim(answer));
  if (answer.state === "reused") {
    return refuse("claim-reused", "The id was claimed for other content.", { field: "fingerprint" });
  }
  return refuse("claim-in-progress", "Another claimant holds the id.", {
    retryAfterMs: Math.max(0, answer.leaseUntil - runtime.now()),
  });
}

function showRow({ fingerprint, result, ...row }: Claim) {
  return {
    ...row,
    ...(fingerprint !== null && { fingerprint }),
    result: result === null ? null : JSON.parse(result),
  };
}

function showClaim(answer: ClaimAnswer) {
  if (answer.state !== "completed") return answer;
  return { ...answer, result: answer.result === null ? null : JSON.parse(answer.result) };
}

function claimLost() {
  return refuse(
    "claim-lost",
    "Another claimant has taken this message since, or the claim has already ended.",
  );
}
