// Clause 16: a queue hands each message to one consumer, a topic hands it to every subscription.

import { expect, test } from "vitest";
import { idOf, ids, named, pushTo } from "../support/contract-scenes";
import { brokerUnderTest } from "../support/contract-target";

const broker = await brokerUnderTest();

test("clause 16: a topic hands every message to every subscription", async () => {
  const topic = await broker.topic();
  const subscriptions = [await topic.subscribe(), await topic.subscribe(), await topic.subscribe()];
  await topic.publish(...named("a", "b"));
  for (const subscription of subscriptions) {
    const delivered = await subscription.pullAll(2);
    expect(ids(delivered)).toEqual(["a", "b"]);
    expect(await subscription.ack(delivered)).toEqual(["acked", "acked"]);
  }
});

test("clause 16: a queue hands each message to one of its consumers", async () => {
  const queue = await broker.queue({ partitions: 2 });
  const published = await queue.publish(...named(...Array.from({ length: 40 }, (_, i) => `m-${i}`)));
  const consume = async () => {
    const mine: string[] = [];
    for (let some = await queue.pull({ max: 4 }); some.length > 0; some = await queue.pull({ max: 4 })) {
      mine.push(...ids(some));
      await queue.ack(some);
    }
    return mine;
  };
  const shares = await Promise.all([consume(), consume(), consume()]);
  expect(shares.flat().sort()).toEqual(ids(published).sort());
});

test("clause 16: every push subscription of a topic gets every message, and a failing one holds up no other", async () => {
  const topic = await broker.topic();
  const receivers = [await broker.receiver(), await broker.receiver(), await broker.receiver()];
  receivers[1]?.answer(() => ({ status: 503 }));
  for (const receiver of receivers) {
    await topic.subscribe(pushTo(receiver, { retry: { minDelayMs: 60_000, maxDelayMs: 60_000 } }));
  }
  await topic.publish({ id: "a", data: 1 }, { id: "b", data: 2 });
  for (const receiver of receivers) {
    expect((await receiver.first(2)).map(idOf).sort()).toEqual(["a", "b"]);
  }
});
