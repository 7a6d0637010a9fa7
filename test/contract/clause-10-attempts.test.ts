// Clause 10: what an attempt is, and when the next comes.

import { expect, test } from "vitest";
import { codeOf } from "../support/contract-client";
import {
  EAGER,
  idOf,
  ids,
  named,
  PAST_SHORT_MS,
  PATIENT,
  pushScene,
  SHORT_MS,
} from "../support/contract-scenes";
import { brokerUnderTest } from "../support/contract-target";

const broker = await brokerUnderTest();
const pushed = pushScene(broker);

test("clause 10: a nack ends an attempt, and said twice it ends one", async () => {
  const queue = await broker.queue(PATIENT);
  await queue.publish(...named("m"));
  const leased = await queue.pullAll(1);
  expect(await queue.nack(leased, { delayMs: 0 })).toEqual(["released"]);
  expect(await queue.nack(leased, { delayMs: 0 })).toEqual(["released"]);
  expect(await queue.pullAll(1)).toMatchObject([{ id: "m", attempt: 2 }]);
});

test("clause 10: a nack that names no delay waits by the policy; who asks for none gets none, and in the end a dead letter", async () => {
  const queue = await broker.queue({ ...PATIENT, maxAttempts: 2 });
  await queue.publish(...named("patient", "eager"));
  const [patient, eager] = await queue.pullAll(2);
  if (!patient || !eager) throw new Error("two came");
  await queue.nack([patient]);
  await queue.nack([eager], { delayMs: 0 });
  const again = await queue.pull({ max: 2 });
  expect(again).toMatchObject([{ id: "eager", attempt: 2 }]);
  expect(await queue.nack(again, { delayMs: 0 })).toEqual(["dead"]);
  expect(await queue.pull({ max: 2 })).toEqual([]);
  expect(await queue.deadLetters()).toMatchObject([{ message: { id: "eager", data: "eager" }, attempts: 2 }]);
});

test("clause 10: what is given back with a delay comes when it is over, and not before", async () => {
  const queue = await broker.queue(EAGER);
  await queue.publish(...named("m"));
  await queue.nack(await queue.pullAll(1), { delayMs: PAST_SHORT_MS });
  expect(await queue.pull()).toEqual([]);
  expect(await queue.pullAll(1)).toMatchObject([{ id: "m", attempt: 2 }]);
});

test("clause 10: a consumer that falls silent with several costs none an attempt, and each comes in smaller company", async () => {
  const queue = await broker.queue({ maxAttempts: 1, ...EAGER });
  await queue.publish(...named("a", "b", "poison", "d"));
  const silent = { max: 4, ackDeadlineMs: SHORT_MS };
  expect(await queue.pullAll(4, silent)).toHaveLength(4);
  const first = await queue.pull({ ...silent, waitMs: PAST_SHORT_MS });
  expect(first).toMatchObject([
    { id: "a", attempt: 1 },
    { id: "b", attempt: 1 },
  ]);
  expect(await queue.ack(first)).toEqual(["acked", "acked"]);
  // This consumer dies too. Then one is alone with it, dies, and only that one was ever charged.
  expect(ids(await queue.pull(silent))).toEqual(["poison", "d"]);
  expect(ids(await queue.pull({ ...silent, waitMs: PAST_SHORT_MS }))).toEqual(["poison"]);
  const last = await queue.pull({ max: 4 });
  expect(last).toMatchObject([{ id: "d", attempt: 1 }]);
  expect(await queue.ack(last)).toEqual(["acked"]);
  expect(await queue.pull({ waitMs: PAST_SHORT_MS })).toEqual([]);
  const letters = await queue.deadLetters();
  expect(letters).toMatchObject([{ message: { id: "poison" }, reason: "attempts-spent", attempts: 1 }]);
  const { history } = letters[0] as unknown as { history: { together: number }[] };
  expect(history.map(({ together }) => together)).toEqual([4, 2, 1]);
});

test("clause 10: what is not handed out counts no attempt", async () => {
  const queue = await broker.queue(EAGER);
  await queue.publish(...named("a", "b"));
  await queue.nack(await queue.pullAll(1));
  expect(await queue.pullAll(2)).toMatchObject([
    { id: "a", attempt: 2 },
    { id: "b", attempt: 1 },
  ]);
});

test("clause 10: unless it is set otherwise, attempts go on for days", async () => {
  const queue = await broker.queue();
  type Shown = { maxAttempts: number; retry: { minDelayMs: number; maxDelayMs: number } };
  const { maxAttempts, retry } = await broker.call<Shown>("GET", queue.path);
  const ceilings = Array.from({ length: maxAttempts - 1 }, (_, failed) =>
    Math.min(retry.maxDelayMs, retry.minDelayMs * 2 ** failed),
  );
  // Full jitter takes half of each ceiling on average.
  const days = ceilings.reduce((sum, ceiling) => sum + ceiling / 2, 0) / 86_400_000;
  expect(days).toBeGreaterThan(1);
});

test("clause 10: Retry-After wins over the backoff", async () => {
  const { topic, receiver } = await pushed();
  receiver.answer((_, index) =>
    index === 0 ? { status: 503, headers: { "retry-after": "2" } } : { status: 200 },
  );
  await topic.publish({ id: "m", data: 1 });
  const [first, second] = (await receiver.first(2)).map(({ headers }) =>
    Number(headers.get("webhook-timestamp")),
  );
  expect((second ?? 0) - (first ?? 0)).toBeGreaterThanOrEqual(1);
  expect((second ?? 0) - (first ?? 0)).toBeLessThan(10);
});

test("clause 10: an endpoint that answers 410 is sent nothing more until the subscription is resumed", async () => {
  const { topic, receiver, subscription } = await pushed();
  receiver.answer((_, index) => ({ status: index === 0 ? 410 : 200 }));
  await topic.publish({ id: "m", data: 1 });
  const paused = await broker.eventually("the subscription is paused", async () => {
    const shown = await broker.call<{ paused: boolean; pausedReason?: string }>("GET", subscription.path);
    return shown.paused ? shown : undefined;
  });
  expect(paused.pausedReason).toBe("endpoint-gone");
  expect(receiver.hooks).toHaveLength(1);
  await subscription.resume();
  expect((await receiver.first(2)).map(idOf)).toEqual(["m", "m"]);
});

test("clause 10: an endpoint of another network's is refused when it is set", async () => {
  const topic = await broker.topic();
  const json = { type: "push", endpoint: { url: "https://10.0.0.1/hook" } };
  const { status, body } = await broker.send("PUT", `${topic.path}/subscriptions/s`, { json });
  expect([status, codeOf(body), body.field]).toEqual([400, "invalid-request", "endpoint.url"]);
});
