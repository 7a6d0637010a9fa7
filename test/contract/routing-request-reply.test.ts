// Routing: a request is answered by whoever is handed it, over HTTP; nothing of it is lost when its asker is gone.

import { expect, test } from "vitest";
import { type Client, codeOf, type Delivered, type Problem, unique } from "../support/contract-client";
import { pushTo } from "../support/contract-scenes";
import { brokerUnderTest } from "../support/contract-target";

type Reply = Readonly<{
  standing: string;
  subscription: string;
  data: string;
  offset?: number;
  status?: number;
}>;
type Request = Readonly<{ state: string; replies: readonly Reply[] }>;
type Unanswered = Problem & Readonly<{ id: string; request: string }>;

const broker = await brokerUnderTest();
const askFor = (
  at: { path: string },
  body: string,
  wait: number,
  headers: Readonly<Record<string, string>> = {},
) =>
  broker.send<unknown>("POST", `${at.path}/request`, {
    body,
    headers: { "content-type": "text/plain", prefer: `wait=${wait}`, ...headers },
  });
const replyTo = (at: { path: string }, request: Delivered, data: unknown, more: object = {}) => {
  const { replyTo, ackId } = request as Delivered & { replyTo: string };
  const json = { replyTo, ackId, data, ...more };
  return broker.call<{ reply: string; status?: string }>("POST", `${at.path}/reply`, { json });
};
const shown = (path: string) => broker.call<Request>("GET", path);
type Queue = Awaited<ReturnType<Client["queue"]>>;

/** Asks, and is not answered in time. */
async function unanswered(at: Pick<Queue, "path">, id = unique("q")) {
  const { status, body } = await askFor(at, "how much?", 0, { "idempotency-key": id });
  const problem = body as Unanswered;
  expect([status, codeOf(problem), problem.retryable, problem.id]).toEqual([504, "reply-timeout", true, id]);
  return problem;
}

test("routing: a push endpoint answers a request with its response, byte for byte", async () => {
  const [topic, receiver] = [await broker.topic(), await broker.receiver()];
  await topic.subscribe(pushTo(receiver), "pricing");
  receiver.answer(({ text }) => ({
    ...{ status: 201, headers: { "content-type": "text/plain; charset=utf-8" }, body: `you asked ${text}` },
  }));
  const answer = await askFor(topic, "how much?", 20, { "pennypost-attr-shop": "a" });
  expect([answer.status, answer.body]).toEqual([200, "you asked how much?"]);
  expect(Object.fromEntries(answer.headers)).toMatchObject({
    "content-type": "text/plain; charset=utf-8",
    "pennypost-reply": "first",
    "pennypost-reply-subscription": "pricing",
    "pennypost-reply-status": "201",
    "preference-applied": "wait=20",
  });
  const [hook] = await receiver.first(1);
  expect(hook?.headers.get("webhook-id")).toBe(answer.headers.get("pennypost-message-id"));
  expect(hook?.headers.get("pennypost-attr-shop")).toBe("a");
  expect(hook?.headers.get("pennypost-reply-to")).toContain(answer.headers.get("pennypost-message-id"));
});

test("routing: a consumer that pulls replies to a request, which settles it", async () => {
  const queue = await broker.queue();
  const asking = askFor(queue, "how much?", 20);
  const [request] = await queue.pullAll(1);
  if (!request) throw new Error("the request was pulled");
  expect(await replyTo(queue, request, { price: 3 })).toEqual({ reply: "first", status: "acked" });
  const answer = await asking;
  expect([answer.status, answer.body]).toEqual([200, { price: 3 }]);
  expect(await queue.stats()).toMatchObject([{ settled: 1, leased: 0, waiting: 0 }]);
});

test("routing: each of many askers gets the reply to its own request", async () => {
  const [topic, receiver] = [await broker.topic({ partitions: 2 }), await broker.receiver()];
  await topic.subscribe(pushTo(receiver));
  receiver.answer(({ text }) => ({ status: 200, body: `re ${text}` }));
  const questions = Array.from({ length: 12 }, (_, index) => `question ${index}`);
  const answers = await Promise.all(questions.map((text) => askFor(topic, text, 25)));
  expect(answers.map(({ body }) => body)).toEqual(questions.map((text) => `re ${text}`));
});

test("routing: a reply after the wait is kept as late, shown, and what the same request made again is answered", async () => {
  const queue = await broker.queue();
  const { id, request: path } = await unanswered(queue);
  expect(await shown(path)).toMatchObject({ state: "open", replies: [] });
  const [request] = await queue.pullAll(1);
  if (!request) throw new Error("the request was pulled");
  expect(await replyTo(queue, request, "3 euros")).toEqual({ reply: "late", status: "acked" });
  expect(await shown(path)).toMatchObject({
    state: "answered",
    replies: [{ standing: "late", data: "3 euros" }],
  });
  const again = await askFor(queue, "how much?", 20, { "idempotency-key": id });
  expect([again.status, again.body, again.headers.get("pennypost-reply")]).toEqual([200, "3 euros", "late"]);
  expect(await queue.stats()).toMatchObject([{ head: 1, settled: 1 }]);
});

test("routing: the same request made twice at once is published once, and both askers get its reply", async () => {
  const queue = await broker.queue();
  const id = unique("q");
  const asking = [1, 2].map(() => askFor(queue, "how much?", 20, { "idempotency-key": id }));
  const [request] = await queue.pullAll(1);
  if (!request) throw new Error("the request was pulled");
  await replyTo(queue, request, "3 euros");
  expect((await Promise.all(asking)).map(({ body }) => body)).toEqual(["3 euros", "3 euros"]);
  expect(await queue.stats()).toMatchObject([{ head: 1 }]);
});

test("routing: the first of two subscriptions to reply is heard, and the second is kept beside it", async () => {
  const topic = await broker.topic();
  const [one, other] = [await topic.subscribe({}, "one"), await topic.subscribe({}, "other")];
  const asking = askFor(topic, "how much?", 20);
  const [[first], [second]] = [await other.pullAll(1), await one.pullAll(1)];
  if (!first || !second) throw new Error("both were handed the request");
  expect(await replyTo(other, first, "3 euros")).toEqual({ reply: "first", status: "acked" });
  expect(await replyTo(one, second, "4 euros")).toEqual({ reply: "second", status: "acked" });
  const answer = await asking;
  expect([answer.body, answer.headers.get("pennypost-reply-subscription")]).toEqual(["3 euros", "other"]);
  const { replies } = await shown(`${topic.path}/requests/${answer.headers.get("pennypost-message-id")}`);
  expect(replies.map(({ standing, subscription, data }) => [standing, subscription, data])).toEqual([
    ["first", "other", "3 euros"],
    ["second", "one", "4 euros"],
  ]);
});

test("routing: a reply that is sent twice is kept once, and one under a lost lease is kept and settles nothing", async () => {
  const queue = await broker.queue();
  const { request: path } = await unanswered(queue);
  const [request] = await queue.pullAll(1);
  if (!request) throw new Error("the request was pulled");
  await replyTo(queue, request, "3 euros");
  expect(await replyTo(queue, request, "3 euros")).toEqual({ reply: "late", status: "lease-lost" });
  expect((await shown(path)).replies).toHaveLength(1);
});

test("routing: an endpoint that answers 202 replies later, by what its request carried", async () => {
  const [topic, receiver] = [await broker.topic(), await broker.receiver()];
  const subscription = await topic.subscribe(pushTo(receiver));
  receiver.answer(() => ({ status: 202, body: "later" }));
  const asking = askFor(topic, "how much?", 25);
  const [hook] = await receiver.first(1);
  const json = { replyTo: hook?.headers.get("pennypost-reply-to"), data: "3,EUR", contentType: "text/csv" };
  const answer = await broker.call("POST", `${subscription.path}/reply`, { json });
  expect(answer).toEqual({ reply: "first" });
  const { status, headers, body } = await asking;
  expect([status, headers.get("content-type"), body]).toEqual([200, "text/csv", "3,EUR"]);
});

test("routing: a request that nobody could answer is refused at once, and nothing is stored", async () => {
  const topic = await broker.topic();
  const { status, body } = await askFor(topic, "how much?", 20);
  expect([status, codeOf(body as Problem)]).toEqual([409, "nobody-to-reply"]);
  expect(await broker.call("GET", `${topic.path}/stats`)).toMatchObject({ partitions: [{ head: 0 }] });
});

test("routing: an id that was used for other content is refused, and so is what was published as no request", async () => {
  const queue = await broker.queue();
  const { id } = await unanswered(queue);
  const other = await askFor(queue, "how many?", 0, { "idempotency-key": id });
  expect([other.status, codeOf(other.body as Problem)]).toEqual([422, "id-reused"]);
  const headers = { "content-type": "text/plain", "idempotency-key": "plain", prefer: "wait" };
  await queue.publishRaw("how much?", headers);
  const plain = await askFor(queue, "how much?", 0, { "idempotency-key": "plain" });
  expect([plain.status, codeOf(plain.body as Problem)]).toEqual([422, "id-reused"]);
});

test("routing: a request counts as a message of its topic's limit, and one that was answered does not count again", async () => {
  const queue = await broker.queue({ publishRateLimit: { perHour: 2 } });
  const { id } = await unanswered(queue);
  const [request] = await queue.pullAll(1);
  if (!request) throw new Error("the request was pulled");
  await replyTo(queue, request, "3 euros");
  for (const _ of [1, 2])
    expect((await askFor(queue, "how much?", 0, { "idempotency-key": id })).status).toBe(200);
  await unanswered(queue);
  const { status, body } = await askFor(queue, "how much?", 0);
  expect([status, codeOf(body as Problem)]).toEqual([429, "rate-limited"]);
});

test("routing: what a request or a reply may not say is refused with its field", async () => {
  const queue = await broker.queue();
  const asked: [Readonly<Record<string, string>>, string][] = [
    [{ prefer: "wait=61" }, "Prefer"],
    [{ "pennypost-delay-ms": "1000" }, "deliverAt"],
    [{ "pennypost-producer": "p", "pennypost-sequence": "1" }, "Pennypost-Producer"],
  ];
  for (const [headers, field] of asked) {
    const { status, body } = await askFor(queue, "x", 0, headers);
    expect([status, (body as Problem).field]).toEqual([400, field]);
  }
  await unanswered(queue);
  const [request] = await queue.pullAll(1);
  const { replyTo } = request as Delivered & { replyTo: string };
  const replied: [object, number, string][] = [
    [{ replyTo: "x", data: "y" }, 400, "replyTo"],
    [{ replyTo, ackId: request?.ackId }, 400, "data"],
    [{ replyTo, data: "x".repeat(256 * 1024 + 1) }, 413, "data"],
    [{ replyTo, data: "x", contentType: "text/plain\r\nx: y" }, 400, "contentType"],
  ];
  for (const [json, status, field] of replied) {
    const refused = await broker.send("POST", `${queue.path}/reply`, { json });
    expect([refused.status, refused.body.field]).toEqual([status, field]);
  }
  expect(await queue.stats()).toMatchObject([{ leased: 1, settled: 0 }]);
});

test("routing: a reply needs the secret that came with the request, and a request that nobody made is not found", async () => {
  const queue = await broker.queue();
  const { request: path } = await unanswered(queue);
  const [request] = await queue.pullAll(1);
  const { replyTo } = request as Delivered & { replyTo: string };
  const guessed = `${replyTo.slice(0, replyTo.lastIndexOf(".") + 1)}${"A".repeat(22)}`;
  const json = { replyTo: guessed, data: "a lie" };
  expect(await broker.call("POST", `${queue.path}/reply`, { json })).toEqual({ reply: "forgotten" });
  expect((await shown(path)).replies).toEqual([]);
  const absent = await broker.send("GET", `${queue.path}/requests/absent`);
  expect([absent.status, codeOf(absent.body)]).toEqual([404, "request-not-found"]);
});
