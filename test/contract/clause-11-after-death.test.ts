// Clause 11: what may still happen to a message once it is a dead letter: it is published again, redriven, and met by the
// acks of its former leases.

import { expect, test } from "vitest";
import { named } from "../support/contract-scenes";
import { brokerUnderTest } from "../support/contract-target";

const broker = await brokerUnderTest();
const dead = { deadLetter: true };

type Timeline = Readonly<{ subscriptions: readonly Readonly<{ state: string }>[] }>;

test("clause 11: whoever publishes a dead letter's id again is shown that it is dead, and a redrive sends it", async () => {
  const queue = await broker.queue();
  await queue.publish(...named("order-1"));
  await queue.nack(await queue.pullAll(1), dead);
  const [again] = (await queue.publish(...named("order-1"))) as { duplicate: boolean; timeline?: string }[];
  expect(again?.duplicate).toBe(true);
  const fate = await broker.call<Timeline>("GET", again?.timeline ?? "no timeline");
  expect(fate.subscriptions).toMatchObject([{ state: "dead" }]);
  const redriven = await broker.call("POST", `${queue.path}/dead-letters/redrive`, { json: { all: true } });
  expect(redriven).toMatchObject({ redriven: 1 });
  expect(await queue.ack(await queue.pullAll(1))).toEqual(["acked"]);
});

test("clause 11: the same content under another id is another message, whatever became of the first", async () => {
  const queue = await broker.queue();
  await queue.publish({ id: "order-1", data: "x" });
  await queue.nack(await queue.pullAll(1), dead);
  const [resent] = await queue.publish({ id: "order-1-again", data: "x" });
  expect(resent?.duplicate).toBe(false);
  expect(await queue.pullAll(1)).toMatchObject([{ id: "order-1-again", data: "x" }]);
});

test("clause 11: an ack of before its death does not settle what was redriven, waiting or leased", async () => {
  const queue = await broker.queue();
  await queue.publish(...named("m"));
  const former = await queue.pullAll(1);
  await queue.nack(former, dead);
  await broker.call("POST", `${queue.path}/dead-letters/redrive`, { json: { all: true } });
  expect(await queue.ack(former)).toEqual(["lease-lost"]);
  const newest = await queue.pullAll(1);
  expect(await queue.ack(former)).toEqual(["lease-lost"]);
  expect(await queue.nack(former, dead)).toEqual(["lease-lost"]);
  expect(await queue.ack(newest)).toEqual(["acked"]);
});
