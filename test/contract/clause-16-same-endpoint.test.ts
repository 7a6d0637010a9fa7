// Clause 16: subscriptions of one topic do not stand in each other's way, also where they meet: at one endpoint, in the
// ledger, or beside an endpoint that does not answer.

import { expect, test } from "vitest";
import type { Hook } from "../support/contract-receiver";
import { idOf, named, pushTo } from "../support/contract-scenes";
import { brokerUnderTest } from "../support/contract-target";

const broker = await brokerUnderTest();
const senderOf = ({ headers }: Hook) => headers.get("pennypost-subscription");

test("clause 16: two subscriptions that push to one endpoint under effectively-once each have every message sent", async () => {
  const [topic, receiver] = [await broker.topic(), await broker.receiver()];
  for (const name of ["billing", "shipping"]) {
    await topic.subscribe(pushTo(receiver, { guarantee: "effectively-once" }), name);
  }
  await topic.publish(...named("a", "b"));
  const hooks = await receiver.first(4);
  expect(hooks.map((hook) => `${senderOf(hook)} ${idOf(hook)}`).sort()).toEqual([
    "billing a",
    "billing b",
    "shipping a",
    "shipping b",
  ]);
});

test("clause 16: an endpoint can tell one id from itself, under another ordering key as in another topic", async () => {
  const [one, other, receiver] = [
    await broker.topic({ partitions: 8 }),
    await broker.topic(),
    await broker.receiver(),
  ];
  for (const topic of [one, other]) {
    await topic.subscribe(pushTo(receiver, { guarantee: "effectively-once" }), "billing");
  }
  const partitions = new Set<number>();
  for (let key = 0; partitions.size < 2; key++) {
    const { status, body } = await one.batch({
      messages: [{ id: "m", orderingKey: `key ${key}`, data: key }],
    });
    // Of two keys in one partition the second finds the id used.
    if (status === 201) partitions.add(body.messages[0]?.partition ?? 0);
  }
  await other.publish(...named("m"));
  const hooks = await receiver.first(3);
  expect(new Set(hooks.map(idOf))).toEqual(new Set(["m"]));
  const identities = hooks.map(({ headers }) =>
    ["topic", "subscription", "partition"].map((name) => headers.get(`pennypost-${name}`)).join(" "),
  );
  expect(new Set(identities).size).toBe(3);
});

test("clause 16: an endpoint that keeps all its requests waiting holds up no other", async () => {
  const topic = await broker.topic();
  const [slow, quick] = [await broker.receiver(), await broker.receiver()];
  const messages = named(...Array.from({ length: 10 }, (_, i) => `m-${i}`));
  const quickHasAll = () => Promise.resolve(quick.hooks.length >= messages.length || undefined);
  let answered = 0;
  slow.answer(async () => {
    await broker.eventually("the other endpoint has all", quickHasAll);
    answered += 1;
    return { status: 204 };
  });
  await topic.subscribe(pushTo(slow));
  await topic.publish(...messages);
  await slow.first(1);
  expect(answered).toBe(0);
  await topic.subscribe(pushTo(quick));
  await quick.first(messages.length);
  await slow.first(messages.length);
});
