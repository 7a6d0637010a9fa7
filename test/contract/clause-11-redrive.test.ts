// Clause 11: dead letters chosen by what they are, and sent round again: at a rate, up to a cap.

import { expect, test } from "vitest";
import { codeOf, type DeadLetter, type Subscription } from "../support/contract-client";
import { EAGER, ids, keyed, named, PAST_SHORT_MS } from "../support/contract-scenes";
import { brokerUnderTest } from "../support/contract-target";

const broker = await brokerUnderTest();

type Redriven = Readonly<{
  redriven: number;
  superseded: number;
  refused: number;
  refusals?: readonly { id: string; error: { type: string } }[];
  more: boolean;
  until?: number;
}>;
type Page = Readonly<{ deadLetters: readonly DeadLetter[]; next: string | null }>;
type Reader = Pick<Subscription, "path" | "pullAll" | "nack">;

const reject = async (queue: Reader, count: number) =>
  queue.nack(await queue.pullAll(count), { deadLetter: true });
const redrive = (queue: Reader, json: object) =>
  broker.call<Redriven>("POST", `${queue.path}/dead-letters/redrive`, { json });
const page = (queue: Reader, query: string) =>
  broker.call<Page>("GET", `${queue.path}/dead-letters?${query}`);
const idsOf = ({ deadLetters }: Page) => deadLetters.map(({ message }) => message?.id);

test("clause 11: the list is filtered by reason, key and the time of death, all together", async () => {
  const queue = await broker.queue({ maxAttempts: 1, ...EAGER });
  await queue.publish(...named("a", "b"), ...keyed("k1", "j1"));
  await reject(queue, 2);
  await queue.nack(await queue.pullAll(1));
  await reject(queue, 1);
  const all = await page(queue, "");
  expect(idsOf(all)).toEqual(["a", "b", "k1", "j1"]);
  expect(idsOf(await page(queue, "reason=attempts-spent"))).toEqual(["k1"]);
  expect(idsOf(await page(queue, "orderingKey=j"))).toEqual(["j1"]);
  expect(idsOf(await page(queue, "orderingKey=j&reason=attempts-spent"))).toEqual([]);
  const diedAt = (id: string) => all.deadLetters.find(({ message }) => message?.id === id)?.diedAt ?? 0;
  expect(idsOf(await page(queue, `diedBefore=${diedAt("k1")}`))).not.toContain("k1");
  expect(idsOf(await page(queue, `diedAfter=${diedAt("k1")}`))).toContain("k1");
  expect(idsOf(await page(queue, "epoch=1"))).toEqual([]);
});

test("clause 11: a filtered list pages through every partition and shows each once", async () => {
  const queue = await broker.queue({ partitions: 3 });
  const odd = Array.from({ length: 7 }, (_, i) => ({ id: `odd-${i}`, data: i }));
  const keys = Array.from({ length: 5 }, (_, i) => ({ id: `even-${i}`, data: i, orderingKey: "k" }));
  await queue.publish(...odd, ...keys);
  await queue.nack(await queue.pullAll(12), { deadLetter: true });
  const seen: (string | undefined)[] = [];
  for (let after = ""; ; ) {
    const some = await page(queue, `limit=2&orderingKey=k${after}`);
    seen.push(...idsOf(some));
    if (some.next === null) break;
    after = `&after=${some.next}`;
  }
  // Of one lane only the head can die: the rest went back.
  expect(seen.length).toBeGreaterThan(0);
  expect(new Set(seen).size).toBe(seen.length);
  for (const id of seen) expect(id).toMatch(/^even-/);
});

test("clause 11: every page but the last has a next, wherever a partition ends", async () => {
  const queue = await broker.queue({ partitions: 2 });
  await queue.publish(...Array.from({ length: 9 }, (_, i) => ({ id: `m-${i}`, data: i })));
  await reject(queue, 9);
  for (const limit of [1, 2, 3, 4, 5]) {
    const seen: (string | undefined)[] = [];
    for (let after = ""; ; ) {
      const some = await page(queue, `limit=${limit}${after}`);
      seen.push(...idsOf(some));
      if (some.next === null) break;
      after = `&after=${some.next}`;
    }
    expect([seen.length, new Set(seen).size]).toEqual([9, 9]);
  }
});

test("clause 11: what matches is redriven or purged, and nothing else", async () => {
  const queue = await broker.queue({ onExhausted: "skip" });
  await queue.publish(...named("a", "b"), ...keyed("k1", "j1"));
  await reject(queue, 4);
  expect(await redrive(queue, { where: { orderingKey: "k" } })).toMatchObject({ redriven: 1, more: false });
  expect(ids(await queue.pullAll(1))).toEqual(["k1"]);
  const json = { where: { orderingKey: "j", reason: "rejected" } };
  expect(await broker.call("DELETE", `${queue.path}/dead-letters`, { json })).toEqual({
    purged: 1,
    more: false,
  });
  expect(idsOf(await page(queue, ""))).toEqual(["a", "b"]);
});

test("clause 11: a dead letter says how often it went round, and past the cap only force sends it again", async () => {
  const queue = await broker.queue({ maxRedrives: 1 });
  await queue.publish(...named("a"));
  await reject(queue, 1);
  expect(await queue.deadLetters()).toMatchObject([{ redrives: 0 }]);
  expect(await redrive(queue, { all: true })).toMatchObject({ redriven: 1, refused: 0 });
  await reject(queue, 1);
  const [letter] = await queue.deadLetters();
  expect(letter).toMatchObject({ redrives: 1, attempts: 1 });
  const refused = await redrive(queue, { all: true });
  expect(refused).toMatchObject({ redriven: 0, refused: 1, more: false });
  expect(refused.refusals?.map(({ id, error }) => [id, codeOf(error)])).toEqual([
    [letter?.id, "redrives-spent"],
  ]);
  expect(await queue.deadLetters()).toHaveLength(1);
  expect(await redrive(queue, { ids: [letter?.id], force: true })).toMatchObject({ redriven: 1, refused: 0 });
  expect(ids(await queue.pullAll(1))).toEqual(["a"]);
});

test("clause 11: a redrive at a rate lets them out one after another, across partitions", async () => {
  const queue = await broker.queue({ partitions: 2 });
  await queue.publish(...Array.from({ length: 6 }, (_, i) => ({ id: `m-${i}`, data: i })));
  await reject(queue, 6);
  const began = await redrive(queue, { all: true, perSecond: 1 });
  expect(began).toMatchObject({ redriven: 6, more: false });
  const first = ids(await queue.pullAll(1));
  const soon = ids(await queue.pull({ max: 10 }));
  expect(first.length + soon.length).toBeLessThanOrEqual(4);
  const rest = ids(await queue.pullAll(6 - first.length - soon.length));
  expect(new Set([...first, ...soon, ...rest]).size).toBe(6);
});

test("clause 11: what does not begin before an instant does not, and until tells where the next would go on", async () => {
  const queue = await broker.queue();
  await queue.publish(...named("a", "b", "c"));
  await reject(queue, 3);
  const [letter] = await queue.deadLetters();
  const notBefore = (letter?.diedAt ?? 0) + 3_600_000;
  const far = await redrive(queue, { all: true, perSecond: 2, notBefore });
  expect(far).toMatchObject({ redriven: 3, until: notBefore + 1_500 });
  expect(await queue.pull({ waitMs: 500 })).toEqual([]);
  const [stats] = await queue.stats();
  expect(stats).toMatchObject({ dead: 0, waiting: 3 });
});

test("clause 11: at a rate, a parked lane goes on in its order", async () => {
  const queue = await broker.queue();
  await queue.publish(...keyed("k1", "k2", "k3"));
  await queue.nack(await queue.pullAll(1, { max: 1 }), { deadLetter: true });
  await redrive(queue, { all: true, perSecond: 1, notBefore: (await queue.deadLetters())[0]?.diedAt });
  const got = [];
  for (let i = 0; i < 3; i++) {
    const [one] = await queue.pullAll(1, { max: 1 });
    if (one) await queue.ack([one]);
    got.push(one?.id);
  }
  expect(got).toEqual(["k1", "k2", "k3"]);
});

test("clause 11: a rate that is no rate, and a choice that is none, are refused by name", async () => {
  const queue = await broker.queue();
  const path = `${queue.path}/dead-letters/redrive`;
  const wrong: [object, string | undefined][] = [
    [{ all: true, perSecond: 0 }, "perSecond"],
    [{ all: true, notBefore: Date.now() + 10 ** 12 }, "notBefore"],
    [{ where: {} }, "where"],
    [{ where: { reason: "boredom" } }, "where.reason"],
    [{ where: { diedAfter: -1 } }, "where.diedAfter"],
    [{ all: true, where: { epoch: 0 } }, undefined],
    [{ perSecond: 1 }, undefined],
  ];
  for (const [json, field] of wrong) {
    const { status, body } = await broker.send("POST", path, { json });
    expect([status, codeOf(body), body.field]).toEqual([400, "invalid-request", field]);
  }
  const query = await broker.send("GET", `${queue.path}/dead-letters?reason=boredom`);
  expect([query.status, query.body.field]).toEqual([400, "reason"]);
});

test("clause 11: the stats tell since when the oldest has been dead", async () => {
  const queue = await broker.queue();
  await queue.publish(...named("a", "b"));
  await reject(queue, 1);
  await broker.lapse(PAST_SHORT_MS - 2_000);
  await reject(queue, 1);
  const [first] = await queue.deadLetters();
  const oldest = async () =>
    (await broker.call<{ total: { oldestDeathAt?: number } }>("GET", `${queue.path}/stats`)).total
      .oldestDeathAt;
  expect(await oldest()).toBe(first?.diedAt);
  await broker.call("DELETE", `${queue.path}/dead-letters`, { json: { all: true } });
  expect(await oldest()).toBeUndefined();
});
