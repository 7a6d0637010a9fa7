// Lanes and waiting deliveries by the hundred thousand, on the real objects under Node: what one lane costs the
// others, and where a subscription whose consumers only fail stops reading, says so, and recovers.
import { beforeEach, expect, test } from "vitest";
import { limits } from "../../src/limits";
import { objectName } from "../../src/object-name";
import { packRecords } from "../../src/record-batch";
import { defaultSubscriptionSettings, defaultTopicSettings } from "../../src/settings";
import type { LeaseAnswer } from "../../src/subscription-calls";
import { nodeObjects } from "../support/node-objects";
import { value } from "../support/result";

const NAME = objectName("g", 0);
const RUN = 1_000;
/** Seconds of work; on a machine that does other things too, more. */
const WITHIN_MS = 120_000;

let now: number;
let serial: number;
let world: Awaited<ReturnType<typeof newWorld>>;

async function newWorld() {
  const runtime = { now: () => now, random: () => 0.5, newId: () => `id-${++serial}` };
  const objects = nodeObjects(runtime, { deliver: () => Promise.reject(new Error("nothing is pushed")) });
  const topic = objects.topics.getByName(NAME);
  const subscription = objects.subscriptions.getByName(NAME);
  const place = { topic: "t", generation: "g", partition: 0 };
  value(await topic.provision({ ...place, settings: defaultTopicSettings, version: 1 }));
  value(await topic.attach({ generation: "g", startAt: { at: "earliest" } }));
  const settings = { ...defaultSubscriptionSettings, ackDeadlineMs: 3_600_000, maxInFlight: 20_000 };
  const names = { ...place, topicGeneration: "g", subscription: "s", startOffset: 0 };
  value(await subscription.provision({ ...names, settings, version: 1 }));
  return { topic, subscription, objects };
}

beforeEach(async () => {
  now = 1_000_000;
  serial = 0;
  world = await newWorld();
});

/** Publishes `count` messages; the key of each is told by its place. */
async function publish(count: number, keyOf: (place: number) => string | undefined): Promise<void> {
  for (let first = 0; first < count; first += RUN) {
    const messages = Array.from({ length: Math.min(RUN, count - first) }, (_, i) => {
      const orderingKey = keyOf(first + i);
      const plain = { id: `m${first + i}`, publishedAt: now, contentType: "t", body: new Uint8Array(4) };
      return orderingKey === undefined ? plain : { ...plain, orderingKey };
    });
    const head = { batchId: `b-${++serial}`, generation: "g", partition: 0, clientIds: [] };
    const batch = { ...head, count: messages.length, records: packRecords(messages) };
    value(await world.topic.append({ batches: [batch] }));
  }
}

async function pull(max = RUN): Promise<LeaseAnswer> {
  const call = { leaseId: `l-${++serial}`, max, maxBytes: limits.pullBytes, waitMs: 0 };
  return value(await world.subscription.pull(call));
}

const refsOf = ({ leaseId, deliveries }: LeaseAnswer) =>
  deliveries.map(({ offset }) => ({ leaseId, offset }));

async function ack(lease: LeaseAnswer): Promise<void> {
  value(await world.subscription.ack({ refs: refsOf(lease) }));
}

async function drain(): Promise<number> {
  let acked = 0;
  for (let lease = await pull(); lease.deliveries.length > 0; lease = await pull()) {
    await ack(lease);
    acked += lease.deliveries.length;
  }
  return acked;
}

async function stats() {
  return value(await world.subscription.stats());
}

test(
  "one blocked lane among 100,000 keeps nobody else waiting",
  async () => {
    await publish(1, () => "blocked");
    const head = await pull();
    await publish(100_000, (place) => (place % 1_000 === 0 ? "blocked" : `lane-${place}`));
    expect(await drain()).toBe(99_900);
    expect(await stats()).toMatchObject({ leased: 1, waiting: 100, followers: 100, blockedLanes: 1 });
    await ack(head);
    expect(await drain()).toBe(100);
  },
  WITHIN_MS,
);

test(
  "of 90,000 lanes that wait for their next attempt, the one that is free is found without looking at the others",
  async () => {
    await publish(90_000, (place) => `lane-${place}`);
    for (let lease = await pull(); lease.deliveries.length > 0; lease = await pull()) {
      value(await world.subscription.nack({ refs: refsOf(lease), delayMs: 3_600_000 }));
    }
    expect(await stats()).toMatchObject({ waiting: 90_000, stalled: false });
    // The least of a few: a pause of the machine falls on one.
    let oneMs = Number.POSITIVE_INFINITY;
    for (let place = 0; place < 5; place++) {
      await publish(1, () => `free-${place}`);
      const startedAt = performance.now();
      const lease = await pull();
      oneMs = Math.min(oneMs, performance.now() - startedAt);
      expect(lease.deliveries.map(({ offset }) => offset)).toEqual([90_000 + place]);
      await ack(lease);
    }
    // Their time comes: all are handed out again.
    now += 3_600_001;
    const drainedAt = performance.now();
    expect(await drain()).toBe(90_000);
    expect(oneMs, "finding one took less than a twentieth of handing out all").toBeLessThan(
      (performance.now() - drainedAt) / 20,
    );
  },
  WITHIN_MS,
);

test(
  "consumers that only fail stop the reading at the stated bound, the stats say so, and it goes on when they recover",
  async () => {
    const published = limits.waitingDeliveries + 5_000;
    await publish(published, () => undefined);
    for (let lease = await pull(); lease.deliveries.length > 0; lease = await pull()) {
      value(await world.subscription.nack({ refs: refsOf(lease), delayMs: 3_600_000 }));
    }
    const stalled = await stats();
    expect(stalled).toMatchObject({ stalled: true, leased: 0, waiting: limits.waitingDeliveries });
    expect(stalled.unread).toBe(5_000);
    // A restart knows it too.
    world.objects.subscriptions.crash(NAME);
    expect((await pull()).deliveries).toEqual([]);
    expect(await stats()).toMatchObject({ stalled: true, waiting: limits.waitingDeliveries });
    now += 3_600_001;
    expect(await drain()).toBe(published);
    expect(await stats()).toMatchObject({ stalled: false, settled: published, waiting: 0, unread: 0 });
  },
  WITHIN_MS,
);

test(
  "after a restart the followers of a lane that was long held are found, a bounded part of the log at a time",
  async () => {
    await publish(1, () => "held");
    const head = await pull();
    await publish(60_000, (place) => (place % 100 === 99 ? "held" : undefined));
    expect(await drain()).toBe(59_400);
    world.objects.subscriptions.crash(NAME);
    world.objects.topics.crash(NAME);
    await ack(head);
    const offsets: number[] = [];
    for (let lease = await pull(70); lease.deliveries.length > 0; lease = await pull(70)) {
      offsets.push(...lease.deliveries.map(({ offset }) => offset));
      await ack(lease);
    }
    expect(offsets).toEqual(Array.from({ length: 600 }, (_, i) => 100 * (i + 1)));
  },
  WITHIN_MS,
);
