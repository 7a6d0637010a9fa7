// At-most-once in the subscription's object: settled in the change that hands out, whatever arrives twice or restarts.
import { describe, expect, test } from "vitest";
import { idsOf, message, newSubscription, newTopic, value } from "../support/objects";

const ONCE = { guarantee: "at-most-once" } as const;

describe("a lease under at-most-once", () => {
  test("is settled when it is answered, and nothing of it can be settled again", async () => {
    const topic = await newTopic();
    const { subscription, pull } = await newSubscription(topic, ONCE);
    await topic.publish("a", message("b", { orderingKey: "k" }), message("c", { orderingKey: "k" }));
    const lease = await pull(2);
    expect([idsOf(lease), lease.settled]).toEqual([["a", "b"], true]);
    expect(value(await subscription.stats())).toMatchObject({
      ...{ nextOffset: 2, settled: 2, leased: 0, waiting: 0, unread: 1 },
    });
    const refs = lease.deliveries.map(({ offset }) => ({ offset, leaseId: lease.leaseId }));
    expect(value(await subscription.ack({ refs }))).toEqual(["lease-lost", "lease-lost"]);
    expect(value(await subscription.nack({ refs }))).toEqual(["lease-lost", "lease-lost"]);
    expect(idsOf(await pull())).toEqual(["c"]);
  });

  test("that is asked for twice settles nothing the second time", async () => {
    const topic = await newTopic();
    const { subscription, pull } = await newSubscription(topic, ONCE);
    await topic.publish("a", "b", "c");
    expect(idsOf(await pull(1, "lease-x"))).toEqual(["a"]);
    expect(idsOf(await pull(1, "lease-x"))).toEqual([]);
    expect(value(await subscription.stats())).toMatchObject({ nextOffset: 1, settled: 1 });
    expect(idsOf(await pull())).toEqual(["b", "c"]);
  });

  test("has no deadline: nothing comes back, however long it takes", async () => {
    const topic = await newTopic();
    const { clock, pull, alarm } = await newSubscription(topic, ONCE);
    await topic.publish("a");
    await pull();
    clock.advance(24 * 60 * 60_000);
    await alarm();
    expect(idsOf(await pull())).toEqual([]);
  });
});
