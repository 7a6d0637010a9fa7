// Clause 11: dead letters that are moved to another topic: their messages are there, once, as they were.

import { expect, test } from "vitest";
import { codeOf, type DeadLetter, type Subscription, unique } from "../support/contract-client";
import { ids, keyed, named } from "../support/contract-scenes";
import { brokerUnderTest } from "../support/contract-target";

const broker = await brokerUnderTest();

type Moved = Readonly<{
  moved: number;
  redriven: number;
  refused: number;
  refusals?: readonly { id: string; error: { type: string } }[];
  more: boolean;
}>;
type Reader = Pick<Subscription, "path" | "pullAll" | "nack">;

const nameOf = ({ path }: { path: string }) => path.split("/").at(-1) ?? "";
const reject = async (queue: Reader, count: number) =>
  queue.nack(await queue.pullAll(count), { deadLetter: true });
const move = (from: Reader, to: { path: string }, json: object = { all: true }) =>
  broker.call<Moved>("POST", `${from.path}/dead-letters/redrive`, { json: { ...json, toTopic: nameOf(to) } });

async function dead(...names: string[]) {
  const queue = await broker.queue();
  await queue.publish(...named(...names));
  await reject(queue, names.length);
  return queue;
}

test("clause 11: what is moved is a message of the other topic, as it was published, and a dead letter no more", async () => {
  const [queue, hospital] = [await broker.queue(), await broker.queue()];
  const message = {
    ...{ id: "a", data: "the body", contentType: "text/plain" },
    ...{ orderingKey: "k", attributes: { tenant: "t1" } },
  };
  await queue.publish(message);
  const [before] = await queue.pullAll(1);
  if (!before) throw new Error("nothing came");
  await queue.nack([before], { deadLetter: true });
  expect(await move(queue, hospital)).toMatchObject({ moved: 1, redriven: 0, refused: 0, more: false });
  const [after] = await hospital.pullAll(1);
  const { id, data, contentType, orderingKey, attributes, publishedAt } = before;
  expect(after).toMatchObject({ id, data, contentType, orderingKey, attributes, publishedAt, attempt: 1 });
  expect(await queue.deadLetters()).toEqual([]);
  expect(await queue.stats()).toMatchObject([{ dead: 0, moved: 1, purged: 0 }]);
  const audit = await broker.call<{ holds: boolean }>("GET", `${queue.path}/audit`);
  expect(audit.holds).toBe(true);
});

test("clause 11: a move may choose, and keeps the order of a key", async () => {
  const queue = await broker.queue({ onExhausted: "skip" });
  const hospital = await broker.queue({ partitions: 2 });
  await queue.publish(...keyed("k1", "k2", "j1", "k3"));
  for (let i = 0; i < 4; i++) await reject(queue, 1);
  expect(await move(queue, hospital, { where: { orderingKey: "k" } })).toMatchObject({ moved: 3 });
  const got = [];
  for (let i = 0; i < 3; i++) {
    const [one] = await hospital.pullAll(1, { max: 1 });
    if (one) await hospital.ack([one]);
    got.push(one?.id);
  }
  expect(got).toEqual(["k1", "k2", "k3"]);
  expect((await queue.deadLetters()).map(({ message }) => message?.id)).toEqual(["j1"]);
});

test("clause 11: the head of a parked lane that is moved frees its lane", async () => {
  const [queue, hospital] = [await broker.queue(), await broker.queue()];
  await queue.publish(...keyed("k1", "k2"));
  await queue.nack(await queue.pullAll(1, { max: 1 }), { deadLetter: true });
  expect(await queue.pull()).toEqual([]);
  const [head] = await queue.deadLetters();
  expect(await move(queue, hospital, { ids: [head?.id] })).toMatchObject({ moved: 1 });
  expect(ids(await queue.pullAll(1))).toEqual(["k2"]);
});

test("clause 11: a move that is asked twice moves nothing twice", async () => {
  const [queue, hospital] = [await dead("a", "b"), await broker.queue()];
  const letters = await queue.deadLetters();
  const both = { ids: letters.map(({ id }) => id) };
  const answers = await Promise.all([move(queue, hospital, both), move(queue, hospital, both)]);
  expect(answers.reduce((sum, { moved }) => sum + moved, 0)).toBe(2);
  expect(ids(await hospital.pullAll(2)).sort()).toEqual(["a", "b"]);
  expect(await hospital.pull({ waitMs: 500 })).toEqual([]);
});

test("clause 11: a message that the other topic has had is not moved, and says so: nobody would be handed it", async () => {
  const [queue, hospital] = [await dead("a", "b", "c"), await broker.queue()];
  await hospital.publish({ id: "a", data: "a" }, { id: "b", data: "something else" });
  const answer = await move(queue, hospital);
  expect(answer).toMatchObject({ moved: 1, refused: 2, more: false });
  const letters = await queue.deadLetters();
  expect(letters.map(({ message }) => message?.id)).toEqual(["a", "b"]);
  expect(answer.refusals?.map(({ id, error }) => [id, codeOf(error)])).toEqual([
    [letters[0]?.id, "conflict"],
    [letters[1]?.id, "id-reused"],
  ]);
});

test("clause 11: a message does not go round in circles over two topics", async () => {
  const [queue, hospital] = [await dead("a"), await broker.queue()];
  await move(queue, hospital);
  await reject(hospital, 1);
  expect(await move(hospital, queue)).toMatchObject({ moved: 0, refused: 1 });
  expect(await hospital.deadLetters()).toHaveLength(1);
});

test("clause 11: what cannot be moved there is refused whole, and every letter stays", async () => {
  const queue = await dead("a");
  const path = `${queue.path}/dead-letters/redrive`;
  const refused = async (json: object) => {
    const { status, body } = await broker.send("POST", path, { json: { all: true, ...json } });
    return [status, codeOf(body), body.field];
  };
  expect(await refused({ toTopic: nameOf(queue) })).toEqual([400, "invalid-request", "toTopic"]);
  expect(await refused({ toTopic: unique("nowhere") })).toEqual([404, "topic-not-found", undefined]);
  expect(await refused({ toTopic: "not a name" })).toEqual([400, "invalid-request", "toTopic"]);
  const other = nameOf(await broker.queue());
  expect(await refused({ toTopic: other, perSecond: 1 })).toEqual([400, "invalid-request", "perSecond"]);
  expect(await queue.deadLetters()).toHaveLength(1);
});

test("clause 11: what was delayed goes at once, and what has expired stays", async () => {
  const [queue, hospital] = [await broker.queue(), await broker.queue()];
  await queue.publish({ id: "delayed", data: 1, delayMs: 500 }, { id: "brief", data: 2, ttlMs: 5_000 });
  await queue.nack(await queue.pullAll(2), { deadLetter: true });
  expect(await queue.deadLetters()).toHaveLength(2);
  await broker.lapse(5_500);
  const answer = await move(queue, hospital);
  expect(answer).toMatchObject({ moved: 1, refused: 1 });
  expect(answer.refusals?.map(({ error }) => codeOf(error))).toEqual(["conflict"]);
  expect(ids(await hospital.pullAll(1))).toEqual(["delayed"]);
  expect((await queue.deadLetters()).map(({ message }) => message?.id)).toEqual(["brief"]);
});

test("clause 11: whoever may not publish to the other topic may not move there, nor learn whether it exists", async () => {
  const queue = await dead("a");
  const other = nameOf(await broker.queue());
  const scopes = [{ verb: "manage", topics: nameOf(queue) }];
  const { token } = await broker.call<{ token: string }>("POST", "/v1/tokens", {
    json: { name: "mover", scopes },
  });
  const path = `${queue.path}/dead-letters/redrive`;
  for (const toTopic of [other, unique("nowhere")]) {
    const { status, body } = await broker.send("POST", path, { json: { all: true, toTopic }, token });
    expect([status, codeOf(body), body.field]).toEqual([403, "forbidden", "toTopic"]);
  }
  expect((await queue.deadLetters()).map(({ message }: DeadLetter) => message?.id)).toEqual(["a"]);
});
