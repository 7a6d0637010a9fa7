// Clause 2: the same id with the same content is stored once.

import { expect, test } from "vitest";
import { codeOf, type Delivered, type Problem, type Published } from "../support/contract-client";
import { ids } from "../support/contract-scenes";
import { brokerUnderTest } from "../support/contract-target";

const broker = await brokerUnderTest();

test("clause 2: the same id with the same content is stored once and answers its first place", async () => {
  const topic = await broker.topic({ partitions: 4 });
  const publish = () =>
    topic.publishRaw("paid", {
      prefer: "wait",
      "idempotency-key": "payment-1",
      "content-type": "text/plain",
    });
  const first = await publish();
  const second = await publish();
  expect(second.status).toBe(201);
  const [{ partition, offset }] = first.body.messages as [Published];
  const timeline = `${topic.path}/messages/${partition}.${offset}`;
  expect(second.body.messages).toEqual([{ ...first.body.messages[0], duplicate: true, timeline }]);
  expect(ids(await (await topic.subscribe()).pullAll(1))).toEqual(["payment-1"]);
});

test("clause 2: the same id with other content is refused, and the first message stays", async () => {
  const topic = await broker.topic();
  await topic.publish({ id: "payment-1", data: "10 euros" });
  const other = await topic.publishRaw("20 euros", {
    prefer: "wait",
    "idempotency-key": "payment-1",
    "content-type": "text/plain; charset=utf-8",
  });
  expect([other.status, codeOf(other.body)]).toEqual([422, "id-reused"]);
  const subscription = await topic.subscribe();
  expect(await subscription.pullAll(1)).toMatchObject([{ data: "10 euros" }]);
  expect(await subscription.pull()).toEqual([]);
});

test("clause 2: content is the body, its type, the key, the subject and the attributes, and no trace header", async () => {
  const topic = await broker.topic();
  const base = { prefer: "wait", "idempotency-key": "m", "content-type": "text/plain" };
  const statuses = [];
  for (const headers of [
    base,
    { ...base, traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01" },
    { ...base, "x-request-id": "7" },
    { ...base, "content-type": "text/html" },
    { ...base, "pennypost-subject": "a.b" },
    { ...base, "pennypost-attr-a": "1" },
    { ...base, "pennypost-ordering-key": "k" },
  ]) {
    statuses.push((await topic.publishRaw("same", headers)).status);
  }
  expect(statuses).toEqual([201, 201, 201, 422, 422, 422, 422]);
});

test("clause 2: of many publishes of one id at once, one is stored and the others are its duplicates", async () => {
  const topic = await broker.topic();
  const headers = { prefer: "wait", "idempotency-key": "once" };
  const answers = await Promise.all(Array.from({ length: 12 }, () => topic.publishRaw("same", headers)));
  const stored = answers.flatMap(({ body }) => body.messages);
  expect(stored.filter(({ duplicate }) => !duplicate)).toHaveLength(1);
  expect(new Set(stored.map(({ offset }) => offset)).size).toBe(1);
});

test("clause 2: an id that comes twice in one request is stored once", async () => {
  const topic = await broker.topic();
  const stored = await topic.publish({ id: "a", data: "1" }, { id: "a", data: "1" }, { id: "b", data: "2" });
  expect(stored.map(({ id, offset, duplicate }) => [id, offset, duplicate])).toEqual([
    ["a", 0, false],
    ["a", 0, true],
    ["b", 1, false],
  ]);
});

test("clause 2: an id that was accepted twice is delivered once", async () => {
  const topic = await broker.topic();
  const subscription = await topic.subscribe();
  await topic.publishRaw("same", { "idempotency-key": "once" });
  await topic.publishRaw("same", { "idempotency-key": "once" });
  await topic.publishRaw("the end", { "idempotency-key": "end" });
  const seen: Delivered[] = [];
  while (!ids(seen).includes("end")) seen.push(...(await subscription.pullAll(1)));
  expect(ids(seen).filter((id) => id === "once")).toHaveLength(1);
});

test("clause 2: an accepted publish whose id was used for other content is kept to be looked at", async () => {
  const topic = await broker.topic();
  const subscription = await topic.subscribe();
  await topic.publish({ id: "m", data: "first" });
  expect((await topic.publishRaw("other", { "idempotency-key": "m" })).status).toBe(202);
  type Rejections = { rejections: { messageId: string; error: Problem }[] };
  const rejection = await broker.eventually("the rejection is listed", async () => {
    const { rejections } = await broker.call<Rejections>("GET", `${topic.path}/rejections`);
    return rejections[0];
  });
  expect([rejection.messageId, codeOf(rejection.error)]).toEqual(["m", "id-reused"]);
  expect(await subscription.pullAll(1)).toMatchObject([{ data: "first" }]);
  expect(await subscription.pull()).toEqual([]);
});

test("clause 2: a duplicate links to the timeline of its first publish", async () => {
  for (const at of [await broker.topic({ partitions: 2 }), await broker.queue()]) {
    const [first] = await at.publish({ id: "order-1", data: "x" });
    expect(first).not.toHaveProperty("timeline");
    const [again, other] = (await at.publish({ id: "order-1", data: "x" }, { id: "order-2", data: "y" })) as {
      timeline?: string;
    }[];
    expect(again?.timeline).toBe(`${at.path}/messages/${first?.partition}.${first?.offset}`);
    expect(other).not.toHaveProperty("timeline");
    expect(await broker.call("GET", again?.timeline ?? "")).toMatchObject({ message: { id: "order-1" } });
  }
});
