// Clause 3, what a topic asks of its messages: values read from a foreign sender's header and body, and a JSON Schema.

import { expect, test } from "vitest";
import { codeOf, type Problem } from "../support/contract-client";
import { brokerUnderTest } from "../support/contract-target";

const broker = await brokerUnderTest();

const fields = {
  idFrom: { header: "X-Event-Id" },
  orderingKeyFrom: { pointer: "/order/customer", required: true },
  subjectFrom: { pointer: "/kind" },
};

test("clause 3: a topic reads id, ordering key and subject where a foreign sender keeps them, and a retry meets the first", async () => {
  const topic = await broker.topic({ partitions: 2, ...fields });
  const body = JSON.stringify({ kind: "order.paid", order: { customer: 17 } });
  const first = await topic.publishRaw(body, { "x-event-id": "e-1" });
  const again = await topic.publishRaw(body, { "x-event-id": "e-1" });
  expect([first.status, again.status]).toEqual([201, 201]);
  expect(again.body.messages).toMatchObject([{ id: "e-1", duplicate: true }]);
  const other = await topic.publishRaw(body.replace("17", "17.0"), { "x-event-id": "e-1" });
  expect([other.status, codeOf(other.body)]).toEqual([422, "id-reused"]);
  const subscription = await topic.subscribe();
  expect(await subscription.pullAll(1)).toMatchObject([
    { id: "e-1", orderingKey: "17", subject: "order.paid", data: body },
  ]);
});

test("clause 3: what the sender says itself wins, and what is missing or does not fit refuses its item alone", async () => {
  const topic = await broker.topic({ ...fields, idFrom: { pointer: "/id" } });
  const { status, body } = await topic.batch({
    messages: [
      { id: "own", orderingKey: "mine", data: { id: "no", order: { customer: "no" } } },
      { data: { id: "read", order: { customer: "c" } } },
      { data: { id: "keyless" } },
      { data: { id: "has.a.dot", order: { customer: "c" } } },
    ],
  });
  expect(status).toBe(201);
  const [own, read, keyless, dotted] = body.messages;
  expect([own?.id, read?.id]).toEqual(["own", "read"]);
  expect(keyless?.error).toMatchObject({ status: 422, field: "messages[2].orderingKey" });
  expect(dotted?.error).toMatchObject({ status: 422, field: "messages[3].id", limit: 128 });
  expect([keyless, dotted].map((item) => item?.error && codeOf(item.error))).toEqual([
    "source-mismatch",
    "source-mismatch",
  ]);
  const subscription = await topic.subscribe();
  const pulled = await subscription.pullAll(2);
  expect(pulled.map(({ id, orderingKey }) => [id, orderingKey])).toEqual([
    ["own", "mine"],
    ["read", "c"],
  ]);
});

test("clause 3: a message that does not match the topic's schema is refused with the place and the keyword, and not stored", async () => {
  const schema = {
    type: "object",
    required: ["id"],
    properties: { id: { type: "string", pattern: "^o-\\d+$" }, total: { type: "number", minimum: 0 } },
  };
  const topic = await broker.topic({ schema });
  const bad = await topic.publishRaw('{"id": "o-1", "total": -1}', { prefer: "wait" });
  expect([bad.status, codeOf(bad.body), bad.body.field]).toEqual([422, "schema-mismatch", "data/total"]);
  expect(bad.body).toMatchObject({ faults: [{ field: "data/total", detail: /^minimum: / }].map(matching) });
  const text = await topic.publishRaw("o-1", { prefer: "wait" });
  expect([text.status, codeOf(text.body), text.body.field]).toEqual([422, "schema-mismatch", "data"]);
  const { body } = await topic.batch(
    { messages: [{ data: { id: "o-2" } }, { data: { id: 2 } }] },
    { prefer: "wait" },
  );
  expect(body.messages.map(({ error }) => error?.field)).toEqual([undefined, "messages[1].data/id"]);
  const subscription = await topic.subscribe();
  expect((await subscription.pullAll(1)).map(({ data }) => data)).toEqual(['{"id":"o-2"}']);
  expect(await subscription.pull()).toEqual([]);
});

test("clause 3: a CloudEvent's own id and subject win, and its data is what a topic reads and holds to its schema", async () => {
  const schema = { type: "object", required: ["order"] };
  const topic = await broker.topic({ ...fields, idFrom: { pointer: "/id" }, schema });
  const event = (id: string, data: unknown) => ({
    ...{ specversion: "1.0", id, source: "/shop", type: "t", subject: "own" },
    ...{ datacontenttype: "application/json", data },
  });
  const events = [
    event("e-1", { id: "no", kind: "no", order: { customer: "c" } }),
    event("e-2", { kind: "x" }),
  ];
  const headers = { "content-type": "application/cloudevents-batch+json", prefer: "wait" };
  const answer = await topic.publishRaw(JSON.stringify(events), headers);
  expect(answer.status).toBe(201);
  expect(answer.body.messages.map(({ error }) => error?.field)).toEqual([undefined, "[1].data"]);
  const pulled = await (await topic.subscribe()).pullAll(1);
  expect(pulled).toMatchObject([{ id: "e-1", orderingKey: "c", subject: "own" }]);
});

test("clause 3: a schema is a setting with a version, for what is published from then on", async () => {
  const topic = await broker.topic();
  await topic.publish({ data: "before" });
  const schema = { type: "object" };
  const set = await broker.call<{ version: number; schema: unknown }>("PUT", topic.path, {
    json: { schema },
  });
  expect(set).toMatchObject({ version: 2, schema });
  expect(await broker.call("PUT", topic.path, { json: { schema } })).toMatchObject({ version: 2 });
  const refused = await topic.batch({ messages: [{ data: "text" }] });
  expect([refused.status, codeOf(refused.body)]).toEqual([422, "all-refused"]);
  const removed = await broker.call<object>("PUT", topic.path, { json: {} });
  expect(removed).toMatchObject({ version: 3 });
  expect(removed).not.toHaveProperty("schema");
  await topic.publish({ data: "after" });
  const pulled = await (await topic.subscribe()).pullAll(2);
  expect(pulled.map(({ data }) => data)).toEqual(["before", "after"]);
});

test("clause 3: a dead letter that is moved to a topic with a schema and sources goes as it is", async () => {
  const json = { schema: { type: "object" }, orderingKeyFrom: { pointer: "/a", required: true } };
  const [queue, strict] = [await broker.queue(), await broker.queue(json)];
  await queue.publish({ id: "m", data: "no object" });
  await queue.nack(await queue.pullAll(1), { deadLetter: true });
  const toTopic = strict.path.split("/").at(-1);
  const moved = await broker.call("POST", `${queue.path}/dead-letters/redrive`, {
    json: { all: true, toTopic },
  });
  expect(moved).toMatchObject({ moved: 1 });
  expect(await strict.pullAll(1)).toMatchObject([{ id: "m", data: "no object" }]);
});

test("clause 3: settings that could not be kept to are refused by their place", async () => {
  const topic = await broker.topic();
  const put = async (json: object) => {
    const { status, body } = await broker.send<Problem>("PUT", topic.path, { json });
    return [status, body.field];
  };
  expect(await put({ schema: { properties: { a: { $ref: "https://example.com/a" } } } })).toEqual([
    400,
    "schema.properties.a.$ref",
  ]);
  expect(await put({ schema: { pattern: "(a+)+$" } })).toEqual([400, "schema.pattern"]);
  expect(await put({ idFrom: { header: "a", pointer: "/a" } })).toEqual([400, "idFrom"]);
  expect(await put({ subjectFrom: { pointer: "no-slash" } })).toEqual([400, "subjectFrom.pointer"]);
  expect(await put({ idFrom: { header: "authorization" } })).toEqual([400, "idFrom.header"]);
  expect(await put({ idHeader: "x-a", idFrom: { header: "x-a" } })).toEqual([400, "idFrom"]);
});

function matching({ field, detail }: { field: string; detail: RegExp }) {
  return { field, detail: expect.stringMatching(detail) as unknown };
}
