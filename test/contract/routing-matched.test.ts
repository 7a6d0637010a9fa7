// Routing: a publisher asks how many subscriptions its message matched.

import { expect, test } from "vitest";
import { codeOf, type Published } from "../support/contract-client";
import { brokerUnderTest } from "../support/contract-target";

const broker = await brokerUnderTest();
type Counted = Published & Readonly<{ matched?: number }>;

const about = (...subject: string[]) => ({ filter: { subject } });
const counts = (messages: readonly Counted[]) => messages.map(({ matched }) => matched);

async function ask(path: string, messages: readonly object[], prefer = "matched") {
  const { status, headers, body } = await broker.send<{ messages: Counted[] }>(
    "POST",
    `${path}/messages/batch`,
    { json: { messages }, headers: { prefer } },
  );
  return { status, applied: headers.get("preference-applied"), messages: body.messages };
}

test("routing: a publish that asks is stored, and each message says how many subscriptions it matched", async () => {
  const topic = await broker.topic();
  await topic.subscribe(about("orders.#"));
  await topic.subscribe(about("orders.paid", "audit.*"));
  await topic.subscribe({ filter: { body: { total: [{ numeric: [">", 5] }] } } });
  const { status, applied, messages } = await ask(topic.path, [
    { subject: "orders.paid", data: { total: 9 } },
    { subject: "orders.made", data: {} },
    { subject: "news", data: {} },
  ]);
  expect([status, applied, counts(messages)]).toEqual([201, "matched", [3, 1, 0]]);
  await topic.subscribe();
  const one = await topic.publishRaw("text", { "pennypost-subject": "news", prefer: "wait, matched" });
  expect(one.headers.get("preference-applied")).toBe("wait, matched");
  expect(counts(one.body.messages)).toEqual([1]);
});

test("routing: a publish to which nobody subscribes is told so, and is kept for who comes later", async () => {
  const topic = await broker.topic();
  const { status, messages } = await ask(topic.path, [{ id: "kept", data: 1 }]);
  expect([status, counts(messages)]).toEqual([201, [0]]);
  const late = await topic.subscribe();
  expect((await late.pullAll(1)).map(({ id }) => id)).toEqual(["kept"]);
});

test("routing: a publish that does not ask is told nothing, and may be accepted", async () => {
  const topic = await broker.topic();
  await topic.subscribe();
  const { status, body } = await topic.batch({ messages: [{ data: 1 }] });
  expect([status, counts(body.messages)]).toEqual([202, [undefined]]);
  const waited = await ask(topic.path, [{ data: 1 }], "wait");
  expect([waited.status, waited.applied, counts(waited.messages)]).toEqual([201, "wait", [undefined]]);
});

test("routing: what is refused matched nothing, and its neighbours say what they matched", async () => {
  const topic = await broker.topic();
  await topic.subscribe();
  const { messages } = await ask(topic.path, [
    { id: "bad.id", data: 1 },
    { id: "good", data: 1 },
  ]);
  expect(counts(messages)).toEqual([undefined, 1]);
  expect(codeOf(messages[0]?.error ?? { type: "" })).toBe("invalid-request");
  const none = await ask(topic.path, [{ id: "bad.id", data: 1 }]);
  expect([none.status, none.applied]).toEqual([422, null]);
});

test("routing: a paused subscription counts, a deleted one does not, and a queue has one", async () => {
  const topic = await broker.topic();
  const paused = await topic.subscribe();
  const gone = await topic.subscribe();
  await paused.pause();
  await broker.call("DELETE", gone.path);
  expect(counts((await ask(topic.path, [{ data: 1 }])).messages)).toEqual([1]);
  const queue = await broker.queue(about("orders.#"));
  const both = [
    { subject: "orders.paid", data: 1 },
    { data: 1, delayMs: 60_000 },
  ];
  expect(counts((await ask(queue.path, both)).messages)).toEqual([1, 0]);
});

test("routing: of a message that is known by its id the number is that of now", async () => {
  const topic = await broker.topic();
  const again = async () => (await ask(topic.path, [{ id: "m", data: 1 }])).messages;
  expect(await again()).toMatchObject([{ duplicate: false, matched: 0 }]);
  await topic.subscribe();
  expect(await again()).toMatchObject([{ duplicate: true, matched: 1 }]);
});
