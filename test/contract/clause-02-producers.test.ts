// Clause 2, of producers: a relay that numbers what it publishes, and is killed anywhere, loses nothing and doubles nothing.

import { expect, test } from "vitest";
import {
  codeOf,
  type Delivered,
  type Problem,
  type Published,
  type Topic,
  unique,
} from "../support/contract-client";
import { brokerUnderTest } from "../support/contract-target";

const broker = await brokerUnderTest();

type Said = Problem & Readonly<{ limit?: number; messages: readonly (Published & { sequence?: number })[] }>;
type Shown = Readonly<{
  partition: number;
  lastSequence: number;
  partitions: readonly Readonly<{ partition: number; lastSequence: number }>[];
}>;

const as = (name: string, sequence: number) => ({
  "pennypost-producer": name,
  "pennypost-sequence": String(sequence),
});

function send(topic: Topic, sequence: number, messages: readonly unknown[], name = "outbox") {
  return broker.send<Said>("POST", `${topic.path}/messages/batch`, {
    json: { messages },
    headers: as(name, sequence),
  });
}

const shown = (topic: Topic, name = "outbox") => broker.call<Shown>("GET", `${topic.path}/producers/${name}`);
const dataOf = (messages: readonly Delivered[]) => messages.map(({ data }) => Number(data));
const upTo = (count: number) => Array.from({ length: count }, (_, n) => n + 1);

test("clause 2: a relay that is killed anywhere, between any request and its answer, resumes with no loss and no duplicate", async () => {
  const topic = await broker.topic({ partitions: 4 });
  const reader = await topic.subscribe();
  const rows = upTo(23);
  // The relay's own memory of what it has sent: it is written down only when the relay lives to see the answer.
  let sent = 0;
  for (let life = 0; sent < rows.length; life++) {
    const survives = life % 3 === 0;
    const batch = rows.slice(sent, sent + 1 + ((life * 5) % 7));
    const answer = await send(
      topic,
      sent + 1,
      batch.map((data) => ({ data })),
    );
    expect(answer.status).toBe(201);
    if (survives) sent += batch.length;
    else if (life % 3 === 1) sent = (await shown(topic)).lastSequence;
  }
  expect(dataOf(await reader.pullAll(rows.length))).toEqual(rows);
  expect(await reader.pull()).toEqual([]);
});

test("clause 2: what a producer sends again is answered as a duplicate with its number, and what overlaps is stored from there on", async () => {
  const topic = await broker.topic();
  const reader = await topic.subscribe();
  await send(topic, 1, [{ data: 1 }, { data: 2 }]);
  const again = await send(topic, 1, [{ id: "mine", data: 1 }, { data: 2 }, { data: 3 }]);
  const [{ id: _, ...third }] = again.body.messages.slice(2) as [Published];
  expect([again.status, again.body.messages.slice(0, 2), third]).toEqual([
    201,
    [
      { id: "mine", partition: 0, sequence: 1, duplicate: true },
      { partition: 0, sequence: 2, duplicate: true },
    ],
    { partition: 0, offset: 2, duplicate: false },
  ]);
  expect(dataOf(await reader.pullAll(3))).toEqual([1, 2, 3]);
});

test("clause 2: a gap is refused with the last accepted number, and nothing is stored", async () => {
  const topic = await broker.topic();
  const early = await send(topic, 2, [{ data: 2 }]);
  expect([early.status, codeOf(early.body), early.body.limit]).toEqual([409, "sequence-gap", 0]);
  await send(topic, 1, [{ data: 1 }]);
  const single = await topic.publishRaw("3", as("outbox", 3));
  expect([single.status, codeOf(single.body)]).toEqual([409, "sequence-gap"]);
  const next = await topic.publishRaw("2", as("outbox", 2));
  expect([next.status, next.body.messages[0]?.offset]).toEqual([201, 1]);
  expect((await shown(topic)).lastSequence).toBe(2);
});

test("clause 2: what a producer numbers is stored whole or not at all, and its number stays where it was", async () => {
  const topic = await broker.topic();
  const bad = await send(topic, 1, [{ data: 1 }, { data: 2, id: "with space" }]);
  expect([bad.status, codeOf(bad.body)]).toEqual([422, "atomic-refused"]);
  const delayed = await send(topic, 1, [{ data: 1, delayMs: 1_000 }]);
  expect(delayed.status).toBe(422);
  expect(delayed.body.messages[0]?.error).toMatchObject({ status: 400, field: "deliverAt" });
  expect((await shown(topic)).lastSequence).toBe(0);
});

test("clause 2: a producer counts in each partition by itself, and one publish of it goes to one partition", async () => {
  const topic = await broker.topic({ partitions: 8 });
  const keyed = (key: string) => [{ data: 1, orderingKey: key }];
  const first = await send(topic, 1, keyed("a"));
  const { partition } = first.body.messages[0] as Published;
  const other = (await shown(topic)).partition;
  const keys = upTo(50).map((n) => `k${n}`);
  const spans = await send(
    topic,
    1,
    keys.flatMap((key) => keyed(key)),
    "spans",
  );
  expect([spans.status, codeOf(spans.body)]).toEqual([422, "producer-spans-partitions"]);
  expect((await shown(topic)).partitions.map((place) => place.partition)).toEqual([partition]);
  await send(topic, partition === other ? 2 : 1, [
    { data: 1, id: "x" },
    { data: 2, id: "y" },
  ]);
  expect((await shown(topic)).lastSequence).toBe(partition === other ? 3 : 2);
});

test("clause 2: of two relays with one name that send at once, each number is stored once", async () => {
  const topic = await broker.topic({ partitions: 2 });
  const reader = await topic.subscribe();
  const relay = async () => {
    for (const n of upTo(12)) await send(topic, n, [{ data: n }]);
  };
  await Promise.all([relay(), relay()]);
  expect(dataOf(await reader.pullAll(12))).toEqual(upTo(12));
  expect(await reader.pull()).toEqual([]);
});

test("clause 2: a producer goes on where it was when the partitions are raised, and what it sends again is known", async () => {
  const topic = await broker.topic();
  const reader = await topic.subscribe();
  for (const name of ["p1", "p2", "p3", "p4", "p5"]) await send(topic, 1, [{ data: 1 }], name);
  await broker.call("PUT", topic.path, { json: { partitions: 4 } });
  for (const name of ["p1", "p2", "p3", "p4", "p5"]) {
    expect((await shown(topic, name)).lastSequence).toBe(1);
    const again = await send(topic, 1, [{ data: 1 }, { data: 2 }], name);
    expect(again.body.messages.map(({ duplicate }) => duplicate)).toEqual([true, false]);
    expect((await shown(topic, name)).lastSequence).toBe(2);
  }
  expect(await reader.pullAll(10)).toHaveLength(10);
  expect(await reader.pull()).toEqual([]);
});

test("clause 2: a relay that sends everything twice while the partitions are raised twice loses and doubles nothing", async () => {
  const topic = await broker.topic();
  const reader = await topic.subscribe();
  const relay = async () => {
    for (const n of upTo(15)) for (const _ of ["sent", "again"]) await send(topic, n, [{ data: n }]);
  };
  const raise = async () => {
    for (const partitions of [3, 12]) await broker.call("PUT", topic.path, { json: { partitions } });
  };
  await Promise.all([relay(), raise()]);
  expect((await shown(topic)).lastSequence).toBe(15);
  expect(dataOf(await reader.pullAll(15)).sort((a, b) => a - b)).toEqual(upTo(15));
  expect(await reader.pull()).toEqual([]);
});

test("clause 2: a producer whose ordering keys a raise parts is refused where a number is missing, and goes on when it is set", async () => {
  const topic = await broker.topic();
  const one = (sequence: number, orderingKey: string) => send(topic, sequence, [{ data: 1, orderingKey }]);
  const keys = upTo(20).map((n) => `k${n}`);
  const scout = await broker.topic({ partitions: 2 });
  const places = await scout.publish(...keys.map((orderingKey) => ({ orderingKey, data: 1 })));
  const keyIn = (home: number) => keys.find((_, n) => places[n]?.partition === home) ?? "";
  const [stays, leaves] = [keyIn(0), keyIn(1)];
  await one(1, stays);
  await one(2, leaves);
  await broker.call("PUT", topic.path, { json: { partitions: 2 } });
  expect((await one(3, leaves)).status).toBe(201);
  const gap = await one(4, stays);
  expect([codeOf(gap.body), gap.body.limit]).toEqual(["sequence-gap", 2]);
  const json = { partition: 0, lastSequence: 3 };
  await broker.call("PUT", `${topic.path}/producers/outbox`, { json });
  const { status, body } = await one(4, stays);
  expect([status, body.messages]).toMatchObject([201, [{ partition: 0, offset: 2, duplicate: false }]]);
});

test("clause 2: an operator lets a producer go on from another number, or has it forgotten, below a queue too", async () => {
  const queue = `/v1/queues/${unique("producers")}`;
  await broker.call("PUT", queue, { json: {} });
  const path = `${queue}/producers/outbox`;
  const begun = await broker.call<Shown>("PUT", path, { json: { lastSequence: 100 } });
  expect([begun.partition, begun.lastSequence]).toEqual([0, 100]);
  const publish = (sequence: number) =>
    broker.send<Said>("POST", `${queue}/messages`, { body: "x", headers: as("outbox", sequence) });
  expect([(await publish(102)).status, (await publish(101)).status]).toEqual([409, 201]);
  await broker.send("DELETE", path);
  expect(await broker.call<Shown>("GET", path)).toMatchObject({ lastSequence: 0, partitions: [] });
  const beyond = await broker.send("PUT", path, { json: { lastSequence: 1, partition: 7 } });
  expect([beyond.status, beyond.body.field]).toEqual([400, "partition"]);
});
