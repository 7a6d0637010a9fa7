// Clause 4: one ordering key, rising offsets.

import { expect, test } from "vitest";
import { brokerUnderTest } from "../support/contract-target";

const broker = await brokerUnderTest();

test("clause 4: of one ordering key, what is published later gets the higher offset, in the same partition", async () => {
  const topic = await broker.topic({ partitions: 8 });
  const places = [];
  for (let i = 0; i < 10; i++) {
    await topic.publish({ orderingKey: `other-${i}`, data: i });
    const [place] = await topic.publish({ orderingKey: "k", data: i });
    places.push(place);
  }
  expect(new Set(places.map((place) => place?.partition)).size).toBe(1);
  const offsets = places.map((place) => place?.offset ?? -1);
  expect(offsets).toEqual([...offsets].sort((a, b) => a - b));
  expect(new Set(offsets).size).toBe(10);
});

test("clause 4: an ordering key goes the stored way, though nobody asked to wait", async () => {
  const topic = await broker.topic();
  const answer = await topic.publishRaw("x", { "pennypost-ordering-key": "k" });
  expect(answer).toMatchObject({ status: 201, body: { status: "stored" } });
  const mixed = await topic.batch({ messages: [{ data: 1 }, { data: 2, orderingKey: "k" }] });
  expect(mixed).toMatchObject({ status: 201, body: { status: "stored" } });
});
