// Clause 10: an endpoint that fails is left alone, and one that comes back is not knocked over by what waited for it.

import { expect, test } from "vitest";
import { codeOf } from "../support/contract-client";
import { attemptOf, idOf, pushScene } from "../support/contract-scenes";
import { brokerUnderTest } from "../support/contract-target";

const broker = await brokerUnderTest();
const pushed = pushScene(broker);

type Health = Readonly<{ state: string; since?: number; until?: number; reason?: string }>;
type Stats = Readonly<{
  total: { endpoint: Health; waiting: number; unread: number; settled: number; dead: number };
}>;
type Scene = Awaited<ReturnType<typeof pushed>>;

const numbered = (count: number) => Array.from({ length: count }, (_, n) => ({ id: `m${n}`, data: n }));
const statsOf = async ({ subscription }: Scene) =>
  (await broker.call<Stats>("GET", `${subscription.path}/stats`)).total;
const untilEndpoint = (scene: Scene, state: string) =>
  broker.eventually(`the endpoint is ${state}`, async () => {
    const stats = await statsOf(scene);
    return stats.endpoint.state === state ? stats : undefined;
  });
const untilSettled = (scene: Scene, count: number) =>
  broker.eventually(`${count} are settled`, async () => {
    const stats = await statsOf(scene);
    return stats.settled === count ? stats : undefined;
  });

test("clause 10: 429 and 503 with Retry-After pause the endpoint, not only the message", async () => {
  for (const status of [429, 503]) {
    const scene = await pushed();
    const { topic, receiver } = scene;
    receiver.answer((_, index) =>
      index === 0 ? { status, headers: { "retry-after": "3" } } : { status: 204 },
    );
    await topic.publish({ id: "first", data: 1 });
    await receiver.first(1);
    const { endpoint } = await untilEndpoint(scene, "open");
    await topic.publish({ id: "second", data: 2 });
    type Fate = { subscriptions: { state: string; why: string }[] };
    const fate = await broker.call<Fate>("GET", `${topic.path}/messages/second`);
    expect(fate.subscriptions[0]?.why).toContain("Waits for the endpoint until");
    expect(fate.subscriptions[0]?.why).toContain(new Date(endpoint.until ?? 0).toISOString());
    const times = (await receiver.first(3)).map(({ headers }) => Number(headers.get("webhook-timestamp")));
    expect((times[1] ?? 0) - (times[0] ?? 0)).toBeGreaterThanOrEqual(2);
    await untilSettled(scene, 2);
  }
});

test("clause 10: an endpoint that fails is left alone: nothing burns attempts, and it is sent one message to probe it", async () => {
  const scene = await pushed({ maxAttempts: 2, onExhausted: "skip" });
  const { topic, receiver, subscription } = scene;
  let isDown = true;
  receiver.answer(() => ({ status: isDown ? 502 : 204 }));
  await topic.publish(...numbered(40));
  const { endpoint } = await untilEndpoint(scene, "open");
  expect(endpoint.reason).toContain("502");
  const before = receiver.hooks.length;
  // Six at once, ten in a row: what was under way when it opened comes on top of the ten.
  expect(before).toBeLessThan(30);
  await subscription.resume();
  await broker.eventually("it is probed", async () => receiver.hooks[before]);
  await untilEndpoint(scene, "open");
  expect(receiver.hooks.length).toBe(before + 1);
  expect((await statsOf(scene)).dead).toBe(0);
  isDown = false;
  await subscription.resume();
  await untilSettled(scene, 40);
  expect(receiver.hooks.slice(before).every((hook) => attemptOf(hook) <= 2)).toBe(true);
  expect(await untilEndpoint(scene, "closed")).toMatchObject({ dead: 0 });
});

test("clause 10: an endpoint that comes back is sent twice as much each second, and no more than its drain rate", async () => {
  const scene = await pushed({ retry: { minDelayMs: 0, maxDelayMs: 0 } });
  const { topic, receiver, subscription } = scene;
  let isDown = true;
  const at: number[] = [];
  receiver.answer(() => {
    if (!isDown) at.push(Date.now());
    return { status: isDown ? 503 : 204 };
  });
  await topic.publish(...numbered(40));
  await untilEndpoint(scene, "open");
  isDown = false;
  await subscription.resume();
  await untilSettled(scene, 40);
  const start = at[0] ?? 0;
  const perSecond = Map.groupBy(at, (each) => Math.floor((each - start) / 1000));
  expect(perSecond.get(0)?.length).toBeLessThanOrEqual(3);
  expect(perSecond.get(1)?.length ?? 0).toBeLessThanOrEqual(7);
  for (const times of perSecond.values()) expect(times.length).toBeLessThanOrEqual(41);
});

test("clause 10: a message that an endpoint refuses, however often, holds back no other", async () => {
  const scene = await pushed({ maxAttempts: 30, onExhausted: "skip" });
  const { topic, receiver } = scene;
  receiver.answer((hook) => ({ status: idOf(hook) === "m0" ? 500 : 204 }));
  await topic.publish({ id: "m0", data: 0 });
  await broker.eventually("it is dead", async () => ((await statsOf(scene)).dead === 1 ? true : undefined));
  await topic.publish({ id: "m1", data: 1 });
  expect((await untilSettled(scene, 1)).endpoint.state).toBe("closed");
});

test("clause 10: a rate limit spaces requests evenly", async () => {
  const topic = await broker.topic();
  const receiver = await broker.receiver();
  const at: number[] = [];
  receiver.answer(() => {
    at.push(Date.now());
    return { status: 204 };
  });
  const endpoint = { url: receiver.url, rateLimit: { perMinute: 300 } };
  await topic.subscribe({ type: "push", endpoint });
  await topic.publish(...numbered(8));
  await receiver.first(8);
  expect((at[7] ?? 0) - (at[0] ?? 0)).toBeGreaterThanOrEqual(1_200);
});

test("clause 10: never more requests are under way than maxConcurrency", async () => {
  const topic = await broker.topic();
  const receiver = await broker.receiver();
  let [underWay, most] = [0, 0];
  receiver.answer(async () => {
    most = Math.max(most, ++underWay);
    await broker.call("GET", topic.path);
    underWay -= 1;
    return { status: 204 };
  });
  const json = { type: "push", endpoint: { url: receiver.url, maxConcurrency: 2 } };
  const shown = await broker.call<{ endpoint: object }>("PUT", `${topic.path}/subscriptions/s`, { json });
  expect(shown.endpoint).toMatchObject({ maxConcurrency: 2 });
  await topic.publish(...numbered(10));
  await receiver.first(10);
  expect(most).toBe(2);
});

test("clause 10: a rate limit names one period", async () => {
  const topic = await broker.topic();
  const endpoint = { url: "https://example.com/", rateLimit: { perSecond: 1, perHour: 1 } };
  const { status, body } = await broker.send("PUT", `${topic.path}/subscriptions/s`, {
    json: { type: "push", endpoint },
  });
  expect([status, codeOf(body), body.field]).toEqual([400, "invalid-request", "endpoint.rateLimit"]);
});

test("clause 10: consumers that pull side by side never hold more than maxInFlight together", async () => {
  const queue = await broker.queue({ maxInFlight: 5 });
  await queue.publish(...numbered(20));
  const held = await Promise.all([1, 2, 3].map(() => queue.pull({ max: 4 })));
  expect(held.flat()).toHaveLength(5);
  expect(await queue.pull({ max: 4 })).toEqual([]);
  const first = held.find((leased) => leased.length > 0) ?? [];
  await queue.ack(first);
  const more = await Promise.all([1, 2, 3].map(() => queue.pull({ max: 4 })));
  expect(more.flat()).toHaveLength(first.length);
});

test("clause 10: another URL has an endpoint that is left alone probed at once", async () => {
  const scene = await pushed();
  const { topic, receiver, subscription } = scene;
  receiver.answer(() => ({ status: 503, headers: { "retry-after": "3600" } }));
  await topic.publish({ id: "m", data: 1 });
  const { endpoint } = await untilEndpoint(scene, "open");
  expect((endpoint.until ?? 0) - Date.now()).toBeGreaterThan(3_000_000);
  await topic.publish({ id: "next", data: 2 });
  const other = await broker.receiver();
  await broker.call("PUT", subscription.path, { json: { type: "push", endpoint: { url: other.url } } });
  expect((await other.first(1)).map(idOf)).toEqual(["next"]);
  // What was itself told to come again in an hour does.
  expect(await untilSettled(scene, 1)).toMatchObject({ waiting: 1 });
  expect(receiver.hooks).toHaveLength(1);
});
