// Clause 10: what is set for an endpoint, a pace or how many requests at once, is for all partitions together. The highest priority goes first, with a tenth for the
// lowest, and what is idle holds nothing back.

import { expect, test } from "vitest";
import type { Hook } from "../support/contract-receiver";
import { EAGER, idOf } from "../support/contract-scenes";
import { brokerUnderTest } from "../support/contract-target";

const broker = await brokerUnderTest();

const PER_SECOND = 20;
const limited = (url: string, perSecond = PER_SECOND) => ({
  ...{ type: "push", endpoint: { url, rateLimit: { perSecond } } },
  ...EAGER,
});
const of = (priority: number, count: number) =>
  Array.from({ length: count }, (_, n) => ({ id: `p${priority}-${n}`, data: n, priority }));
const isHigh = (hook: Hook) => idOf(hook)?.startsWith("p9-") === true;

/** A receiver that notes when each request came. */
async function timed() {
  const receiver = await broker.receiver();
  const at: number[] = [];
  receiver.answer(() => {
    at.push(Date.now());
    return { status: 204 };
  });
  /** How long it took from one request to another, in seconds. */
  const seconds = (from: number, to: number) => ((at[to] ?? 0) - (at[from] ?? 0)) / 1000;
  return { receiver, seconds };
}

test("clause 10: under a rate limit the highest priority drains first, and a tenth goes to the lowest that waits", async () => {
  const { receiver } = await timed();
  const queue = await broker.queue({ priorities: [0, 9] });
  await queue.pause();
  await queue.publish(...of(0, 120), ...of(9, 160));
  await broker.call("PUT", queue.path, {
    json: { priorities: [0, 9], ...limited(receiver.url, 40) },
  });
  await queue.resume();
  const hooks = await receiver.first(150);
  expect(new Set(hooks.map(idOf)).size).toBe(150);
  // One of each to begin with, then 72 and 8 in each two seconds; fewer high ones where all of them together are slow.
  const low = hooks.filter((hook) => !isHigh(hook)).length;
  expect(low).toBeGreaterThanOrEqual(10);
  expect(low).toBeLessThanOrEqual(35);
});

test("clause 10: partitions that are idle leave their part of the rate to the one that is not", async () => {
  const { receiver, seconds } = await timed();
  const topic = await broker.topic({ partitions: 4 });
  await topic.subscribe(limited(receiver.url));
  await topic.publish(
    ...Array.from({ length: 80 }, (_, n) => ({ id: `m${n}`, data: n, orderingKey: "one" })),
  );
  const hooks = await receiver.first(80);
  expect(hooks.map(idOf)).toEqual(Array.from({ length: 80 }, (_, n) => `m${n}`));
  // Of an equal part, five a second, these would take eight seconds.
  expect(seconds(39, 79)).toBeLessThan(6);
  expect(seconds(39, 79)).toBeGreaterThan((40 / PER_SECOND) * 0.7);
});

test("clause 10: partitions that are all busy keep to the rate together", async () => {
  const { receiver, seconds } = await timed();
  const topic = await broker.topic({ partitions: 4 });
  await topic.subscribe(limited(receiver.url));
  await topic.publish(
    ...Array.from({ length: 80 }, (_, n) => ({ id: `m${n}`, data: n, orderingKey: `key-${n % 8}` })),
  );
  await receiver.first(80);
  // Four of them may each be one request ahead.
  expect(seconds(0, 79)).toBeGreaterThanOrEqual((79 - 4) / PER_SECOND);
});

/** A receiver whose requests wait until the broker has answered one of ours; it notes how many are under way. */
async function counted() {
  const receiver = await broker.receiver();
  const count = { underWay: 0, most: 0 };
  const takeTime = (path: string) =>
    receiver.answer(async () => {
      count.most = Math.max(count.most, ++count.underWay);
      for (let i = 0; i < 3; i++) await broker.send("GET", path);
      count.underWay -= 1;
      return { status: 204 };
    });
  return { receiver, count, takeTime };
}

test("clause 10: no more are under way than maxConcurrency, over all partitions, though it is less than these", async () => {
  const { receiver, count, takeTime } = await counted();
  const topic = await broker.topic({ partitions: 4 });
  takeTime(topic.path);
  await topic.subscribe({ type: "push", endpoint: { url: receiver.url, maxConcurrency: 3 }, ...EAGER });
  await topic.publish(
    ...Array.from({ length: 60 }, (_, n) => ({ id: `m${n}`, data: n, orderingKey: `k${n}` })),
  );
  const hooks = await receiver.first(60);
  expect(new Set(hooks.map(idOf)).size).toBe(60);
  expect(count.most).toBe(3);
});

test("clause 10: with one request at a time the highest priority drains first", async () => {
  const { receiver, count, takeTime } = await counted();
  const queue = await broker.queue({ priorities: [0, 9] });
  takeTime(queue.path);
  await queue.pause();
  await queue.publish(...of(0, 60), ...of(9, 60));
  const endpoint = { url: receiver.url, maxConcurrency: 1 };
  await broker.call("PUT", queue.path, { json: { priorities: [0, 9], type: "push", endpoint, ...EAGER } });
  await queue.resume();
  const hooks = await receiver.first(50);
  expect(new Set(hooks.map(idOf)).size).toBe(50);
  expect(count.most).toBe(1);
  // None, or what it had before the others came, and its tenth.
  expect(hooks.filter((hook) => !isHigh(hook)).length).toBeLessThanOrEqual(15);
});
