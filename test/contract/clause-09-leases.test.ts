// Clause 9: a delivery has one live lease, and only the newest ack id settles it.

import { expect, test } from "vitest";
import { codeOf } from "../support/contract-client";
import { EAGER, ids, named, PAST_SHORT_MS, PATIENT, SHORT_MS } from "../support/contract-scenes";
import { brokerUnderTest } from "../support/contract-target";

const broker = await brokerUnderTest();

test("clause 9: two pulls at once never get the same delivery", async () => {
  const queue = await broker.queue();
  await queue.publish(...named(...Array.from({ length: 50 }, (_, i) => `m-${i}`)));
  const pulls = await Promise.all(Array.from({ length: 10 }, () => queue.pull({ max: 5 })));
  const leased = pulls.flatMap(ids);
  expect(new Set(leased).size).toBe(leased.length);
  expect(leased).toHaveLength(50);
});

test("clause 9: a late ack that nobody overtook is honoured, though its deadline has passed", async () => {
  const queue = await broker.queue(PATIENT);
  await queue.publish(...named("m"));
  const late = await queue.pullAll(1, { ackDeadlineMs: SHORT_MS });
  expect(await queue.pull({ waitMs: PAST_SHORT_MS })).toEqual([]);
  expect(await queue.stats()).toMatchObject([{ leased: 0, waiting: 1 }]);
  expect(await queue.ack(late)).toEqual(["acked"]);
  expect(await queue.stats()).toMatchObject([{ leased: 0, waiting: 0, settled: 1 }]);
});

test("clause 9: a late ack that was overtaken is refused as lease-lost", async () => {
  const queue = await broker.queue(EAGER);
  await queue.publish(...named("m"));
  const overtaken = await queue.pullAll(1, { ackDeadlineMs: SHORT_MS });
  const newest = await queue.pullAll(1);
  expect(await queue.ack(overtaken)).toEqual(["lease-lost"]);
  expect(await queue.nack(overtaken)).toEqual(["lease-lost"]);
  expect(await queue.extend(overtaken, 60_000)).toEqual(["lease-lost"]);
  expect(await queue.ack(newest)).toEqual(["acked"]);
});

test("clause 9: an ack of what became a dead letter is refused as lease-lost", async () => {
  const queue = await broker.queue();
  await queue.publish(...named("m"));
  const leased = await queue.pullAll(1);
  expect(await queue.nack(leased, { deadLetter: true })).toEqual(["dead"]);
  expect(await queue.ack(leased)).toEqual(["lease-lost"]);
});

test("clause 9: each ack id is answered for itself, in the order asked", async () => {
  const queue = await broker.queue();
  await queue.publish(...named("a", "b", "c"));
  const [a, b, c] = await queue.pullAll(3);
  if (!a || !b || !c) throw new Error("three were leased");
  await queue.ack([b]);
  expect(await queue.ack([a, b, c])).toEqual(["acked", "lease-lost", "acked"]);
});

test("clause 9: extending moves the deadline of what is still leased", async () => {
  const queue = await broker.queue(EAGER);
  await queue.publish(...named("m"));
  const leased = await queue.pullAll(1, { ackDeadlineMs: SHORT_MS });
  expect(await queue.extend(leased, 600_000)).toEqual(["extended"]);
  expect(await queue.pull({ waitMs: PAST_SHORT_MS })).toEqual([]);
  expect(await queue.ack(leased)).toEqual(["acked"]);
});

test("clause 9: an ack id of one queue settles nothing in another", async () => {
  const [queue, other] = [await broker.queue(), await broker.queue()];
  await queue.publish(...named("m"));
  await other.publish(...named("m"));
  const leased = await queue.pullAll(1);
  await other.pullAll(1);
  expect(await other.ack(leased)).toEqual(["lease-lost"]);
  expect(await other.stats()).toMatchObject([{ settled: 0, leased: 1 }]);
});

test("clause 9: what is no ack id is refused, and nothing beside it is settled", async () => {
  const queue = await broker.queue();
  await queue.publish(...named("m"));
  const [leased] = await queue.pullAll(1);
  const json = { ackIds: [leased?.ackId, "no-ack-id"] };
  const { status, body } = await broker.send("POST", `${queue.path}/ack`, { json });
  expect([status, codeOf(body), body.field]).toEqual([400, "invalid-request", "ackIds[1]"]);
  expect(await queue.stats()).toMatchObject([{ settled: 0, leased: 1 }]);
});
