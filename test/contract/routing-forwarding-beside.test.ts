// Routing: what a forward carries along of delay, life and kept headers, and what the target's own limits, schema and space
// are to it.

import { expect, test } from "vitest";
import { codeOf, type Delivered, type Topic } from "../support/contract-client";
import { EAGER, ids, named } from "../support/contract-scenes";
import { brokerUnderTest } from "../support/contract-target";

const broker = await brokerUnderTest();
const MIB_24 = 25_165_824;
const BODY = "x".repeat(1_040_000);
const FILL = 25;
/** Longer than a forward leaves a full target alone. */
const AGAIN_MS = 20_000;

type Endpoint = Readonly<{ state: string; reason?: string; until?: number }>;
type Stats = Readonly<{
  total: Readonly<Record<"settled" | "waiting" | "leased" | "dead" | "unread", number>>;
}> &
  Readonly<{ partitions: readonly Readonly<{ endpoint?: Endpoint }>[] }>;

const forwardTo = ({ path }: { path: string }, more: object = {}) => ({
  ...{ type: "forward", forward: { topic: path.split("/").at(-1) }, ...EAGER },
  ...more,
});
const statsOf = ({ path }: Awaited<ReturnType<Topic["subscribe"]>>) =>
  broker.call<Stats>("GET", `${path}/stats`);

test("routing: what was delayed is forwarded when it is due, and comes at once; what lives for a time lives as long there", async () => {
  const [topic, queue] = [await broker.topic({ keepHeaders: ["x-shop"] }), await broker.queue()];
  await topic.subscribe(forwardTo(queue));
  const kept = {
    "idempotency-key": "kept",
    "x-shop": "eu",
    traceparent: `00-${"1".repeat(32)}-${"2".repeat(16)}-01`,
  };
  const [[delayed], { body: headed }] = [
    await topic.publish({ id: "delayed", data: 1, delayMs: 1_000 }),
    await topic.publishRaw("x", { ...kept, "pennypost-ttl-ms": "3600000", prefer: "wait" }),
  ];
  expect([delayed?.offset, headed.messages[0]?.offset]).toEqual([undefined, 0]);
  const [first] = await queue.pullAll(1);
  const [second] = await queue.pullAll(1);
  expect(ids([first as Delivered, second as Delivered])).toEqual(["kept", "delayed"]);
  expect(second).not.toHaveProperty("deliverAt");
  expect(first).toMatchObject({ headers: { "x-shop": "eu" }, traceparent: kept.traceparent });
  type Timeline = { message: { expiresAt: number; publishedAt: number } };
  const { message } = await broker.call<Timeline>("GET", `${queue.path}/messages/kept`);
  expect(message.expiresAt - message.publishedAt).toBe(3_600_000);
});

test("routing: what is forwarded counts in no limit of the target's", async () => {
  const topic = await broker.topic();
  const queue = await broker.queue({ publishRateLimit: { perHour: 1 }, publishQuota: { perDay: 1 } });
  await topic.subscribe(forwardTo(queue));
  await topic.publish(...named("a", "b", "c"));
  expect(ids(await queue.pullAll(3)).sort()).toEqual(["a", "b", "c"]);
  expect((await queue.publishRaw("mine")).status).toBe(202);
  const refused = await queue.publishRaw("mine too");
  expect([refused.status, codeOf(refused.body)]).toEqual([429, "rate-limited"]);
});

test("routing: a target that is full costs no attempt: the forward is left alone, says why, and goes on when there is room", async () => {
  const [topic, queue] = [await broker.topic(), await broker.queue({ retentionBytes: MIB_24 })];
  for (let at = 0; at < FILL; at++) await queue.publishRaw(BODY, { prefer: "wait" });
  const forward = await topic.subscribe(forwardTo(queue, { maxAttempts: 1 }));
  await topic.publish(...named("a", "b"));
  const { total, partitions } = await broker.eventually("it is left alone", async () => {
    const stats = await statsOf(forward);
    return stats.partitions[0]?.endpoint?.state === "open" ? stats : undefined;
  });
  expect(total).toMatchObject({ dead: 0 });
  expect(partitions[0]?.endpoint?.reason).toMatch(/429|full|space/i);
  await queue.ack(await queue.pullAll(FILL));
  const came = await queue.pullAll(2, { waitMs: AGAIN_MS });
  expect(ids(came)).toEqual(["a", "b"]);
  const done = await broker.eventually("both are settled", async () => {
    const { total } = await statsOf(forward);
    return total.settled === 2 ? total : undefined;
  });
  expect(done).toMatchObject({ dead: 0, waiting: 0, leased: 0, unread: 0 });
});

test("routing: an alternate topic catches what a request was about that nobody wants, and its asker is told that none came", async () => {
  const [topic, lost] = [await broker.topic(), await broker.queue()];
  await topic.subscribe({ filter: { subject: ["price.#"] } });
  await topic.subscribe(forwardTo(lost, { filter: { unmatched: true } }));
  const { status } = await broker.send("POST", `${topic.path}/request`, {
    ...{ body: "how much?", headers: { prefer: "wait=0", "pennypost-subject": "weather" } },
  });
  expect(status).toBe(504);
  const [request] = await lost.pullAll(1);
  expect(request?.replyTo).toMatch(/\./);
  const json = { replyTo: request?.replyTo, ackId: request?.ackId, data: "sunny" };
  expect(await broker.call("POST", `${lost.path}/reply`, { json })).toEqual({
    reply: "late",
    status: "acked",
  });
});
