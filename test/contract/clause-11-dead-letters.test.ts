// Clause 11: what becomes of a delivery that is out of attempts.

import { expect, test } from "vitest";
import { codeOf, type Subscription } from "../support/contract-client";
import { EAGER, idOf, ids, pushScene } from "../support/contract-scenes";
import { brokerUnderTest } from "../support/contract-target";

const broker = await brokerUnderTest();
const pushed = pushScene(broker);
const dataOf = (letters: readonly { message?: { id: string } }[]) =>
  letters.map(({ message }) => message?.id);

async function fail(queue: Pick<Subscription, "pullAll" | "nack">, times: number) {
  const statuses = [];
  for (let i = 0; i < times; i++) {
    statuses.push(...(await queue.nack(await queue.pullAll(1, { max: 1 }), { reason: `try ${i + 1}` })));
  }
  return statuses;
}

test("clause 11: after the last attempt it is a dead letter, with its message, its attempts and the reason", async () => {
  const queue = await broker.queue({ maxAttempts: 3, ...EAGER });
  await queue.publish({ id: "poison", data: "the message" });
  expect(await fail(queue, 3)).toEqual(["released", "released", "dead"]);
  const [letter, ...others] = await queue.deadLetters();
  expect(others).toEqual([]);
  expect(letter).toMatchObject({
    partition: 0,
    offset: 0,
    reason: "attempts-spent",
    attempts: 3,
    message: { id: "poison", data: "the message" },
  });
  expect(letter?.history.map(({ error }) => error)).toEqual(["try 1", "try 2", "try 3"]);
});

test("clause 11: a dead letter holds up nobody else", async () => {
  const queue = await broker.queue({ maxAttempts: 1, ...EAGER });
  await queue.publish({ id: "poison", data: 1 }, { id: "a", data: 2 }, { id: "b", data: 3 });
  await fail(queue, 1);
  expect(ids(await queue.pullAll(2))).toEqual(["a", "b"]);
});

test("clause 11: a consumer may send a delivery straight to the dead letters", async () => {
  const queue = await broker.queue();
  await queue.publish({ id: "bad", data: 1 });
  const leased = await queue.pullAll(1);
  expect(await queue.nack(leased, { deadLetter: true, reason: "no such account" })).toEqual(["dead"]);
  expect(await queue.deadLetters()).toMatchObject([{ reason: "rejected", detail: "no such account" }]);
});

test("clause 11: a deadline that passes on the last attempt is a death too", async () => {
  const queue = await broker.queue({ maxAttempts: 1, ...EAGER });
  await queue.publish({ id: "slow", data: 1 });
  await queue.pullAll(1, { ackDeadlineMs: 1_000 });
  expect(await queue.pull({ waitMs: 2_500 })).toEqual([]);
  expect(await queue.deadLetters()).toMatchObject([{ reason: "attempts-spent", message: { id: "slow" } }]);
});

test("clause 11: what is redriven is delivered again, with all its attempts before it", async () => {
  const queue = await broker.queue({ maxAttempts: 1, ...EAGER });
  await queue.publish({ id: "a", data: "1" }, { id: "b", data: "2" }, { id: "c", data: "3" });
  await fail(queue, 3);
  const letters = await queue.deadLetters();
  expect(dataOf(letters)).toEqual(["a", "b", "c"]);
  const some = await broker.call("POST", `${queue.path}/dead-letters/redrive`, {
    json: { ids: [letters[1]?.id] },
  });
  expect(some).toMatchObject({ redriven: 1 });
  expect(await queue.pullAll(1)).toMatchObject([{ id: "b", attempt: 1, data: "2" }]);
  const all = await broker.call("POST", `${queue.path}/dead-letters/redrive`, { json: { all: true } });
  expect(all).toMatchObject({ redriven: 2, more: false });
  expect(ids(await queue.pullAll(2))).toEqual(["a", "c"]);
  expect(await queue.deadLetters()).toEqual([]);
});

test("clause 11: what is redriven may die again, and is one dead letter", async () => {
  const queue = await broker.queue({ maxAttempts: 1, ...EAGER });
  await queue.publish({ id: "a", data: 1 });
  await fail(queue, 1);
  await broker.call("POST", `${queue.path}/dead-letters/redrive`, { json: { all: true } });
  await fail(queue, 1);
  expect(await queue.deadLetters()).toMatchObject([{ message: { id: "a" }, attempts: 1 }]);
});

test("clause 11: what is purged is gone, and nothing else is", async () => {
  const queue = await broker.queue({ maxAttempts: 1, ...EAGER });
  await queue.publish({ id: "a", data: 1 }, { id: "b", data: 2 });
  await fail(queue, 2);
  const [first] = await queue.deadLetters();
  const json = { ids: [first?.id] };
  expect(await broker.call("DELETE", `${queue.path}/dead-letters`, { json })).toMatchObject({ purged: 1 });
  expect(dataOf(await queue.deadLetters())).toEqual(["b"]);
  expect(await queue.stats()).toMatchObject([{ dead: 1, purged: 1 }]);
});

test("clause 11: one dead letter can be looked at by its id", async () => {
  const queue = await broker.queue();
  await queue.publish({ id: "a", data: "1" });
  await queue.nack(await queue.pullAll(1), { deadLetter: true });
  const [letter] = await queue.deadLetters();
  const shown = await broker.call("GET", `${queue.path}/dead-letters/${letter?.id}`);
  expect(shown).toMatchObject({ reason: "rejected", message: { id: "a", data: "1" } });
  const missing = await broker.send("GET", `${queue.path}/dead-letters/0.0.99`);
  expect([missing.status, codeOf(missing.body)]).toEqual([404, "dead-letter-not-found"]);
});

test("clause 11: an endpoint that never answers 2xx ends in dead letters that say what it answered", async () => {
  const { topic, receiver, subscription } = await pushed({ maxAttempts: 2, onExhausted: "skip" });
  receiver.answer((_, index) => (index < 2 ? { status: 500, body: "no such account" } : { status: 200 }));
  await topic.publish({ id: "poison", orderingKey: "k", data: 1 }, { id: "next", orderingKey: "k", data: 2 });
  // The next of its key is sent only once the first is dead.
  expect((await receiver.first(3)).map(idOf)).toEqual(["poison", "poison", "next"]);
  const letters = await subscription.deadLetters();
  expect(letters).toMatchObject([{ reason: "attempts-spent", attempts: 2, message: { id: "poison" } }]);
  expect(letters[0]?.history).toMatchObject([
    { status: 500, error: "no such account" },
    { status: 500, error: "no such account" },
  ]);
});
