// Routing: a subscription that forwards what it takes to another topic.

import { expect, test } from "vitest";
import { codeOf, type Delivered, type Topic, unique } from "../support/contract-client";
import { EAGER, ids, keyed, named } from "../support/contract-scenes";
import { brokerUnderTest } from "../support/contract-target";

const broker = await brokerUnderTest();

const nameOf = ({ path }: { path: string }) => path.split("/").at(-1) ?? "";
const forwardTo = (target: { path: string }, more: object = {}) => ({
  type: "forward",
  forward: { topic: nameOf(target) },
  ...EAGER,
  ...more,
});
const audit = (path: string) =>
  broker.call<{ holds: boolean; partitions: unknown[] }>("GET", `${path}/audit`);
const shown = (path: string) =>
  broker.call<{ paused: boolean; pausedReason?: string; version: number }>("GET", path);

async function route(more: object = {}, source: object = {}) {
  const [topic, queue] = [await broker.topic(source), await broker.queue()];
  const forward = await topic.subscribe(forwardTo(queue, more));
  return { topic, queue, forward };
}

/** Waits until the forward has settled `count`. */
const settled = (forward: Awaited<ReturnType<Topic["subscribe"]>>, count: number) =>
  broker.eventually(`${count} are forwarded`, async () => {
    const [stats] = await forward.stats();
    return stats?.settled === count ? stats : undefined;
  });

test("routing: what is forwarded is a message of the other topic, as it was published", async () => {
  const { topic, queue } = await route();
  const reader = await topic.subscribe();
  await topic.publish({
    ...{ id: "a", data: "the body", contentType: "text/plain", subject: "orders.eu" },
    ...{ orderingKey: "k", attributes: { tenant: "t1" } },
  });
  const [[there], [here]] = [await queue.pullAll(1), await reader.pullAll(1)];
  const { ackId: _, deadlineAt: __, ...same } = here as Delivered;
  expect(there).toMatchObject(same);
});

test("routing: a filter says what is forwarded, and the law and the audit hold for a forward", async () => {
  const { topic, queue, forward } = await route({ filter: { attributes: { region: ["eu"] } } });
  const of = (id: string, region: string) => ({ id, data: id, attributes: { region } });
  await topic.publish(of("1", "eu"), of("2", "us"), of("3", "eu"), of("4", "us"));
  expect(ids(await queue.pullAll(2))).toEqual(["1", "3"]);
  const stats = await broker.eventually("all is passed", async () => {
    const [stats] = await forward.stats();
    return stats?.settled === 2 && stats.filtered === 2 ? stats : undefined;
  });
  expect(stats).toMatchObject({ nextOffset: 4, leased: 0, waiting: 0, dead: 0 });
  expect((await audit(forward.path)).holds).toBe(true);
  expect(await queue.pull()).toEqual([]);
});

test("routing: messages of one ordering key keep their order through two topics and more partitions", async () => {
  const [first, second, last] = [
    await broker.topic({ partitions: 2 }),
    await broker.topic({ partitions: 4 }),
    await broker.queue(),
  ];
  await first.subscribe(forwardTo(second));
  await second.subscribe(forwardTo(last));
  const names = Array.from({ length: 30 }, (_, i) => `${"abc"[i % 3]}${String(i).padStart(2, "0")}`);
  for (let at = 0; at < names.length; at += 6) await first.publish(...keyed(...names.slice(at, at + 6)));
  const got: string[] = [];
  while (got.length < names.length) {
    const some = await last.pullAll(1, { max: 3 });
    got.push(...ids(some));
    await last.ack(some);
  }
  for (const key of "abc") {
    const of = (all: readonly string[]) => all.filter((name) => name.startsWith(key));
    expect(of(got)).toEqual(of(names));
  }
});

test("routing: a message whose id the target has had is not stored there again", async () => {
  const { topic, queue, forward } = await route();
  await queue.publish(...named("a"));
  await topic.publish(...named("a", "b"));
  await settled(forward, 2);
  expect(ids(await queue.pullAll(2))).toEqual(["a", "b"]);
  expect(await queue.pull()).toEqual([]);
});

test("routing: a forward that is effectively-once brings a message by two ways once, whoever made its id", async () => {
  const [topic, left, right, end] = [
    await broker.topic(),
    await broker.topic(),
    await broker.topic(),
    await broker.queue(),
  ];
  const once = { guarantee: "effectively-once" };
  await topic.subscribe(forwardTo(left, once));
  await topic.subscribe(forwardTo(right, once));
  const ends = [await left.subscribe(forwardTo(end, once)), await right.subscribe(forwardTo(end, once))];
  await topic.publish({ data: 1 }, { data: 2 });
  for (const forward of ends) await settled(forward, 2);
  expect(await end.pullAll(2)).toHaveLength(2);
  expect(await end.pull()).toEqual([]);
});

test("routing: what the target refuses for its content is a dead letter, and holds up nothing else", async () => {
  const [topic, queue] = [await broker.topic(), await broker.queue({ schema: { type: "object" } })];
  const forward = await topic.subscribe(forwardTo(queue));
  await queue.publish({ id: "taken", data: { other: true } });
  await topic.publish({ id: "taken", data: {} }, { id: "odd", data: "text" }, { id: "good", data: {} });
  expect(ids(await queue.pullAll(2))).toEqual(["taken", "good"]);
  const letters = await broker.eventually("both are dead", async () => {
    const letters = await forward.deadLetters();
    return letters.length === 2 ? letters : undefined;
  });
  expect(letters).toMatchObject([
    { reason: "rejected", message: { id: "taken" } },
    { reason: "rejected", message: { id: "odd" }, detail: expect.stringContaining("schema") },
  ]);
  expect((await audit(forward.path)).holds).toBe(true);
});

test("routing: a topic cannot be forwarded to itself, nor to one whose forwards lead back", async () => {
  const [a, b, c] = [await broker.topic(), await broker.topic(), await broker.topic()];
  await a.subscribe(forwardTo(b));
  await b.subscribe(forwardTo(c));
  for (const target of [a, c]) {
    const path = `${target.path}/subscriptions/back`;
    const { status, body } = await broker.send("PUT", path, { json: forwardTo(a) });
    expect([status, codeOf(body), body.field]).toEqual([409, "forward-loop", "forward.topic"]);
  }
});

test("routing: whoever may not publish to the target may not forward there, nor learn whether it exists", async () => {
  const [topic, other] = [await broker.topic(), await broker.topic()];
  const make = async (...verbs: [string, Topic][]) => {
    const scopes = verbs.map(([verb, at]) => ({ verb, topics: nameOf(at) }));
    const json = { name: "router", scopes };
    return (await broker.call<{ token: string }>("POST", "/v1/tokens", { json })).token;
  };
  const token = await make(["manage", topic]);
  for (const target of [other, { path: unique("nowhere") }]) {
    const path = `${topic.path}/subscriptions/x`;
    const { status, body } = await broker.send("PUT", path, { json: forwardTo(target), token });
    expect([status, codeOf(body), body.field]).toEqual([403, "forbidden", "forward.topic"]);
  }
  const both = await make(["manage", topic], ["publish", other]);
  const path = `${topic.path}/subscriptions/x`;
  const made = await broker.send<{ forward: object }>("PUT", path, { json: forwardTo(other), token: both });
  expect([made.status, made.body.forward]).toEqual([201, { topic: nameOf(other) }]);
});

test("routing: a forward says what it needs, and has nothing to pull", async () => {
  const [topic, other] = [await broker.topic(), await broker.topic()];
  const fields = async (json: object) => {
    const { status, body } = await broker.send("PUT", `${topic.path}/subscriptions/x`, { json });
    return [status, body.field];
  };
  expect(await fields({ type: "forward" })).toEqual([400, "forward"]);
  expect(await fields({ type: "pull", forward: { topic: nameOf(other) } })).toEqual([400, "forward"]);
  expect(await fields(forwardTo(other, { guarantee: "at-most-once" }))).toEqual([400, "guarantee"]);
  expect(await fields(forwardTo(other, { batch: {} }))).toEqual([400, "batch"]);
  expect(await fields(forwardTo({ path: unique("nowhere") }))).toEqual([404, "forward.topic"]);
  const forward = await topic.subscribe(forwardTo(other));
  const { status, body } = await broker.send("POST", `${forward.path}/pull`, { json: {} });
  expect([status, codeOf(body)]).toEqual([409, "not-pull"]);
});

test("routing: a forward whose target is deleted pauses with its messages, and goes on when it is bound anew", async () => {
  const name = unique("target");
  const target = await broker.queue({}, name);
  const topic = await broker.topic();
  const forward = await topic.subscribe(forwardTo(target));
  await broker.call("DELETE", target.path);
  await topic.publish(...named("a"));
  await broker.eventually("it is paused", async () =>
    (await shown(forward.path)).pausedReason === "target-gone" ? true : undefined,
  );
  expect(await forward.stats()).toMatchObject([{ dead: 0, settled: 0, waiting: 1 }]);
  const early = await broker.send("POST", `${forward.path}/resume`);
  expect([early.status, codeOf(early.body)]).toEqual([404, "topic-not-found"]);
  const again = await broker.queue({}, name);
  await topic.publish(...named("b"));
  expect(await again.pull({ waitMs: 500 })).toEqual([]);
  await forward.resume();
  expect(ids(await again.pullAll(2)).sort()).toEqual(["a", "b"]);
  expect((await audit(forward.path)).holds).toBe(true);
});

test("routing: a paused forward forwards nothing and loses nothing", async () => {
  const { topic, queue, forward } = await route();
  await forward.pause();
  await topic.publish(...named("a", "b"));
  expect(await queue.pull({ waitMs: 500 })).toEqual([]);
  await forward.resume();
  expect(ids(await queue.pullAll(2))).toEqual(["a", "b"]);
});

test("routing: a queue may be forwarded, and a seek with a word forwards again what has no id of a publisher", async () => {
  const end = await broker.queue();
  const queue = await broker.queue(forwardTo(end));
  await queue.publish({ data: 1 }, { id: "known", data: 2 });
  await end.ack(await end.pullAll(2));
  await broker.call("POST", `${queue.path}/seek`, { json: { to: "earliest", reprocess: true } });
  const again = await end.pullAll(1);
  expect(again.map(({ data }) => data)).toEqual(["1"]);
  await settled(queue, 2);
  expect(await end.pull()).toEqual([]);
});

test("routing: the timeline tells what was forwarded", async () => {
  const { topic, forward } = await route();
  const [message] = await topic.publish(...named("a"));
  await settled(forward, 1);
  const timeline = await broker.call<{ subscriptions: object[] }>(
    "GET",
    `${topic.path}/messages/${message?.partition}.${message?.offset}`,
  );
  expect(timeline.subscriptions).toMatchObject([{ state: "settled", how: "delivered", status: 201 }]);
});
