// Clause 19: pausing, resuming and deleting lose nothing.

import { expect, test } from "vitest";
import { ARRIVES_MS, codeOf } from "../support/contract-client";
import { EAGER, ids, named } from "../support/contract-scenes";
import { brokerUnderTest } from "../support/contract-target";

const broker = await brokerUnderTest();

test("clause 19: while it is paused nothing is handed out, and nothing is lost", async () => {
  const queue = await broker.queue(EAGER);
  await queue.publish(...named("a", "b"));
  const leased = await queue.pullAll(1, { max: 1 });
  await queue.pause();
  expect(await queue.pull({ waitMs: 300 })).toEqual([]);
  await queue.publish(...named("c"));
  expect(await queue.ack(leased)).toEqual(["acked"]);
  await queue.resume();
  expect(ids(await queue.pullAll(2))).toEqual(["b", "c"]);
});

test("clause 19: whoever polls while it is paused is answered when it resumes", async () => {
  const queue = await broker.queue(EAGER);
  await queue.publish(...named("a"));
  await queue.pause();
  const polling = queue.pull({ waitMs: ARRIVES_MS });
  await queue.resume();
  expect(ids(await polling)).toEqual(["a"]);
});

test("clause 19: a pause of push sends nothing, and what was published meanwhile is sent after", async () => {
  const [topic, receiver] = [await broker.topic(), await broker.receiver()];
  const subscription = await topic.subscribe({ type: "push", endpoint: { url: receiver.url } });
  await subscription.pause();
  await topic.publish(...named("a", "b"));
  const [other] = [await topic.subscribe()];
  await other.pullAll(2);
  expect(receiver.hooks).toHaveLength(0);
  await subscription.resume();
  expect((await receiver.first(2)).map(({ headers }) => headers.get("webhook-id")).sort()).toEqual([
    "a",
    "b",
  ]);
});

test("clause 19: what was in flight of a deleted subscription is answered as gone, and others go on", async () => {
  const topic = await broker.topic();
  const [deleted, other] = [await topic.subscribe(), await topic.subscribe()];
  await topic.publish(...named("a"));
  const leased = await deleted.pullAll(1);
  await broker.call("DELETE", deleted.path);
  await broker.call("DELETE", deleted.path);
  for (const [verb, json] of [
    ["ack", { ackIds: leased.map(({ ackId }) => ackId) }],
    ["pull", {}],
  ] as const) {
    const { status, body } = await broker.send("POST", `${deleted.path}/${verb}`, { json });
    expect([status, codeOf(body)]).toEqual([404, "subscription-not-found"]);
  }
  expect(ids(await other.pullAll(1))).toEqual(["a"]);
});

test("clause 19: a subscription that is made again under its name starts anew", async () => {
  const topic = await broker.topic();
  const first = await topic.subscribe(EAGER, "billing");
  await topic.publish(...named("a", "b"));
  const leased = await first.pullAll(1, { max: 1 });
  await broker.call("DELETE", first.path);
  const second = await topic.subscribe(EAGER, "billing");
  expect(await second.ack(leased)).toEqual(["lease-lost"]);
  expect(ids(await second.pullAll(2))).toEqual(["a", "b"]);
});

test("clause 19: a topic that is made again under its name has none of its messages", async () => {
  const topic = await broker.topic();
  const name = topic.path.slice("/v1/topics/".length);
  await topic.publish(...named("a"));
  await broker.call("DELETE", topic.path);
  const missing = await topic.publishRaw("x", { prefer: "wait" });
  expect([missing.status, codeOf(missing.body)]).toEqual([404, "topic-not-found"]);
  const again = await broker.topic({}, name);
  expect(await (await again.subscribe()).pull()).toEqual([]);
  expect(await again.publish(...named("a"))).toMatchObject([{ offset: 0, duplicate: false }]);
});

test("clause 19: a long poll of a deleted queue ends, and says why", async () => {
  const queue = await broker.queue();
  const polling = broker.send("POST", `${queue.path}/pull`, { json: { waitMs: ARRIVES_MS } });
  await broker.call("DELETE", queue.path);
  expect([404, 410]).toContain((await polling).status);
});
