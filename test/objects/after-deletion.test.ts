// Objects that are touched after their deletion, or before they were ever made: every call answers `gone`, and nothing is
// written.

import { evictDurableObject, runDurableObjectAlarm, runInDurableObject } from "cloudflare:test";
import { describe, expect, test } from "vitest";
import type { Result } from "../../src/errors";
import { objectName } from "../../src/object-name";
import { defaultTopicSettings } from "../../src/settings";
import type { SubscriptionCalls, SubscriptionProvision } from "../../src/subscription-calls";
import type { TopicCalls } from "../../src/topic-calls";
import { bindings, message, newSubscription, newTopic, recordBatch, refs, value } from "../support/objects";

type Touch<C> = Readonly<Record<Exclude<keyof C, "remove">, (calls: C) => Promise<Result<unknown>>>>;

// Typed, so that a call that is added is touched here or does not compile.
const topicTouches = (generation: string): Touch<TopicCalls> => ({
  provision: (topic) =>
    topic.provision({
      ...{ topic: "orders", generation, partition: 0, settings: defaultTopicSettings, version: 9 },
    }),
  configure: (topic) => topic.configure({ settings: defaultTopicSettings, version: 9 }),
  append: (topic) => topic.append({ batches: [recordBatch(generation, [message("late")])] }),
  attach: (topic) => topic.attach({ generation: "late", startAt: { at: "earliest" } }),
  detach: (topic) => topic.detach({ generation: "late" }),
  describe: (topic) => topic.describe({ readers: [{ generation: "late", version: 1, filter: null }] }),
  cut: (topic) => topic.cut({ partitions: 4 }),
  adopt: (topic) => topic.adopt({ batches: [] }),
  cuts: (topic) => topic.cuts(),
  knows: (topic) => topic.knows({ ids: ["a"], child: 1 }),
  read: (topic) => topic.read({ from: 0, maxBytes: 1 }),
  follow: (topic) => topic.follow({ from: 0, maxBytes: 1, waitMs: 0 }),
  readOffsets: (topic) => topic.readOffsets({ offsets: [0] }),
  readLanes: (topic) => topic.readLanes({ lanes: [{ key: "a", from: 0 }], to: 1, limit: 1 }),
  keyedOffsets: (topic) => topic.keyedOffsets({ from: 0, to: 1 }),
  producer: (topic) => topic.producer({ name: "outbox" }),
  beginProducer: (topic) => topic.beginProducer({ name: "outbox", lastSequence: 7 }),
  forgetProducer: (topic) => topic.forgetProducer({ name: "outbox" }),
  cancel: (topic) => topic.cancel({ id: "a" }),
  reschedule: (topic) => topic.reschedule({ id: "a", deliverAt: 9 }),
  delayed: (topic) => topic.delayed({ after: null, limit: 1 }),
  find: (topic) => topic.find({ id: "a" }),
  locate: (topic) => topic.locate({ time: 0 }),
  rejections: (topic) => topic.rejections({ after: null, limit: 1 }),
  stats: (topic) => topic.stats(),
  wake: (topic) => topic.wake(),
});

const subscriptionTouches = (
  provision: SubscriptionProvision,
  leaseId: string,
): Touch<SubscriptionCalls> => ({
  provision: (subscription) => subscription.provision(provision),
  configure: (subscription) => subscription.configure({ settings: provision.settings, version: 9 }),
  notify: (subscription) => subscription.notify({ head: 99, runs: [] }),
  pull: (subscription) => subscription.pull({ leaseId: "late", max: 1, maxBytes: 1, waitMs: 0 }),
  ready: (subscription) => subscription.ready({ waitMs: 0 }),
  ack: (subscription) => subscription.ack({ refs: [{ offset: 0, leaseId }] }),
  nack: (subscription) => subscription.nack({ refs: [{ offset: 0, leaseId }], deadLetter: true }),
  extend: (subscription) => subscription.extend({ refs: [{ offset: 0, leaseId }], ackDeadlineMs: 1_000 }),
  attempts: (subscription) => subscription.attempts({ after: -1, limit: 1 }),
  probe: (subscription) => subscription.probe(),
  verify: (subscription) => subscription.verify({}),
  report: (subscription) =>
    subscription.report({ leaseId, outcomes: [{ offset: 0, result: "delivered" }], done: true }),
  deadLetters: (subscription) => subscription.deadLetters({ after: -1, limit: 1 }),
  findDeadLetters: (subscription) => subscription.findDeadLetters({ all: true, limit: 1 }),
  redrive: (subscription) => subscription.redrive({ all: true, limit: 1 }),
  purge: (subscription) => subscription.purge({ all: true, limit: 1 }),
  moveLetters: (subscription) =>
    subscription.moveLetters({ letters: [{ epoch: 0, offset: 0, redrives: 0 }] }),
  seek: (subscription) =>
    subscription.seek({ seekId: "late", to: { at: "earliest" }, reprocess: true, dryRun: false }),
  expire: (subscription) => subscription.expire({ before: 99 }),
  settledTo: (subscription) => subscription.settledTo(),
  position: (subscription) => subscription.position(),
  whereabouts: (subscription) => subscription.whereabouts({ offset: 0 }),
  audit: (subscription) => subscription.audit({ from: 0 }),
  pendingKeys: (subscription) => subscription.pendingKeys({ partition: 1 }),
  stats: (subscription) => subscription.stats(),
  wake: (subscription) => subscription.wake(),
});

/** All that an object has on disk, its alarm included. */
function diskOf(stub: DurableObjectStub): Promise<string> {
  return runInDurableObject(stub, async (_, { storage }) => {
    const tables = storage.sql
      .exec<{ name: string; sql: string }>("SELECT name, sql FROM sqlite_schema WHERE type = 'table'")
      .toArray();
    const rows = tables
      .filter(({ name }) => !name.startsWith("_cf"))
      .map(({ name, sql }) => [name, sql, storage.sql.exec(`SELECT * FROM "${name}"`).toArray()]);
    return JSON.stringify({ rows, alarm: await storage.getAlarm() });
  });
}

/** Makes every call, on the object as it is and as it is after an eviction, and its alarm: all are refused. */
async function touchAll<C>(stub: C & DurableObjectStub, touches: Touch<C>): Promise<void> {
  const disk = await diskOf(stub);
  for (const round of ["in memory", "evicted"]) {
    if (round === "evicted") await evictDurableObject(stub);
    for (const [name, touch] of Object.entries<(calls: C) => Promise<Result<unknown>>>(touches)) {
      const answer = await touch(stub);
      expect([round, name, answer.ok ? "ok" : answer.error.code]).toEqual([round, name, "gone"]);
      expect([round, name, await diskOf(stub)]).toEqual([round, name, disk]);
    }
  }
  await runDurableObjectAlarm(stub);
  const { alarm: _, ...left } = JSON.parse(disk);
  expect(JSON.parse(await diskOf(stub))).toEqual({ ...left, alarm: null });
}

describe("a topic", () => {
  test("that was deleted answers gone to every call, and writes nothing", async () => {
    const { generation, topic, publish } = await newTopic();
    await publish("a", "b");
    value(await topic.attach({ generation: "reader", startAt: { at: "earliest" } }));
    value(await topic.remove());
    value(await topic.remove());
    await touchAll(topic, topicTouches(generation));
  });

  test("that was never made answers gone to every call but its creation, and writes nothing", async () => {
    const generation = `never-${crypto.randomUUID()}`;
    const topic = bindings.TOPIC.getByName(objectName(generation, 0)) as TopicCalls & DurableObjectStub;
    const { provision: _, ...touches } = topicTouches(generation);
    await touchAll(topic, touches as Touch<TopicCalls>);
    expect(JSON.parse(await diskOf(topic))).toEqual({ rows: [], alarm: null });
  });
});

describe("a subscription", () => {
  test("that was deleted with everything in hand answers gone to every call, and writes nothing", async () => {
    const topic = await newTopic();
    const { subscription, pull, provision } = await newSubscription(topic);
    await topic.publish("a", message("k1", { orderingKey: "k" }), message("k2", { orderingKey: "k" }), "b");
    const lease = await pull(2);
    value(await subscription.nack({ refs: refs(lease).slice(1), deadLetter: true }));
    await pull(1, "open");
    value(await subscription.remove());
    value(await subscription.remove());
    await touchAll(subscription, subscriptionTouches(provision, lease.leaseId));
  });

  test("that was never made answers gone to every call but its creation, and writes nothing", async () => {
    const generation = `never-${crypto.randomUUID()}`;
    const subscription = bindings.SUBSCRIPTION.getByName(objectName(generation, 0)) as SubscriptionCalls &
      DurableObjectStub;
    const { provision } = await newSubscription(await newTopic());
    const { provision: _, ...touches } = subscriptionTouches({ ...provision, generation }, "any");
    await touchAll(subscription, touches as Touch<SubscriptionCalls>);
    expect(JSON.parse(await diskOf(subscription))).toEqual({ rows: [], alarm: null });
  });
});
