// Clause 15: the ledger over HTTP makes any consumer idempotent.

import { expect, test } from "vitest";
import { codeOf, type Problem, unique } from "../support/contract-client";
import { brokerUnderTest } from "../support/contract-target";

const broker = await brokerUnderTest();
type Claim = Readonly<
  Record<"fence" | "leaseUntil" | "attempts" | "retainUntil", number> & { state: string; result?: unknown }
> &
  Problem;

/** A ledger that nobody else knows, as one consumer after another uses it. */
function newLedger() {
  const ledger = `/v1/ledgers/${unique("ledger")}`;
  const base = `${ledger}/claims`;
  const claim = (messageId: string, claimant: string, more: object = {}) =>
    broker.send<Claim>("POST", base, { json: { messageId, claimant, leaseMs: 60_000, ...more } });
  const settle = (verb: string, messageId: string, json: object) =>
    broker.send<Claim>("POST", `${base}/${messageId}/${verb}`, { json });
  return { ledger, base, claim, settle };
}

test("clause 15: of many that claim at once, one gets the message", async () => {
  const { claim } = newLedger();
  const claims = await Promise.all(Array.from({ length: 8 }, (_, i) => claim("m", `worker-${i}`)));
  expect(claims.map(({ status }) => status).sort()).toEqual([201, 409, 409, 409, 409, 409, 409, 409]);
  const refused = claims.find(({ status }) => status === 409);
  expect([codeOf(refused?.body ?? { type: "" }), refused?.body.retryable]).toEqual([
    "claim-in-progress",
    true,
  ]);
  expect(Number(refused?.headers.get("retry-after"))).toBeGreaterThan(0);
});

test("clause 15: a claimant that claims again gets the same claim", async () => {
  const { claim } = newLedger();
  const first = await claim("m", "worker");
  const second = await claim("m", "worker");
  expect(second).toMatchObject({ status: 201, body: { fence: first.body.fence } });
});

test("clause 15: what is completed stays so, and answers its result to whoever claims it", async () => {
  const { claim, settle } = newLedger();
  const { body } = await claim("m", "worker");
  const result = { transfer: 17, note: "ok" };
  expect((await settle("complete", "m", { fence: body.fence, result })).status).toBe(200);
  expect((await settle("complete", "m", { fence: body.fence, result })).status).toBe(200);
  for (const claimant of ["worker", "other"]) {
    expect(await claim("m", claimant)).toMatchObject({ status: 200, body: { state: "completed", result } });
  }
});

test("clause 15: what failed can be claimed at once, and the claim before can settle nothing", async () => {
  const { claim, settle } = newLedger();
  const first = await claim("m", "worker");
  expect((await settle("fail", "m", { fence: first.body.fence })).status).toBe(200);
  const second = await claim("m", "other");
  expect(second.status).toBe(201);
  expect(second.body.fence).toBeGreaterThan(first.body.fence);
  for (const verb of ["complete", "extend", "fail"]) {
    const stale = await settle(verb, "m", { fence: first.body.fence });
    expect([stale.status, codeOf(stale.body)]).toEqual([409, "claim-lost"]);
  }
  expect((await settle("complete", "m", { fence: second.body.fence })).status).toBe(200);
});

test("clause 15: a claim whose lease ended can be taken over, and its holder has lost it", async () => {
  const { claim, settle } = newLedger();
  const dead = await claim("m", "dead", { leaseMs: 1_000 });
  await broker.lapse(1_200);
  const taken = await claim("m", "other");
  expect(taken.status).toBe(201);
  expect((await settle("complete", "m", { fence: dead.body.fence })).status).toBe(409);
  expect((await settle("complete", "m", { fence: taken.body.fence })).status).toBe(200);
});

test("clause 15: a late completion that nobody overtook is honoured", async () => {
  const { claim, settle } = newLedger();
  const late = await claim("m", "late", { leaseMs: 1_000 });
  await broker.lapse(1_200);
  expect((await settle("complete", "m", { fence: late.body.fence })).status).toBe(200);
});

test("clause 15: a claim that is extended is kept", async () => {
  const { claim, settle } = newLedger();
  const { body } = await claim("m", "slow", { leaseMs: 1_000 });
  expect((await settle("extend", "m", { fence: body.fence, leaseMs: 60_000 })).status).toBe(200);
  await broker.lapse(1_200);
  expect((await claim("m", "other")).status).toBe(409);
});

test("clause 15: the same id for other content is refused", async () => {
  const { claim, settle } = newLedger();
  const { body } = await claim("m", "worker", { fingerprint: "10 euros" });
  await settle("complete", "m", { fence: body.fence });
  const other = await claim("m", "worker", { fingerprint: "20 euros" });
  expect([other.status, codeOf(other.body)]).toEqual([422, "claim-reused"]);
  expect((await claim("m", "worker", { fingerprint: "10 euros" })).status).toBe(200);
});

test("clause 15: how an id stands can be read, and reading claims nothing", async () => {
  const { base, claim, settle } = newLedger();
  const unknown = await broker.send("GET", `${base}/m`);
  expect([unknown.status, codeOf(unknown.body)]).toEqual([404, "claim-not-found"]);
  const { body } = await claim("m", "worker", { fingerprint: "10 euros" });
  const { fence, leaseUntil } = body;
  expect(await broker.call("GET", `${base}/m`)).toMatchObject({
    ...{ messageId: "m", state: "claimed", claimant: "worker", fence, leaseUntil, attempts: 1 },
    fingerprint: "10 euros",
  });
  await settle("complete", "m", { fence, result: { transfer: 17 } });
  expect(await broker.call("GET", `${base}/m`)).toMatchObject({
    state: "completed",
    result: { transfer: 17 },
  });
});

test("clause 15: an id is remembered for as long as its claim says, from a day to 500 days", async () => {
  const day = 24 * 60 * 60_000;
  const { claim } = newLedger();
  const long = await claim("long", "worker", { retentionMs: 400 * day });
  const usual = await claim("usual", "worker");
  expect(long.body.retainUntil - usual.body.retainUntil).toBeGreaterThan(369 * day);
  for (const retentionMs of [day - 1, 500 * day + 1]) {
    const refused = await claim("m", "worker", { retentionMs });
    expect([refused.status, refused.body.field]).toEqual([400, "retentionMs"]);
  }
});

test("clause 15: attempts are counted, and a result has its limit", async () => {
  const { claim, settle } = newLedger();
  const first = await claim("m", "worker");
  await settle("fail", "m", { fence: first.body.fence });
  const second = await claim("m", "worker");
  expect([first.body.attempts, second.body.attempts]).toEqual([1, 2]);
  const tooLong = await settle("complete", "m", { fence: second.body.fence, result: "x".repeat(20_000) });
  expect([tooLong.status, tooLong.body.field]).toEqual([400, "result"]);
  const fits = "x".repeat(16_000);
  expect((await settle("complete", "m", { fence: second.body.fence, result: fits })).status).toBe(200);
  expect((await claim("m", "other")).body.result).toBe(fits);
});

test("clause 15: ledgers do not know each other's messages", async () => {
  const [one, other] = [newLedger(), newLedger()];
  expect((await one.claim("m", "worker")).status).toBe(201);
  expect((await other.claim("m", "another")).status).toBe(201);
});

test("clause 15: many are claimed in one call, each with its own answer", async () => {
  const { ledger, claim } = newLedger();
  await claim("b", "other");
  const json = {
    claimant: "worker",
    leaseMs: 60_000,
    messages: ["a", "b", "c"].map((messageId) => ({ messageId })),
  };
  const answer = await broker.call<{ claims: Claim[] }>("POST", `${ledger}/claim-batches`, { json });
  expect(answer.claims.map(({ state }) => state)).toEqual(["claimed", "in-progress", "claimed"]);
});
