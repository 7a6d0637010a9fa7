// Clause 3: a batch answers per item.

import { expect, test } from "vitest";
import { codeOf } from "../support/contract-client";
import { ids } from "../support/contract-scenes";
import { brokerUnderTest } from "../support/contract-target";

const broker = await brokerUnderTest();
const good = (id: string) => ({ id, data: id });

test("clause 3: one bad item of a batch refuses itself and not its neighbours", async () => {
  const topic = await broker.topic();
  const { status, body } = await topic.batch(
    { messages: [good("a"), { id: "bad id", data: "x" }, good("c")] },
    { prefer: "wait" },
  );
  expect(status).toBe(201);
  expect(body.messages).toMatchObject([
    { id: "a", offset: 0 },
    { error: { status: 400, field: "messages[1].id", retryable: false } },
    { id: "c", offset: 1 },
  ]);
  expect(ids(await (await topic.subscribe()).pullAll(2))).toEqual(["a", "c"]);
});

test("clause 3: lines of NDJSON are items too, each with its own result", async () => {
  const topic = await broker.topic();
  const { status, body } = await broker.send<{ messages: unknown[] }>(
    "POST",
    `${topic.path}/messages/batch`,
    {
      body: `${JSON.stringify(good("a"))}\n${JSON.stringify({ data: 1, id: "" })}\n${JSON.stringify(good("c"))}\n`,
      headers: { prefer: "wait", "content-type": "application/x-ndjson" },
    },
  );
  expect(status).toBe(201);
  expect(body.messages).toMatchObject([{ id: "a" }, { error: { status: 400 } }, { id: "c" }]);
});

test("clause 3: an item whose id was used for other content is refused alone", async () => {
  const topic = await broker.topic();
  await topic.publish(good("a"));
  const [reused, stored] = await topic.publish({ id: "a", data: "other" }, good("b"));
  expect(codeOf(reused?.error ?? { type: "" })).toBe("id-reused");
  expect(stored).toMatchObject({ id: "b", offset: 1 });
});

test("clause 3: an atomic batch with one bad item stores nothing", async () => {
  const topic = await broker.topic();
  const malformed = await topic.batch({ messages: [good("a"), { id: "bad id", data: "x" }], atomic: true });
  expect([malformed.status, codeOf(malformed.body)]).toEqual([422, "atomic-refused"]);
  await topic.publish(good("known"));
  const reused = await topic.batch({ messages: [good("b"), { id: "known", data: "other" }], atomic: true });
  expect([reused.status, codeOf(reused.body)]).toEqual([422, "atomic-refused"]);
  const subscription = await topic.subscribe();
  expect(ids(await subscription.pullAll(1))).toEqual(["known"]);
  expect(await subscription.pull()).toEqual([]);
});

test("clause 3: an atomic batch is stored as one, in one partition", async () => {
  const topic = await broker.topic({ partitions: 8 });
  const messages = ["a", "b", "c"].map((data) => ({ orderingKey: "k", data }));
  const { status, body } = await topic.batch({ messages, atomic: true });
  expect(status).toBe(201);
  expect(body.messages.map(({ offset }) => offset)).toEqual([0, 1, 2]);
  expect(new Set(body.messages.map(({ partition }) => partition)).size).toBe(1);
});

test("clause 3: an atomic batch that spans partitions is refused", async () => {
  const topic = await broker.topic({ partitions: 8 });
  const messages = Array.from({ length: 40 }, (_, i) => ({ orderingKey: `k${i}`, data: i }));
  const { status, body } = await topic.batch({ messages, atomic: true });
  expect([status, codeOf(body)]).toEqual([422, "atomic-spans-partitions"]);
  expect(await (await topic.subscribe()).pull()).toEqual([]);
});
