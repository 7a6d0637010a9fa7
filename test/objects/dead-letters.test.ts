// Dead letters on the real objects: chosen by what they are, sent round at a rate and up to a cap, moved away.

import { evictDurableObject, runInDurableObject } from "cloudflare:test";
import { describe, expect, test } from "vitest";
import type { DeadLetterFilter, LetterAt } from "../../src/dead-letter-calls";
import { limits } from "../../src/limits";
import type { SubscriptionSettings } from "../../src/settings";
import type { LeaseAnswer, SubscriptionCalls } from "../../src/subscription-calls";
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

const keyed = (id: string, orderingKey: string) => message(id, { orderingKey });
const EVERY = { all: true, limit: 1_000 } as const;

async function world(ids: (string | ReturnType<typeof message>)[], more: Partial<SubscriptionSettings> = {}) {
  const topic = await newTopic();
  const reader = await newSubscription(topic, more);
  await topic.publish(...ids);
  return { ...topic, ...reader };
}

const kill = async (subscription: SubscriptionCalls, lease: LeaseAnswer) =>
  value(await subscription.nack({ refs: refs(lease), deadLetter: true }));
const stats = async (subscription: SubscriptionCalls) => value(await subscription.stats());
const find = async (subscription: SubscriptionCalls, where: DeadLetterFilter = {}, after?: LetterAt) =>
  value(await subscription.findDeadLetters({ ...EVERY, where, ...(after && { after }) }));
const offsets = async (subscription: SubscriptionCalls, where: DeadLetterFilter) =>
  (await find(subscription, where)).letters.map(({ offset }) => offset);
const holds = async (subscription: SubscriptionCalls) => {
  expect(await conservation(subscription)).toBe(0);
  expect(value(await subscription.audit({ from: 0 }))).toMatchObject({ holds: true });
};

describe("choosing", () => {
  test("goes by reason, key, epoch and when they died, and every word must hold", async () => {
    const { subscription, pull, clock } = await world(["a", keyed("k", "k"), "b", "c"], {
      retry: { maxAttempts: 1, minDelayMs: 0, maxDelayMs: 0 },
    });
    const start = clock.now();
    await kill(subscription, await pull(2));
    clock.advance(1_000);
    value(await subscription.nack({ refs: refs(await pull(1)) }));
    clock.advance(1_000);
    await kill(subscription, await pull(1));
    expect(await offsets(subscription, {})).toEqual([0, 1, 2, 3]);
    expect(await offsets(subscription, { reason: "attempts-spent" })).toEqual([2]);
    expect(await offsets(subscription, { orderingKey: "k" })).toEqual([1]);
    expect(await offsets(subscription, { diedAfter: start + 1_000 })).toEqual([2, 3]);
    expect(await offsets(subscription, { diedBefore: start + 1_000 })).toEqual([0, 1]);
    expect(await offsets(subscription, { diedAfter: start + 1, diedBefore: start + 2_000 })).toEqual([2]);
    expect(await offsets(subscription, { reason: "rejected", orderingKey: "j" })).toEqual([]);
    expect(await offsets(subscription, { epoch: 1 })).toEqual([]);
    expect(await stats(subscription)).toMatchObject({ oldestDeathAt: start });
  });

  test("by epoch finds those of that epoch alone, past all of those before", async () => {
    const { subscription, pull } = await world(["a", "b"]);
    await kill(subscription, await pull());
    const to = { at: "earliest" } as const;
    value(await subscription.seek({ seekId: "s", to, reprocess: true, dryRun: false }));
    await kill(subscription, await pull(1));
    const found = async (epoch: number) =>
      (await find(subscription, { epoch })).letters.map((each) => [each.epoch, each.offset]);
    expect([await found(0), await found(1)]).toEqual([
      [
        [0, 0],
        [0, 1],
      ],
      [[1, 0]],
    ]);
  });

  test("looks at a bounded number a call, and goes on where it stopped", async () => {
    const { subscription, pull } = await world(["a"]);
    await kill(subscription, await pull());
    await insertDead(subscription, limits.deadLettersScanned + 500);
    const first = await find(subscription, { reason: "undeliverable" });
    expect(first.letters).toEqual([]);
    expect(first.next).toBeDefined();
    const rest = await find(subscription, { reason: "undeliverable" }, first.next);
    expect(rest).toEqual({ letters: [expect.objectContaining({ reason: "undeliverable" })] });
  });

  test("carries at most so many bytes, and at least one", async () => {
    const large = new Uint8Array(1_000_000);
    const ids = ["a", "b", "c", "d", "e", "f"].map((id) => message(id, { body: large }));
    const { subscription, pull, topic: _ } = await world(ids.slice(0, 1));
    expect(idsOf(await pull())).toEqual(["a"]);
    const many = await world([]);
    for (const one of ids) await many.publish(one);
    for (let i = 0; i < ids.length; i++) await kill(many.subscription, await many.pull(1));
    const page = await find(many.subscription);
    expect(page.letters.length).toBeGreaterThan(0);
    expect(page.letters.length).toBeLessThan(ids.length);
    expect(page.next).toMatchObject({ offset: page.letters.length - 1 });
    const some = value(await many.subscription.findDeadLetters({ offsets: [5, 4, 3, 2, 1, 0, 77] }));
    expect(some.letters.map(({ offset }) => offset)).toEqual(page.letters.map(({ offset }) => offset));
    expect(some.next).toMatchObject({ offset: page.letters.length - 1 });
    expect(value(await subscription.findDeadLetters({ offsets: [9] }))).toEqual({ letters: [] });
  });

  test("chooses also what is purged, and nothing else", async () => {
    const { subscription, pull } = await world([keyed("k1", "k"), "a", "b"]);
    await kill(subscription, await pull());
    expect(value(await subscription.purge({ ...EVERY, where: { orderingKey: "k" } }))).toEqual({ purged: 1 });
    expect(await offsets(subscription, {})).toEqual([1, 2]);
    expect(value(await subscription.purge({ all: true, limit: 1 }))).toEqual({
      purged: 1,
      next: { epoch: 0, offset: 1 },
    });
    await holds(subscription);
  });
});

describe("the cap on rounds", () => {
  test("refuses one that went round as often as it may; forced, it goes, and nothing is dropped", async () => {
    const { subscription, pull } = await world(["a", "b"], { maxRedrives: 2 });
    await kill(subscription, await pull());
    for (const round of [1, 2]) {
      expect(value(await subscription.redrive({ offsets: [0] }))).toEqual({ redriven: 1, superseded: 0 });
      await evictDurableObject(subscription);
      await kill(subscription, await pull());
      expect((await find(subscription)).letters.map(({ redrives }) => redrives)).toEqual([round, 0]);
    }
    expect(value(await subscription.redrive(EVERY))).toEqual({
      ...{ redriven: 1, superseded: 0, refused: [{ epoch: 0, offset: 0 }] },
    });
    expect(await offsets(subscription, {})).toEqual([0]);
    expect(value(await subscription.redrive({ offsets: [0], force: true }))).toMatchObject({ redriven: 1 });
    expect(idsOf(await pull()).sort()).toEqual(["a", "b"]);
    await holds(subscription);
  });

  test("counts the rounds of a delivery that waits through a crash", async () => {
    const { subscription, pull } = await world(["a"], {
      retry: { maxAttempts: 9, minDelayMs: 0, maxDelayMs: 0 },
    });
    await kill(subscription, await pull());
    value(await subscription.redrive(EVERY));
    value(await subscription.nack({ refs: refs(await pull()) }));
    await evictDurableObject(subscription);
    const lease = await pull();
    await evictDurableObject(subscription);
    await kill(subscription, lease);
    expect((await find(subscription)).letters).toMatchObject([{ redrives: 1 }]);
  });
});

describe("a rate", () => {
  test("lets them out one after another, in order, and after a crash too", async () => {
    const { subscription, pull, clock } = await world(["a", "b", "c"]);
    await kill(subscription, await pull());
    const pace = { from: clock.now() + 500, everyMs: 1_000 };
    value(await subscription.redrive({ ...EVERY, pace }));
    await evictDurableObject(subscription);
    await useRuntime(subscription, clock);
    const seen: string[][] = [];
    for (let i = 0; i < 4; i++) {
      seen.push(idsOf(await pull()));
      clock.advance(i === 0 ? 500 : 1_000);
    }
    expect(seen).toEqual([[], ["a"], ["b"], ["c"]]);
    await holds(subscription);
  });

  test("keeps a parked lane in order: what follows waits for its head", async () => {
    const { subscription, pull, clock } = await world([keyed("k1", "k"), keyed("k2", "k"), "free"]);
    await kill(subscription, await pull(1));
    value(await subscription.redrive({ ...EVERY, pace: { from: clock.now() + 1_000, everyMs: 1_000 } }));
    expect(idsOf(await pull())).toEqual(["free"]);
    clock.advance(1_000);
    expect(idsOf(await pull())).toEqual(["k1", "k2"]);
  });
});

describe("what another topic has", () => {
  test("leaves, is counted as moved, and its lane goes on", async () => {
    const { subscription, pull } = await world([keyed("k1", "k"), keyed("k2", "k")]);
    await kill(subscription, await pull(1));
    expect(idsOf(await pull())).toEqual([]);
    const letters = [{ epoch: 0, offset: 0, redrives: 0 }];
    expect(value(await subscription.moveLetters({ letters }))).toEqual({ moved: 1 });
    expect(value(await subscription.moveLetters({ letters }))).toEqual({ moved: 0 });
    expect(idsOf(await pull())).toEqual(["k2"]);
    expect(await stats(subscription)).toMatchObject({ dead: 0, moved: 1, purged: 0 });
    expect(value(await subscription.whereabouts({ offset: 0 })).where).toMatchObject({ state: "moved" });
    await evictDurableObject(subscription);
    await holds(subscription);
  });

  test("stays when it went round since it was read: then it is another death", async () => {
    const { subscription, pull } = await world(["a"]);
    await kill(subscription, await pull());
    value(await subscription.redrive(EVERY));
    const letters = [{ epoch: 0, offset: 0, redrives: 0 }];
    expect(value(await subscription.moveLetters({ letters }))).toEqual({ moved: 0 });
    await kill(subscription, await pull());
    expect(value(await subscription.moveLetters({ letters }))).toEqual({ moved: 0 });
    expect(await offsets(subscription, {})).toEqual([0]);
    await holds(subscription);
  });

  test("may be of an epoch before, which counts no more", async () => {
    const { subscription, pull } = await world(["a"]);
    await kill(subscription, await pull());
    const to = { at: "latest" } as const;
    value(await subscription.seek({ seekId: "s", to, reprocess: true, dryRun: false }));
    const letters = [{ epoch: 0, offset: 0, redrives: 0 }];
    expect(value(await subscription.moveLetters({ letters }))).toEqual({ moved: 1 });
    expect(await stats(subscription)).toMatchObject({ formerDead: 0, moved: 0 });
    await holds(subscription);
  });
});

/** Dead letters of an epoch that is over, straight into the store: the last one is undeliverable. */
async function insertDead(subscription: SubscriptionCalls & DurableObjectStub, count: number) {
  await runInDurableObject(subscription, (_, { storage }) => {
    storage.sql.exec(
      `INSERT INTO dead_letters WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1)
       SELECT 0, i, NULL, 0, 1, iif(i = ?1, 'undeliverable', 'rejected'), NULL, 1, 0, '[]', NULL FROM n`,
      count,
    );
  });
}
