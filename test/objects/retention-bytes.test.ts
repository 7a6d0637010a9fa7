// The bytes that a partition keeps, on the real objects: what every subscription has settled makes room, and nothing
// else does; who publishes to a full partition is told whom it waits for.

import { expect, test } from "vitest";
import { limits } from "../../src/limits";
import { objectName } from "../../src/object-name";
import { defaultSubscriptionSettings } from "../../src/settings";
import {
  bindings,
  conservation,
  message,
  newSubscription,
  newTopic,
  recordBatch,
  refs,
  testRuntime,
  useRuntime,
  value,
} from "../support/objects";

const retentionBytes = limits.minRetentionBytes;
const BODY = new Uint8Array(limits.messageBytes - 1_024);
/** Appends that fill a partition from empty. */
const FILL = Math.ceil(retentionBytes / (BODY.byteLength + 100));

async function scene() {
  const clock = testRuntime();
  const topic = await newTopic({ retentionBytes });
  await useRuntime(topic.topic, clock);
  let serial = 0;
  const publish = async (count = 1) => {
    for (let i = 0; i < count; i++) await topic.publish(message(`m${serial++}`, { body: BODY }));
  };
  const refused = async () => {
    const batches = [recordBatch(topic.generation, [message("one too many")])];
    const answer = await topic.topic.append({ batches });
    return answer.ok ? undefined : answer.error;
  };
  return { ...topic, clock, publish, refused };
}

async function settle(
  { subscription, pull }: Pick<Awaited<ReturnType<typeof newSubscription>>, "subscription" | "pull">,
  count: number,
) {
  for (let settled = 0; settled < count; ) {
    const lease = await pull(count - settled);
    if (lease.deliveries.length === 0) throw new Error(`only ${settled} of ${count} came`);
    settled += refs(lease).length;
    value(await subscription.ack({ refs: refs(lease) }));
  }
}

test("a full partition refuses, names the subscription that holds the space, and takes on when that has settled", async () => {
  const s = await scene();
  const fast = await newSubscription(s);
  const slow = await newSubscription(s);
  await s.publish(FILL);
  await settle(fast, FILL);
  await settle(slow, 1);
  const error = await s.refused();
  expect(error).toMatchObject({ code: "topic-full", field: "retentionBytes", limit: retentionBytes });
  expect(error?.detail).toContain(slow.generation);
  expect(error?.detail).toContain("offset 1");
  await settle(slow, FILL - 1);
  s.clock.advance(limits.settledAskMs);
  await s.publish(FILL / 2);
  const stats = value(await s.topic.stats());
  expect(stats.messageBytes).toBeLessThanOrEqual(retentionBytes + BODY.byteLength + 100);
  expect(stats.earliest).toBeGreaterThan(0);
  expect(value(await slow.subscription.stats())).toMatchObject({ expired: 0, gaps: [] });
  expect(await conservation(slow.subscription)).toBe(0);
});

test("a subscription is named by its name", async () => {
  const s = await scene();
  const generation = crypto.randomUUID();
  value(await s.topic.attach({ generation, startAt: { at: "earliest" }, subscription: "billing" }));
  const at = { topic: "orders", topicGeneration: s.generation, subscription: "billing", partition: 0 };
  value(
    await bindings.SUBSCRIPTION.getByName(objectName(generation, 0)).provision({
      ...{ ...at, generation, startOffset: 0, settings: defaultSubscriptionSettings, version: 1 },
    }),
  );
  await s.publish(FILL);
  expect((await s.refused())?.detail).toBe(
    'Partition 0 is full: subscription "billing" holds the space, it has not settled offset 0.',
  );
});

test("a subscription that is only half made holds the space from where it begins", async () => {
  const s = await scene();
  await s.publish(FILL);
  const full = await newSubscription(s, {}, { at: "earliest" }, s.refused);
  expect((await s.refused())?.detail).toContain("offset 0");
  expect(value(await full.subscription.stats())).toMatchObject({ nextOffset: 0, unread: FILL });
});

test("while nobody subscribes nothing is removed within the period, and when the last unsubscribes neither", async () => {
  const s = await scene();
  const { generation } = await newSubscription(s);
  await s.publish(FILL);
  value(await s.topic.detach({ generation }));
  expect(await s.refused()).toMatchObject({ code: "topic-full" });
  expect(value(await s.topic.stats())).toMatchObject({ earliest: 0, head: FILL });
  s.clock.advance(2 * limits.defaultRetentionMs);
  expect(await s.refused()).toBeUndefined();
});

test("a delivery that waits, and a lane's followers, hold the space", async () => {
  const s = await scene();
  const { subscription, pull } = await newSubscription(s);
  const keyed = (id: string) => message(id, { orderingKey: "k" });
  await s.topic.append({
    batches: [recordBatch(s.generation, [keyed("a"), message("b"), keyed("c"), message("d")])],
  });
  const [a, b] = [await pull(1), await pull(1)];
  value(await subscription.ack({ refs: refs(b) }));
  value(await subscription.nack({ refs: refs(a), delayMs: 1_000_000 }));
  value(await subscription.ack({ refs: refs(await pull()) }));
  expect(value(await subscription.settledTo())).toEqual({ offset: 0 });
  value(await subscription.purge({ all: true, limit: 10 }));
  expect(value(await subscription.settledTo())).toEqual({ offset: 0 });
});

test("a record batch that was answered gets its first answer again, full or not", async () => {
  const s = await scene();
  const batches = [recordBatch(s.generation, [message("first")])];
  const first = value(await s.topic.append({ batches }));
  await s.publish(FILL);
  expect(await s.refused()).toMatchObject({ code: "topic-full" });
  expect(value(await s.topic.append({ batches }))).toEqual(first);
});

test("only as much is removed as room is needed for: what is settled can be read again while it is there", async () => {
  const s = await scene();
  const reader = await newSubscription(s);
  await s.publish(FILL);
  await settle(reader, FILL);
  await s.publish(1);
  const { earliest, head } = value(await s.topic.stats());
  expect(earliest).toBeGreaterThan(0);
  expect(earliest).toBeLessThan(head / 4);
});

test("dropping a segment gives its bytes back", async () => {
  const s = await scene();
  await s.publish(FILL);
  expect(value(await s.topic.stats()).bytes).toBeGreaterThan(retentionBytes);
  s.clock.advance(2 * limits.defaultRetentionMs);
  expect(value(await s.topic.stats())).toMatchObject({ messageBytes: 0 });
  expect(value(await s.topic.stats()).bytes).toBeLessThan(100_000);
});
