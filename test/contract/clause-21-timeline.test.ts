// Clause 21: for any message, where is it, and why has it not arrived?

import { expect, test } from "vitest";
import { codeOf } from "../support/contract-client";
import { named } from "../support/contract-scenes";
import { brokerUnderTest } from "../support/contract-target";

const broker = await brokerUnderTest();

type Whereabouts = Readonly<Record<string, unknown>> &
  Readonly<{ subscription: string; state: string; why: string }>;
type Timeline = Readonly<{
  state: string;
  partition: number;
  offset: number;
  storedAt: number;
  message?: Readonly<{ id: string; data: string }>;
  subscriptions: readonly Whereabouts[];
  next: string | null;
  rejections: readonly Readonly<{ error: { type: string } }>[];
}>;

const timeline = (path: string, id: string, query = "") =>
  broker.call<Timeline>("GET", `${path}/messages/${id}${query}`);
/** Where a message of a queue is. */
const whereIn = async ({ path }: { path: string }, id: string) => {
  const [only] = (await timeline(path, id)).subscriptions;
  if (!only) throw new Error("the queue is not in its message's timeline");
  return only;
};

test("clause 21: one request tells of every subscription where the message is", async () => {
  const topic = await broker.topic({ partitions: 3 });
  const names = ["acks", "leases", "pauses", "waits"];
  const [acks, leases, pauses, waits] = await Promise.all(names.map((name) => topic.subscribe({}, name)));
  if (!acks || !leases || !pauses || !waits) throw new Error("not subscribed");
  await pauses.pause();
  const [place] = await topic.publish(...named("m"));
  await acks.ack(await acks.pullAll(1));
  const [leased] = await leases.pullAll(1);
  await waits.nack(await waits.pullAll(1), { delayMs: 3_600_000, reason: "the bank is closed" });
  const { message, subscriptions, next, ...shown } = await timeline(topic.path, "m");
  expect(shown).toMatchObject({ state: "stored", partition: place?.partition, offset: place?.offset });
  expect([message?.data, next]).toEqual(["m", null]);
  expect(subscriptions).toMatchObject([
    { subscription: "acks", state: "settled", how: "acked", attempts: 1, at: expect.any(Number) },
    { subscription: "leases", state: "leased", deadlineAt: leased?.deadlineAt, attempt: 1 },
    { subscription: "pauses", state: "unread", ahead: 0, paused: true },
    {
      ...{ subscription: "waits", state: "waiting", attempts: 1, availableAt: expect.any(Number) },
      history: [{ error: "the bank is closed" }],
    },
  ]);
  expect(leased?.ackId.endsWith(String(subscriptions[1]?.leaseId))).toBe(true);
  expect(subscriptions[2]?.why).toContain("paused");
});

test("clause 21: a message is found by its place as by its id, and by an id that the broker made", async () => {
  const topic = await broker.topic({ partitions: 4 });
  const [mine] = await topic.publish({ id: "mine", data: "1" });
  const [made] = await topic.publish({ data: "2" });
  const [keyed] = await topic.publish({ id: "keyed", orderingKey: "some key", data: "3" });
  for (const published of [mine, made, keyed]) {
    if (!published) throw new Error("not published");
    const { id, partition, offset } = published;
    for (const name of [id, `${partition}.${offset}`]) {
      expect(await timeline(topic.path, name)).toMatchObject({ partition, offset, message: { id } });
    }
    const elsewhere = await broker.send(
      "GET",
      `${topic.path}/messages/${id}?partition=${(partition + 1) % 4}`,
    );
    expect([elsewhere.status, codeOf(elsewhere.body)]).toEqual([404, "message-not-found"]);
  }
});

test("clause 21: an accepted message is found once it has come to its topic", async () => {
  const queue = await broker.queue();
  const { body } = await queue.publishRaw("x", { "idempotency-key": "accepted-1" });
  expect(body.status).toBe("accepted");
  const found = await broker.eventually("the message is stored", async () => {
    const answer = await broker.send<Timeline>("GET", `${queue.path}/messages/accepted-1`);
    return answer.status === 200 ? answer.body : undefined;
  });
  expect(found.subscriptions).toMatchObject([{ state: "unread" }]);
});

test("clause 21: a delivery that push made tells the endpoint's answer, and every attempt before it", async () => {
  const [topic, receiver] = [await broker.topic(), await broker.receiver()];
  receiver.answer((_, index) => ({ status: index === 0 ? 503 : 201 }));
  await topic.subscribe({
    ...{ type: "push", endpoint: { url: receiver.url }, retry: { minDelayMs: 0, maxDelayMs: 0 } },
  });
  await topic.publish(...named("m"));
  await receiver.first(2);
  const delivered = await broker.eventually("it is settled", async () => {
    const [only] = (await timeline(topic.path, "m")).subscriptions;
    return only?.state === "settled" ? only : undefined;
  });
  expect(delivered).toMatchObject({ how: "delivered", status: 201, attempts: 2 });
  expect(delivered.why).toContain("201");
});

test("clause 21: an endpoint that refuses is told, attempt by attempt, and until when the delivery waits", async () => {
  const [topic, receiver] = [await broker.topic(), await broker.receiver()];
  receiver.answer(() => ({ status: 500 }));
  await topic.subscribe({
    ...{
      type: "push",
      endpoint: { url: receiver.url },
      retry: { minDelayMs: 3_600_000, maxDelayMs: 3_600_000 },
    },
  });
  await topic.publish(...named("m"));
  await receiver.first(1);
  const waiting = await broker.eventually("its attempt is counted", async () => {
    const [only] = (await timeline(topic.path, "m")).subscriptions;
    return only?.state === "waiting" ? only : undefined;
  });
  const at = expect.any(Number);
  expect(waiting).toMatchObject({ attempts: 1, availableAt: at, history: [{ at, status: 500 }] });
});

test("clause 21: what stands behind another of its ordering key says behind which, and whether the line is parked", async () => {
  const queue = await broker.queue();
  await queue.publish(
    ...["k1", "k2", "k3"].map((id) => ({ id, orderingKey: "k", data: id })),
    ...named("free"),
  );
  const [head] = await queue.pullAll(1, { max: 1 });
  await queue.pullAll(1, { max: 1 });
  if (!head) throw new Error("nothing leased");
  const behindLease = { state: "blocked", behind: { offset: 0, state: "leased" }, parked: false };
  expect(await whereIn(queue, "k2")).toMatchObject(behindLease);
  expect(await whereIn(queue, "k3")).toMatchObject(behindLease);
  await queue.nack([head], { deadLetter: true, reason: "no such order" });
  expect(await whereIn(queue, "k1")).toMatchObject({
    state: "dead",
    reason: "rejected",
    detail: "no such order",
  });
  const parked = await whereIn(queue, "k3");
  expect(parked).toMatchObject({ state: "blocked", behind: { offset: 0, state: "dead" }, parked: true });
  expect(parked.why).toContain("redrive or purge");
  await broker.call("DELETE", `${queue.path}/dead-letters`, { json: { all: true } });
  expect(await whereIn(queue, "k1")).toMatchObject({ state: "purged" });
});

test("clause 21: a subscription that began later says so", async () => {
  const topic = await broker.topic();
  await topic.publish(...named("m"));
  await topic.subscribe({ startAt: "latest" }, "late");
  expect((await timeline(topic.path, "m")).subscriptions).toMatchObject([
    { subscription: "late", state: "before-start" },
  ]);
});

test("clause 21: of many subscriptions one can be asked for, or a page, and the body left out", async () => {
  const topic = await broker.topic();
  for (const name of ["a", "b", "c"]) await topic.subscribe({}, name);
  await topic.publish(...named("m"));
  const names = ({ subscriptions }: Timeline) => subscriptions.map(({ subscription }) => subscription);
  const first = await timeline(topic.path, "m", "?limit=2&body=false");
  expect([names(first), first.next, first.message]).toEqual([["a", "b"], "b", undefined]);
  expect(names(await timeline(topic.path, "m", "?limit=2&after=b"))).toEqual(["c"]);
  expect(names(await timeline(topic.path, "m", "?subscription=c"))).toEqual(["c"]);
  const missing = await broker.send("GET", `${topic.path}/messages/m?subscription=nobody`);
  expect([missing.status, codeOf(missing.body)]).toEqual([404, "subscription-not-found"]);
});

test("clause 21: what was refused under an id after a 202 is told with the message that has it", async () => {
  const topic = await broker.topic();
  await topic.publish({ id: "m", data: "first" });
  await topic.publishRaw("other", { "idempotency-key": "m" });
  const rejected = await broker.eventually("the rejection is kept", async () => {
    const found = await timeline(topic.path, "m");
    return found.rejections.length > 0 ? found : undefined;
  });
  expect(rejected.message?.data).toBe("first");
  expect(rejected.rejections.map(({ error }) => codeOf(error))).toEqual(["id-reused"]);
});

test("clause 21: what nobody knows is not found, and says how it may still come", async () => {
  const topic = await broker.topic();
  for (const id of ["never", "0.0", "7.0", "01890000-0000-7000-8000-000000000000"]) {
    const { status, body } = await broker.send("GET", `${topic.path}/messages/${id}`);
    expect([status, codeOf(body)]).toEqual([404, "message-not-found"]);
  }
  const { body } = await broker.send("GET", `${topic.path}/messages/never`);
  expect(body.detail).toContain("202");
});

test("clause 21: what was filtered out says so, with the version that left it out, also after the filter changed", async () => {
  const topic = await broker.topic();
  const at = `${topic.path}/subscriptions/choosy`;
  const put = (subject: string) =>
    broker.call("PUT", at, { json: { startAt: "earliest", filter: { subject: [subject] } } });
  await put("a");
  await topic.publish({ id: "b1", subject: "b", data: "x" }, { id: "a1", subject: "a", data: "x" });
  const subscription = broker.subscriptionAt(at);
  await subscription.ack(await subscription.pullAll(1));
  await put("b");
  await topic.publish({ id: "a2", subject: "a", data: "x" }, { id: "b2", subject: "b", data: "x" });
  await subscription.pullAll(1);
  const states = await Promise.all(["b1", "a1", "a2", "b2"].map((id) => whereIn(topic, id)));
  expect(states).toMatchObject([
    { state: "filtered", version: 1, why: expect.stringContaining("Filtered out") },
    { state: "settled" },
    { state: "filtered", version: 2 },
    { state: "leased" },
  ]);
});
