// Seeking on the real objects: a new epoch at another place of the log, and what becomes of the one before.

import { evictDurableObject, runInDurableObject } from "cloudflare:test";
import { describe, expect, test } from "vitest";
import { objectName } from "../../src/object-name";
import type { SeekCall, SeekPoint } from "../../src/seek-calls";
import type { LeaseAnswer, SubscriptionCalls } from "../../src/subscription-calls";
import {
  bindings,
  conservation,
  idsOf,
  message,
  newSubscription,
  newTopic,
  refs,
  useRuntime,
  value,
} from "../support/objects";

let serial = 0;
const earliest = { at: "earliest" } as const;
const latest = { at: "latest" } as const;
const keyed = (id: string, orderingKey: string) => message(id, { orderingKey });

const callTo = (to: SeekPoint, more: Partial<SeekCall> = {}): SeekCall => ({
  ...{ seekId: `seek-${++serial}`, to, reprocess: true, dryRun: false },
  ...more,
});
const seek = async (subscription: SubscriptionCalls, to: SeekPoint, more: Partial<SeekCall> = {}) =>
  value(await subscription.seek(callTo(to, more)));
const stats = async (subscription: SubscriptionCalls) => value(await subscription.stats());
const letters = async (subscription: SubscriptionCalls) =>
  value(await subscription.deadLetters({ after: -1, limit: 100 })).map(({ epoch, offset }) => [
    epoch,
    offset,
  ]);
const kill = async (subscription: SubscriptionCalls, lease: LeaseAnswer) =>
  value(await subscription.nack({ refs: refs(lease), deadLetter: true }));

async function world(ids: (string | ReturnType<typeof message>)[], more: object = {}) {
  const topic = await newTopic();
  const reader = await newSubscription(topic, more);
  await topic.publish(...ids);
  return { ...topic, ...reader };
}

describe("where it goes on", () => {
  test("at the beginning everything comes again; at the end nothing does that was there before", async () => {
    const { subscription, pull, publish } = await world(["a", "b", "c"]);
    value(await subscription.ack({ refs: refs(await pull()) }));
    await seek(subscription, earliest);
    expect(idsOf(await pull())).toEqual(["a", "b", "c"]);
    await seek(subscription, latest);
    expect(idsOf(await pull())).toEqual([]);
    await publish("d");
    expect(idsOf(await pull())).toEqual(["d"]);
  });

  test("a time is that of the first message stored then or later", async () => {
    const { subscription, topic, pull, publish } = await world(["a"]);
    const first = value(await topic.read({ from: 0, maxBytes: 1 })).runs[0]?.storedAt ?? 0;
    await publish("b");
    const second = value(await topic.read({ from: 1, maxBytes: 1 })).runs[0]?.storedAt ?? 0;
    const toTime = (time: number) => seek(subscription, { at: "time", time });
    expect((await toTime(first)).toOffset).toBe(0);
    expect((await toTime(second + 1)).toOffset).toBe(2);
    expect((await toTime(0)).toOffset).toBe(0);
    await toTime(first);
    expect(idsOf(await pull())).toEqual(["a", "b"]);
  });

  test("an offset beyond the head is refused, and nothing has changed", async () => {
    const { subscription, pull } = await world(["a"]);
    const lease = await pull();
    const before = await stats(subscription);
    const refused = await subscription.seek(callTo({ at: "offset", offset: 2 }));
    expect(!refused.ok && refused.error).toMatchObject({ code: "invalid-request", field: "to.offsets.0" });
    expect(await stats(subscription)).toEqual(before);
    expect(value(await subscription.ack({ refs: refs(lease) }))).toEqual(["acked"]);
  });

  test("it survives eviction right after it was answered", async () => {
    const { subscription, pull } = await world(["a", "b"]);
    value(await subscription.ack({ refs: refs(await pull()) }));
    await seek(subscription, earliest);
    await evictDurableObject(subscription);
    expect(await stats(subscription)).toMatchObject({ epoch: 1, startOffset: 0, nextOffset: 0, unread: 2 });
    expect(idsOf(await pull())).toEqual(["a", "b"]);
  });
});

describe("what was in hand", () => {
  test("open leases are void: they settle nothing, neither of the epoch before nor of this one", async () => {
    const { subscription, pull } = await world(["a", "b"]);
    const before = await pull();
    await seek(subscription, earliest);
    const now = await pull();
    expect(idsOf(now)).toEqual(["a", "b"]);
    for (const call of [
      subscription.ack({ refs: refs(before) }),
      subscription.nack({ refs: refs(before) }),
      subscription.extend({ refs: refs(before), ackDeadlineMs: 1_000 }),
    ]) {
      expect(value(await call)).toEqual(["lease-lost", "lease-lost"]);
    }
    expect(await stats(subscription)).toMatchObject({ settled: 0, leased: 2 });
    expect(value(await subscription.ack({ refs: refs(now) }))).toEqual(["acked", "acked"]);
    expect(await conservation(subscription)).toBe(0);
  });

  test("what waits is dropped, with its attempts and its rows", async () => {
    const { subscription, pull } = await world(["a", "b"]);
    value(await subscription.nack({ refs: refs(await pull()), delayMs: 1_000_000 }));
    expect((await seek(subscription, earliest)).voided).toEqual({ leased: 0, waiting: 2 });
    const again = await pull();
    expect(again.deliveries.map(({ attempt }) => attempt)).toEqual([1, 1]);
    const rows = await runInDurableObject(
      subscription,
      (_, { storage }) => storage.sql.exec("SELECT count(*) AS n FROM waiting").one().n,
    );
    expect(rows).toBe(0);
  });

  test("lanes are forgotten: one that was parked goes on at the new place, in order", async () => {
    const { subscription, pull } = await world([
      keyed("a1", "a"),
      keyed("a2", "a"),
      "free",
      keyed("a3", "a"),
    ]);
    await kill(subscription, await pull(1));
    expect(idsOf(await pull())).toEqual(["free"]);
    expect(await stats(subscription)).toMatchObject({ dead: 1, followers: 1, blockedLanes: 1 });
    await seek(subscription, { at: "offset", offset: 1 });
    await evictDurableObject(subscription);
    expect(idsOf(await pull())).toEqual(["a2", "free", "a3"]);
    expect(await stats(subscription)).toMatchObject({ dead: 0, formerDead: 1, blockedLanes: 0 });
    expect(await conservation(subscription)).toBe(0);
  });

  test("whoever polls is handed what comes next in the new epoch", async () => {
    const { subscription, pull } = await world(["a"]);
    value(await subscription.ack({ refs: refs(await pull()) }));
    const polling = subscription.pull({ leaseId: "poll", max: 10, maxBytes: 1_000_000, waitMs: 20_000 });
    const ready = subscription.ready({ waitMs: 20_000 });
    await seek(subscription, earliest);
    expect(idsOf(value(await polling))).toEqual(["a"]);
    expect(value(await ready)).toHaveProperty("ready");
  });

  test("pulls, acks and seeks side by side leave every count in order", async () => {
    const { subscription, pull } = await world(Array.from({ length: 40 }, (_, i) => `m${i}`));
    await Promise.all([
      pull(10),
      seek(subscription, { at: "offset", offset: 20 }),
      pull(10),
      seek(subscription, earliest),
      pull(10),
    ]);
    expect(await conservation(subscription)).toBe(0);
    await seek(subscription, { at: "offset", offset: 39 });
    expect(idsOf(await pull())).toEqual(["m39"]);
  });
});

describe("repeating and counting", () => {
  test("the same seek again is answered as at first, and moves nothing", async () => {
    const { subscription, pull } = await world(["a", "b", "c"]);
    const call = callTo({ at: "offset", offset: 1 });
    const first = value(await subscription.seek(call));
    const lease = await pull();
    await evictDurableObject(subscription);
    expect(value(await subscription.seek(call))).toEqual(first);
    expect(await stats(subscription)).toMatchObject({ epoch: 1, leased: 2 });
    expect(value(await subscription.ack({ refs: refs(lease) }))).toEqual(["acked", "acked"]);
  });

  test("a dry run says what the seek then does, and does nothing", async () => {
    const { subscription, pull } = await world(["a", "b", "c", "d"]);
    const lease = await pull(3);
    const [a, b] = refs(lease);
    if (!a || !b) throw new Error("nothing leased");
    value(await subscription.ack({ refs: [a] }));
    value(await subscription.nack({ refs: [b], delayMs: 60_000 }));
    const before = await stats(subscription);
    const counted = await seek(subscription, earliest, { dryRun: true });
    expect(counted).toMatchObject({ again: 3, skipped: 0, voided: { leased: 1, waiting: 1 } });
    expect(await stats(subscription)).toEqual(before);
    expect(await seek(subscription, earliest)).toEqual(counted);
    expect(idsOf(await pull())).toEqual(["a", "b", "c", "d"]);
  });

  test("going back is refused unless somebody said that work is done again, or the ledger knows it", async () => {
    const { subscription, pull } = await world(["a"]);
    value(await subscription.ack({ refs: refs(await pull()) }));
    const refused = await subscription.seek(callTo(earliest, { reprocess: false }));
    expect(!refused.ok && refused.error).toMatchObject({ code: "conflict", field: "reprocess" });
    expect(await stats(subscription)).toMatchObject({ epoch: 0, settled: 1 });
    expect(await seek(subscription, latest, { reprocess: false })).toMatchObject({ epoch: 1 });
    expect(await stats(subscription)).toMatchObject({ replay: 0 });
    await seek(subscription, earliest);
    expect(await stats(subscription)).toMatchObject({ replay: 1 });
  });

  test("a subscription that is deleted meanwhile answers gone", async () => {
    const { subscription } = await world(["a"]);
    value(await subscription.remove());
    const answer = await subscription.seek(callTo(earliest));
    expect(!answer.ok && answer.error.code).toBe("gone");
  });
});

describe("dead letters of before", () => {
  test("stay with their epoch, beside those of this one, and page by both", async () => {
    const { subscription, pull } = await world(["a", "b"]);
    await kill(subscription, await pull());
    await seek(subscription, earliest);
    await kill(subscription, await pull(1));
    expect(await letters(subscription)).toEqual([
      [0, 0],
      [0, 1],
      [1, 0],
    ]);
    const page = value(await subscription.deadLetters({ epoch: 0, after: 0, limit: 2 }));
    expect(page.map(({ epoch, offset }) => [epoch, offset])).toEqual([
      [0, 1],
      [1, 0],
    ]);
    expect(await stats(subscription)).toMatchObject({ dead: 1, formerDead: 2 });
    expect(value(await subscription.purge({ epoch: 0, offsets: [0] }))).toEqual({ purged: 1 });
    expect(await letters(subscription)).toEqual([
      [0, 1],
      [1, 0],
    ]);
    expect(await stats(subscription)).toMatchObject({ dead: 1, formerDead: 1, purged: 0 });
    expect(await conservation(subscription)).toBe(0);
  });

  test("who was dying when it was moved is a dead letter of the epoch before", async () => {
    const { subscription, pull } = await world(["a"], {
      retry: { maxAttempts: 1, minDelayMs: 0, maxDelayMs: 0 },
    });
    const lease = await pull();
    await evictDurableObject(subscription);
    const [nacked] = await Promise.all([
      subscription.nack({ refs: refs(lease) }),
      seek(subscription, latest),
    ]);
    expect(value(nacked)).toEqual(["dead"]);
    expect(await letters(subscription)).toEqual([[0, 0]]);
  });

  test("redriven, they are delivered outside their lane, and this epoch accounts for them", async () => {
    const { subscription, pull } = await world([keyed("a1", "a"), keyed("a2", "a")]);
    await kill(subscription, await pull(1));
    await seek(subscription, { at: "offset", offset: 1 });
    expect(idsOf(await pull())).toEqual(["a2"]);
    expect(value(await subscription.redrive({ all: true, limit: 10 }))).toEqual({
      redriven: 1,
      superseded: 0,
    });
    await evictDurableObject(subscription);
    const lease = await pull();
    expect(idsOf(lease)).toEqual(["a1"]);
    expect(await stats(subscription)).toMatchObject({ readmitted: 1, leased: 2, formerDead: 0 });
    expect(await conservation(subscription)).toBe(0);
    value(await subscription.ack({ refs: refs(lease) }));
    expect(await conservation(subscription)).toBe(0);
  });

  test("redriven and dead again, they are dead letters of this epoch, and may be redriven again", async () => {
    const { subscription, pull } = await world([keyed("a1", "a")]);
    await kill(subscription, await pull());
    await seek(subscription, latest);
    value(await subscription.redrive({ all: true, limit: 10 }));
    await kill(subscription, await pull());
    expect(await letters(subscription)).toEqual([[1, 0]]);
    expect(await conservation(subscription)).toBe(0);
    expect(value(await subscription.redrive({ epoch: 1, offsets: [0] }))).toMatchObject({ redriven: 1 });
    expect(idsOf(await pull())).toEqual(["a1"]);
    expect(await conservation(subscription)).toBe(0);
  });

  test("one that this epoch delivers by itself is taken out, whether it is ahead, in hand, following or dead", async () => {
    const all = ["dead", keyed("k1", "k"), keyed("k2", "k"), "waiting", "settled", "ahead"];
    const { subscription, pull } = await world(all);
    await kill(subscription, await pull());
    expect(await letters(subscription)).toHaveLength(6);
    await seek(subscription, earliest);
    await kill(subscription, await pull(1));
    // k1 leased, k2 following, the rest in hand but for the last.
    expect(idsOf(await pull(1))).toEqual(["k1"]);
    const others = await pull(2);
    expect(idsOf(others)).toEqual(["waiting", "settled"]);
    const [waiting, settled] = refs(others);
    if (!waiting || !settled) throw new Error("nothing leased");
    value(await subscription.nack({ refs: [waiting], delayMs: 0 }));
    value(await subscription.ack({ refs: [settled] }));
    expect(await stats(subscription)).toMatchObject({ nextOffset: 5, followers: 1, dead: 1 });
    expect(value(await subscription.redrive({ epoch: 0, offsets: [0, 1, 2, 3, 4, 5] }))).toEqual({
      ...{ redriven: 1, superseded: 5 },
    });
    expect(await letters(subscription)).toEqual([[1, 0]]);
    expect(await stats(subscription)).toMatchObject({ readmitted: 1, formerDead: 0 });
    expect(await conservation(subscription)).toBe(0);
    expect(idsOf(await pull()).sort()).toEqual(["ahead", "settled", "waiting"]);
  });
});

describe("retention", () => {
  /** Two messages that retention has removed, and two that came after. */
  async function overtaken() {
    const topic = await newTopic({ retentionMs: 60_000 });
    const reader = await newSubscription(topic);
    await useRuntime(topic.topic, reader.clock);
    await topic.publish("a", "b");
    const removeThem = async () => {
      reader.clock.advance(120_000);
      await topic.publish("c", "d");
    };
    return { ...topic, ...reader, removeThem };
  }

  test("what it has overtaken is not sought: the earliest is next, and the answer says so", async () => {
    const { subscription, pull, removeThem } = await overtaken();
    value(await subscription.ack({ refs: refs(await pull()) }));
    await removeThem();
    const sought = await seek(subscription, { at: "offset", offset: 0 });
    expect(sought).toMatchObject({ fromOffset: 2, toOffset: 2, overtaken: 2, again: 0 });
    expect(idsOf(await pull())).toEqual(["c", "d"]);
    expect(await conservation(subscription)).toBe(0);
  });

  test("a dead letter whose message this epoch will not meet any more is redriven, not superseded", async () => {
    const { subscription, pull, removeThem } = await overtaken();
    await kill(subscription, await pull(1));
    await seek(subscription, earliest);
    await removeThem();
    expect(value(await subscription.redrive({ all: true, limit: 10 }))).toEqual({
      redriven: 1,
      superseded: 0,
    });
    const lease = await pull();
    expect(idsOf(lease)).toContain("a");
    value(await subscription.ack({ refs: refs(lease) }));
    value(await subscription.ack({ refs: refs(await pull()) }));
    expect(await stats(subscription)).toMatchObject({ settled: 3, expired: 2, readmitted: 1, formerDead: 0 });
    expect(await conservation(subscription)).toBe(0);
  });
});

describe("a position", () => {
  test("is the lowest offset that is not settled, so that nothing is passed over", async () => {
    const { subscription, pull } = await world(["a", "b", "c"]);
    const position = async () => value(await subscription.position()).openFrom;
    expect(await position()).toBe(0);
    const lease = await pull(2);
    const [a, b] = refs(lease);
    if (!a || !b) throw new Error("nothing leased");
    value(await subscription.ack({ refs: [b] }));
    expect(await position()).toBe(0);
    value(await subscription.ack({ refs: [a] }));
    expect(await position()).toBe(2);
  });
});

describe("an object from before there were epochs", () => {
  test("keeps its counters and its dead letters, as those of the first epoch", async () => {
    const topic = await newTopic();
    const { provision } = await newSubscription(topic);
    const { startOffset: _, settings, version, ...identity } = provision;
    const generation = `old-${identity.generation}`;
    const subscription = bindings.SUBSCRIPTION.getByName(objectName(generation, 0)) as SubscriptionCalls &
      DurableObjectStub;
    await runInDurableObject(subscription, (_, { storage: { sql } }) => {
      const counters =
        '{"startOffset":0,"nextOffset":2,"settled":1,"filtered":0,"expired":0,"dead":1,"purged":0,"moved":0}';
      for (const statement of OLD_TABLES) sql.exec(statement);
      sql.exec("INSERT INTO migrations VALUES (1)");
      sql.exec(
        "INSERT INTO subscription VALUES (1, ?1, ?2, ?3, 0)",
        JSON.stringify({ ...identity, generation }),
        JSON.stringify(settings),
        version,
      );
      sql.exec("INSERT INTO state VALUES (1, 2, ?1, '[]')", counters);
      sql.exec("INSERT INTO dead_letters VALUES (1, 'k', 1, 9, 'rejected', NULL, 1, '[]', x'00')");
    });
    await evictDurableObject(subscription);
    expect(await stats(subscription)).toMatchObject({
      ...{ epoch: 0, replay: 0, readmitted: 0, formerDead: 0, settled: 1, dead: 1 },
    });
    expect(await letters(subscription)).toEqual([[0, 1]]);
    expect(await conservation(subscription)).toBe(0);
  });
});

/** What the first migration made. */
const OLD_TABLES = [
  "CREATE TABLE migrations (number INTEGER PRIMARY KEY) STRICT",
  `CREATE TABLE subscription (id INTEGER PRIMARY KEY CHECK (id = 1), identity TEXT NOT NULL, settings TEXT NOT NULL,
     version INTEGER NOT NULL, deleted INTEGER NOT NULL) STRICT`,
  `CREATE TABLE state (id INTEGER PRIMARY KEY CHECK (id = 1), known_head INTEGER NOT NULL, counters TEXT NOT NULL,
     leases TEXT NOT NULL) STRICT`,
  `CREATE TABLE waiting (offset INTEGER PRIMARY KEY, ordering_key TEXT, attempts INTEGER NOT NULL,
     available_at INTEGER NOT NULL, last_lease_id TEXT, history TEXT NOT NULL, death TEXT, record BLOB) STRICT`,
  `CREATE TABLE lanes (key TEXT PRIMARY KEY, followers INTEGER NOT NULL, followers_from INTEGER NOT NULL)
     STRICT, WITHOUT ROWID`,
  `CREATE TABLE dead_letters (offset INTEGER PRIMARY KEY, ordering_key TEXT, parks INTEGER NOT NULL,
     died_at INTEGER NOT NULL, reason TEXT NOT NULL, detail TEXT, attempts INTEGER NOT NULL, history TEXT NOT NULL,
     record BLOB) STRICT`,
];
