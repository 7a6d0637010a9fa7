// Clause 7: a delayed message takes its offset when it is due, and can be cancelled and moved until then; a message
// with a time to live is handed to nobody after it.

import { describe, expect, test } from "vitest";
import { codeOf, type Problem, unique } from "../support/contract-client";
import { brokerUnderTest } from "../support/contract-target";

const broker = await brokerUnderTest();
const EAGER = { retry: { minDelayMs: 0, maxDelayMs: 0 } };
const HOUR = 3_600_000;
const YEAR = 365 * 24 * HOUR;
/** Long enough that nothing happens before a test looks, short enough to wait for. */
const SOON = 800;

type Answer = Readonly<{
  id: string;
  partition: number;
  offset?: number;
  duplicate?: boolean;
  scheduledFor?: number;
  cancelled?: true;
  timeline?: string;
  error?: Problem;
}>;
type Scheduled = Readonly<{ id: string; scheduledFor: number; publishedAt: number; deliverAt: number }>;
type Queue = Awaited<ReturnType<typeof broker.queue>>;

const ids = (messages: readonly { id: string }[]) => messages.map(({ id }) => id);

/** Publishes with whatever timing, waits until it is stored, and answers one result for each. */
async function publish(at: { path: string }, ...messages: object[]): Promise<readonly Answer[]> {
  const json = { messages: messages.map((message) => ({ data: "x", ...message })) };
  const answer = await broker.call<{ status: string; messages: Answer[] }>(
    "POST",
    `${at.path}/messages/batch`,
    { json, headers: { prefer: "wait" } },
  );
  expect(answer.status).toBe("stored");
  return answer.messages;
}

async function scheduled(at: { path: string }, query = ""): Promise<readonly Scheduled[]> {
  const page = await broker.call<{ messages: Scheduled[] }>("GET", `${at.path}/scheduled${query}`);
  return page.messages;
}

const cancel = (at: { path: string }, id: string) => broker.send("DELETE", `${at.path}/messages/${id}`);
const move = (at: { path: string }, id: string, json: object) =>
  broker.send<{ scheduledFor: number } & Problem>("PATCH", `${at.path}/messages/${id}`, { json });
const terms = async (queue: Queue) => (await queue.stats())[0];

describe("clause 7, delay", () => {
  test("clause 7: a delayed message answers scheduledFor in place of an offset, and comes then and not before", async () => {
    const queue = await broker.queue();
    const before = Date.now();
    const [answer] = await publish(queue, { id: "a", delayMs: SOON });
    expect(answer).toMatchObject({ id: "a", partition: 0, duplicate: false });
    expect(answer).not.toHaveProperty("offset");
    expect(await queue.pull()).toEqual([]);
    const [delivered] = await queue.pullAll(1);
    expect(delivered).toMatchObject({ id: "a", offset: 0, deliverAt: answer?.scheduledFor });
    expect(Date.now() - before).toBeGreaterThanOrEqual(SOON);
  });

  test("clause 7: a delay is asked for with a header too, and is stored before it is answered", async () => {
    const queue = await broker.queue();
    const deliverAt = Date.now() + HOUR;
    const { status, body } = await queue.publishRaw("x", { "pennypost-deliver-at": String(deliverAt) });
    expect([status, body.messages]).toMatchObject([201, [{ scheduledFor: deliverAt }]]);
    expect(await scheduled(queue)).toMatchObject([{ scheduledFor: deliverAt, deliverAt }]);
  });

  test("clause 7: an instant may be ISO 8601 with its offset, and up to a year ahead", async () => {
    const queue = await broker.queue();
    const deliverAt = Math.floor((Date.now() + YEAR - HOUR) / 1_000) * 1_000;
    const iso = new Date(deliverAt + HOUR).toISOString().replace(".000Z", "+01:00");
    expect(await publish(queue, { deliverAt: iso })).toMatchObject([{ scheduledFor: deliverAt }]);
    const json = { messages: [{ data: "x", deliverAt: Date.now() + YEAR + HOUR }] };
    const { body } = await queue.batch(json);
    expect(body.messages[0]?.error).toMatchObject({ field: "messages[0].deliverAt", limit: YEAR });
  });

  test("clause 7: an instant that is past is now", async () => {
    const queue = await broker.queue();
    expect(await publish(queue, { id: "a", deliverAt: "2001-01-01T00:00:00Z" })).toMatchObject([
      { offset: 0 },
    ]);
    expect(ids(await queue.pullAll(1))).toEqual(["a"]);
  });

  test("clause 7: offsets are taken by instant, those of one instant in the order of their publishing", async () => {
    const queue = await broker.queue();
    const at = Date.now() + SOON;
    await publish(
      queue,
      { id: "c", deliverAt: at + 1 },
      { id: "a1", deliverAt: at - 1 },
      { id: "b1", deliverAt: at },
    );
    await publish(queue, { id: "b2", deliverAt: at }, { id: "now" });
    const all = await queue.pullAll(5);
    expect(all.map(({ id, offset }) => [id, offset])).toEqual([
      ["now", 0],
      ["a1", 1],
      ["b1", 2],
      ["b2", 3],
      ["c", 4],
    ]);
  });

  test("clause 7: with an ordering key the order is that of the offsets: a delayed message does not hold up its key", async () => {
    const queue = await broker.queue({ ...EAGER, partitions: 3 });
    const at = Date.now() + SOON;
    const key = { orderingKey: "k" };
    await publish(
      queue,
      { id: "due", ...key, deliverAt: at },
      { id: "first", ...key },
      { id: "second", ...key },
    );
    expect(ids(await queue.pullAll(2))).toEqual(["first", "second"]);
    await broker.lapse(SOON);
    await publish(queue, { id: "third", ...key });
    expect(await queue.pull({ max: 5 })).toEqual([]);
    const stats = await queue.stats();
    expect(stats.reduce((sum, { head }) => sum + head, 0)).toBe(4);
    const [partition] = stats.filter(({ head }) => head > 0);
    const log = await broker.call<{ messages: { id: string }[] }>(
      "GET",
      `${queue.path}/messages?partition=${partition?.partition}`,
    );
    expect(ids(log.messages)).toEqual(["first", "second", "due", "third"]);
  });

  test("clause 7: a retry is answered with where its first publish stands", async () => {
    const queue = await broker.queue();
    const retry = () => publish(queue, { id: "a", delayMs: SOON });
    const [first] = await retry();
    expect(await retry()).toMatchObject([{ duplicate: true, scheduledFor: first?.scheduledFor }]);
    expect(await scheduled(queue)).toHaveLength(1);
    await queue.pullAll(1);
    expect(await retry()).toMatchObject([{ duplicate: true, offset: 0 }]);
    const { body } = await queue.batch({ messages: [{ id: "a", data: "x", delayMs: SOON + 1 }] });
    expect(body.messages.map(({ error }) => error && codeOf(error))).toEqual(["id-reused"]);
  });

  test("clause 7: a delayed message can be asked after: when it is due, that it was cancelled, and where it went", async () => {
    const queue = await broker.queue();
    const retry = () => publish(queue, { id: "a", delayMs: SOON });
    await retry();
    const [again] = await retry();
    type Timeline = {
      state: string;
      scheduledFor?: number;
      message?: { id: string };
      subscriptions: unknown[];
    };
    const ask = () => broker.call<Timeline>("GET", again?.timeline ?? "");
    expect(await ask()).toMatchObject({
      ...{ state: "scheduled", scheduledFor: again?.scheduledFor, message: { id: "a" }, subscriptions: [] },
    });
    await queue.pullAll(1);
    expect(await ask()).toMatchObject({ state: "stored", offset: 0, subscriptions: [{ state: "leased" }] });
    await publish(queue, { id: "b", delayMs: HOUR });
    await cancel(queue, "b");
    expect(await broker.call("GET", `${queue.path}/messages/b`)).toMatchObject({
      state: "cancelled",
      partition: 0,
    });
  });

  test("clause 7: with atomic, all are delayed and stored or none is", async () => {
    const topic = await broker.topic();
    await publish(topic, { id: "taken" });
    const json = {
      messages: [{ data: "x", delayMs: HOUR }, { id: "taken", data: "other" }, { data: "y" }],
      atomic: true,
    };
    const { status } = await topic.batch(json);
    expect(status).toBe(422);
    expect(await scheduled(topic)).toEqual([]);
    const fine = { messages: [{ data: "x", delayMs: HOUR }, { data: "y" }], atomic: true };
    expect((await topic.batch(fine)).body.messages).toMatchObject([{ duplicate: false }, { offset: 1 }]);
    expect(await scheduled(topic)).toHaveLength(1);
  });

  test("clause 7: delayed messages are listed, those due first first, page by page", async () => {
    const queue = await broker.queue();
    await publish(
      queue,
      { id: "c", delayMs: 3 * HOUR },
      { id: "a", delayMs: HOUR },
      { id: "b", delayMs: 2 * HOUR },
    );
    const first = await broker.call<{ messages: Scheduled[]; next: string }>(
      "GET",
      `${queue.path}/scheduled?limit=2`,
    );
    expect(ids(first.messages)).toEqual(["a", "b"]);
    expect(ids(await scheduled(queue, `?after=${first.next}`))).toEqual(["c"]);
  });
});

describe("clause 7, cancel and move", () => {
  test("clause 7: a cancelled message is never delivered; cancelled again, it is still cancelled", async () => {
    const queue = await broker.queue();
    await publish(queue, { id: "a", delayMs: SOON }, { id: "b", delayMs: SOON });
    expect((await cancel(queue, "a")).status).toBe(204);
    expect((await cancel(queue, "a")).status).toBe(204);
    expect(ids(await queue.pullAll(1, { max: 5 }))).toEqual(["b"]);
    expect(await queue.pull()).toEqual([]);
  });

  test("clause 7: a retry of its publish does not revive what was cancelled", async () => {
    const queue = await broker.queue();
    await publish(queue, { id: "a", delayMs: HOUR });
    await cancel(queue, "a");
    expect(await publish(queue, { id: "a", delayMs: HOUR })).toMatchObject([
      { duplicate: true, cancelled: true },
    ]);
    expect(await scheduled(queue)).toEqual([]);
    expect((await move(queue, "a", { delayMs: 1 })).status).toBe(409);
  });

  test("clause 7: an id is found in whichever partition it is, chosen by the publisher or not", async () => {
    const topic = await broker.topic({ partitions: 4 });
    const keyed = unique("keyed");
    const answers = await publish(
      topic,
      { id: keyed, orderingKey: "some key", delayMs: HOUR },
      { id: "mine", delayMs: HOUR },
      { delayMs: HOUR },
    );
    for (const { id } of answers) expect((await cancel(topic, id)).status).toBe(204);
    const [more] = await publish(topic, { delayMs: HOUR });
    const elsewhere = `${more?.id}?partition=${((more?.partition ?? 0) + 1) % 4}`;
    expect((await cancel(topic, elsewhere)).status).toBe(404);
    expect((await cancel(topic, `${more?.id}?partition=${more?.partition}`)).status).toBe(204);
    expect((await cancel(topic, "nobody")).status).toBe(404);
  });

  test("clause 7: a message that is moved comes then", async () => {
    const queue = await broker.queue();
    await publish(queue, { id: "later", delayMs: SOON }, { id: "sooner", delayMs: HOUR });
    const far = Date.now() + HOUR;
    expect(await move(queue, "later", { deliverAt: far })).toMatchObject({
      status: 200,
      body: { id: "later", partition: 0, scheduledFor: far },
    });
    expect((await move(queue, "sooner", { delayMs: 0 })).status).toBe(200);
    expect(ids(await queue.pullAll(1))).toEqual(["sooner"]);
    await broker.lapse(SOON);
    expect(await queue.pull()).toEqual([]);
    expect(ids(await scheduled(queue))).toEqual(["later"]);
  });

  test("clause 7: once it has its offset, it can be neither cancelled nor moved", async () => {
    const queue = await broker.queue();
    const [answer] = await publish(queue, { delayMs: 1 });
    const { id = "" } = answer ?? {};
    await queue.pullAll(1);
    const refusals = [await cancel(queue, id), await move(queue, id, { delayMs: HOUR })];
    expect(refusals.map(({ status, body }) => [status, codeOf(body)])).toEqual([
      [409, "already-released"],
      [409, "already-released"],
    ]);
  });
});

describe("clause 7, expiry", () => {
  test("clause 7: a message is handed to nobody after its time to live, and counts as expired", async () => {
    const queue = await broker.queue();
    await publish(queue, { id: "a", ttlMs: 100 }, { id: "b" });
    await broker.lapse(200);
    expect(ids(await queue.pull({ max: 5 }))).toEqual(["b"]);
    expect(await terms(queue)).toMatchObject({ nextOffset: 2, expired: 1, leased: 1, unread: 0 });
    expect(await queue.deadLetters()).toEqual([]);
  });

  test("clause 7: a time to live alone does not take a publish the stored way", async () => {
    const queue = await broker.queue();
    const { status } = await queue.publishRaw("x", { "pennypost-ttl-ms": String(HOUR) });
    expect(status).toBe(202);
    const [message] = await queue.pullAll(1);
    expect(message).toMatchObject({ expiresAt: (message?.publishedAt ?? 0) + HOUR });
  });

  test("clause 7: the time to live of a delayed message begins when it is due", async () => {
    const queue = await broker.queue();
    const [answer] = await publish(queue, { delayMs: SOON, ttlMs: HOUR });
    expect(await queue.pullAll(1)).toMatchObject([{ expiresAt: (answer?.scheduledFor ?? 0) + HOUR }]);
  });

  test("clause 7: what would be attempted again too late is a dead letter at once, with its message and its attempts", async () => {
    const queue = await broker.queue({ retry: { minDelayMs: HOUR, maxDelayMs: HOUR } });
    await publish(queue, { id: "a", ttlMs: 60_000 });
    expect(await queue.nack(await queue.pullAll(1), { reason: "busy" })).toEqual(["dead"]);
    expect(await queue.deadLetters()).toMatchObject([
      { reason: "expired", attempts: 1, history: [{ error: "busy" }], message: { id: "a", data: "x" } },
    ]);
  });

  test("clause 7: what is leased when it expires may still be acked; what fails then is a dead letter", async () => {
    const queue = await broker.queue(EAGER);
    await publish(queue, { id: "a", ttlMs: 300 }, { id: "b", ttlMs: 300 });
    const [a, b] = await queue.pullAll(2);
    if (!a || !b) throw new Error("two were leased");
    await broker.lapse(400);
    expect(await queue.ack([a])).toEqual(["acked"]);
    expect(await queue.nack([b])).toEqual(["dead"]);
    expect(await queue.deadLetters()).toMatchObject([{ reason: "expired", message: { id: "b" } }]);
  });

  test("clause 7: a key goes on behind a message of it that expired", async () => {
    const queue = await broker.queue(EAGER);
    const key = { orderingKey: "k" };
    await publish(queue, { id: "a", ...key }, { id: "b", ...key, ttlMs: 100 }, { id: "c", ...key });
    const a = await queue.pullAll(1, { max: 1 });
    await broker.lapse(200);
    await queue.ack(a);
    expect(ids(await queue.pullAll(1, { max: 5 }))).toEqual(["c"]);
    expect(await terms(queue)).toMatchObject({ settled: 1, expired: 1, leased: 1, waiting: 0 });
  });

  test("clause 7: a dead letter that is redriven after its message expired is a dead letter again", async () => {
    const queue = await broker.queue(EAGER);
    // Long enough to be pulled on a machine that is busy.
    await publish(queue, { id: "a", ttlMs: 1_500 });
    await queue.nack(await queue.pullAll(1), { deadLetter: true });
    await broker.lapse(1_600);
    await broker.call("POST", `${queue.path}/dead-letters/redrive`, { json: { all: true } });
    expect(await queue.pull()).toEqual([]);
    expect(await queue.deadLetters()).toMatchObject([{ reason: "expired", message: { id: "a" } }]);
  });

  test("clause 7: nothing is pushed after it expired", async () => {
    const receiver = await broker.receiver();
    const topic = await broker.topic();
    const path = `${topic.path}/subscriptions/push`;
    const endpoint = { type: "push", startAt: "earliest", endpoint: { url: receiver.url } };
    await broker.call("PUT", path, { json: endpoint });
    await broker.call("POST", `${path}/pause`);
    await publish(topic, { id: "a", ttlMs: 100 }, { id: "b" });
    await broker.lapse(200);
    await broker.call("POST", `${path}/resume`);
    const [first] = await receiver.first(1);
    expect(first?.headers.get("webhook-id")).toBe("b");
    const subscription = broker.subscriptionAt(path);
    const stats = await broker.eventually("b is settled", async () => {
      const [stats] = await subscription.stats();
      return stats?.settled === 1 ? stats : undefined;
    });
    expect(stats).toMatchObject({ expired: 1, unread: 0, waiting: 0 });
  });
});
