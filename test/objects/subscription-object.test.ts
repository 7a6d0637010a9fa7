// The subscription on the real objects: leases, settlement, dead letters, lanes, life and death.

import { evictDurableObject } from "cloudflare:test";
import { describe, expect, test } from "vitest";
import { objectName } from "../../src/object-name";
import { defaultTopicSettings } from "../../src/settings";
import {
  bindings,
  conservation,
  idsOf,
  message,
  newSubscription,
  newTopic,
  refs,
  value,
} from "../support/objects";

describe("pull", () => {
  test("messages are leased in publish order and settled by ack", async () => {
    const topic = await newTopic();
    const { subscription, pull } = await newSubscription(topic);
    await topic.publish("a", "b", "c");
    const lease = await pull();
    expect(idsOf(lease)).toEqual(["a", "b", "c"]);
    expect(lease.deliveries.map(({ attempt }) => attempt)).toEqual([1, 1, 1]);
    expect(value(await subscription.ack({ refs: refs(lease) }))).toEqual(["acked", "acked", "acked"]);
    expect(idsOf(await pull())).toEqual([]);
    expect(value(await subscription.stats())).toMatchObject({ settled: 3, leased: 0, waiting: 0, unread: 0 });
  });

  test("two pulls never lease the same offset", async () => {
    const topic = await newTopic();
    const { pull } = await newSubscription(topic);
    await topic.publish(...Array.from({ length: 50 }, (_, i) => `m${i}`));
    const leases = await Promise.all([pull(20), pull(20), pull(20)]);
    const ids = leases.flatMap(idsOf);
    expect(ids).toHaveLength(50);
    expect(new Set(ids).size).toBe(50);
  });

  test("the same lease id again returns the same lease", async () => {
    const topic = await newTopic();
    const { pull } = await newSubscription(topic);
    await topic.publish("a", "b", "c");
    const first = await pull(2, "mine");
    const again = await pull(2, "mine");
    expect(again).toEqual(first);
  });

  test("a pull and its repeat that arrive together get the same lease", async () => {
    const topic = await newTopic();
    await topic.publish("a", "b", "c", "d");
    // Both have to read the log before they can lease.
    const { pull } = await newSubscription(topic);
    const [first, again] = await Promise.all([pull(2, "mine"), pull(2, "mine")]);
    expect(idsOf(first)).toEqual(["a", "b"]);
    expect(again).toEqual(first);
  });

  test("a pull over several priorities that arrives twice is told the same turn, and leases the same", async () => {
    const topic = await newTopic();
    const { subscription } = await newSubscription(topic);
    await topic.publish(...Array.from({ length: 20 }, (_, i) => `m${i}`));
    const turn = async (leaseId: string) => {
      const call = { leaseId, max: 1, maxBytes: 1_000, waitMs: 0, takesTurn: true } as const;
      const lease = value(await subscription.pull(call));
      expect(value(await subscription.pull(call))).toEqual(lease);
      expect(lease.deliveries).toHaveLength(lease.lowestFirst ? 0 : 1);
      return lease.lowestFirst === true;
    };
    const turns: boolean[] = [];
    for (let pulls = 0; pulls < 20; pulls++) turns.push(await turn(`turn-${pulls}`));
    // The count begins where chance says, which is the middle here.
    expect(turns.flatMap((isLowest, at) => (isLowest ? [at] : []))).toEqual([4, 14]);
  });

  test("a nacked delivery waits for its backoff and comes again with the next attempt", async () => {
    const topic = await newTopic();
    const { subscription, pull, clock } = await newSubscription(topic);
    await topic.publish("a");
    const lease = await pull();
    expect(value(await subscription.nack({ refs: refs(lease), delayMs: 5_000 }))).toEqual(["released"]);
    expect(idsOf(await pull())).toEqual([]);
    clock.advance(5_000);
    const second = await pull();
    expect(idsOf(second)).toEqual(["a"]);
    expect(second.deliveries[0]?.attempt).toBe(2);
  });

  test("a delivery whose ack deadline passed is leased to another consumer", async () => {
    const topic = await newTopic();
    const { subscription, pull, clock, alarm } = await newSubscription(topic);
    await topic.publish("a");
    const lost = await pull();
    clock.advance(60_001);
    await alarm();
    clock.advance(60_000);
    const taken = await pull();
    expect(idsOf(taken)).toEqual(["a"]);
    expect(value(await subscription.ack({ refs: refs(lost) }))).toEqual(["lease-lost"]);
    expect(value(await subscription.ack({ refs: refs(taken) }))).toEqual(["acked"]);
  });

  test("a late ack that nobody overtook settles", async () => {
    const topic = await newTopic();
    const { subscription, pull, clock, alarm } = await newSubscription(topic);
    await topic.publish("a");
    const late = await pull();
    clock.advance(60_001);
    await alarm();
    expect(value(await subscription.ack({ refs: refs(late) }))).toEqual(["acked"]);
    clock.advance(600_000);
    expect(idsOf(await pull())).toEqual([]);
  });

  test("an extended lease outlives its first deadline, and only for what was extended", async () => {
    const topic = await newTopic();
    const { subscription, pull, clock, alarm } = await newSubscription(topic);
    await topic.publish("a", "b");
    const lease = await pull();
    const [a] = refs(lease);
    if (!a) throw new Error("nothing leased");
    expect(value(await subscription.extend({ refs: [a], ackDeadlineMs: 300_000 }))).toEqual(["extended"]);
    clock.advance(60_001);
    await alarm();
    clock.advance(60_000);
    expect(idsOf(await pull())).toEqual(["b"]);
    expect(value(await subscription.ack({ refs: [a] }))).toEqual(["acked"]);
  });

  test("a long poll is woken by a publish", async () => {
    const topic = await newTopic();
    const { subscription } = await newSubscription(topic);
    const waiting = subscription.pull({ leaseId: "w", max: 10, maxBytes: 1_000_000, waitMs: 20_000 });
    await topic.publish("a");
    expect(idsOf(value(await waiting))).toEqual(["a"]);
  });

  test("what is in hand survives eviction", async () => {
    const topic = await newTopic();
    const { subscription, pull } = await newSubscription(topic);
    await topic.publish("a", "b", "c", "d");
    const lease = await pull(3);
    const [a, b] = refs(lease);
    if (!a || !b) throw new Error("nothing leased");
    value(await subscription.nack({ refs: [a], delayMs: 0 }));
    await evictDurableObject(subscription);
    expect(value(await subscription.stats())).toMatchObject({ leased: 2, waiting: 1, nextOffset: 3 });
    expect(value(await subscription.ack({ refs: [b] }))).toEqual(["acked"]);
    expect(idsOf(await pull())).toEqual(["a", "d"]);
    expect(await conservation(subscription)).toBe(0);
  });
});

describe("dead letters", () => {
  test("a delivery out of attempts is dead with its message, its reason and its attempts", async () => {
    const topic = await newTopic();
    const { subscription, pull } = await newSubscription(topic, {
      retry: { maxAttempts: 2, minDelayMs: 0, maxDelayMs: 0 },
    });
    await topic.publish("poison", "fine");
    for (const reason of ["first", "second"]) {
      const lease = await pull(1, `l-${reason}`);
      expect(idsOf(lease)).toEqual(["poison"]);
      value(await subscription.nack({ refs: refs(lease), reason }));
    }
    const [dead] = value(await subscription.deadLetters({ after: -1, limit: 10 }));
    expect(dead).toMatchObject({ offset: 0, reason: "attempts-spent", attempts: 2, detail: "second" });
    expect(dead?.history.map(({ error }) => error)).toEqual(["first", "second"]);
    expect(dead?.record?.byteLength).toBeGreaterThan(0);
    expect(idsOf(await pull())).toEqual(["fine"]);
    expect(await conservation(subscription)).toBe(0);
  });

  test("a redriven dead letter is delivered again, and a purged one is not", async () => {
    const topic = await newTopic();
    const { subscription, pull } = await newSubscription(topic);
    await topic.publish("a", "b");
    value(await subscription.nack({ refs: refs(await pull()), deadLetter: true }));
    expect(value(await subscription.purge({ offsets: [1] }))).toEqual({ purged: 1 });
    expect(value(await subscription.redrive({ all: true, limit: 10 }))).toEqual({
      redriven: 1,
      superseded: 0,
    });
    await evictDurableObject(subscription);
    const lease = await pull();
    expect(idsOf(lease)).toEqual(["a"]);
    value(await subscription.ack({ refs: refs(lease) }));
    expect(value(await subscription.stats())).toMatchObject({ settled: 1, purged: 1, dead: 0 });
    expect(await conservation(subscription)).toBe(0);
  });
});

describe("lanes", () => {
  const keyed = (id: string, orderingKey: string) => message(id, { orderingKey });

  test("one lease holds a lane at a time while other lanes go on", async () => {
    const topic = await newTopic();
    const { subscription, pull } = await newSubscription(topic);
    await topic.publish(
      keyed("a1", "a"),
      keyed("a2", "a"),
      keyed("b1", "b"),
      keyed("a3", "a"),
      keyed("b2", "b"),
    );
    const first = await pull(1);
    expect(idsOf(first)).toEqual(["a1"]);
    const second = await pull(10);
    expect(idsOf(second)).toEqual(["b1", "b2"]);
    expect(value(await subscription.stats())).toMatchObject({ followers: 2, waiting: 2 });
    value(await subscription.ack({ refs: refs(first) }));
    expect(idsOf(await pull(10))).toEqual(["a2", "a3"]);
    expect(await conservation(subscription)).toBe(0);
  });

  test("a failure gives back what stands after it in its lane, un-attempted and in order", async () => {
    const topic = await newTopic();
    const { subscription, pull, clock } = await newSubscription(topic);
    await topic.publish(keyed("a1", "a"), keyed("a2", "a"), keyed("a3", "a"), "free");
    const lease = await pull(10);
    expect(idsOf(lease)).toEqual(["a1", "a2", "a3", "free"]);
    const [a1, a2, , free] = refs(lease);
    if (!a1 || !a2 || !free) throw new Error("nothing leased");
    expect(value(await subscription.ack({ refs: [a1, free] }))).toEqual(["acked", "acked"]);
    expect(value(await subscription.nack({ refs: [a2], delayMs: 1_000 }))).toEqual(["released"]);
    expect(idsOf(await pull(10))).toEqual([]);
    clock.advance(1_000);
    const again = await pull(10);
    expect(idsOf(again)).toEqual(["a2", "a3"]);
    expect(again.deliveries.map(({ attempt }) => attempt)).toEqual([2, 1]);
  });

  test("followers are found again after eviction", async () => {
    const topic = await newTopic();
    const { subscription, pull } = await newSubscription(topic);
    await topic.publish(
      keyed("a1", "a"),
      keyed("b1", "b"),
      keyed("a2", "a"),
      keyed("b2", "b"),
      keyed("c1", "c"),
    );
    const a = await pull(1);
    const b = await pull(1);
    const c = await pull(10);
    expect(idsOf(c)).toEqual(["c1"].concat([]));
    await evictDurableObject(subscription);
    value(await subscription.ack({ refs: [...refs(a), ...refs(b)] }));
    expect(idsOf(await pull(10)).sort()).toEqual(["a2", "b2"]);
    expect(await conservation(subscription)).toBe(0);
  });

  test("a lane parked by its dead head waits until the head is redriven or purged", async () => {
    const topic = await newTopic();
    const { subscription, pull } = await newSubscription(topic);
    await topic.publish(keyed("a1", "a"), keyed("a2", "a"), keyed("b1", "b"));
    const head = await pull(1);
    value(await subscription.nack({ refs: refs(head), deadLetter: true }));
    expect(idsOf(await pull(10))).toEqual(["b1"]);
    await evictDurableObject(subscription);
    expect(idsOf(await pull(10))).toEqual([]);
    value(await subscription.redrive({ offsets: [0] }));
    expect(idsOf(await pull(10))).toEqual(["a1", "a2"]);
  });

  test("under skip the lane goes on past its dead head", async () => {
    const topic = await newTopic();
    const { subscription, pull } = await newSubscription(topic, { onExhausted: "skip" });
    await topic.publish(keyed("a1", "a"), keyed("a2", "a"));
    value(await subscription.nack({ refs: refs(await pull(1)), deadLetter: true }));
    expect(idsOf(await pull(10))).toEqual(["a2"]);
  });
});

describe("life", () => {
  test("a data call to an object that was never provisioned, or is deleted, answers gone", async () => {
    const topic = await newTopic();
    const { subscription } = await newSubscription(topic);
    value(await subscription.remove());
    value(await topic.topic.remove());
    const calls = [
      await subscription.pull({ leaseId: "x", max: 1, maxBytes: 1, waitMs: 0 }),
      await subscription.stats(),
      await topic.topic.append({ batches: [] }),
      await topic.topic.read({ from: 0, maxBytes: 1 }),
    ];
    expect(calls.map((answer) => !answer.ok && answer.error.code)).toEqual(["gone", "gone", "gone", "gone"]);
  });

  test("what was removed before it was provisioned is never brought to life by a late creation", async () => {
    const topic = await newTopic();
    const { provision } = await newSubscription(topic);
    const late = { ...provision, generation: `late-${provision.generation}` };
    const subscription = bindings.SUBSCRIPTION.getByName(objectName(late.generation, 0));
    value(await subscription.remove());
    value(await subscription.remove());
    const answer = await subscription.provision(late);
    expect(!answer.ok && answer.error.code).toBe("gone");
    const lateTopic = bindings.TOPIC.getByName(objectName(late.generation, 0));
    value(await lateTopic.remove());
    const created = await lateTopic.provision({
      topic: "t",
      generation: late.generation,
      partition: 0,
      settings: defaultTopicSettings,
      version: 1,
    });
    expect(!created.ok && created.error.code).toBe("gone");
  });

  test("a paused subscription hands out nothing and loses nothing", async () => {
    const topic = await newTopic();
    const { subscription, pull, provision } = await newSubscription(topic);
    const { settings } = provision;
    value(await subscription.configure({ settings: { ...settings, paused: true }, version: 2 }));
    await topic.publish("a");
    expect(idsOf(await pull())).toEqual([]);
    value(await subscription.configure({ settings, version: 3 }));
    expect(idsOf(await pull())).toEqual(["a"]);
  });
});
