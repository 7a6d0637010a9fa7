// Security: limits of tokens and topics. Windows of an hour and more, so that a test hardly ever meets the end of one.

import { expect, test } from "vitest";
import { codeOf, type Delivered, type Options, type Problem, unique } from "../support/contract-client";
import { brokerUnderTest } from "../support/contract-target";

type Made = Readonly<{ id: string; token: string }>;
type Left = Readonly<{ limits?: readonly Readonly<{ policy: string; limit: number; left: number }>[] }>;
type Refusal = Problem & Readonly<{ "violated-policies": string[]; limit: number }>;

const broker = await brokerUnderTest();

async function tokenWith(limits: object, topics = "*") {
  const scopes = ["publish", "consume"].map((verb) => ({ verb, topics }));
  const made = await broker.call<Made>("POST", "/v1/tokens", {
    json: { name: "limited", scopes, ...limits },
  });
  const send = <T = Refusal>(method: string, path: string, options: Options = {}) =>
    broker.send<T>(method, path, { ...options, token: made.token });
  const discard = () => broker.send("DELETE", `/v1/tokens/${made.id}`);
  return { ...made, send, discard };
}

const batch = (...data: unknown[]): Options => ({
  json: { messages: data.map((each) => ({ data: each })) },
  headers: { prefer: "wait" },
});
const headOf = async (path: string) => {
  const { partitions } = await broker.call<{ partitions: { head: number }[] }>("GET", `${path}/stats`);
  return partitions[0]?.head;
};

test("security: every answer to a token with a rate says its limit and what is left; beyond it is 429 with Retry-After", async () => {
  const { send, discard } = await tokenWith({ rateLimit: { perHour: 3 } });
  for (const [path, status, left] of [
    ["/v1/topics", 200, 2],
    ["/v1/topics?limit=x", 400, 1],
    ["/v1/queues", 200, 0],
    ["/v1/topics", 429, 0],
  ] as const) {
    const { headers, ...answer } = await send("GET", path);
    expect(answer.status).toBe(status);
    expect(headers.get("ratelimit-policy")).toBe('"token-rate";q=3;w=3600');
    const [, r, t] = /^"token-rate";r=(\d+);t=(\d+)$/.exec(headers.get("ratelimit") ?? "") ?? [];
    expect([Number(r), Number(t) > 0 && Number(t) <= 3600]).toEqual([left, true]);
    if (status !== 429) continue;
    expect([codeOf(answer.body), answer.body.retryable, answer.body.limit]).toEqual([
      "rate-limited",
      true,
      3,
    ]);
    expect(answer.body["violated-policies"]).toEqual(["token-rate"]);
    expect(Math.abs(Number(headers.get("retry-after")) - Number(t))).toBeLessThanOrEqual(1);
  }
  await discard();
});

test("security: of requests that come at once exactly as many pass as the limit says", async () => {
  const { send, discard } = await tokenWith({ rateLimit: { perHour: 11 } });
  // The limiter is awake by then: on a slow machine its first answer may be too late.
  await send("GET", "/v1/topics");
  const answers = await Promise.all(Array.from({ length: 25 }, () => send("GET", "/v1/topics")));
  expect(answers.filter(({ status }) => status === 200)).toHaveLength(10);
  expect(answers.filter(({ status }) => status === 429)).toHaveLength(15);
  await discard();
});

test("security: a consumer without requests left still acks, gives back and extends what it was handed", async () => {
  const queue = await broker.queue();
  await queue.publish({ data: 1 }, { data: 2 }, { data: 3 });
  const { send, discard } = await tokenWith({ rateLimit: { perHour: 1 } });
  const pulled = await send<{ messages: { ackId: string }[] }>("POST", `${queue.path}/pull`, {
    json: { max: 3 },
  });
  const [one, two, three] = pulled.body.messages.map(({ ackId }) => [ackId]);
  expect((await send("POST", `${queue.path}/pull`)).status).toBe(429);
  const settled = [
    await send("POST", `${queue.path}/ack`, { json: { ackIds: one } }),
    await send("POST", `${queue.path}/nack`, { json: { ackIds: two } }),
    await send("POST", `${queue.path}/extend`, { json: { ackIds: three, ackDeadlineMs: 60_000 } }),
  ];
  expect(settled.map(({ status }) => status)).toEqual([200, 200, 200]);
  for (const { headers } of settled) expect(headers.get("ratelimit")).toContain('"token-rate";r=0;');
  expect((await queue.stats())[0]).toMatchObject({ settled: 1, waiting: 1, leased: 1 });
  await discard();
});

test("security: who has no requests left still replies to a request, and ends and extends its claims", async () => {
  const queue = await broker.queue();
  const headers = { prefer: "wait=0" };
  await broker.send("POST", `${queue.path}/request`, { body: "how much?", headers });
  const { send, discard } = await tokenWith({ rateLimit: { perHour: 2 } });
  const { body } = await send<{ messages: Delivered[] }>("POST", `${queue.path}/pull`);
  const [{ ackId, replyTo } = { ackId: "", replyTo: "" }] = body.messages;
  const claims = `/v1/ledgers/${unique("ledger")}/claims`;
  const { fence } = (
    await send<{ fence: number }>("POST", claims, { json: { messageId: "m", claimant: "a" } })
  ).body;
  expect((await send("POST", claims, { json: { messageId: "n", claimant: "a" } })).status).toBe(429);
  const ended = [
    await send("POST", `${queue.path}/reply`, { json: { ackId, replyTo, data: 3 } }),
    await send("POST", `${claims}/m/extend`, { json: { fence, leaseMs: 60_000 } }),
    await send("POST", `${claims}/m/complete`, { json: { fence } }),
  ];
  expect(ended.map(({ status }) => status)).toEqual([200, 200, 200]);
  expect((await queue.stats())[0]).toMatchObject({ settled: 1 });
  await discard();
});

test("security: a quota counts messages; a batch beyond it is refused whole, and nothing of it is stored or counted", async () => {
  const topic = await broker.topic();
  const { send, discard } = await tokenWith({ quota: { perMonth: 5 } });
  const at = `${topic.path}/messages/batch`;
  const stored = await send("POST", at, batch(1, 2, 3));
  expect([stored.status, stored.headers.get("ratelimit")]).toEqual([
    201,
    expect.stringMatching(/^"token-quota";r=2;t=\d+$/),
  ]);
  const refused = await send("POST", at, batch(4, 5, 6));
  expect([refused.status, codeOf(refused.body)]).toEqual([429, "quota-exceeded"]);
  expect([refused.body["violated-policies"], await headOf(topic.path)]).toEqual([["token-quota"], 3]);
  expect((await send("POST", at, batch(4, 5))).status).toBe(201);
  const single = await send("POST", `${topic.path}/messages`, { body: "x" });
  expect([single.status, await headOf(topic.path)]).toEqual([429, 5]);
  const reading = await send("GET", topic.path);
  expect(reading.headers.get("ratelimit")).toContain('"token-quota";r=0;');
  await discard();
});

test("security: what is refused for itself counts nothing: an item that is not valid, an id that was used for another", async () => {
  const topic = await broker.topic({ publishQuota: { perDay: 3 } });
  await topic.publish({ id: "taken", data: 1 });
  const mixed = await topic.batch(
    { messages: [{ id: "not.valid", data: 1 }, { id: "taken", data: 2 }, { data: 3 }] },
    { prefer: "wait" },
  );
  expect(mixed.headers.get("ratelimit")).toContain('"topic-quota";r=1;');
  const atomic = await topic.batch({ atomic: true, messages: [{ id: "not.valid", data: 1 }, { data: 3 }] });
  expect([atomic.status, atomic.headers.get("ratelimit")]).toEqual([422, expect.stringContaining(";r=1;")]);
  expect((await topic.batch(batch(4).json, { prefer: "wait" })).status).toBe(201);
  expect((await topic.batch(batch(5).json)).status).toBe(429);
});

test("security: a topic's limits hold for all who publish to it together, the root token too", async () => {
  const topic = await broker.topic({ publishRateLimit: { perHour: 4 }, publishQuota: { perMonth: 100 } });
  const [one, other] = [await tokenWith({}), await tokenWith({ quota: { perDay: 50 } })];
  const at = `${topic.path}/messages/batch`;
  expect((await one.send("POST", at, batch(1, 2))).status).toBe(201);
  const second = await other.send("POST", at, batch(3, 4));
  expect(second.headers.get("ratelimit-policy")).toMatch(
    /^"token-quota";q=50;w=86400, "topic-rate";q=4;w=3600, "topic-quota";q=100;w=\d+$/,
  );
  const root = await broker.send<Refusal>("POST", at, batch(5));
  expect([root.status, root.body["violated-policies"]]).toEqual([429, ["topic-rate"]]);
  const refused = await other.send("POST", at, batch(5));
  // The token's quota was asked first, and has back what it gave.
  expect(refused.headers.get("ratelimit")).toContain('"token-quota";r=48;');
  expect(await headOf(topic.path)).toBe(4);
  await one.discard();
  await other.discard();
});

test("security: a batch that no window could hold is 422, and is not asked to wait", async () => {
  const queue = await broker.queue({ publishRateLimit: { perSecond: 2 } });
  const refused = await broker.send<Refusal>("POST", `${queue.path}/messages/batch`, batch(1, 2, 3));
  expect([refused.status, codeOf(refused.body), refused.body.limit]).toEqual([422, "larger-than-limit", 2]);
  expect([refused.body.retryable, refused.headers.get("retry-after")]).toEqual([false, null]);
  expect((await queue.stats())[0]?.head).toBe(0);
});

test("security: a token in a URL is held to its limits", async () => {
  const name = unique("in");
  const topic = await broker.topic({}, name);
  const scopes = [{ verb: "publish", topics: name }];
  const json = { name: "sender", scopes, rateLimit: { perHour: 2 } };
  const { id, token } = await broker.call<Made>("POST", "/v1/tokens", { json });
  const post = () =>
    broker.send("POST", `/v1/in/${token}`, { body: "x", token: null, headers: { prefer: "wait" } });
  const statuses = [(await post()).status, (await post()).status, (await post()).status];
  expect([statuses, await headOf(topic.path)]).toEqual([[201, 201, 429], 2]);
  await broker.send("DELETE", `/v1/tokens/${id}`);
});

test("security: a token and a topic show their limits and what is left, and a change goes on counting", async () => {
  const topic = await broker.topic({ publishQuota: { perDay: 10 } });
  const { id, send, discard } = await tokenWith({ rateLimit: { perHour: 5 }, quota: { perMonth: 9 } });
  await send("POST", `${topic.path}/messages/batch`, batch(1, 2, 3));
  const shown = await broker.call<Left>("GET", `/v1/tokens/${id}`);
  expect(shown).toMatchObject({ rateLimit: { perHour: 5 }, quota: { perMonth: 9 } });
  expect(shown.limits).toMatchObject([
    { policy: "token-rate", limit: 5, left: 4 },
    { policy: "token-quota", limit: 9, left: 6 },
  ]);
  const topicShown = await broker.call<Left>("GET", topic.path);
  expect(topicShown).toMatchObject({
    publishQuota: { perDay: 10 },
    limits: [{ policy: "topic-quota", left: 7 }],
  });
  const at = `/v1/tokens/${id}/limits`;
  const changed = await broker.call<object>("PUT", at, { json: { quota: { perMonth: 4 } } });
  expect(changed).toMatchObject({ id, quota: { perMonth: 4 } });
  expect(changed).not.toHaveProperty("rateLimit");
  expect((await send("POST", `${topic.path}/messages/batch`, batch(4, 5))).status).toBe(429);
  expect((await send("POST", `${topic.path}/messages/batch`, batch(4))).status).toBe(201);
  await broker.call("PUT", at, { json: {} });
  const free = await send("POST", `${topic.path}/messages/batch`, batch(5));
  expect([free.status, free.headers.get("ratelimit-policy")]).toEqual([
    201,
    expect.stringMatching(/^"topic-quota"/),
  ]);
  await discard();
});

test("security: a limit names one period, within its bounds", async () => {
  const put = (json: object) => broker.send("PUT", `/v1/topics/${unique("never")}`, { json });
  for (const [field, json] of [
    ["publishRateLimit", { publishRateLimit: {} }],
    ["publishRateLimit", { publishRateLimit: { perSecond: 1, perHour: 1 } }],
    ["publishRateLimit.perDay", { publishRateLimit: { perDay: 1 } }],
    ["publishQuota.perMonth", { publishQuota: { perMonth: 0 } }],
    ["publishQuota.perDay", { publishQuota: { perDay: 1e13 } }],
  ] as const) {
    const { status, body } = await put(json);
    expect([status, codeOf(body), body.field]).toEqual([400, "invalid-request", field]);
  }
});
