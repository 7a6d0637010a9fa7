// Clause 14: under effectively-once an endpoint is not sent again what it answered 2xx.

import { expect, test } from "vitest";
import { codeOf } from "../support/contract-client";
import { attemptOf, idOf, pushScene } from "../support/contract-scenes";
import { brokerUnderTest } from "../support/contract-target";

const broker = await brokerUnderTest();
const pushed = pushScene(broker);
const once = { guarantee: "effectively-once" };

test("clause 14: under effectively-once each message is sent, and what was answered 2xx is not sent again", async () => {
  const { topic, receiver, subscription } = await pushed(once);
  const messages = Array.from({ length: 20 }, (_, i) => ({
    id: `m-${i}`,
    orderingKey: `k${i % 3}`,
    data: i,
  }));
  await topic.publish(...messages);
  const hooks = await receiver.first(20);
  expect(hooks.map(idOf).sort()).toEqual(messages.map(({ id }) => id).sort());
  // Changing the settings wakes the subscription, which would send what it believed unsettled.
  await subscription.pause();
  await subscription.resume();
  await topic.publish({ id: "last", orderingKey: "k0", data: 0 });
  expect((await receiver.first(21)).map(idOf)).toContain("last");
  expect(receiver.hooks).toHaveLength(21);
});

test("clause 14: under effectively-once what failed is sent again", async () => {
  const { topic, receiver } = await pushed(once);
  receiver.answer((_, index) => ({ status: index < 2 ? 500 : 200 }));
  await topic.publish({ id: "m", data: 1 });
  const hooks = await receiver.first(3);
  expect(hooks.map((hook) => [idOf(hook), attemptOf(hook)])).toEqual([
    ["m", 1],
    ["m", 2],
    ["m", 3],
  ]);
});

test("clause 14: a pull subscription is told to use a ledger instead", async () => {
  const topic = await broker.topic();
  const { status, body } = await broker.send("PUT", `${topic.path}/subscriptions/s`, { json: once });
  expect([status, codeOf(body), body.field]).toEqual([400, "invalid-request", "guarantee"]);
});
