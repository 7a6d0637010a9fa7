// Retention on the real objects: subscriptions are told before anything is removed, what waits dies with its message,
// what was never read leaves a gap record, and leases are let end.

import { evictDurableObject } from "cloudflare:test";
import { describe, expect, test } from "vitest";
import { limits } from "../../src/limits";
import { unpackRecords } from "../../src/record-batch";
import type { SubscriptionSettings } from "../../src/settings";
import type { SubscriptionCalls } from "../../src/subscription-calls";
import type { TopicCalls } from "../../src/topic-calls";
import {
  conservation,
  idsOf,
  message,
  newSubscription,
  newTopic,
  refs,
  testRuntime,
  useRuntime,
  value,
} from "../support/objects";

const retentionMs = 80_000;
const TURNS = 200;
type Stub<C> = C & DurableObjectStub;

/** A topic and a subscription on one clock. */
async function scene(settings: Partial<SubscriptionSettings> = {}) {
  const clock = testRuntime();
  const topic = await newTopic({ retentionMs });
  await useRuntime(topic.topic, clock);
  const reader = await newSubscription(topic, settings);
  await useRuntime(reader.subscription, clock);
  return { ...topic, ...reader, clock };
}

/** Lets all that was published so far be past its retention, and pokes the topic as the sweep does. */
async function overtake({ topic, clock }: { topic: TopicCalls; clock: { advance(ms: number): void } }) {
  clock.advance(retentionMs + 1);
  value(await topic.wake());
}

/** The oldest offset on disk, retired or not. */
async function storedFrom(topic: TopicCalls): Promise<number> {
  return value(await topic.readOffsets({ offsets: [], retired: true })).earliest;
}

/** Turns through the topic until what is on disk begins at `offset`. */
async function untilStoredFrom(topic: TopicCalls, offset: number): Promise<void> {
  for (let turn = 0; (await storedFrom(topic)) !== offset; turn++) {
    if (turn === TURNS) throw new Error(`the topic still stores from ${await storedFrom(topic)}`);
  }
}

async function evict(
  stub: Stub<TopicCalls> | Stub<SubscriptionCalls>,
  clock: ReturnType<typeof testRuntime>,
) {
  await evictDurableObject(stub);
  await useRuntime(stub, clock);
}

async function deadLetters(subscription: SubscriptionCalls) {
  const letters = value(await subscription.deadLetters({ after: -1, limit: 100 }));
  return letters.map(({ offset, reason, attempts, record }) => ({
    ...{ offset, reason, attempts },
    ids: record && unpackRecords(record).map(({ id }) => id),
  }));
}

describe("what retention overtakes", () => {
  test("what was never read is counted with a gap record before it is removed, and the record outlives a restart", async () => {
    const s = await scene();
    await s.publish("a", "b", "c");
    await s.subscription.ack({ refs: refs(await s.pull(1)) });
    await overtake(s);
    await untilStoredFrom(s.topic, 3);
    const gaps = [{ from: 1, to: 3, count: 2, at: s.clock.now() }];
    expect(value(await s.subscription.stats())).toMatchObject({
      expired: 2,
      settled: 1,
      nextOffset: 3,
      gaps,
    });
    await evict(s.subscription, s.clock);
    expect(value(await s.subscription.stats())).toMatchObject({ expired: 2, nextOffset: 3, gaps });
    expect(await conservation(s.subscription)).toBe(0);
  });

  test("a delivery that waits dies as expired, with its message and its attempts", async () => {
    const s = await scene();
    await s.publish("a", "b");
    const lease = await s.pull();
    await s.subscription.nack({ refs: refs(lease).slice(0, 1), delayMs: 10 * retentionMs });
    await s.subscription.ack({ refs: refs(lease).slice(1) });
    // Neither object has the message in memory: it is read from the log that is about to be removed.
    await evict(s.subscription, s.clock);
    await overtake(s);
    await untilStoredFrom(s.topic, 2);
    expect(await deadLetters(s.subscription)).toEqual([
      { offset: 0, reason: "expired", attempts: 1, ids: ["a"] },
    ]);
    expect(value(await s.subscription.stats())).toMatchObject({ dead: 1, expired: 0, waiting: 0, gaps: [] });
    expect(await conservation(s.subscription)).toBe(0);
  });

  test("the head of a lane dies with its message, its followers are counted, and the lane goes on in order", async () => {
    const s = await scene();
    const keyed = (id: string) => message(id, { orderingKey: "k" });
    await s.publish(keyed("a"), keyed("b"), message("other"), keyed("c"));
    const lease = await s.pull(1);
    await s.subscription.nack({ refs: refs(lease), delayMs: 10 * retentionMs });
    await s.subscription.ack({ refs: refs(await s.pull()) });
    expect(value(await s.subscription.stats())).toMatchObject({ nextOffset: 3, followers: 1 });
    s.clock.advance(retentionMs / 2);
    await s.publish(keyed("d"), message("more"), keyed("e"));
    await s.subscription.ack({ refs: refs(await s.pull()) });
    expect(value(await s.subscription.stats())).toMatchObject({ nextOffset: 6, followers: 3 });
    // A restart forgets where the followers lie: they are looked for.
    await evict(s.subscription, s.clock);
    s.clock.advance(retentionMs / 2 + 1);
    value(await s.topic.wake());
    await untilStoredFrom(s.topic, 4);
    expect(await deadLetters(s.subscription)).toMatchObject([{ offset: 0, reason: "expired", ids: ["a"] }]);
    expect(value(await s.subscription.stats())).toMatchObject({ expired: 2, followers: 1, dead: 1 });
    expect(idsOf(await s.pull())).toEqual(["d", "e"]);
    expect(await conservation(s.subscription)).toBe(0);
  });

  test("a dead letter that was sent round again has its message with it, and is not overtaken", async () => {
    const s = await scene();
    await s.publish("a");
    await s.subscription.nack({ refs: refs(await s.pull()), deadLetter: true });
    await overtake(s);
    await untilStoredFrom(s.topic, 1);
    value(await s.subscription.redrive({ offsets: [0] }));
    await s.publish("b");
    await overtake(s);
    await untilStoredFrom(s.topic, 2);
    expect(idsOf(await s.pull())).toEqual(["a"]);
  });

  test("with nobody to tell it is removed by the call that comes first", async () => {
    const { topic, publish } = await newTopic({ retentionMs });
    const clock = testRuntime();
    await useRuntime(topic, clock);
    await publish("a");
    await overtake({ topic, clock });
    expect(await storedFrom(topic)).toBe(1);
  });

  test("what was read before of the log does not keep it from being removed", async () => {
    const { topic, publish } = await newTopic({ retentionMs });
    const clock = testRuntime();
    await useRuntime(topic, clock);
    for (const id of ["a", "b", "c"]) await publish(id);
    value(await topic.readOffsets({ offsets: [0] }));
    value(await topic.read({ from: 0, maxBytes: 1 }));
    await overtake({ topic, clock });
    expect(await storedFrom(topic)).toBe(3);
  });

  test("a subscription that was told before it existed is told again, of what it holds by then", async () => {
    const clock = testRuntime();
    const topic = await newTopic({ retentionMs });
    await useRuntime(topic.topic, clock);
    await topic.publish("gone before");
    const halfWay = () => overtake({ ...topic, clock });
    const reader = await newSubscription(topic, {}, { at: "earliest" }, halfWay);
    await useRuntime(reader.subscription, clock);
    await topic.publish("a");
    await reader.subscription.nack({ refs: refs(await reader.pull()), delayMs: 10 * retentionMs });
    await evict(reader.subscription, clock);
    await overtake({ ...topic, clock });
    await untilStoredFrom(topic.topic, 2);
    const expired = { offset: 1, reason: "expired", attempts: 1, ids: ["a"] };
    expect(await deadLetters(reader.subscription)).toEqual([expired]);
    expect(await conservation(reader.subscription)).toBe(0);
  });

  test("telling twice changes nothing", async () => {
    const s = await scene();
    await s.publish("a", "b");
    await overtake(s);
    await untilStoredFrom(s.topic, 2);
    const before = value(await s.subscription.stats());
    expect(value(await s.subscription.expire({ before: 2 }))).toEqual({ done: true });
    expect(value(await s.subscription.stats())).toEqual(before);
  });
});

describe("a lease that retention overtakes", () => {
  test("is let end: nobody else is shown the message, it is still on disk, and an ack settles it", async () => {
    const s = await scene({ ackDeadlineMs: 2 * retentionMs });
    await s.publish("a");
    const lease = await s.pull();
    await overtake(s);
    expect(value(await s.topic.read({ from: 0, maxBytes: 1_000 }))).toMatchObject({ runs: [], earliest: 1 });
    expect(await storedFrom(s.topic)).toBe(0);
    expect(value(await s.subscription.ack({ refs: refs(lease) }))).toEqual(["acked"]);
    s.clock.advance(2 * retentionMs);
    value(await s.topic.wake());
    await untilStoredFrom(s.topic, 1);
    expect(value(await s.subscription.stats())).toMatchObject({ settled: 1, expired: 0, dead: 0 });
  });

  test("that fails after that is a dead letter with its message, and is not handed out again", async () => {
    const s = await scene({ ackDeadlineMs: 2 * retentionMs });
    await s.publish("a");
    const lease = await s.pull();
    await overtake(s);
    value(await s.topic.stats());
    await s.subscription.nack({ refs: refs(lease), delayMs: 0 });
    expect(idsOf(await s.pull())).toEqual([]);
    expect(await deadLetters(s.subscription)).toEqual([
      { offset: 0, reason: "expired", attempts: 1, ids: ["a"] },
    ]);
  });
});

describe("a subscription that cannot be told", () => {
  test("holds up the removal for as long as a lease may last, and no longer", async () => {
    const s = await scene();
    await s.publish("a");
    const away = () => {
      throw new Error("away");
    };
    await useRuntime(s.subscription, { ...testRuntime(), now: away });
    await overtake(s);
    value(await s.topic.stats());
    s.clock.advance(limits.expireWaitMs - 1_000);
    value(await s.topic.wake());
    expect(await storedFrom(s.topic)).toBe(0);
    s.clock.advance(2_000);
    value(await s.topic.wake());
    await untilStoredFrom(s.topic, 1);
    // It finds out when it reads on.
    await evict(s.subscription, s.clock);
    expect(idsOf(await s.pull())).toEqual([]);
    expect(value(await s.subscription.stats())).toMatchObject({
      expired: 1,
      gaps: [{ from: 0, to: 1, count: 1 }],
    });
  });

  test("does not when it is gone", async () => {
    const s = await scene();
    await s.publish("a");
    value(await s.subscription.remove());
    await overtake(s);
    await untilStoredFrom(s.topic, 1);
  });
});

test("a seek begins gap records anew, as it does the counters", async () => {
  const s = await scene();
  await s.publish("a", "b");
  value(await s.subscription.expire({ before: 1 }));
  const call = { to: { at: "earliest" }, reprocess: true, dryRun: false } as const;
  value(await s.subscription.seek({ seekId: "seek", ...call }));
  expect(value(await s.subscription.stats())).toMatchObject({ epoch: 1, expired: 0, gaps: [] });
});

test("gap records are few, and their counts are all that expired", async () => {
  const s = await scene();
  for (let i = 0; i <= limits.gapsKept + 1; i++) {
    await s.publish(`a${i}`, `b${i}`);
    await overtake(s);
    await untilStoredFrom(s.topic, 2 * (i + 1));
  }
  const { gaps, expired } = value(await s.subscription.stats());
  expect(gaps).toHaveLength(limits.gapsKept);
  expect(gaps[0]).toMatchObject({ from: 0, to: 6, count: 6 });
  expect(gaps.reduce((total, { count }) => total + count, 0)).toBe(expired);
});
