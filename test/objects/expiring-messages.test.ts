// Messages that expire, on the real subscription object: also when its memory was lost in between.

import { evictDurableObject } from "cloudflare:test";
import { expect, test } from "vitest";
import {
  conservation,
  idsOf,
  message,
  newSubscription,
  newTopic,
  refs,
  useRuntime,
  value,
} from "../support/objects";

const RETRY = { maxAttempts: 5, minDelayMs: 10_000, maxDelayMs: 10_000 };

async function world() {
  const topic = await newTopic();
  const fixture = await newSubscription(topic, { retry: RETRY });
  const { subscription, clock } = fixture;
  const start = clock.now();
  const expiring = (id: string, afterMs: number, more = {}) =>
    message(id, { expiresAt: start + afterMs, ...more });
  const evict = async () => {
    await evictDurableObject(subscription);
    await useRuntime(subscription, clock);
  };
  const stats = async () => {
    expect(await conservation(subscription)).toBe(0);
    return value(await subscription.stats());
  };
  const dead = async () => value(await subscription.deadLetters({ after: -1, limit: 10 }));
  return { ...topic, ...fixture, expiring, evict, stats, dead };
}

test("what expired unread counts so in one write, also after eviction, and stays counted", async () => {
  const { publish, pull, clock, expiring, evict, stats } = await world();
  await publish(expiring("a", 1_000), expiring("b", 1_000));
  clock.advance(1_000);
  await evict();
  expect((await pull()).deliveries).toEqual([]);
  expect(await stats()).toMatchObject({ expired: 2, nextOffset: 2, unread: 0 });
  await evict();
  expect(await stats()).toMatchObject({ expired: 2, unread: 0 });
});

test("a failure whose next attempt would come too late dies at once, with its message", async () => {
  const { publish, pull, subscription, expiring, dead, stats } = await world();
  await publish(expiring("a", 10_000));
  expect(value(await subscription.nack({ refs: refs(await pull()) }))).toEqual(["dead"]);
  const [letter] = await dead();
  expect(letter).toMatchObject({ reason: "expired", attempts: 1 });
  expect(letter?.record?.byteLength).toBeGreaterThan(0);
  expect(await stats()).toMatchObject({ dead: 1, waiting: 0 });
});

test("after an eviction it dies when its attempt would be due, and is not handed out", async () => {
  const { publish, pull, subscription, clock, expiring, evict, dead, stats } = await world();
  await publish(expiring("a", 10_000));
  const leased = refs(await pull());
  await evict();
  expect(value(await subscription.nack({ refs: leased }))).toEqual(["released"]);
  expect(await stats()).toMatchObject({ waiting: 1 });
  clock.advance(10_000);
  expect((await pull()).deliveries).toEqual([]);
  expect(await dead()).toMatchObject([{ reason: "expired", attempts: 1 }]);
});

test("a deadline that passes after the expiry is a death, and its lane goes on at once, in order", async () => {
  const { publish, pull, clock, alarm, expiring, dead, stats } = await world();
  const key = { orderingKey: "k" };
  await publish(expiring("a", 1_000, key), expiring("b", 1_000, key), message("c", key));
  expect(idsOf(await pull(1))).toEqual(["a"]);
  clock.advance(60_000);
  await alarm();
  expect(await dead()).toMatchObject([{ offset: 0, reason: "expired" }]);
  expect(idsOf(await pull())).toEqual(["c"]);
  expect(await stats()).toMatchObject({ dead: 1, expired: 1, leased: 1, waiting: 0, blockedLanes: 0 });
});

test.each([
  ["when they are passed", true],
  ["when their turn comes", false],
])(
  "more followers than one search brings may have expired %s: what comes after them is found",
  async (_, early) => {
    const { publish, pull, subscription, clock, expiring, evict, stats } = await world();
    const key = { orderingKey: "k" };
    const followers = Array.from({ length: 250 }, (_, i) => expiring(`f${i}`, 1_000, key));
    await publish(message("head", key), ...followers, message("last", key), message("other"));
    const head = await pull(1);
    if (early) clock.advance(1_000);
    expect(idsOf(await pull())).toEqual(["other"]);
    await evict();
    value(await subscription.ack({ refs: refs(head) }));
    if (!early) clock.advance(1_000);
    expect(idsOf(await pull())).toEqual(["last"]);
    expect(await stats()).toMatchObject({ expired: 250, settled: 1, leased: 2, waiting: 0 });
    expect(value(await subscription.audit({ from: 0 }))).toMatchObject({ holds: true });
  },
);
