// Clause 8: every message reaches every subscription at least once, pulled or pushed.

import { Webhook } from "standardwebhooks";
import { expect, test } from "vitest";
import { ARRIVES_MS } from "../support/contract-client";
import type { Hook } from "../support/contract-receiver";
import {
  attemptOf,
  EAGER,
  idOf,
  ids,
  named,
  PAST_SHORT_MS,
  pushScene,
  pushTo,
  SHORT_MS,
} from "../support/contract-scenes";
import { brokerUnderTest } from "../support/contract-target";

const broker = await brokerUnderTest();
const pushed = pushScene(broker);

test("clause 8: a message that was not acked comes again when its deadline has passed", async () => {
  const queue = await broker.queue(EAGER);
  await queue.publish({ id: "m", data: "x" });
  const [first] = await queue.pullAll(1, { ackDeadlineMs: SHORT_MS });
  const [second] = await queue.pullAll(1);
  expect(second).toMatchObject({ id: "m", offset: first?.offset, attempt: 2, data: "x" });
  expect(second?.ackId).not.toBe(first?.ackId);
});

test("clause 8: a message that was acked does not come again", async () => {
  const queue = await broker.queue(EAGER);
  await queue.publish(...named("a"));
  expect(await queue.ack(await queue.pullAll(1, { ackDeadlineMs: SHORT_MS }))).toEqual(["acked"]);
  expect(await queue.pull({ waitMs: PAST_SHORT_MS })).toEqual([]);
});

test("clause 8: every message of every partition arrives", async () => {
  const topic = await broker.topic({ partitions: 5 });
  const subscription = await topic.subscribe();
  const published = await topic.publish(...named(...Array.from({ length: 60 }, (_, i) => `m-${i}`)));
  expect(new Set(published.map(({ partition }) => partition)).size).toBeGreaterThan(1);
  const arrived = await subscription.pullAll(60, { max: 7 });
  expect(ids(arrived).sort()).toEqual(ids(published).sort());
});

test("clause 8: a long poll answers as soon as a message is published, in whatever partition", async () => {
  const topic = await broker.topic({ partitions: 4 });
  const subscription = await topic.subscribe();
  for (const id of ["a", "b", "c"]) {
    const polling = subscription.pull({ waitMs: ARRIVES_MS });
    await topic.publish({ id, data: id });
    const delivered = await polling;
    expect(ids(delivered)).toEqual([id]);
    await subscription.ack(delivered);
  }
});

test("clause 8: a webhook is the message byte for byte, signed as Standard Webhooks say", async () => {
  const [topic, receiver] = [await broker.topic(), await broker.receiver()];
  const shown = await broker.call<{ endpoint: { signingSecret: string } }>(
    "PUT",
    `${topic.path}/subscriptions/billing`,
    { json: { ...pushTo(receiver), startAt: "earliest" } },
  );
  const body = '{"amount": 10,\n "currency":"EUR" }';
  await topic.publishRaw(body, {
    prefer: "wait",
    "idempotency-key": "order-7",
    "content-type": "application/json",
    "pennypost-attr-tenant": "acme",
    "pennypost-ordering-key": "k",
  });
  const [hook] = await receiver.first(1);
  if (!hook) throw new Error("a webhook came");
  expect(hook.text).toBe(body);
  expect(Object.fromEntries(hook.headers)).toMatchObject({
    "content-type": "application/json",
    "webhook-id": "order-7",
    "pennypost-subscription": "billing",
    "pennypost-ordering-key": "k",
    "pennypost-attr-tenant": "acme",
    "pennypost-attempt": "1",
  });
  const verify = () =>
    new Webhook(shown.endpoint.signingSecret).verify(body, Object.fromEntries(hook.headers));
  expect(verify()).toEqual({ amount: 10, currency: "EUR" });
  const again = await broker.call<{ endpoint: object }>("GET", `${topic.path}/subscriptions/billing`);
  expect(again.endpoint).not.toHaveProperty("signingSecret");
});

test("clause 8: bytes that are no text arrive as they are", async () => {
  const { topic, receiver } = await pushed();
  const everyByte = Uint8Array.from({ length: 256 }, (_, i) => 255 - i);
  await topic.publishRaw(everyByte, { prefer: "wait", "content-type": "application/octet-stream" });
  const [hook] = await receiver.first(1);
  expect(hook?.body).toEqual(everyByte);
});

test("clause 8: what failed is sent again until it is answered 2xx, under the same webhook-id", async () => {
  const { topic, receiver } = await pushed();
  receiver.answer((_, index) => ({ status: [500, 302, 404, 200][index] ?? 200 }));
  await topic.publish({ id: "m", data: 1 });
  const hooks = await receiver.first(4);
  expect(hooks.map(idOf)).toEqual(["m", "m", "m", "m"]);
  expect(hooks.map(attemptOf)).toEqual([1, 2, 3, 4]);
});

test("clause 8: an endpoint that asks for batches gets many messages in one request, and may refuse some", async () => {
  const { topic, receiver } = await pushed({ batch: { maxMessages: 10 } });
  receiver.answer((_, index) =>
    index === 0
      ? {
          status: 200,
          headers: { "content-type": "application/json" },
          body: JSON.stringify({ failed: [{ id: "b", reason: "busy" }] }),
        }
      : { status: 200 },
  );
  await topic.publish({ id: "a", data: 1 }, { id: "b", data: 2 }, { id: "c", data: 3 });
  const [first, second] = await receiver.first(2);
  const idsIn = (hook: Hook | undefined) =>
    (JSON.parse(hook?.text ?? "{}").messages as { id: string; attempt: number }[]).map(({ id, attempt }) => [
      id,
      attempt,
    ]);
  expect(idsIn(first)).toEqual([
    ["a", 1],
    ["b", 1],
    ["c", 1],
  ]);
  expect(idsIn(second)).toEqual([["b", 2]]);
});
