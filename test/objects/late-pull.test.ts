// A pull that comes again late, when the lease that it asked for has ended: its caller was answered long ago.
import { expect, test } from "vitest";
import { conservation, idsOf, newSubscription, newTopic, refs, value } from "../support/objects";

const MINUTE = 60_000;

async function scene() {
  const topic = await newTopic();
  await topic.publish("a", "b", "c");
  return newSubscription(topic, {
    ackDeadlineMs: MINUTE,
    retry: { maxAttempts: 5, minDelayMs: 0, maxDelayMs: 0 },
  });
}

test("a pull that comes again after its messages were acked leases nothing: what it took would reach nobody", async () => {
  const { subscription, pull } = await scene();
  const lease = await pull(2, "lease-x");
  value(await subscription.ack({ refs: refs(lease) }));
  expect(idsOf(await pull(2, "lease-x"))).toEqual([]);
  expect(value(await subscription.stats())).toMatchObject({ leased: 0, settled: 2, unread: 1 });
  expect(idsOf(await pull())).toEqual(["c"]);
  expect(await conservation(subscription)).toBe(0);
});

test("a pull that comes again after its lease ended leases nothing, and costs no attempt", async () => {
  const { subscription, pull, clock, alarm } = await scene();
  expect(idsOf(await pull(1, "lease-x"))).toEqual(["a"]);
  clock.advance(MINUTE);
  await alarm();
  expect(idsOf(await pull(1, "lease-x"))).toEqual([]);
  const again = await pull(1);
  expect(again.deliveries).toEqual([{ offset: 0, attempt: 2 }]);
  // The newest lease is the one that counts, whatever comes late.
  expect(idsOf(await pull(1, "lease-x"))).toEqual([]);
  expect(value(await subscription.ack({ refs: refs(again) }))).toEqual(["acked"]);
});

test("a pull that comes again while part of its lease is open is answered with that part", async () => {
  const { subscription, pull } = await scene();
  const lease = await pull(2, "lease-x");
  value(await subscription.ack({ refs: refs(lease).slice(0, 1) }));
  expect(idsOf(await pull(2, "lease-x"))).toEqual(["b"]);
});
