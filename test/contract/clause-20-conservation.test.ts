// Clause 20: what was taken from the log is accounted for.

import { expect, test } from "vitest";
import type { PartitionStats } from "../support/contract-client";
import { EAGER, named } from "../support/contract-scenes";
import { brokerUnderTest } from "../support/contract-target";

const broker = await brokerUnderTest();
const sum = (stats: readonly PartitionStats[], term: Exclude<keyof PartitionStats, "gaps">) =>
  stats.reduce((total, partition) => total + partition[term], 0);

/** In every partition, what was taken from the log is accounted for, term by term. */
function holds(stats: readonly PartitionStats[]): void {
  for (const s of stats) {
    const terms = s.settled + s.filtered + s.expired + s.dead + s.purged + s.moved + s.leased + s.waiting;
    expect(s.nextOffset - s.startOffset + s.readmitted, JSON.stringify(s)).toBe(terms);
    expect(s.unread).toBe(s.head - s.nextOffset);
  }
}

test("clause 20: what was taken from the log is acked, dead, purged, leased or waiting, and nothing else", async () => {
  const topic = await broker.topic({ partitions: 3 });
  const subscription = await topic.subscribe({ retry: { minDelayMs: 3_600_000, maxDelayMs: 3_600_000 } });
  await topic.publish(...named(...Array.from({ length: 60 }, (_, i) => `m-${i}`)));
  const leased = await subscription.pullAll(40, { max: 40 });
  holds(await subscription.stats());
  await subscription.ack(leased.slice(0, 10));
  await subscription.nack(leased.slice(10, 20));
  await subscription.nack(leased.slice(20, 30), { deadLetter: true });
  const letters = await subscription.deadLetters();
  const path = `${subscription.path}/dead-letters`;
  await broker.call("DELETE", path, { json: { ids: letters.slice(0, 4).map(({ id }) => id) } });
  await broker.call("POST", `${path}/redrive`, { json: { ids: letters.slice(4, 7).map(({ id }) => id) } });
  const stats = await subscription.stats();
  holds(stats);
  const total = Object.fromEntries(
    (["settled", "dead", "purged", "leased", "waiting", "unread"] as const).map((t) => [t, sum(stats, t)]),
  );
  expect(total).toEqual({ settled: 10, dead: 3, purged: 4, leased: 10, waiting: 13, unread: 20 });
});

test("clause 20: followers behind a lane count as waiting", async () => {
  const queue = await broker.queue(EAGER);
  await queue.publish(
    ...["a1", "a2", "a3", "b1"].map((id) => ({ id, orderingKey: id.slice(0, 1), data: id })),
  );
  await queue.pullAll(1, { max: 1 });
  await queue.pullAll(1, { max: 1 });
  const stats = await queue.stats();
  holds(stats);
  expect(stats).toMatchObject([{ leased: 2, waiting: 2, nextOffset: 4 }]);
});

test("clause 20: what lies before its start is none of a subscription's business", async () => {
  const topic = await broker.topic();
  await topic.publish(...named("a", "b", "c"));
  const subscription = await topic.subscribe({ startAt: { offsets: { 0: 2 } } });
  await subscription.ack(await subscription.pullAll(1));
  const stats = await subscription.stats();
  holds(stats);
  expect(stats).toMatchObject([{ startOffset: 2, nextOffset: 3, settled: 1, unread: 0 }]);
});
