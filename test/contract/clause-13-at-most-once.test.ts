// Clause 13: at-most-once. A message is settled in the change that hands it out, so it never comes twice.

import { describe, expect, test } from "vitest";
import type { PartitionStats, Subscription } from "../support/contract-client";
import { codeOf } from "../support/contract-client";
import type { Hook } from "../support/contract-receiver";
import { brokerUnderTest } from "../support/contract-target";

const broker = await brokerUnderTest();
const ONCE = { guarantee: "at-most-once" };
const idOf = ({ headers }: Hook) => headers.get("webhook-id");

function conserved(stats: PartitionStats): boolean {
  const { settled, filtered, expired, dead, purged, moved, leased, waiting } = stats;
  const accounted = settled + filtered + expired + dead + purged + moved + leased + waiting;
  return stats.nextOffset - stats.startOffset === accounted;
}

async function statsOf(subscription: Pick<Subscription, "stats">) {
  const [stats] = await subscription.stats();
  if (!stats) throw new Error("a subscription has a partition");
  return stats;
}

async function pushedOnce(more: object = {}) {
  const [topic, receiver] = [await broker.topic(), await broker.receiver()];
  const settings = { type: "push", endpoint: { url: receiver.url }, ...ONCE, ...more };
  return { topic, receiver, subscription: await topic.subscribe(settings) };
}

describe("clause 13, pull", () => {
  test("clause 13: what is pulled is settled, has nothing to ack, and never comes again", async () => {
    const queue = await broker.queue(ONCE);
    await queue.publish({ id: "a", data: 1 }, { id: "b", data: 2 });
    const pulled = await queue.pullAll(2);
    expect(pulled.map(({ id, attempt }) => [id, attempt])).toEqual([
      ["a", 1],
      ["b", 1],
    ]);
    for (const message of pulled) {
      expect(message).not.toHaveProperty("ackId");
      expect(message).not.toHaveProperty("deadlineAt");
    }
    expect(await queue.pull({ max: 10, waitMs: 300 })).toEqual([]);
    const stats = await statsOf(queue);
    expect(stats).toMatchObject({ settled: 2, leased: 0, waiting: 0, dead: 0, unread: 0 });
    expect(conserved(stats)).toBe(true);
  });

  test("clause 13: an ack id that somebody makes up settles, gives back and extends nothing", async () => {
    const queue = await broker.queue(ONCE);
    await queue.publish({ id: "a", data: 1 });
    await queue.pullAll(1);
    const ackIds = ["0.0.0198f0a2-4c1e-7d3a-9b57-3f1c2a5d6e7f"];
    for (const [verb, more] of [
      ["ack", {}],
      ["nack", {}],
      ["extend", { ackDeadlineMs: 5_000 }],
    ] as const) {
      expect(await broker.call("POST", `${queue.path}/${verb}`, { json: { ackIds, ...more } })).toMatchObject(
        {
          results: [{ status: "lease-lost" }],
        },
      );
    }
    expect(await queue.pull({ waitMs: 300 })).toEqual([]);
  });

  test("clause 13: the messages of one ordering key are handed out in order, and consumers share them", async () => {
    const queue = await broker.queue(ONCE);
    await queue.publish(...[1, 2, 3, 4].map((i) => ({ id: `k${i}`, orderingKey: "k", data: i })));
    const first = await queue.pullAll(2, { max: 2 });
    const second = await queue.pullAll(2, { max: 2 });
    expect([...first, ...second].map(({ id }) => id)).toEqual(["k1", "k2", "k3", "k4"]);
  });

  test("clause 13: pulls that run side by side never get one message twice", async () => {
    const queue = await broker.queue(ONCE);
    await queue.publish(...Array.from({ length: 40 }, (_, i) => ({ id: `m${i}`, data: i })));
    const pulls = await Promise.all(Array.from({ length: 8 }, () => queue.pull({ max: 10 })));
    const ids = pulls.flat().map(({ id }) => id);
    expect(new Set(ids).size).toBe(ids.length);
    const rest = ids.length < 40 ? await queue.pullAll(40 - ids.length) : [];
    expect(new Set([...ids, ...rest.map(({ id }) => id)]).size).toBe(40);
  });
});

describe("clause 13, push", () => {
  test("clause 13: whatever an endpoint answers, each message is sent once, and counts as settled", async () => {
    const { topic, receiver, subscription } = await pushedOnce();
    receiver.answer((_, index) => ({ status: [500, 429, 302, 200][index] ?? 200, body: "busy" }));
    await topic.publish(...["a", "b", "c", "d"].map((id) => ({ id, data: 1 })));
    await receiver.first(4);
    await topic.publish({ id: "last", data: 1 });
    const hooks = await receiver.first(5);
    expect(hooks.map(idOf).sort()).toEqual(["a", "b", "c", "d", "last"]);
    const stats = await statsOf(subscription);
    expect(stats).toMatchObject({ settled: 5, leased: 0, waiting: 0, dead: 0 });
    expect(conserved(stats)).toBe(true);
    expect(await subscription.deadLetters()).toEqual([]);
  });

  test("clause 13: one ordering key is sent one by one and in order, and a failure holds up nothing", async () => {
    const { topic, receiver } = await pushedOnce();
    let underway = 0;
    let most = 0;
    receiver.answer(async (_, index) => {
      underway += 1;
      most = Math.max(most, underway);
      await Promise.resolve();
      underway -= 1;
      return { status: index % 3 === 0 ? 500 : 200 };
    });
    const ids = Array.from({ length: 12 }, (_, i) => `k${i}`);
    // In several publishes, so that several dispatches carry them.
    for (const some of [ids.slice(0, 4), ids.slice(4, 8), ids.slice(8)]) {
      await topic.publish(...some.map((id) => ({ id, orderingKey: "k", data: 1 })));
    }
    expect((await receiver.first(12)).map(idOf)).toEqual(ids);
    expect(most).toBe(1);
  });

  test("clause 13: an endpoint that is gone pauses the subscription, and what comes after waits in the log", async () => {
    const { topic, receiver, subscription } = await pushedOnce();
    receiver.answer((_, index) => ({ status: index === 0 ? 410 : 200 }));
    await topic.publish({ id: "a", data: 1 });
    await broker.eventually("the subscription is paused", async () => {
      const shown = await broker.call<{ paused: boolean }>("GET", subscription.path);
      return shown.paused || undefined;
    });
    await topic.publish({ id: "b", data: 1 });
    await subscription.resume();
    expect((await receiver.first(2)).map(idOf)).toEqual(["a", "b"]);
  });
});

describe("clause 13, settings", () => {
  test("clause 13: it makes one attempt, and asking for more is refused", async () => {
    const topic = await broker.topic();
    const path = `${topic.path}/subscriptions/s`;
    const refused = await broker.send("PUT", path, { json: { ...ONCE, maxAttempts: 2 } });
    expect([refused.status, codeOf(refused.body), refused.body.field]).toEqual([
      400,
      "invalid-request",
      "maxAttempts",
    ]);
    expect(await broker.call("PUT", path, { json: ONCE })).toMatchObject({ ...ONCE, maxAttempts: 1 });
  });

  test("clause 13: what waited for another attempt when the guarantee changed is handed out once more, and settled", async () => {
    const topic = await broker.topic();
    const subscription = await topic.subscribe({ retry: { minDelayMs: 0, maxDelayMs: 0 } }, "s");
    await topic.publish({ id: "a", data: 1 });
    await subscription.nack(await subscription.pullAll(1));
    await broker.call("PUT", subscription.path, { json: ONCE });
    const [again] = await subscription.pullAll(1);
    expect(again).toMatchObject({ id: "a", attempt: 2 });
    expect(again).not.toHaveProperty("ackId");
    expect(await subscription.pull({ waitMs: 300 })).toEqual([]);
    expect(conserved(await statsOf(subscription))).toBe(true);
  });
});
