// Where a message is, told by the subscription's object in each of its states; and the audit, which finds what a
// broken store has lost or has twice.

import { evictDurableObject, runInDurableObject } from "cloudflare:test";
import { describe, expect, test } from "vitest";
import { limits } from "../../src/limits";
import type { SubscriptionCalls } from "../../src/subscription-calls";
import { message, newSubscription, newTopic, refs, useRuntime, value } from "../support/objects";

const EAGER = { retry: { maxAttempts: 2, minDelayMs: 0, maxDelayMs: 0 } };
const keyed = (id: string, orderingKey = "k") => message(id, { orderingKey });

async function whereIs(subscription: SubscriptionCalls, offset: number, orderingKey?: string) {
  const call = orderingKey === undefined ? { offset } : { offset, orderingKey };
  return value(await subscription.whereabouts(call)).where;
}

async function audit(subscription: SubscriptionCalls) {
  return value(await subscription.audit({ from: 0 }));
}

describe("a trace", () => {
  test("tells what is unread, leased, waiting, dead, purged and acked", async () => {
    const topic = await newTopic();
    const { subscription, pull, clock } = await newSubscription(topic, EAGER);
    await topic.publish("acked", "leased", "waiting", "dead", "purged", "unread");
    const lease = await pull(5, "mine");
    const [acked, , waiting, dead, purged] = refs(lease);
    if (!acked || !waiting || !dead || !purged) throw new Error("nothing leased");
    clock.advance(5);
    value(await subscription.ack({ refs: [acked] }));
    value(await subscription.nack({ refs: [waiting], delayMs: 9_000, reason: "busy" }));
    value(await subscription.nack({ refs: [dead, purged], deadLetter: true, reason: "no" }));
    value(await subscription.purge({ offsets: [4] }));
    await evictDurableObject(subscription);
    await useRuntime(subscription, clock);
    const now = clock.now();
    const all = await Promise.all([0, 1, 2, 3, 4, 5].map((offset) => whereIs(subscription, offset)));
    expect(all).toEqual([
      { state: "settled", how: "acked", at: now, attempts: 1 },
      { state: "leased", leaseId: "mine", deadlineAt: lease.deadlineAt, attempt: 1, history: [] },
      { state: "waiting", availableAt: now + 9_000, attempts: 1, history: [{ at: now, error: "busy" }] },
      {
        ...{ state: "dead", diedAt: now, reason: "rejected", detail: "no", attempts: 1 },
        history: [{ at: now, error: "no" }],
      },
      { state: "purged", at: now },
      { state: "unread", ahead: 0 },
    ]);
  });

  test("tells why a delivery was given back unsent, until it is handed out again", async () => {
    const topic = await newTopic();
    const { subscription, pull, clock } = await newSubscription(topic);
    await topic.publish("m", "n");
    await pull(2, "first");
    const reason = "the ledger is away";
    const outcomes = [
      { offset: 0, result: "unsent", delayMs: 5_000, reason },
      { offset: 1, result: "unsent", delayMs: 0, reason: "an earlier message of its key was not delivered" },
    ] as const;
    value(await subscription.report({ leaseId: "first", outcomes, done: true }));
    const waiting = { state: "waiting", availableAt: clock.now() + 5_000, attempts: 0, history: [] };
    expect(await whereIs(subscription, 0)).toEqual({ ...waiting, reason });
    expect(await whereIs(subscription, 1)).toEqual({ ...waiting, availableAt: clock.now() });
    clock.advance(5_000);
    await pull(2, "second");
    value(await subscription.nack({ refs: [{ offset: 0, leaseId: "second" }] }));
    expect(await whereIs(subscription, 0)).not.toHaveProperty("reason");
  });

  test("counts every attempt of what was acked in the end, a late ack's own included", async () => {
    const topic = await newTopic();
    const { subscription, pull, clock, alarm } = await newSubscription(topic, {
      retry: { maxAttempts: 9, minDelayMs: 60_000, maxDelayMs: 60_000 },
    });
    await topic.publish("retried", "late");
    const [retried, late] = refs(await pull());
    if (!retried || !late) throw new Error("nothing leased");
    value(await subscription.nack({ refs: [retried], delayMs: 0 }));
    value(await subscription.ack({ refs: refs(await pull(1)) }));
    clock.advance(60_001);
    await alarm();
    expect(value(await subscription.ack({ refs: [late] }))).toEqual(["acked"]);
    expect(await whereIs(subscription, 0)).toMatchObject({ state: "settled", attempts: 2 });
    expect(await whereIs(subscription, 1)).toMatchObject({ state: "settled", attempts: 1 });
  });

  test("names what holds a lane: a lease, a waiting head, a parked dead letter", async () => {
    const topic = await newTopic();
    const { subscription, pull } = await newSubscription(topic);
    await topic.publish(keyed("k0"), keyed("k1"), keyed("k2"), "free");
    const head = await pull(1);
    await pull(1);
    const follower = () => whereIs(subscription, 2, "k");
    expect(await follower()).toEqual({
      ...{ state: "blocked", behind: { offset: 0, state: "leased" }, parked: false },
    });
    value(await subscription.nack({ refs: refs(head), delayMs: 60_000 }));
    expect(await follower()).toMatchObject({ behind: { offset: 0, state: "waiting" } });
    expect(await whereIs(subscription, 0, "k")).not.toHaveProperty("behind");
    await evictDurableObject(subscription);
    expect(await follower()).toMatchObject({ behind: { offset: 0, state: "waiting" }, parked: false });
    expect(await whereIs(subscription, 3)).toMatchObject({ state: "leased" });
  });

  test("says that a lane is parked, and by which dead letter", async () => {
    const topic = await newTopic();
    const { subscription, pull } = await newSubscription(topic);
    await topic.publish(keyed("k0"), keyed("k1"), "free");
    const head = await pull(1);
    await pull(1);
    value(await subscription.nack({ refs: refs(head), deadLetter: true }));
    expect(await whereIs(subscription, 0, "k")).toMatchObject({ state: "dead", reason: "rejected" });
    expect(await whereIs(subscription, 1, "k")).toEqual({
      ...{ state: "blocked", behind: { offset: 0, state: "dead" }, parked: true },
    });
    value(await subscription.redrive({ offsets: [0] }));
    expect(await whereIs(subscription, 1, "k")).toMatchObject({ behind: { offset: 0, state: "waiting" } });
  });

  test("knows what lies before the start, and what the subscription itself holds up", async () => {
    const topic = await newTopic();
    await topic.publish("early");
    const { subscription, provision, pull } = await newSubscription(
      topic,
      { maxInFlight: 1 },
      { at: "latest" },
    );
    await topic.publish("a", "b");
    await pull(1);
    expect(await whereIs(subscription, 0)).toEqual({ state: "before-start", startOffset: 1 });
    expect(value(await subscription.whereabouts({ offset: 2 }))).toEqual({
      ...{ where: { state: "unread", ahead: 0 }, paused: false, stalled: false, inFlightFull: true },
    });
    const settings = { ...provision.settings, paused: true, pausedReason: "endpoint-gone" };
    value(await subscription.configure({ settings, version: 2 }));
    expect(value(await subscription.whereabouts({ offset: 2 }))).toMatchObject({
      ...{ paused: true, pausedReason: "endpoint-gone" },
    });
  });

  test("tells of each of hundreds of settles that came one by one", async () => {
    const topic = await newTopic();
    const { subscription, pull, clock } = await newSubscription(topic);
    const count = 450;
    await topic.publish(...Array.from({ length: count }, (_, i) => `m${i}`));
    const leased = refs(await pull(count));
    const start = clock.now();
    for (const ref of [...leased].reverse()) {
      clock.advance(1);
      value(await subscription.ack({ refs: [ref] }));
    }
    await evictDurableObject(subscription);
    const rows = await runInDurableObject(subscription, (_, { storage }) =>
      storage.sql.exec("SELECT number FROM outcomes_1").toArray(),
    );
    expect(rows.length).toBeGreaterThan(0);
    for (const offset of [0, 1, 200, count - 1]) {
      expect(await whereIs(subscription, offset)).toMatchObject({
        state: "settled",
        at: start + count - offset,
      });
    }
    expect(await audit(subscription)).toMatchObject({
      holds: true,
      auditedTo: count,
      found: { settled: count },
    });
  });
});

describe("an audit", () => {
  /** Six messages: one acked, one leased, one waiting, one dead, a lane of two of which the second follows. */
  async function subscribed() {
    const topic = await newTopic();
    const { subscription, pull } = await newSubscription(topic, {
      retry: { ...EAGER.retry, maxAttempts: 9 },
    });
    await topic.publish("acked", "waiting", "dead", keyed("head"), keyed("follower"), "leased");
    const first = refs(await pull(3));
    await pull(1);
    await pull(1);
    value(await subscription.ack({ refs: first.slice(0, 1) }));
    value(await subscription.nack({ refs: first.slice(1, 2), delayMs: 60_000 }));
    value(await subscription.nack({ refs: first.slice(2, 3), deadLetter: true }));
    const corrupt = (sql: string, ...bindings: unknown[]) =>
      runInDurableObject(subscription, (_, { storage }) => {
        storage.sql.exec(sql, ...bindings).toArray();
      });
    return { subscription, corrupt };
  }

  test("finds every term of the law, offset by offset", async () => {
    const { subscription } = await subscribed();
    expect(await audit(subscription)).toEqual({
      ...{
        partition: 0,
        startOffset: 0,
        nextOffset: 6,
        auditedFrom: 0,
        auditedTo: 6,
        overtaken: 0,
        holds: true,
      },
      stored: { settled: 1, filtered: 0, expired: 0, dead: 1, purged: 0, moved: 0, leased: 2, waiting: 2 },
      found: { settled: 1, filtered: 0, expired: 0, dead: 1, purged: 0, moved: 0, leased: 2, waiting: 2 },
    });
  });

  test.each([
    ["a delivery that waits has lost its row", "DELETE FROM waiting WHERE offset = 1", 1],
    ["a dead letter is gone", "DELETE FROM dead_letters", 2],
    ["a lane has forgotten its follower", "DELETE FROM lanes", 4],
    ["the outcomes are gone", "UPDATE state SET outcomes = NULL", 0],
    ["the leases are gone", "UPDATE state SET leases = '[]'", 3],
    [
      "what was acked waits again",
      "INSERT INTO waiting VALUES (0, NULL, 1, 0, 0, NULL, '[]', NULL, NULL)",
      0,
    ],
    [
      "something was never taken from the log",
      "INSERT INTO waiting VALUES (9, NULL, 1, 0, 0, NULL, '[]', NULL, NULL)",
      9,
    ],
  ])("names the first offset that breaks the law when %s", async (_, sql, offset) => {
    const { subscription, corrupt } = await subscribed();
    await corrupt(sql);
    expect(await audit(subscription)).toMatchObject({ holds: false, breach: { offset } });
  });

  test("says so when the counters do not come to what was taken", async () => {
    const { subscription, corrupt } = await subscribed();
    await corrupt("UPDATE state SET counters = json_set(counters, '$.settled', 7)");
    const { breach } = await audit(subscription);
    expect(breach).toEqual({ detail: "6 were taken from the log, and the counters come to 12." });
  });

  test("finds two counters that are wrong by as much, though the law seems to hold", async () => {
    const { subscription, corrupt } = await subscribed();
    await corrupt(`UPDATE state SET counters = json_set(counters, '$.settled', 0, '$.purged', 1)`);
    const { breach } = await audit(subscription);
    expect(breach).toEqual({ detail: "The counter settled says 0, and 1 were found." });
  });

  test("begins where it is asked to, and says how far it came", async () => {
    const { subscription } = await subscribed();
    expect(value(await subscription.audit({ from: 4 }))).toMatchObject({
      ...{ auditedFrom: 4, auditedTo: 6, holds: true },
      found: { settled: 0, waiting: 1, leased: 1 },
    });
    expect(value(await subscription.audit({ from: 99 }))).toMatchObject({ auditedFrom: 6, auditedTo: 6 });
  });

  test("finds more followers than one read of the log brings", async () => {
    const topic = await newTopic();
    const { subscription, pull } = await newSubscription(topic);
    const followers = limits.auditFollowers + 200;
    await topic.publish(...Array.from({ length: 1 + followers }, (_, i) => keyed(`k${i}`)), "free");
    await pull(1);
    await pull(1);
    const { holds, auditedTo, found } = await audit(subscription);
    expect([holds, auditedTo, found.leased, found.waiting]).toEqual([true, followers + 2, 2, followers]);
    expect(await whereIs(subscription, followers, "k")).toMatchObject({ state: "blocked" });
  });

  test("tells what retention overtook from what was lost", async () => {
    const topic = await newTopic({ retentionMs: 60_000 });
    const { generation, subscription, pull, clock } = await newSubscription(topic);
    await useRuntime(topic.topic, clock);
    await topic.publish(keyed("head"), keyed("follower"), "free");
    const head = await pull(1);
    await pull(10);
    // The topic tells those it knows: this one finds out by itself, as one that cannot be reached does.
    value(await topic.topic.detach({ generation }));
    clock.advance(120_000);
    value(await topic.topic.wake());
    await topic.publish("later");
    expect(await audit(subscription)).toMatchObject({ holds: true, overtaken: 1, found: { leased: 2 } });
    value(await subscription.ack({ refs: refs(head) }));
    await pull(10);
    expect(await audit(subscription)).toMatchObject({ holds: true, overtaken: 0, found: { expired: 1 } });
    expect(await whereIs(subscription, 1)).toMatchObject({ state: "expired" });
  });

  test("finds what retention overtook where the subscription was told to count it", async () => {
    const topic = await newTopic();
    const { subscription, pull } = await newSubscription(topic);
    await topic.publish(keyed("head"), keyed("follower"), "free", "unread");
    await pull(1);
    await pull(1);
    value(await subscription.expire({ before: 4 }));
    expect(await audit(subscription)).toMatchObject({
      holds: true,
      overtaken: 0,
      found: { leased: 2, expired: 2 },
    });
    expect(await whereIs(subscription, 1)).toMatchObject({ state: "expired" });
    expect(await whereIs(subscription, 3)).toMatchObject({ state: "expired" });
  });
});
