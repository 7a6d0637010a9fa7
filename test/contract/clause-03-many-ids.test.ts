// Clause 3: a request of hundreds of ids is answered for each, at every step of their way: no statement of the broker's may
// be short of room for what one request may name.

import { expect, test } from "vitest";
import { EAGER, ids, named } from "../support/contract-scenes";
import { brokerUnderTest } from "../support/contract-target";

const broker = await brokerUnderTest();
const MANY = 250;

test("clause 3: hundreds of ids are published, published again, settled and redriven, each with its own answer", async () => {
  const queue = await broker.queue(EAGER);
  const messages = named(...Array.from({ length: MANY }, (_, i) => `m-${i}`));
  const first = await queue.publish(...messages);
  const again = await queue.publish(...messages);
  expect(again.every(({ duplicate }) => duplicate)).toBe(true);
  expect(again.map(({ offset }) => offset)).toEqual(first.map(({ offset }) => offset));
  const all = await queue.pullAll(MANY);
  expect(await queue.nack(all, { deadLetter: true })).toEqual(all.map(() => "dead"));
  const dead = all.map(({ partition, offset }) => `${partition}.0.${offset}`);
  const redriven = await broker.call("POST", `${queue.path}/dead-letters/redrive`, { json: { ids: dead } });
  expect(redriven).toMatchObject({ redriven: MANY });
  const back = await queue.pullAll(MANY);
  expect(ids(back).sort()).toEqual(ids(messages).sort());
  expect(await queue.ack(back)).toEqual(back.map(() => "acked"));
  expect(await queue.stats()).toMatchObject([{ settled: MANY, dead: 0, leased: 0, waiting: 0, unread: 0 }]);
});
