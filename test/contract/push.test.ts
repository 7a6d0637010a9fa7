// Clauses 8 to 12, 14 and 16 for push: what an endpoint is sent, and what its answers do.

import { Webhook } from "standardwebhooks";
import { describe, expect, test } from "vitest";
import { codeOf } from "../support/contract-client";
import type { Hook, Receiver } from "../support/contract-receiver";
import { brokerUnderTest } from "../support/contract-target";

const broker = await brokerUnderTest();
const EAGER = { retry: { minDelayMs: 0, maxDelayMs: 0 } };
const idOf = ({ headers }: Hook) => headers.get("webhook-id");
const attemptOf = ({ headers }: Hook) => Number(headers.get("pennypost-attempt"));
const pushTo = ({ url }: Receiver, more: object = {}) => ({
  type: "push",
  endpoint: { url },
  ...EAGER,
  ...more,
});

async function pushed(more: object = {}) {
  const [topic, receiver] = [await broker.topic(), await broker.receiver()];
  const subscription = await topic.subscribe(pushTo(receiver, more));
  return { topic, receiver, subscription };
}

describe("clause 8, push", () => {
  test("clause 8: a webhook is the message byte for byte, signed as Standard Webhooks say", async () => {
    const [topic, receiver] = [await broker.topic(), await broker.receiver()];
    const shown = await broker.call<{ endpoint: { signingSecret: string } }>(
      "PUT",
      `${topic.path}/subscriptions/billing`,
      { json: { ...pushTo(receiver), startAt: "earliest" } },
    );
    const body = '{"amount": 10,\n "currency":"EUR" }';
    await topic.publishRaw(body, {
      prefer: "wait",
      "idempotency-key": "order-7",
      "content-type": "application/json",
      "pennypost-attr-tenant": "acme",
      "pennypost-ordering-key": "k",
    });
    const [hook] = await receiver.first(1);
    if (!hook) throw new Error("a webhook came");
    expect(hook.text).toBe(body);
    expect(Object.fromEntries(hook.headers)).toMatchObject({
      "content-type": "application/json",
      "webhook-id": "order-7",
      "pennypost-subscription": "billing",
      "pennypost-ordering-key": "k",
      "pennypost-attr-tenant": "acme",
      "pennypost-attempt": "1",
    });
    const verify = () =>
      new Webhook(shown.endpoint.signingSecret).verify(body, Object.fromEntries(hook.headers));
    expect(verify()).toEqual({ amount: 10, currency: "EUR" });
    const again = await broker.call<{ endpoint: object }>("GET", `${topic.path}/subscriptions/billing`);
    expect(again.endpoint).not.toHaveProperty("signingSecret");
  });

  test("clause 8: bytes that are no text arrive as they are", async () => {
    const { topic, receiver } = await pushed();
    const everyByte = Uint8Array.from({ length: 256 }, (_, i) => 255 - i);
    await topic.publishRaw(everyByte, { prefer: "wait", "content-type": "application/octet-stream" });
    const [hook] = await receiver.first(1);
    expect(hook?.body).toEqual(everyByte);
  });

  test("clause 8: what failed is sent again until it is answered 2xx, under the same webhook-id", async () => {
    const { topic, receiver } = await pushed();
    receiver.answer((_, index) => ({ status: [500, 302, 404, 200][index] ?? 200 }));
    await topic.publish({ id: "m", data: 1 });
    const hooks = await receiver.first(4);
    expect(hooks.map(idOf)).toEqual(["m", "m", "m", "m"]);
    expect(hooks.map(attemptOf)).toEqual([1, 2, 3, 4]);
  });

  test("clause 16: every push subscription of a topic gets every message, and a failing one holds up no other", async () => {
    const topic = await broker.topic();
    const receivers = [await broker.receiver(), await broker.receiver(), await broker.receiver()];
    receivers[1]?.answer(() => ({ status: 503 }));
    for (const receiver of receivers) {
      await topic.subscribe(pushTo(receiver, { retry: { minDelayMs: 60_000, maxDelayMs: 60_000 } }));
    }
    await topic.publish({ id: "a", data: 1 }, { id: "b", data: 2 });
    for (const receiver of receivers) {
      expect((await receiver.first(2)).map(idOf).sort()).toEqual(["a", "b"]);
    }
  });
});

describe("clause 10, push", () => {
  test("clause 10: Retry-After wins over the backoff", async () => {
    const { topic, receiver } = await pushed();
    receiver.answer((_, index) =>
      index === 0 ? { status: 503, headers: { "retry-after": "2" } } : { status: 200 },
    );
    await topic.publish({ id: "m", data: 1 });
    const [first, second] = (await receiver.first(2)).map(({ headers }) =>
      Number(headers.get("webhook-timestamp")),
    );
    expect((second ?? 0) - (first ?? 0)).toBeGreaterThanOrEqual(1);
    expect((second ?? 0) - (first ?? 0)).toBeLessThan(10);
  });

  test("clause 10: an endpoint that answers 410 is sent nothing more until the subscription is resumed", async () => {
    const { topic, receiver, subscription } = await pushed();
    receiver.answer((_, index) => ({ status: index === 0 ? 410 : 200 }));
    await topic.publish({ id: "m", data: 1 });
    const paused = await broker.eventually("the subscription is paused", async () => {
      const shown = await broker.call<{ paused: boolean; pausedReason?: string }>("GET", subscription.path);
      return shown.paused ? shown : undefined;
    });
    expect(paused.pausedReason).toBe("endpoint-gone");
    expect(receiver.hooks).toHaveLength(1);
    await subscription.resume();
    expect((await receiver.first(2)).map(idOf)).toEqual(["m", "m"]);
  });

  test("clause 11: an endpoint that never answers 2xx ends in dead letters that say what it answered", async () => {
    const { topic, receiver, subscription } = await pushed({ maxAttempts: 2, onExhausted: "skip" });
    receiver.answer((_, index) => (index < 2 ? { status: 500, body: "no such account" } : { status: 200 }));
    await topic.publish(
      { id: "poison", orderingKey: "k", data: 1 },
      { id: "next", orderingKey: "k", data: 2 },
    );
    // The next of its key is sent only once the first is dead.
    expect((await receiver.first(3)).map(idOf)).toEqual(["poison", "poison", "next"]);
    const letters = await subscription.deadLetters();
    expect(letters).toMatchObject([{ reason: "attempts-spent", attempts: 2, message: { id: "poison" } }]);
    expect(letters[0]?.history).toMatchObject([
      { status: 500, error: "no such account" },
      { status: 500, error: "no such account" },
    ]);
  });

  test("clause 10: an endpoint of another network's is refused when it is set", async () => {
    const topic = await broker.topic();
    const json = { type: "push", endpoint: { url: "https://10.0.0.1/hook" } };
    const { status, body } = await broker.send("PUT", `${topic.path}/subscriptions/s`, { json });
    expect([status, codeOf(body), body.field]).toEqual([400, "invalid-request", "endpoint.url"]);
  });
});

describe("clause 12, push", () => {
  test("clause 12: webhooks of one key are sent one by one and in order, whatever fails", async () => {
    const { topic, receiver } = await pushed();
    const failedOnce = new Set<string | null>();
    let underway = 0;
    let most = 0;
    receiver.answer(async (hook) => {
      underway += 1;
      most = Math.max(most, underway);
      await Promise.resolve();
      underway -= 1;
      const isFirst = !failedOnce.has(idOf(hook));
      failedOnce.add(idOf(hook));
      return { status: isFirst ? 500 : 200 };
    });
    await topic.publish(...[1, 2, 3, 4].map((i) => ({ id: `k${i}`, orderingKey: "k", data: i })));
    const hooks = await receiver.first(8);
    expect(hooks.map(idOf)).toEqual(["k1", "k1", "k2", "k2", "k3", "k3", "k4", "k4"]);
    expect(most).toBe(1);
  });
});

describe("clause 14", () => {
  const once = { guarantee: "effectively-once" };

  test("clause 14: under effectively-once each message is sent, and what was answered 2xx is not sent again", async () => {
    const { topic, receiver, subscription } = await pushed(once);
    const messages = Array.from({ length: 20 }, (_, i) => ({
      id: `m-${i}`,
      orderingKey: `k${i % 3}`,
      data: i,
    }));
    await topic.publish(...messages);
    const hooks = await receiver.first(20);
    expect(hooks.map(idOf).sort()).toEqual(messages.map(({ id }) => id).sort());
    // Changing the settings wakes the subscription, which would send what it believed unsettled.
    await subscription.pause();
    await subscription.resume();
    await topic.publish({ id: "last", orderingKey: "k0", data: 0 });
    expect((await receiver.first(21)).map(idOf)).toContain("last");
    expect(receiver.hooks).toHaveLength(21);
  });

  test("clause 14: under effectively-once what failed is sent again", async () => {
    const { topic, receiver } = await pushed(once);
    receiver.answer((_, index) => ({ status: index < 2 ? 500 : 200 }));
    await topic.publish({ id: "m", data: 1 });
    const hooks = await receiver.first(3);
    expect(hooks.map((hook) => [idOf(hook), attemptOf(hook)])).toEqual([
      ["m", 1],
      ["m", 2],
      ["m", 3],
    ]);
  });

  test("clause 14: a pull subscription is told to use a ledger instead", async () => {
    const topic = await broker.topic();
    const { status, body } = await broker.send("PUT", `${topic.path}/subscriptions/s`, { json: once });
    expect([status, codeOf(body), body.field]).toEqual([400, "invalid-request", "guarantee"]);
  });
});

describe("push in batches", () => {
  test("clause 8: an endpoint that asks for batches gets many messages in one request, and may refuse some", async () => {
    const { topic, receiver } = await pushed({ batch: { maxMessages: 10 } });
    receiver.answer((_, index) =>
      index === 0
        ? {
            status: 200,
            headers: { "content-type": "application/json" },
            body: JSON.stringify({ failed: [{ id: "b", reason: "busy" }] }),
          }
        : { status: 200 },
    );
    await topic.publish({ id: "a", data: 1 }, { id: "b", data: 2 }, { id: "c", data: 3 });
    const [first, second] = await receiver.first(2);
    const idsIn = (hook: Hook | undefined) =>
      (JSON.parse(hook?.text ?? "{}").messages as { id: string; attempt: number }[]).map(
        ({ id, attempt }) => [id, attempt],
      );
    expect(idsIn(first)).toEqual([
      ["a", 1],
      ["b", 1],
      ["c", 1],
    ]);
    expect(idsIn(second)).toEqual([["b", 2]]);
  });
});
