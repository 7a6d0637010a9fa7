// Clause 6: nothing vanishes between 202 and the topic.

import { expect, test } from "vitest";
import { ARRIVES_MS, unique } from "../support/contract-client";
import { ids } from "../support/contract-scenes";
import { brokerUnderTest } from "../support/contract-target";

const broker = await brokerUnderTest();

test("clause 6: a burst of accepted publishes arrives whole", async () => {
  const topic = await broker.topic({ partitions: 3 });
  const subscription = await topic.subscribe();
  const answers = await Promise.all(
    Array.from({ length: 40 }, (_, i) => topic.batch({ messages: [{ data: i }, { data: i }, { data: i }] })),
  );
  expect(answers.every(({ status }) => status === 202)).toBe(true);
  const accepted = answers.flatMap(({ body }) => ids(body.messages));
  const arrived = ids(await subscription.pullAll(accepted.length));
  expect(arrived.sort()).toEqual(accepted.sort());
});

test("clause 6: what was accepted for a deleted topic never surfaces in the topic that took its name", async () => {
  const name = unique("again");
  const first = await broker.topic({}, name);
  const [accepted] = await Promise.all([
    first.publishRaw("for the first life"),
    broker.call("DELETE", first.path),
  ]);
  expect([202, 404, 410]).toContain(accepted.status);
  const second = await broker.topic({}, name);
  const subscription = await second.subscribe();
  await second.publishRaw("for the second life", { "content-type": "text/plain" });
  expect(await subscription.pullAll(1, { waitMs: ARRIVES_MS })).toMatchObject([
    { data: "for the second life" },
  ]);
  expect(await subscription.pull()).toEqual([]);
});
