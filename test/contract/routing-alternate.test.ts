// Routing: messages that no subscription of a topic matched go to an alternate.

import { expect, test } from "vitest";
import { EAGER, ids } from "../support/contract-scenes";
import { brokerUnderTest } from "../support/contract-target";

const broker = await brokerUnderTest();

const nameOf = ({ path }: { path: string }) => path.split("/").at(-1) ?? "";
const about = (...subject: string[]) => ({ filter: { subject } });
/** Messages of these subjects; their ids are the same with dashes. */
const of = (...subjects: string[]) =>
  subjects.map((subject) => ({ id: subject.replaceAll(".", "-"), subject, data: subject }));
const alternateTo = (topic: { path: string }, filter: object = {}) => ({
  ...{ type: "forward", forward: { topic: nameOf(topic) }, ...EAGER },
  filter: { unmatched: true, ...filter },
});
const audit = (path: string) => broker.call<{ holds: boolean }>("GET", `${path}/audit`);

test("routing: what no subscription matched comes to the alternate topic, and nothing else does", async () => {
  const [topic, lost] = [await broker.topic({ partitions: 2 }), await broker.queue()];
  const reader = await topic.subscribe(about("orders.#"));
  const alternate = await topic.subscribe(alternateTo(lost));
  await topic.publish(...of("orders.a", "news", "orders.b", "audit.x"));
  expect(ids(await lost.pullAll(2)).sort()).toEqual(["audit-x", "news"]);
  expect(ids(await reader.pullAll(2)).sort()).toEqual(["orders-a", "orders-b"]);
  await broker.eventually("the rest is passed", async () => {
    const all = await alternate.stats();
    const sum = (term: "filtered" | "settled") => all.reduce((total, each) => total + each[term], 0);
    return sum("filtered") === 2 && sum("settled") === 2 ? true : undefined;
  });
  expect((await audit(alternate.path)).holds).toBe(true);
  expect(await lost.pull()).toEqual([]);
});

test("routing: a change of a filter, a new subscription and a deletion count for what is published after their answer", async () => {
  const [topic, lost] = [await broker.topic(), await broker.queue()];
  const reader = await topic.subscribe(about("a"), "reader");
  await topic.subscribe(about("z"));
  const taken = async (...subjects: string[]) => {
    await topic.publish(...of(...subjects));
    await topic.publish({ id: `end ${subjects}`.replaceAll(/\W/g, "-"), subject: "end", data: 0 });
    const got: string[] = [];
    while (!got.at(-1)?.startsWith("end-")) got.push(...ids(await lost.pullAll(1)));
    return got.slice(0, -1);
  };
  await topic.publish(...of("early"));
  await topic.subscribe(alternateTo(lost), "alternate");
  expect(await taken("a", "b1")).toEqual(["b1"]);
  await broker.call("PUT", reader.path, { json: about("b") });
  expect(await taken("b", "a1")).toEqual(["a1"]);
  const other = await topic.subscribe(about("a2"), "other");
  expect(await taken("a2", "b2")).toEqual(["b2"]);
  await broker.call("DELETE", other.path);
  expect(await taken("b3", "c")).toEqual(["b3", "c"]);
});

test("routing: a paused subscription matches all the same, and one without a filter leaves nothing unmatched", async () => {
  const [topic, lost] = [await broker.topic(), await broker.queue()];
  const reader = await topic.subscribe();
  await reader.pause();
  const alternate = await topic.subscribe(alternateTo(lost));
  await topic.publish(...of("a", "b"));
  await broker.eventually("both are passed", async () => {
    const [stats] = await alternate.stats();
    return stats?.filtered === 2 ? true : undefined;
  });
  expect(await lost.pull()).toEqual([]);
});

test("routing: an alternate may be pulled from, may ask for more, and does not count as a match", async () => {
  const topic = await broker.topic();
  const alternate = await topic.subscribe({ filter: { unmatched: true, subject: ["orders.#"] } });
  await topic.subscribe({ filter: { unmatched: true } });
  await topic.subscribe(about("orders.paid"));
  const messages = of("orders.paid", "orders.lost", "news");
  const { body } = await topic.batch({ messages }, { prefer: "matched" });
  expect(body.messages.map((each) => (each as { matched?: number }).matched)).toEqual([1, 0, 0]);
  expect(ids(await alternate.pullAll(1))).toEqual(["orders-lost"]);
  expect(await alternate.pull()).toEqual([]);
});

test("routing: what is forwarded is looked at anew in the topic that it comes to", async () => {
  const [first, second, end] = [await broker.topic(), await broker.topic(), await broker.queue()];
  await first.subscribe(about("never"));
  await first.subscribe(alternateTo(second));
  await second.subscribe(about("a"));
  await second.subscribe(alternateTo(end));
  await first.publish(...of("a", "b"));
  expect(ids(await end.pullAll(1))).toEqual(["b"]);
  expect(await end.pull()).toEqual([]);
});

test("routing: unmatched is true or left out, and a dry run holds a message against the rest of the filter", async () => {
  const topic = await broker.topic();
  const path = `${topic.path}/subscriptions/x`;
  const { status, body } = await broker.send("PUT", path, { json: { filter: { unmatched: false } } });
  expect([status, body.field]).toEqual([400, "filter.unmatched"]);
  const alternate = await topic.subscribe({ filter: { unmatched: true, subject: ["a"] } });
  const tried = async (subject: string) => {
    const json = { message: { subject, data: 1 } };
    return (await broker.call<{ matches: boolean }>("POST", `${alternate.path}/filter/test`, { json }))
      .matches;
  };
  expect([await tried("a"), await tried("b")]).toEqual([true, false]);
});
