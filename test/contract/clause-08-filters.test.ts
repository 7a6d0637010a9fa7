// Clause 8: what matches a subscription's filter is delivered, pulled or pushed, and nothing else is.

import { expect, test } from "vitest";
import { codeOf } from "../support/contract-client";
import { EAGER, idOf, ids, pushScene } from "../support/contract-scenes";
import { brokerUnderTest } from "../support/contract-target";

const broker = await brokerUnderTest();
const pushed = pushScene(broker);

const about = (subject: string, id: string, more: object = {}) => ({ id, subject, data: id, ...more });

test("clause 8: each subscription is handed what matches its filter: by subject, by attributes, by the body", async () => {
  const topic = await broker.topic({ partitions: 3 });
  const bySubject = await topic.subscribe({ filter: { subject: ["orders.*.created", "audit.#"] } });
  const byAttribute = await topic.subscribe({
    filter: { attributes: { tenant: ["acme", { prefix: "test-" }] } },
  });
  const byBody = await topic.subscribe({
    filter: { body: { order: { total: [{ numeric: [">=", 100] }] } } },
  });
  const byAll = await topic.subscribe({
    filter: {
      subject: ["orders.#"],
      attributes: { tenant: ["acme"] },
      body: { $or: [{ vip: [true] }, { order: { total: [500] } }] },
    },
  });
  await topic.publish(
    about("orders.eu.created", "eu", { attributes: { tenant: "acme" }, data: { order: { total: 500 } } }),
    about("orders.created", "short", { attributes: { tenant: "test-1" }, data: { order: { total: 99 } } }),
    about("audit", "audit", { data: "not JSON", attributes: { tenant: "other" } }),
    { id: "bare", data: { order: { total: 100 }, vip: true } },
  );
  expect(ids(await bySubject.pullAll(2)).sort()).toEqual(["audit", "eu"]);
  expect(ids(await byAttribute.pullAll(2)).sort()).toEqual(["eu", "short"]);
  expect(ids(await byBody.pullAll(2)).sort()).toEqual(["bare", "eu"]);
  expect(ids(await byAll.pullAll(1))).toEqual(["eu"]);
  for (const subscription of [bySubject, byAttribute, byBody, byAll])
    expect(await subscription.pull()).toEqual([]);
});

test("clause 8: a raw publish carries its subject in a header, and a consumer is shown it", async () => {
  const queue = await broker.queue({ filter: { subject: ["orders.#"], attributes: { tenant: ["acme"] } } });
  const headers = { prefer: "wait", "pennypost-attr-tenant": "acme" };
  await queue.publishRaw("x", { ...headers, "pennypost-subject": "invoices.paid" });
  await queue.publishRaw("y", { ...headers, "pennypost-subject": "orders.paid" });
  expect(await queue.pullAll(1)).toMatchObject([{ subject: "orders.paid", data: "y" }]);
  const refused = await queue.publishRaw("z", { ...headers, "pennypost-subject": "s".repeat(257) });
  expect([refused.status, refused.body.field]).toEqual([400, "subject"]);
});

test("clause 8: what is pushed is what matches, one by one and in batches", async () => {
  const filter = { subject: ["yes"] };
  const { topic, receiver } = await pushed({ filter });
  const batched = await broker.receiver();
  await topic.subscribe({
    ...{ type: "push", endpoint: { url: batched.url }, startAt: "earliest", filter },
    batch: { maxMessages: 3, maxWaitMs: 10_000 },
  });
  const names = ["n1", "y1", "n2", "n3", "y2", "n4", "y3", "n5"];
  await topic.publish(...names.map((id) => about(id.startsWith("y") ? "yes" : "no", id)));
  const hooks = await receiver.first(3);
  expect(hooks.map(idOf).sort()).toEqual(["y1", "y2", "y3"]);
  // It is full of what matches: nothing else is waited for, nor counted.
  const [batch] = await batched.first(1);
  const { messages } = JSON.parse(batch?.text ?? "{}") as { messages: { id: string }[] };
  expect(ids(messages)).toEqual(["y1", "y2", "y3"]);
});

test("clause 8: a filtered message of a lane is skipped, and the others keep their order", async () => {
  const queue = await broker.queue({ ...EAGER, filter: { subject: ["yes"] } });
  const keyed = (id: string) => about(id.startsWith("y") ? "yes" : "no", id, { orderingKey: "k" });
  await queue.publish(...["n1", "y1", "n2", "y2", "n3", "y3"].map(keyed));
  const [first] = await queue.pullAll(1);
  if (!first) throw new Error("nothing came");
  await queue.publish(keyed("n4"), keyed("y4"));
  await queue.nack([first], { delayMs: 0 });
  const order: string[] = [];
  while (order.length < 4) {
    const some = await queue.pullAll(1);
    order.push(...ids(some));
    await queue.ack(some);
  }
  expect(order).toEqual(["y1", "y2", "y3", "y4"]);
});

test("clause 8: a filter is shown, changed and taken away; a change is for what was not taken yet", async () => {
  const topic = await broker.topic();
  const at = `${topic.path}/subscriptions/changing`;
  const put = (filter?: object) =>
    broker.call<{ filter?: object; version: number }>("PUT", at, {
      json: { startAt: "earliest", ...(filter && { filter }) },
    });
  const subscription = broker.subscriptionAt(at);
  expect((await put({ subject: ["a"] })).filter).toEqual({ subject: ["a"] });
  expect((await put({ subject: ["a"] })).version).toBe(1);
  await topic.publish(about("b", "b1"), about("a", "a1"), about("b", "b2"));
  // b1 was passed on the way to a1; b2 was not taken yet.
  expect(ids(await subscription.pullAll(1))).toEqual(["a1"]);
  expect(await put({ subject: ["b"] })).toMatchObject({ filter: { subject: ["b"] }, version: 2 });
  await topic.publish(about("a", "a2"), about("b", "b3"));
  expect(ids(await subscription.pullAll(2))).toEqual(["b2", "b3"]);
  expect(await put()).not.toHaveProperty("filter");
  await topic.publish(about("a", "a3"));
  expect(ids(await subscription.pullAll(1))).toEqual(["a3"]);
});

test("clause 8: a filter that is none is refused, with the place and the limit, and nothing has changed", async () => {
  const queue = await broker.queue({ filter: { subject: ["a"] } });
  const put = (filter: unknown) => broker.send("PUT", queue.path, { json: { filter } });
  const faults: readonly (readonly [unknown, string])[] = [
    [{}, "filter"],
    [null, "filter"],
    [{ topics: ["x"] }, "filter.topics"],
    [{ subject: ["ord*"] }, "filter.subject[0]"],
    [{ body: { a: [{ regex: "(a+)+" }] } }, "filter.body.a[0]"],
    [{ attributes: { a: [{ numeric: [">", 5, "<", 1] }] } }, "filter.attributes.a[0].numeric"],
  ];
  for (const [filter, field] of faults) {
    const { status, body } = await put(filter);
    expect([status, codeOf(body), body.field]).toEqual([400, "invalid-request", field]);
  }
  const many = { body: { a: Array.from({ length: 201 }, (_, i) => i) } };
  expect((await put(many)).body).toMatchObject({ field: "filter.body.a[200]", limit: 200 });
  expect(await broker.call("GET", queue.path)).toMatchObject({ filter: { subject: ["a"] }, version: 1 });
});

test("clause 8: a dry run tells whether a message would match, and why not", async () => {
  const queue = await broker.queue({
    filter: { subject: ["orders.#"], body: { total: [{ numeric: [">", 5] }] } },
  });
  const dryRun = (json: object) => broker.call<object>("POST", `${queue.path}/filter/test`, { json });
  const message = { subject: "orders.paid", data: { total: 6 } };
  expect(await dryRun({ message })).toMatchObject({ matches: true, why: [], version: 1 });
  expect(await dryRun({ message: { ...message, data: { total: 5 } } })).toMatchObject({
    matches: false,
    why: [{ field: "body.total", detail: expect.stringContaining("it is 5") }],
  });
  const filter = { subject: ["invoices.#"] };
  expect(await dryRun({ message, filter })).toEqual({
    matches: false,
    why: [{ field: "subject", detail: expect.any(String) }],
    ...{ filter, version: null },
  });
  const open = await broker.queue();
  const free = await broker.call("POST", `${open.path}/filter/test`, { json: { message } });
  expect(free).toEqual({ matches: true, why: [], filter: null, version: 1 });
  const bad = await broker.send("POST", `${queue.path}/filter/test`, { json: { message: { subject: "" } } });
  expect([bad.status, bad.body.field]).toEqual([400, "message.data"]);
  expect(await queue.pull()).toEqual([]);
});
