// Clause 20, on request: the audit looks at every offset, in every partition.

import { expect, test } from "vitest";
import { codeOf } from "../support/contract-client";
import { brokerUnderTest } from "../support/contract-target";

const broker = await brokerUnderTest();

type Terms = Readonly<Record<string, number>>;
type PartitionAudit = Readonly<{
  partition: number;
  startOffset: number;
  nextOffset: number;
  auditedFrom: number;
  auditedTo: number;
  stored: Terms;
  found: Terms;
  holds: boolean;
}>;
type Audit = Readonly<{ holds: boolean; complete: boolean; partitions: readonly PartitionAudit[] }>;

const audit = (path: string, query = "") => broker.call<Audit>("GET", `${path}/audit${query}`);
const total = ({ partitions }: Audit, term: string) =>
  partitions.reduce((sum, { found }) => sum + (found[term] ?? 0), 0);

test("clause 20: the audit finds every offset that was taken in exactly one place, across partitions", async () => {
  const topic = await broker.topic({ partitions: 3 });
  const subscription = await topic.subscribe({ retry: { minDelayMs: 3_600_000, maxDelayMs: 3_600_000 } });
  await topic.publish(
    ...Array.from({ length: 60 }, (_, i) => ({ id: `m-${i}`, data: i })),
    ...Array.from({ length: 6 }, (_, i) => ({ id: `k-${i}`, orderingKey: "k", data: i })),
  );
  const leased = await subscription.pullAll(50, { max: 50 });
  await subscription.ack(leased.slice(0, 20));
  await subscription.nack(leased.slice(20, 30));
  await subscription.nack(leased.slice(30, 40), { deadLetter: true });
  const letters = await subscription.deadLetters();
  const json = { ids: letters.slice(0, 4).map(({ id }) => id) };
  await broker.call("DELETE", `${subscription.path}/dead-letters`, { json });
  const audited = await audit(subscription.path);
  expect(audited).toMatchObject({ holds: true, complete: true });
  const stats = await subscription.stats();
  for (const { partition, nextOffset, found, stored } of audited.partitions) {
    expect(found).toEqual(stored);
    expect(stats[partition]).toMatchObject({ ...found, nextOffset });
  }
  expect(total(audited, "purged")).toBe(4);
  const everything = ["settled", "dead", "purged", "leased", "waiting"].map((term) => total(audited, term));
  const taken = audited.partitions.reduce((sum, { nextOffset }) => sum + nextOffset, 0);
  expect(everything.reduce((sum, n) => sum + n, 0)).toBe(taken);
});

test("clause 20: followers of a lane are found in the log, one by one", async () => {
  const queue = await broker.queue();
  const keyed = (key: string, n: number) =>
    Array.from({ length: n }, (_, i) => ({ orderingKey: key, data: `${key}${i}` }));
  await queue.publish(...keyed("a", 5), ...keyed("b", 5), { data: "free" });
  for (let i = 0; i < 3; i++) await queue.pullAll(1, { max: 1 });
  const { holds, complete, partitions } = await audit(queue.path);
  expect([holds, complete, partitions[0]?.found.leased, partitions[0]?.found.waiting]).toEqual([
    true,
    true,
    3,
    8,
  ]);
});

test("clause 20: what lies before the start is none of the audit's business", async () => {
  const topic = await broker.topic();
  await topic.publish({ data: 1 }, { data: 2 }, { data: 3 });
  const subscription = await topic.subscribe({ startAt: { offsets: { 0: 2 } } });
  await subscription.ack(await subscription.pullAll(1));
  expect(await audit(subscription.path)).toMatchObject({
    ...{ holds: true, complete: true },
    partitions: [{ startOffset: 2, auditedFrom: 2, auditedTo: 3, found: { settled: 1 } }],
  });
});

test("clause 20: an audit can begin in the middle, of one partition, and says that it is not whole", async () => {
  const topic = await broker.topic({ partitions: 2 });
  const subscription = await topic.subscribe();
  const published = await topic.publish(...Array.from({ length: 20 }, (_, i) => ({ id: `m-${i}`, data: i })));
  await subscription.ack(await subscription.pullAll(20));
  const inOne = published.filter(({ partition }) => partition === 1).length;
  expect(await audit(subscription.path, "?partition=1&from=2")).toMatchObject({
    ...{ holds: true, complete: false },
    partitions: [{ partition: 1, auditedFrom: 2, auditedTo: inOne, found: { settled: inOne - 2 } }],
  });
  const beyond = await broker.send("GET", `${subscription.path}/audit?partition=2`);
  expect([beyond.status, codeOf(beyond.body), beyond.body.field]).toEqual([
    400,
    "invalid-request",
    "partition",
  ]);
});

test("clause 20: what a filter left out is a term of the law, and the audit finds each by judging it again", async () => {
  const topic = await broker.topic({ partitions: 2 });
  const subscription = await topic.subscribe({ filter: { body: { n: [{ numeric: ["<", 10] }] } } });
  await topic.publish(...Array.from({ length: 40 }, (_, n) => ({ id: `n-${n}`, data: { n } })));
  await subscription.ack(await subscription.pullAll(10));
  expect(await subscription.pull()).toEqual([]);
  const stats = await subscription.stats();
  expect(stats.reduce((sum, { filtered }) => sum + filtered, 0)).toBe(30);
  for (const { nextOffset, startOffset, settled, filtered } of stats) {
    expect(settled + filtered).toBe(nextOffset - startOffset);
  }
  const audited = await audit(subscription.path);
  expect([audited.holds, total(audited, "filtered"), total(audited, "settled")]).toEqual([true, 30, 10]);
});
