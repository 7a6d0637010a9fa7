// A delivery that was handed over to its receiver (clause 14), in the subscription's object: it is the receiver's lease
// that settles it, through restarts, and that ends as any other.
import { evictDurableObject } from "cloudflare:test";
import { describe, expect, test } from "vitest";
import { receiverLeaseId } from "../../src/subscription-calls";
import { idsOf, message, newSubscription, newTopic, value } from "../support/objects";

const leaseMs = 900_000;

/** Two messages of a lane and one beside it; the first of the lane is handed over under fence 7. */
async function handedOver() {
  const topic = await newTopic();
  const made = await newSubscription(topic, { retry: { maxAttempts: 2, minDelayMs: 0, maxDelayMs: 0 } });
  await topic.publish(
    message("k1", { orderingKey: "k" }),
    message("k2", { orderingKey: "k" }),
    message("other"),
  );
  const { leaseId } = await made.pull(3);
  const outcomes = [
    { offset: 0, result: "handed-over" as const, fence: 7, leaseMs },
    { offset: 1, result: "unsent" as const, delayMs: 0, reason: "behind" },
    { offset: 2, result: "delivered" as const },
  ];
  const report = () => made.subscription.report({ leaseId, outcomes, done: true });
  value(await report());
  return { ...made, leaseId, report, refs: [{ offset: 0, leaseId: receiverLeaseId(7) }] };
}

describe("a delivery that was handed over", () => {
  test("is leased to its receiver, and its lane waits for it", async () => {
    const { subscription, pull } = await handedOver();
    expect(value(await subscription.stats())).toMatchObject({ settled: 1, leased: 1, waiting: 1 });
    expect(idsOf(await pull())).toEqual([]);
  });

  test("is settled by its receiver's ack, after a restart too, and its lane goes on", async () => {
    const { subscription, pull, refs } = await handedOver();
    await evictDurableObject(subscription);
    expect(value(await subscription.ack({ refs }))).toEqual(["acked"]);
    expect(idsOf(await pull())).toEqual(["k2"]);
  });

  test("is no longer its dispatcher's: a report that arrives twice changes nothing", async () => {
    const { subscription, report, leaseId } = await handedOver();
    value(await report());
    expect(value(await subscription.ack({ refs: [{ offset: 0, leaseId }] }))).toEqual(["lease-lost"]);
    expect(value(await subscription.stats())).toMatchObject({ settled: 1, leased: 1, waiting: 1 });
  });

  test("comes again as an attempt that failed when its receiver did not settle it in time", async () => {
    const { clock, alarm, pull, subscription, refs } = await handedOver();
    clock.advance(leaseMs);
    await alarm();
    const again = await pull(1);
    expect([idsOf(again), again.deliveries[0]?.attempt]).toEqual([["k1"], 2]);
    expect(value(await subscription.ack({ refs }))).toEqual(["lease-lost"]);
  });
});
