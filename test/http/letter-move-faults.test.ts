// Moving dead letters when something between the two topics fails: each is in the other topic once, and none is lost.

import { env } from "cloudflare:workers";
import { expect, test } from "vitest";
import type { Env } from "../../src/env";
import { refuse } from "../../src/errors";
import { createApp } from "../../src/http/app";
import { fakeD1 } from "../catalog/fakes";
import { api, ROOT_TOKEN } from "../support/api";
import { codeOf, type Problem } from "../support/contract-client";
import { ids, named } from "../support/contract-scenes";

const bindings = env as unknown as Env;
const app = createApp();

type Namespace = Env["SUBSCRIPTION"] | Env["TOPIC"];
type Moved = Readonly<{ moved: number; refused: number }> & Problem;

/** The objects of a namespace, of which one call is answered by `instead`, which may make it. */
function meddle<N extends Namespace>(
  objects: N,
  method: string,
  instead: (call: () => unknown) => unknown,
): N {
  const getByName = (name: string) => {
    const stub = objects.getByName(name) as unknown as Record<string, (...args: unknown[]) => unknown>;
    const get =
      (_: unknown, called: string) =>
      (...args: unknown[]) => {
        const call = () => stub[called]?.(...args);
        return called === method ? instead(call) : call();
      };
    return new Proxy({}, { get });
  };
  return { getByName } as unknown as N;
}

async function scene(partitions = 1) {
  const [queue, hospital] = [await api.queue(), await api.queue({ partitions })];
  await queue.publish(...named("a", "b"));
  await queue.nack(await queue.pullAll(2), { deadLetter: true });
  const toTopic = hospital.path.split("/").at(-1);
  const move = async (more: Partial<Env> = {}, known: Env = { ...bindings, ...more }) => {
    const init = {
      method: "POST",
      body: JSON.stringify({ all: true, toTopic }),
      headers: { authorization: `Bearer ${ROOT_TOKEN}`, "content-type": "application/json" },
    };
    const path = `${queue.path}/dead-letters/redrive`;
    const response = await app.request(path, init, known);
    return { status: response.status, headers: response.headers, body: await response.json<Moved>() };
  };
  const dead = async () => (await queue.deadLetters()).map(({ message }) => message?.id);
  return { queue, hospital, move, dead };
}

const lost = () => Promise.reject(Object.assign(new Error("Network connection lost."), { retryable: true }));
const afterwards = async (call: () => unknown) => {
  await call();
  return lost();
};

test("broken off after the other topic has them, they are still dead letters, and moved once when asked again", async () => {
  const { hospital, move, dead } = await scene();
  const SUBSCRIPTION = meddle(bindings.SUBSCRIPTION, "moveLetters", lost);
  expect(await move({ SUBSCRIPTION })).toMatchObject({ status: 503 });
  expect(await dead()).toEqual(["a", "b"]);
  expect((await move()).body).toMatchObject({ moved: 2, refused: 0 });
  expect(ids(await hospital.pullAll(2)).sort()).toEqual(["a", "b"]);
  expect(await hospital.pull()).toEqual([]);
  expect(await dead()).toEqual([]);
});

test("when another letter dies in between, those of before are moved once all the same", async () => {
  const { queue, hospital, move, dead } = await scene();
  const SUBSCRIPTION = meddle(bindings.SUBSCRIPTION, "moveLetters", lost);
  await move({ SUBSCRIPTION });
  await queue.publish(...named("c"));
  await queue.nack(await queue.pullAll(1), { deadLetter: true });
  expect((await move()).body).toMatchObject({ moved: 3, refused: 0 });
  expect(ids(await hospital.pullAll(3)).sort()).toEqual(["a", "b", "c"]);
  expect(await hospital.pull()).toEqual([]);
  expect(await dead()).toEqual([]);
});

test("when the other topic's answer is lost, nothing leaves, and asked again each is there once", async () => {
  const { hospital, move, dead } = await scene();
  const TOPIC = meddle(bindings.TOPIC, "append", afterwards);
  expect(await move({ TOPIC })).toMatchObject({ status: 503 });
  expect(await dead()).toEqual(["a", "b"]);
  expect((await move()).body).toMatchObject({ moved: 2 });
  expect(ids(await hospital.pullAll(2)).sort()).toEqual(["a", "b"]);
  expect(await hospital.pull()).toEqual([]);
});

test("a topic that is full takes none, and says when to ask again", async () => {
  const { move, dead } = await scene();
  const full = async () => refuse("topic-full", "The partition has no room left.", { retryAfterMs: 7_000 });
  const { status, headers, body } = await move({ TOPIC: meddle(bindings.TOPIC, "append", full) });
  expect([status, codeOf(body), headers.get("retry-after")]).toEqual([429, "topic-full", "7"]);
  expect(await dead()).toEqual(["a", "b"]);
});

test("a move that is refused half-way says how many went before, and asked again moves the rest, each once", async () => {
  const { hospital, move, dead } = await scene(4);
  let calls = 0;
  const full = refuse("topic-full", "The partition has no room left.", { retryAfterMs: 7_000 });
  const TOPIC = meddle(bindings.TOPIC, "append", async (call) => (++calls === 1 ? call() : full));
  const { status, headers, body } = await move({ TOPIC });
  expect([status, codeOf(body), headers.get("retry-after")]).toEqual([429, "topic-full", "7"]);
  expect(body).toMatchObject({ retryable: true, moved: 1, redriven: 0, refused: 0, more: true });
  expect(await dead()).toHaveLength(1);
  expect((await move()).body).toMatchObject({ moved: 1, refused: 0, more: false });
  expect(ids(await hospital.pullAll(2)).sort()).toEqual(["a", "b"]);
  expect(await hospital.pull()).toEqual([]);
});

test("a purge and a redrive that one partition does not answer say what the others did", async () => {
  const queue = await api.queue({ partitions: 2 });
  const letters = ["a", "b", "c", "d"];
  await queue.publish(...letters.map((id) => ({ id, data: id })));
  await queue.nack(await queue.pullAll(4), { deadLetter: true });
  const there = await queue.deadLetters();
  const here = there.filter(({ id }) => id.startsWith("0.")).length;
  expect([here > 0, here < 4]).toEqual([true, true]);
  const ask = async (method: string, path: string, at: string, away: string) => {
    const SUBSCRIPTION = {
      getByName: (name: string) =>
        name.endsWith(":1")
          ? meddle(bindings.SUBSCRIPTION, away, lost).getByName(name)
          : bindings.SUBSCRIPTION.getByName(name),
    } as unknown as Env["SUBSCRIPTION"];
    const init = {
      method,
      body: JSON.stringify({ all: true }),
      headers: { authorization: `Bearer ${ROOT_TOKEN}`, "content-type": "application/json" },
    };
    const response = await app.request(`${queue.path}${path}`, init, { ...bindings, SUBSCRIPTION });
    return [response.status, (await response.json<Record<string, unknown>>())[at]];
  };
  expect(await ask("POST", "/dead-letters/redrive", "redriven", "redrive")).toEqual([503, here]);
  await queue.nack(await queue.pullAll(here), { deadLetter: true });
  expect(await ask("DELETE", "/dead-letters", "purged", "purge")).toEqual([503, here]);
  expect(await queue.deadLetters()).toHaveLength(4 - here);
});

test("a topic that was made anew gets them in its present life", async () => {
  const { hospital, move, dead } = await scene();
  // An isolate that knows the one before.
  const known = { ...bindings, CATALOG: fakeD1() };
  await app.request(hospital.path, { headers: { authorization: `Bearer ${ROOT_TOKEN}` } }, known);
  await api.call("DELETE", hospital.path);
  await api.call("PUT", hospital.path, { json: {} });
  expect((await move({}, known)).body).toMatchObject({ moved: 2 });
  expect(ids(await hospital.pullAll(2)).sort()).toEqual(["a", "b"]);
  expect(await dead()).toEqual([]);
});

test("a topic that was raised behind an isolate's back takes none, until it is asked once more", async () => {
  const { queue, hospital, move, dead } = await scene();
  const known = { ...bindings, CATALOG: fakeD1() };
  await app.request(hospital.path, { headers: { authorization: `Bearer ${ROOT_TOKEN}` } }, known);
  await api.call("PUT", hospital.path, { json: { partitions: 4 } });
  await queue.publish(...named("c", "d", "e", "f"));
  await queue.nack(await queue.pullAll(4), { deadLetter: true });
  const { status, body } = await move({}, known);
  expect([status, codeOf(body)]).toEqual([503, "unavailable"]);
  const left = (await dead()).length;
  expect((await move({}, known)).body).toMatchObject({ moved: left, refused: 0 });
  expect(ids(await hospital.pullAll(6)).sort()).toEqual(["a", "b", "c", "d", "e", "f"]);
  expect(await hospital.pull()).toEqual([]);
});
