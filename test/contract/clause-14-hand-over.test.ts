// Clause 14: under effectively-once a 202 hands the completion to the receiver, which completes over HTTP by the claim
// that the request carried.

import { describe, expect, test } from "vitest";
import { codeOf, type PartitionStats, type Subscription, unique } from "../support/contract-client";
import type { Hook } from "../support/contract-receiver";
import { brokerUnderTest } from "../support/contract-target";

const broker = await brokerUnderTest();
const ONCE = { guarantee: "effectively-once", retry: { minDelayMs: 0, maxDelayMs: 0 } };
const SHORT = { "pennypost-claim-lease-ms": "1000" };
const idOf = ({ headers }: Hook) => headers.get("webhook-id");
const attemptOf = ({ headers }: Hook) => Number(headers.get("pennypost-attempt"));
const fenceOf = ({ headers }: Hook) => Number(headers.get("pennypost-claim-fence"));

type Ended = Readonly<{ results: readonly { claim: string; status: string }[] }>;

async function pushed(more: object = {}) {
  const [topic, receiver] = [await broker.topic(), await broker.receiver()];
  const settings = { type: "push", endpoint: { url: receiver.url }, ...ONCE, ...more };
  return { topic, receiver, subscription: await topic.subscribe(settings) };
}

/** The claim as a receiver reads it from a request. */
function claimOf({ headers }: Hook) {
  return { claim: headers.get("pennypost-claim"), messageId: headers.get("webhook-id") };
}

async function end(path: string, verb: string, claims: readonly object[], more: object = {}) {
  const { results } = await broker.call<Ended>("POST", `${path}/claims/${verb}`, {
    json: { claims, ...more },
  });
  return results.map(({ status }) => status);
}

async function settles(subscription: Subscription, settled: number): Promise<PartitionStats> {
  return broker.eventually(`${settled} are settled`, async () => {
    const [stats] = await subscription.stats();
    return stats?.settled === settled ? stats : undefined;
  });
}

describe("clause 14, a 202", () => {
  test("clause 14: what its receiver completes is settled, and not sent again", async () => {
    const { topic, receiver, subscription } = await pushed();
    receiver.answer(() => ({ status: 202 }));
    await topic.publish({ id: "m", data: 1 });
    const [hook] = await receiver.first(1);
    if (!hook) throw new Error("a webhook came");
    expect(fenceOf(hook)).toBeGreaterThan(0);
    expect(Number(hook.headers.get("pennypost-claim-lease-ms"))).toBe(900_000);
    expect(await end(subscription.path, "complete", [claimOf(hook)])).toEqual(["completed"]);
    expect(await end(subscription.path, "complete", [claimOf(hook)])).toEqual(["completed"]);
    expect(await settles(subscription, 1)).toMatchObject({ leased: 0, waiting: 0 });
    expect(receiver.hooks).toHaveLength(1);
  });

  test("clause 14: a receiver that completes before it answers 202 is done, too", async () => {
    const { topic, receiver, subscription } = await pushed();
    receiver.answer(async (hook) => {
      await end(subscription.path, "complete", [claimOf(hook)]);
      return { status: 202 };
    });
    await topic.publish({ id: "m", data: 1 });
    await settles(subscription, 1);
    expect(receiver.hooks).toHaveLength(1);
  });

  test("clause 14: what is not completed in time is sent again with a higher fence, and the old one settles nothing", async () => {
    const { topic, receiver, subscription } = await pushed();
    receiver.answer(() => ({ status: 202, headers: SHORT }));
    await topic.publish({ id: "m", data: 1 });
    const [first, second] = await receiver.first(2);
    if (!first || !second) throw new Error("two webhooks came");
    expect([idOf(second), attemptOf(second)]).toEqual(["m", 2]);
    expect(fenceOf(second)).toBeGreaterThan(fenceOf(first));
    expect(await end(subscription.path, "complete", [claimOf(first)])).toEqual(["claim-lost"]);
    expect(await end(subscription.path, "complete", [claimOf(second)])).toEqual(["completed"]);
    await settles(subscription, 1);
  });

  test("clause 14: a receiver that never completes ends in a dead letter that says so", async () => {
    const { topic, receiver, subscription } = await pushed({ maxAttempts: 2 });
    receiver.answer(() => ({ status: 202, headers: SHORT }));
    await topic.publish({ id: "m", data: 1 });
    await receiver.first(2);
    const letters = await broker.eventually("it is dead", async () => {
      const found = await subscription.deadLetters();
      return found.length > 0 ? found : undefined;
    });
    expect(letters).toMatchObject([{ reason: "attempts-spent", attempts: 2, message: { id: "m" } }]);
    expect(letters[0]?.detail).toMatch(/did not complete/);
  });

  test("clause 14: what its receiver fails is sent again, as an attempt that failed", async () => {
    const { topic, receiver, subscription } = await pushed();
    receiver.answer((_, index) => ({ status: index === 0 ? 202 : 200 }));
    await topic.publish({ id: "m", data: 1 });
    const [first] = await receiver.first(1);
    if (!first) throw new Error("a webhook came");
    expect(await end(subscription.path, "fail", [claimOf(first)], { reason: "busy" })).toEqual(["failed"]);
    const [, second] = await receiver.first(2);
    expect(second && attemptOf(second)).toBe(2);
    await settles(subscription, 1);
  });

  test("clause 14: what its receiver extends is kept for it", async () => {
    const { topic, receiver, subscription } = await pushed();
    receiver.answer(() => ({ status: 202, headers: { "pennypost-claim-lease-ms": "8000" } }));
    await topic.publish({ id: "m", data: 1 });
    const [hook] = await receiver.first(1);
    if (!hook) throw new Error("a webhook came");
    await broker.eventually("it is handed over", async () => {
      const [status] = await end(subscription.path, "extend", [claimOf(hook)], { leaseMs: 60_000 });
      return status === "extended" || undefined;
    });
    expect(await end(subscription.path, "complete", [claimOf(hook)])).toEqual(["completed"]);
    await settles(subscription, 1);
    expect(receiver.hooks).toHaveLength(1);
  });

  test("clause 14: the next of its ordering key is sent only when it is completed; other keys go on", async () => {
    const { topic, receiver, subscription } = await pushed();
    receiver.answer((hook) => ({ status: idOf(hook) === "k1" ? 202 : 200 }));
    await topic.publish(
      { id: "k1", orderingKey: "k", data: 1 },
      { id: "k2", orderingKey: "k", data: 2 },
      { id: "other", orderingKey: "o", data: 3 },
    );
    const hooks = await receiver.first(2);
    expect(hooks.map(idOf).sort()).toEqual(["k1", "other"]);
    const held = hooks.find((hook) => idOf(hook) === "k1");
    if (!held) throw new Error("the first of the key came");
    expect(await end(subscription.path, "complete", [claimOf(held)])).toEqual(["completed"]);
    expect((await receiver.first(3)).map(idOf)[2]).toBe("k2");
    await settles(subscription, 3);
  });

  test("clause 14: a batch that is answered 202 hands over each of its messages", async () => {
    const { topic, receiver, subscription } = await pushed({ batch: { maxMessages: 10 } });
    receiver.answer(() => ({ status: 202 }));
    await topic.publish({ id: "a", data: 1 }, { id: "b", data: 2 });
    const [hook] = await receiver.first(1);
    const messages = JSON.parse(hook?.text ?? "{}").messages as { id: string; claim: string }[];
    const claims = messages.map(({ id, claim }) => ({ messageId: id, claim }));
    expect(claims).toHaveLength(2);
    expect(await end(subscription.path, "complete", claims)).toEqual(["completed", "completed"]);
    await settles(subscription, 2);
    expect(receiver.hooks).toHaveLength(1);
  });

  test("clause 14: a replay that processes again asks its receiver again, and each completes its own", async () => {
    const { topic, receiver, subscription } = await pushed();
    receiver.answer(() => ({ status: 202 }));
    await topic.publish({ id: "m", data: 1 });
    const [first] = await receiver.first(1);
    if (!first) throw new Error("a webhook came");
    const json = { to: "earliest", reprocess: true };
    await broker.call("POST", `${subscription.path}/seek`, { json });
    const [, second] = await receiver.first(2);
    if (!second) throw new Error("a second webhook came");
    // The first's word is kept where it belongs: it is of a replay that has ended.
    expect(await end(subscription.path, "complete", [claimOf(first)])).toEqual(["completed"]);
    expect(await subscription.stats()).toMatchObject([{ settled: 0, leased: 1 }]);
    expect(await end(subscription.path, "complete", [claimOf(second)])).toEqual(["completed"]);
    await settles(subscription, 1);
    expect(receiver.hooks).toHaveLength(2);
  });

  test("clause 14: without effectively-once a 202 is a 2xx like any other", async () => {
    const { topic, receiver, subscription } = await pushed({ guarantee: "at-least-once" });
    receiver.answer(() => ({ status: 202 }));
    await topic.publish({ id: "m", data: 1 });
    const [hook] = await receiver.first(1);
    expect(hook?.headers.has("pennypost-claim-fence")).toBe(false);
    await settles(subscription, 1);
  });

  test("clause 14: completing needs the scope to consume, and a claim that nobody made is lost", async () => {
    const queue = await broker.queue();
    const { token } = await broker.call<{ token: string }>("POST", "/v1/tokens", {
      json: { name: unique("publisher"), scopes: [{ verb: "publish", topics: "*" }] },
    });
    const claims = [{ claim: "0.0.0.1", messageId: "m" }];
    const path = `${queue.path}/claims/complete`;
    const forbidden = await broker.send("POST", path, { json: { claims }, token });
    expect([forbidden.status, codeOf(forbidden.body)]).toEqual([403, "forbidden"]);
    expect(await end(queue.path, "complete", claims)).toEqual(["claim-lost"]);
    expect(await end(queue.path, "complete", [{ claim: "63.0.0.1", messageId: "m" }])).toEqual([
      "claim-lost",
    ]);
    const bad = await broker.send("POST", path, { json: { claims: [{ claim: "0.0", messageId: "m" }] } });
    expect([bad.status, bad.body.field]).toEqual([400, "claims[0].claim"]);
  });
});

describe("clause 14, settings", () => {
  test("clause 14: a lease shorter than the endpoint's timeout is refused, with its limit", async () => {
    const topic = await broker.topic();
    const endpoint = { url: "https://hooks.example.com/x", timeoutMs: 120_000 };
    const put = (json: object) =>
      broker.send<{ type: string; field?: string; limit?: number; ackDeadlineMs?: number }>(
        "PUT",
        `${topic.path}/subscriptions/s`,
        { json: { type: "push", endpoint, ...ONCE, ...json } },
      );
    const refused = await put({ ackDeadlineMs: 60_000 });
    expect([refused.status, refused.body.field, refused.body.limit]).toEqual([400, "ackDeadlineMs", 120_000]);
    expect(await put({ ackDeadlineMs: 120_000 })).toMatchObject({ status: 201 });
    // Left to itself it is long enough.
    expect((await put({})).body.ackDeadlineMs).toBe(120_000);
  });
});
