// Clause 12: messages of one ordering key go one lease at a time and in order; other keys never wait.

import { expect, test } from "vitest";
import { EAGER, idOf, ids, keyed, pushScene } from "../support/contract-scenes";
import { brokerUnderTest } from "../support/contract-target";

const broker = await brokerUnderTest();
const pushed = pushScene(broker);

/** A queue whose key `a` is parked behind its dead head, and the id of that. */
async function parked() {
  const queue = await broker.queue({ ...EAGER, maxAttempts: 1 });
  await queue.publish(...keyed("a1", "a2", "b1"));
  await queue.nack(await queue.pullAll(1, { max: 1 }));
  const [letter] = await queue.deadLetters();
  return { queue, id: letter?.id };
}

test("clause 12: while one delivery of a key is leased, the next of that key waits, and other keys do not", async () => {
  const queue = await broker.queue(EAGER);
  await queue.publish(...keyed("a1", "a2", "b1", "a3", "b2"));
  const a1 = await queue.pullAll(1, { max: 1 });
  expect(ids(a1)).toEqual(["a1"]);
  const others = await queue.pull({ max: 1 });
  expect(ids(others)).toEqual(["b1"]);
  expect(await queue.pull()).toEqual([]);
  await queue.ack(a1);
  expect(ids(await queue.pullAll(2))).toEqual(["a2", "a3"]);
  await queue.ack(others);
  expect(ids(await queue.pullAll(1))).toEqual(["b2"]);
});

test("clause 12: a lease may hold a run of one key, in order", async () => {
  const queue = await broker.queue(EAGER);
  await queue.publish(...keyed("a1", "a2", "a3", "b1"));
  expect(ids(await queue.pullAll(4))).toEqual(["a1", "a2", "a3", "b1"]);
});

test("clause 12: the first failure of a run gives back it and all after it, and only its attempt counts", async () => {
  const queue = await broker.queue(EAGER);
  await queue.publish(...keyed("a1", "a2", "a3", "a4"));
  const [a1, a2, ...after] = await queue.pullAll(4);
  if (!a1 || !a2) throw new Error("four were leased");
  expect(await queue.ack([a1])).toEqual(["acked"]);
  expect(await queue.nack([a2])).toEqual(["released"]);
  const again = await queue.pullAll(3);
  expect(again.map(({ id, attempt }) => [id, attempt])).toEqual([
    ["a2", 2],
    ["a3", 1],
    ["a4", 1],
  ]);
  expect(await queue.ack(after)).toEqual(["lease-lost", "lease-lost"]);
});

test("clause 12: a key whose delivery waits for its next attempt keeps its order", async () => {
  const queue = await broker.queue(EAGER);
  await queue.publish(...keyed("a1", "a2", "b1"));
  const a1 = await queue.pullAll(1, { max: 1 });
  await queue.nack(a1, { delayMs: 2_000 });
  expect(ids(await queue.pullAll(1))).toEqual(["b1"]);
  expect(await queue.pull()).toEqual([]);
  expect(ids(await queue.pullAll(2))).toEqual(["a1", "a2"]);
});

test("clause 12: a deadline that passes gives a run back in order", async () => {
  const queue = await broker.queue(EAGER);
  await queue.publish(...keyed("a1", "a2", "a3"));
  await queue.pullAll(2, { max: 2, ackDeadlineMs: 1_000 });
  for (const id of ["a1", "a2", "a3"]) {
    const next = await queue.pullAll(1, { max: 3 });
    expect(ids(next)).toEqual([id]);
    await queue.ack(next);
  }
});

test("clause 12: keys are in order whoever consumes, however many pull at once", async () => {
  const topic = await broker.topic({ partitions: 3 });
  const subscription = await topic.subscribe(EAGER);
  const keys = ["a", "b", "c", "d", "e", "f"];
  const names = Array.from({ length: 10 }, (_, i) => keys.map((key) => `${key}${i}`)).flat();
  await topic.publish(...keyed(...names));
  const seen: string[] = [];
  const consume = async () => {
    while (seen.length < names.length) {
      const some = await subscription.pull({ max: 3, waitMs: 500 });
      seen.push(...ids(some));
      if (some.length > 0) await subscription.ack(some);
    }
  };
  await Promise.all([consume(), consume(), consume()]);
  expect(seen).toHaveLength(names.length);
  for (const key of keys) {
    const ofKey = seen.filter((id) => id.startsWith(key));
    expect(ofKey).toEqual(names.filter((id) => id.startsWith(key)));
  }
});

test("clause 12: park: the key waits behind its dead head, and other keys go on", async () => {
  const { queue } = await parked();
  expect(ids(await queue.pullAll(1))).toEqual(["b1"]);
  expect(await queue.pull()).toEqual([]);
});

test("clause 12: park: redriving the head resumes the key in order", async () => {
  const { queue, id } = await parked();
  await broker.call("POST", `${queue.path}/dead-letters/redrive`, { json: { ids: [id] } });
  const resumed = await queue.pullAll(3);
  expect(ids(resumed).filter((id) => id.startsWith("a"))).toEqual(["a1", "a2"]);
});

test("clause 12: park: purging the head skips it", async () => {
  const { queue, id } = await parked();
  await broker.call("DELETE", `${queue.path}/dead-letters`, { json: { ids: [id] } });
  expect(ids(await queue.pullAll(2)).sort()).toEqual(["a2", "b1"]);
});

test("clause 12: skip: the key goes on without the dead one", async () => {
  const queue = await broker.queue({ ...EAGER, maxAttempts: 1, onExhausted: "skip" });
  await queue.publish(...keyed("a1", "a2"));
  await queue.nack(await queue.pullAll(1, { max: 1 }));
  expect(ids(await queue.pullAll(1))).toEqual(["a2"]);
  expect(await queue.deadLetters()).toMatchObject([{ message: { id: "a1" } }]);
});

test("clause 12: block: the head is tried for ever, and never dies", async () => {
  const queue = await broker.queue({ ...EAGER, maxAttempts: 1, onExhausted: "block" });
  await queue.publish(...keyed("a1", "a2"));
  for (let attempt = 1; attempt <= 4; attempt++) {
    const head = await queue.pullAll(1, { max: 1 });
    expect(head).toMatchObject([{ id: "a1", attempt }]);
    expect(await queue.nack(head)).toEqual(["released"]);
  }
  expect(await queue.deadLetters()).toEqual([]);
});

test("clause 12: webhooks of one key are sent one by one and in order, whatever fails", async () => {
  const { topic, receiver } = await pushed();
  const failedOnce = new Set<string | null>();
  let underway = 0;
  let most = 0;
  receiver.answer(async (hook) => {
    underway += 1;
    most = Math.max(most, underway);
    await Promise.resolve();
    underway -= 1;
    const isFirst = !failedOnce.has(idOf(hook));
    failedOnce.add(idOf(hook));
    return { status: isFirst ? 500 : 200 };
  });
  await topic.publish(...[1, 2, 3, 4].map((i) => ({ id: `k${i}`, orderingKey: "k", data: i })));
  const hooks = await receiver.first(8);
  expect(hooks.map(idOf)).toEqual(["k1", "k1", "k2", "k2", "k3", "k3", "k4", "k4"]);
  expect(most).toBe(1);
});
