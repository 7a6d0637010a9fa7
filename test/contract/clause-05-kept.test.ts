// Clause 5: a message is kept whether or not anybody subscribes.

import { expect, test } from "vitest";
import { ids } from "../support/contract-scenes";
import { brokerUnderTest } from "../support/contract-target";

const broker = await brokerUnderTest();

test("clause 5: what was published while nobody subscribed is there for who comes later", async () => {
  const topic = await broker.topic();
  await topic.publish({ id: "early", data: 1 });
  const earliest = await topic.subscribe({ startAt: "earliest" });
  const latest = await topic.subscribe({ startAt: "latest" });
  await topic.publish({ id: "late", data: 2 });
  expect(ids(await earliest.pullAll(2))).toEqual(["early", "late"]);
  expect(ids(await latest.pullAll(1))).toEqual(["late"]);
});

test("clause 5: a subscription starts at the offsets it names, or at a time", async () => {
  const topic = await broker.topic();
  await topic.publish({ id: "a", data: 1 }, { id: "b", data: 2 }, { id: "c", data: 3 });
  const fromOffset = await topic.subscribe({ startAt: { offsets: { 0: 2 } } });
  const fromBefore = await topic.subscribe({ startAt: { time: 1 } });
  const fromAfter = await topic.subscribe({ startAt: { time: 4_000_000_000_000 } });
  expect(ids(await fromOffset.pullAll(1))).toEqual(["c"]);
  expect(ids(await fromBefore.pullAll(3))).toEqual(["a", "b", "c"]);
  expect(await fromAfter.pull()).toEqual([]);
});
