// Routing: who replies to a request and how, over HTTP with a real endpoint: those that only listen, those that take
// batches, those on a socket, and replies that are too large or too many.

import { expect, test } from "vitest";
import { codeOf, type Delivered, type Problem, unique } from "../support/contract-client";
import { pushTo } from "../support/contract-scenes";
import { brokerUnderTest } from "../support/contract-target";

type Place = Readonly<{ path: string }>;
type Replied = Readonly<{ reply: string; status?: string }>;
type Said = Readonly<{ standing: string; subscription: string; data?: string; tooLarge?: true }>;
type Shown = Readonly<{ state: string; replies: readonly Said[] }>;

const REPLY_BYTES = 256 * 1024;
const REPLIES_KEPT = 16;
const broker = await brokerUnderTest();
const ask = <T>(at: Place, wait: number, id = unique("q")) =>
  broker.send<T>("POST", `${at.path}/request`, {
    body: "how much?",
    headers: { "content-type": "text/plain", prefer: `wait=${wait}`, "idempotency-key": id },
  });
const reply = (at: Place, json: object) => broker.call<Replied>("POST", `${at.path}/reply`, { json });
const shown = (at: Place, id: string | null) => broker.call<Shown>("GET", `${at.path}/requests/${id}`);

test("routing: a subscriber that only listens keeps no reply from the asker, whether by 204 or by a header", async () => {
  const topic = await broker.topic();
  const [quiet, listener] = [await broker.receiver(), await broker.receiver()];
  await topic.subscribe(pushTo(quiet), "quiet");
  await topic.subscribe(pushTo(listener), "listener");
  listener.answer(() => ({ status: 200, headers: { "pennypost-reply": "none" }, body: "noted" }));
  const pricing = await topic.subscribe({}, "pricing");
  const asking = ask(topic, 25);
  await Promise.all([quiet.first(1), listener.first(1)]);
  const [request] = await pricing.pullAll(1);
  if (!request) throw new Error("the request was pulled");
  expect(await reply(pricing, { ackId: request.ackId, replyTo: request.replyTo, data: 3 })).toEqual({
    ...{ reply: "first", status: "acked" },
  });
  expect(await asking).toMatchObject({ status: 200, body: 3 });
  expect((await shown(topic, request.id)).replies).toMatchObject([{ subscription: "pricing" }]);
});

test("routing: a reply that is too large is told to the asker, now and when it asks again, and what it was to stays done", async () => {
  const [topic, receiver] = [await broker.topic(), await broker.receiver()];
  const subscription = await topic.subscribe(pushTo(receiver), "pricing");
  receiver.answer(() => ({ status: 200, body: "x".repeat(REPLY_BYTES + 1) }));
  const id = unique("q");
  const path = `${topic.path}/requests/${id}`;
  for (const _ of [1, 2]) {
    const { status, body } = await ask<Problem & { limit: number; request: string }>(topic, 25, id);
    expect([status, codeOf(body), body.field, body.limit, body.request]).toEqual([
      ...[413, "payload-too-large", "reply", REPLY_BYTES, path],
    ]);
  }
  expect((await shown(topic, id)).replies).toMatchObject([{ standing: "first", tooLarge: true }]);
  await broker.eventually("it is delivered", async () => {
    const [stats] = await subscription.stats();
    return stats?.settled === 1 && stats.head === 1 ? stats : undefined;
  });
  expect(receiver.hooks).toHaveLength(1);
});

test("routing: an endpoint that takes batches finds in the body where each reply goes, and replies over HTTP", async () => {
  const [topic, receiver] = [await broker.topic(), await broker.receiver()];
  const batch = { maxMessages: 10, maxWaitMs: 0 };
  const subscription = await topic.subscribe(pushTo(receiver, { batch }), "pricing");
  receiver.answer(() => ({ status: 200, body: "{}" }));
  const asking = ask(topic, 25);
  const [hook] = await receiver.first(1);
  const { messages } = JSON.parse(hook?.text ?? "") as { messages: readonly Delivered[] };
  expect(hook?.headers.has("pennypost-reply-to")).toBe(false);
  expect(await reply(subscription, { replyTo: messages[0]?.replyTo, data: "3 euros" })).toEqual({
    reply: "first",
  });
  expect(await asking).toMatchObject({ status: 200, body: "3 euros" });
});

test("routing: a request that comes over a socket is replied to as a pulled one", async () => {
  const queue = await broker.queue();
  const socket = await broker.listen(queue.path, { credit: "1" });
  const asking = ask(queue, 25);
  const [request] = await socket.messages<Delivered>(1);
  if (!request) throw new Error("the request came");
  const { ackId, replyTo } = request;
  expect(await reply(queue, { ackId, replyTo, data: 3 })).toEqual({ reply: "first", status: "acked" });
  expect(await asking).toMatchObject({ status: 200, body: 3 });
  socket.close();
});

test("routing: under at-most-once, which has nothing to ack, a request is replied to all the same", async () => {
  const queue = await broker.queue({ guarantee: "at-most-once" });
  const asking = ask(queue, 25);
  const [request] = await queue.pullAll(1);
  expect(request?.ackId).toBeUndefined();
  expect(await reply(queue, { replyTo: request?.replyTo, data: 3 })).toEqual({ reply: "first" });
  expect(await asking).toMatchObject({ status: 200, body: 3 });
});

test("routing: so many replies are kept, and those that come after are dropped; the asker has the first", async () => {
  const queue = await broker.queue();
  const id = unique("q");
  expect((await ask(queue, 0, id)).status).toBe(504);
  const [request] = await queue.pullAll(1);
  const standings: string[] = [];
  for (let data = 0; data <= REPLIES_KEPT; data++) {
    standings.push((await reply(queue, { replyTo: request?.replyTo, data })).reply);
  }
  expect(standings).toEqual(["late", ...Array(REPLIES_KEPT - 1).fill("second"), "dropped"]);
  expect((await shown(queue, id)).replies).toHaveLength(REPLIES_KEPT);
  expect(await ask(queue, 0, id)).toMatchObject({ status: 200, body: 0 });
});

test("routing: where a reply goes is shown to nobody but who is handed the request", async () => {
  const topic = await broker.topic();
  const subscription = await topic.subscribe();
  const id = unique("q");
  await ask(topic, 0, id);
  const stream = await broker.follow(topic.path, "?from=earliest");
  const looks = [
    (await stream.take(2)).map(({ data }) => data),
    await broker.call("GET", `${topic.path}/messages`),
    await broker.call("GET", `${topic.path}/messages/${id}`),
    await shown(topic, id),
  ];
  await stream.leave();
  const [request] = await subscription.pullAll(1);
  if (!request) throw new Error("the request was pulled");
  const secret = request.replyTo?.split(".").at(-1) ?? "";
  expect(secret).toHaveLength(22);
  for (const look of looks) expect(JSON.stringify(look)).not.toContain(secret);
  await subscription.nack([request], { deadLetter: true });
  expect(JSON.stringify(await subscription.deadLetters())).not.toContain(secret);
});

test("routing: a browser runs nothing of a reply", async () => {
  const [topic, receiver] = [await broker.topic(), await broker.receiver()];
  await topic.subscribe(pushTo(receiver));
  const html = "<script>alert(1)</script>";
  receiver.answer(() => ({ status: 200, headers: { "content-type": "text/html" }, body: html }));
  const { headers, body } = await ask(topic, 25);
  expect(body).toBe(html);
  expect(headers.get("content-type")).toBe("text/html");
  expect(headers.get("x-content-type-options")).toBe("nosniff");
  expect(headers.get("content-security-policy")).toBe("default-src 'none'; sandbox");
});
