// Bad input: each is a problem that names its type, its field and its limit, and nothing is stored.

import { beforeAll, describe, expect, test } from "vitest";
import { limits } from "../../src/limits";
import { api, callWorker, ROOT_TOKEN } from "../support/api";
import { codeOf, type Options, type Problem, unique } from "../support/contract-client";

type Expected = Readonly<{ status: number; code: string; field?: string; limit?: number | string }>;

const name = unique("bad");
const topic = `/v1/topics/${name}`;
const queue = `/v1/queues/${name}-q`;
const ackId = (more = "") => `0.0.0198f0a2-4c1e-7d3a-9b57-3f1c2a5d6e7f${more}`;

beforeAll(async () => {
  await api.call("PUT", topic, { json: { partitions: 2 } });
  await api.call("PUT", `${topic}/subscriptions/s`, { json: {} });
  const endpoint = { url: "https://hooks.example.com/x" };
  await api.call("PUT", `${topic}/subscriptions/push`, { json: { type: "push", endpoint } });
  await api.call("POST", `${topic}/subscriptions/push/pause`);
  await api.call("PUT", queue, { json: {} });
});

/** Sends it, and checks that the answer is the problem that was expected. */
async function expectProblem(
  method: string,
  path: string,
  options: Options,
  expected: Expected,
): Promise<void> {
  const { status, headers, body } = await api.send<Problem & { limit?: unknown; title: string }>(
    method,
    path,
    options,
  );
  expect(headers.get("content-type")).toBe("application/problem+json");
  const { field, limit } = body;
  expect({ status, code: codeOf(body), field, limit }).toEqual({
    field: undefined,
    limit: undefined,
    ...expected,
  });
  expect(body.status).toBe(status);
  expect([typeof body.title, typeof body.detail, typeof body.retryable]).toEqual([
    "string",
    "string",
    "boolean",
  ]);
}

/** Messages that the topic's partitions hold. */
async function storedCount(): Promise<number> {
  const heads = await Promise.all(
    [0, 1].map(async (partition) => {
      const page = await api.call<{ head: number }>("GET", `${topic}/messages?partition=${partition}`);
      return page.head;
    }),
  );
  return heads.reduce((sum, head) => sum + head, 0);
}

describe("publishing one message", () => {
  const wait = { prefer: "wait" };
  const bad = (field: string, limit?: number): Expected => ({
    ...{ status: 400, code: "invalid-request", field },
    ...(limit !== undefined && { limit }),
  });

  test.each<[string, string, Options, Expected]>([
    ["an unknown topic", "/v1/topics/nowhere", { body: "x" }, { status: 404, code: "topic-not-found" }],
    ["an unknown queue", "/v1/queues/nowhere", { body: "x" }, { status: 404, code: "topic-not-found" }],
    [
      "a topic that is no queue",
      `/v1/queues/${name}`,
      { body: "x" },
      { status: 404, code: "topic-not-found" },
    ],
    [
      "a topic's name of absurd length",
      `/v1/topics/${"x".repeat(81)}`,
      { body: "x" },
      bad("topic", limits.nameLength),
    ],
    ["a topic's name with odd characters", "/v1/topics/a%20b", { body: "x" }, bad("topic")],
    [
      "an oversize body",
      topic,
      { body: "x".repeat(limits.messageBytes + 1) },
      { status: 413, code: "payload-too-large", field: "body", limit: limits.messageBytes },
    ],
    ["an oversize id", topic, { headers: { "idempotency-key": "x".repeat(129) } }, bad("id", 128)],
    ["an id with a space", topic, { headers: { "idempotency-key": "a b" } }, bad("id", 128)],
    ["an id with a dot", topic, { headers: { "idempotency-key": "a.b" } }, bad("id", 128)],
    [
      "an oversize key",
      topic,
      { headers: { "pennypost-ordering-key": "x".repeat(129) } },
      bad("orderingKey", 128),
    ],
    [
      "an oversize subject",
      topic,
      { headers: { "pennypost-subject": "x".repeat(257) } },
      bad("subject", 256),
    ],
    [
      "an oversize attribute",
      topic,
      { headers: { "pennypost-attr-a": "x".repeat(limits.attributesBytes) } },
      bad("attributes", limits.attributesBytes),
    ],
    [
      "an attribute's name of absurd length",
      topic,
      { headers: { [`pennypost-attr-${"a".repeat(65)}`]: "x" } },
      bad(`attributes.${"a".repeat(64)}`, 64),
    ],
    [
      "too many attributes",
      topic,
      { headers: Object.fromEntries(Array.from({ length: 65 }, (_, i) => [`pennypost-attr-a${i}`, "x"])) },
      bad("attributes", limits.attributeCount),
    ],
    [
      "a delay in words",
      topic,
      { headers: { "pennypost-delay-ms": "5s" } },
      bad("delayMs", limits.maxDelayMs),
    ],
    ["no time to live", topic, { headers: { "pennypost-ttl-ms": "0" } }, bad("ttlMs", limits.minTtlMs)],
  ])("%s is refused, and nothing is stored", async (_, path, options, expected) => {
    const before = await storedCount();
    await expectProblem(
      "POST",
      `${path}/messages`,
      { body: "x", ...options, headers: { ...wait, ...options.headers } },
      expected,
    );
    expect(await storedCount()).toBe(before);
  });

  test("an id that comes back with other content is refused, and nothing more is stored", async () => {
    const headers = { ...wait, "idempotency-key": unique("id") };
    await api.call("POST", `${topic}/messages`, { body: "first", headers });
    const before = await storedCount();
    const expected = { status: 422, code: "id-reused", field: "id" };
    await expectProblem("POST", `${topic}/messages`, { body: "other", headers }, expected);
    expect(await storedCount()).toBe(before);
  });

  test("a body that does not say its length is counted while it comes", async () => {
    const chunk = new Uint8Array(256 * 1024);
    let pulled = 0;
    const body = new ReadableStream({
      pull: (controller) => {
        pulled += 1;
        controller.enqueue(chunk);
        if (pulled > 100) controller.close();
      },
    });
    const headers = { authorization: `Bearer ${ROOT_TOKEN}`, prefer: "wait" };
    const response = await callWorker(`${topic}/messages`, { method: "POST", headers, body });
    expect(response.status).toBe(413);
    expect(pulled).toBeLessThan(20);
  });
});

describe("publishing a batch", () => {
  const batch = (json: unknown) => ({ json, headers: { prefer: "wait" } });
  const at = `${topic}/messages/batch`;

  test.each<[string, Options, Expected]>([
    [
      "no JSON",
      { body: "{", headers: { "content-type": "application/json" } },
      { status: 400, code: "malformed-body", field: "body" },
    ],
    [
      "no UTF-8",
      { body: new Uint8Array([0x7b, 0xff]), headers: { "content-type": "application/json" } },
      { status: 400, code: "malformed-body", field: "body" },
    ],
    [
      "a form",
      { body: "a=1", headers: { "content-type": "application/x-www-form-urlencoded" } },
      { status: 415, code: "unsupported-content-type", field: "Content-Type" },
    ],
    ["no messages", batch({}), { status: 400, code: "invalid-request", field: "messages" }],
    [
      "an empty list",
      batch({ messages: [] }),
      { status: 400, code: "invalid-request", field: "messages", limit: 1000 },
    ],
    [
      "too many messages",
      batch({ messages: Array(1001).fill({ data: "" }) }),
      { status: 400, code: "invalid-request", field: "messages", limit: 1000 },
    ],
    [
      "a body of absurd size",
      { body: "x".repeat(limits.publishRequestBytes + 1) },
      { status: 413, code: "payload-too-large", field: "body", limit: limits.publishRequestBytes },
    ],
    [
      "an unknown field",
      batch({ messages: [{ data: "" }], atmic: true }),
      { status: 400, code: "invalid-request", field: "atmic" },
    ],
  ])("%s is refused, and nothing is stored", async (_, options, expected) => {
    const before = await storedCount();
    await expectProblem("POST", at, options, expected);
    expect(await storedCount()).toBe(before);
  });

  test("when every message is bad, each says why and the batch is refused", async () => {
    const before = await storedCount();
    const { status, body } = await api.send<Problem & { messages: { error: Problem }[] }>(
      "POST",
      at,
      batch({ messages: [{ data: 1, id: "a b" }, { data: 1, delayMs: -1 }, 7] }),
    );
    expect([status, codeOf(body)]).toEqual([422, "all-refused"]);
    expect(body.messages.map(({ error }) => [codeOf(error), error.field])).toEqual([
      ["invalid-request", "messages[0].id"],
      ["invalid-request", "messages[1].delayMs"],
      ["invalid-request", "messages[2]"],
    ]);
    expect(await storedCount()).toBe(before);
  });

  test("one bad message refuses itself, and not its neighbours", async () => {
    const before = await storedCount();
    const { status, body } = await api.send<{ messages: { error?: Problem; offset?: number }[] }>(
      "POST",
      at,
      batch({ messages: [{ data: 1 }, { data: 1, orderingKey: "x".repeat(129) }, { data: 2 }] }),
    );
    expect(status).toBe(201);
    expect(body.messages.map(({ error }) => error && [codeOf(error), error.field])).toEqual([
      undefined,
      ["invalid-request", "messages[1].orderingKey"],
      undefined,
    ]);
    expect(await storedCount()).toBe(before + 2);
  });

  test("atomic: one bad message refuses all, and nothing is stored", async () => {
    const before = await storedCount();
    const { status, body } = await api.send(
      "POST",
      at,
      batch({
        messages: [
          { data: 1, orderingKey: "k" },
          { data: 1, id: "a b" },
        ],
        atomic: true,
      }),
    );
    expect([status, codeOf(body)]).toEqual([422, "atomic-refused"]);
    expect(await storedCount()).toBe(before);
  });
});

describe("topics and subscriptions", () => {
  const endpoint = (more: object) => ({
    type: "push",
    endpoint: { url: "https://hooks.example.com/x", ...more },
  });
  const sub = `${topic}/subscriptions/new`;

  test.each<[string, string, unknown, string, number?]>([
    ["too many partitions", `/v1/topics/${unique("t")}`, { partitions: 65 }, "partitions", 64],
    ["no partitions", `/v1/topics/${unique("t")}`, { partitions: 0 }, "partitions", 1],
    ["half a partition", `/v1/topics/${unique("t")}`, { partitions: 1.5 }, "partitions"],
    ["partitions in words", `/v1/topics/${unique("t")}`, { partitions: "2" }, "partitions"],
    ["a retention too short", `/v1/topics/${unique("t")}`, { retentionMs: 1 }, "retentionMs", 60_000],
    [
      "a header that is secret",
      `/v1/topics/${unique("t")}`,
      { keepHeaders: ["Authorization"] },
      "keepHeaders[0]",
    ],
    ["a header that is none", `/v1/topics/${unique("t")}`, { keepHeaders: ["a b"] }, "keepHeaders[0]"],
    ["an unknown field", `/v1/topics/${unique("t")}`, { retention: 5 }, "retention"],
    ["an array", `/v1/topics/${unique("t")}`, [], "body"],
    ["push without an endpoint", sub, { type: "push" }, "endpoint"],
    ["pull with an endpoint", sub, { endpoint: { url: "https://hooks.example.com" } }, "endpoint"],
    ["pull that is effectively once", sub, { guarantee: "effectively-once" }, "guarantee"],
    ["more rounds than there may be", sub, { maxRedrives: 1_001 }, "maxRedrives", 1_000],
    ["at most once with many attempts", sub, { guarantee: "at-most-once", maxAttempts: 3 }, "maxAttempts", 1],
    [
      "a lease shorter than its request",
      sub,
      { ...endpoint({ url: "https://hooks.example.com", timeoutMs: 20_000 }), ackDeadlineMs: 19_999 },
      "ackDeadlineMs",
      20_000,
    ],
    ["a batch of a pull subscription", sub, { batch: {} }, "batch"],
    ["a minimum above the maximum", sub, { retry: { minDelayMs: 10, maxDelayMs: 5 } }, "retry.minDelayMs", 5],
    ["a deadline too short", sub, { ackDeadlineMs: 1 }, "ackDeadlineMs", 1_000],
    ["a URL that is none", sub, endpoint({ url: "nowhere" }), "endpoint.url"],
    ["a URL of another kind", sub, endpoint({ url: "ftp://example.com" }), "endpoint.url"],
    ["a private URL", sub, endpoint({ url: "http://10.0.0.1/" }), "endpoint.url"],
    [
      "a URL of absurd length",
      sub,
      endpoint({ url: `https://example.com/${"x".repeat(2_048)}` }),
      "endpoint.url",
      2_048,
    ],
    ["a header of ours", sub, endpoint({ headers: { "Webhook-Id": "x" } }), "endpoint.headers.Webhook-Id"],
    ["a header that is none", sub, endpoint({ headers: { "a b": "x" } }), "endpoint.headers.a b"],
    ["a header that splits", sub, endpoint({ headers: { a: "x\r\nb: c" } }), "endpoint.headers.a"],
    ["a secret that is none", sub, endpoint({ signingSecret: "hunter2" }), "endpoint.signingSecret"],
    ["a start nowhere", sub, { startAt: "soon" }, "startAt"],
    [
      "a start in a partition that is not there",
      sub,
      { startAt: { offsets: { "7": 0 } } },
      "startAt.offsets.7",
      1,
    ],
  ])("%s is refused, naming the field", async (_, path, json, field, limit) => {
    const expected = { status: 400, code: "invalid-request", field: field === "body" ? undefined : field };
    await expectProblem("PUT", path, { json }, {
      ...expected,
      ...(limit !== undefined && { limit }),
    } as Expected);
    expect((await api.send("GET", path)).status).toBe(404);
  });

  test("every rule that is broken is named at once", async () => {
    const json = {
      type: "pull",
      batch: {},
      guarantee: "effectively-once",
      retry: { minDelayMs: 9, maxDelayMs: 1 },
    };
    const { body } = await api.send<Problem & { faults: { field: string }[] }>("PUT", sub, { json });
    expect(body.faults.map(({ field }) => field)).toEqual(["batch", "guarantee", "retry.minDelayMs"]);
  });

  test("the number of partitions changes to no other than a multiple, nor a queue become a topic", async () => {
    const conflict = { status: 409, code: "conflict" };
    await expectProblem(
      "PUT",
      topic,
      { json: { partitions: 3 } },
      { ...conflict, field: "partitions", limit: 2 },
    );
    await expectProblem("PUT", `/v1/topics/${name}-q`, { json: {} }, conflict);
    await expectProblem("PUT", `/v1/queues/${name}`, { json: {} }, conflict);
    await expectProblem("PUT", `/v1/topics/${name}-q/subscriptions/second`, { json: {} }, conflict);
  });

  test("an unknown subscription is not found", async () => {
    const missing = { status: 404, code: "subscription-not-found" };
    for (const verb of ["pull", "pause"]) {
      await expectProblem("POST", `${topic}/subscriptions/nobody/${verb}`, { json: {} }, missing);
    }
    await expectProblem("GET", `${topic}/subscriptions/nobody/stats`, {}, missing);
  });
});

describe("settling and dead letters", () => {
  test.each<[string, string, unknown, Expected]>([
    [
      "an ack id that is none",
      "ack",
      { ackIds: [ackId(), "x"] },
      { status: 400, code: "invalid-request", field: "ackIds[1]" },
    ],
    [
      "an ack id with more behind it",
      "ack",
      { ackIds: [ackId("0")] },
      { status: 400, code: "invalid-request", field: "ackIds[0]" },
    ],
    [
      "no ack ids",
      "nack",
      { ackIds: [] },
      { status: 400, code: "invalid-request", field: "ackIds", limit: 1 },
    ],
    [
      "too many ack ids",
      "ack",
      { ackIds: Array(1001).fill(ackId()) },
      { status: 400, code: "invalid-request", field: "ackIds", limit: 1000 },
    ],
    [
      "a delay of absurd length",
      "nack",
      { ackIds: [ackId()], delayMs: 1e12 },
      { status: 400, code: "invalid-request", field: "delayMs", limit: limits.maxNackDelayMs },
    ],
    [
      "a reason of absurd length",
      "nack",
      { ackIds: [ackId()], reason: "x".repeat(1001) },
      { status: 400, code: "invalid-request", field: "reason", limit: 1000 },
    ],
    [
      "no deadline",
      "extend",
      { ackIds: [ackId()] },
      { status: 400, code: "invalid-request", field: "ackDeadlineMs" },
    ],
    [
      "too many messages",
      "pull",
      { max: 1001 },
      { status: 400, code: "invalid-request", field: "max", limit: 1000 },
    ],
    [
      "a wait of absurd length",
      "pull",
      { waitMs: 60_000 },
      { status: 400, code: "invalid-request", field: "waitMs", limit: 20_000 },
    ],
    ["a selection of nothing", "dead-letters/redrive", {}, { status: 400, code: "invalid-request" }],
    [
      "a selection of both",
      "dead-letters/redrive",
      { ids: ["0.0.1"], all: true },
      { status: 400, code: "invalid-request" },
    ],
  ])("%s is refused, naming the field", async (_, verb, json, expected) => {
    await expectProblem("POST", `${queue}/${verb}`, { json }, expected);
  });

  test("an ack id of no lease is lost, item by item", async () => {
    const json = { ackIds: [ackId(), `63.0.${ackId().slice(4)}`] };
    const { results } = await api.call<{ results: unknown[] }>("POST", `${queue}/ack`, { json });
    expect(results).toEqual(json.ackIds.map((each) => ({ ackId: each, status: "lease-lost" })));
  });

  test("a push subscription is not pulled from", async () => {
    const expected = { status: 409, code: "not-pull" };
    await expectProblem("POST", `${topic}/subscriptions/push/pull`, { json: {} }, expected);
  });

  test("a dead letter that is not there is not found", async () => {
    await expectProblem(
      "GET",
      `${queue}/dead-letters/0.0.5`,
      {},
      { status: 404, code: "dead-letter-not-found" },
    );
    await expectProblem(
      "GET",
      `${queue}/dead-letters/9.0.5`,
      {},
      { status: 404, code: "dead-letter-not-found" },
    );
    await expectProblem(
      "GET",
      `${queue}/dead-letters/x`,
      {},
      { status: 400, code: "invalid-request", field: "id" },
    );
  });
});

describe("ledgers, tokens and the rest", () => {
  const claims = `/v1/ledgers/${name}/claims`;
  const claim = { messageId: "m", claimant: "c" };

  test.each<[string, string, unknown, Expected]>([
    [
      "a claim of nothing",
      claims,
      { claimant: "c" },
      { status: 400, code: "invalid-request", field: "messageId" },
    ],
    [
      "a claim by nobody",
      claims,
      { messageId: "m" },
      { status: 400, code: "invalid-request", field: "claimant" },
    ],
    [
      "a lease too short",
      claims,
      { ...claim, leaseMs: 1 },
      { status: 400, code: "invalid-request", field: "leaseMs", limit: 1000 },
    ],
    [
      "an id of absurd length",
      claims,
      { ...claim, messageId: "x".repeat(129) },
      { status: 400, code: "invalid-request", field: "messageId", limit: 128 },
    ],
    [
      "too many claims",
      `/v1/ledgers/${name}/claim-batches`,
      { messages: Array.from({ length: 101 }, (_, i) => ({ messageId: `m${i}` })), claimant: "c" },
      { status: 400, code: "invalid-request", field: "messages", limit: 100 },
    ],
    [
      "one id claimed twice",
      `/v1/ledgers/${name}/claim-batches`,
      { messages: [{ messageId: "m" }, { messageId: "m" }], claimant: "c" },
      { status: 400, code: "invalid-request", field: "messages" },
    ],
    [
      "a result of absurd size",
      `${claims}/m/complete`,
      { fence: 1, result: "x".repeat(limits.resultBytes) },
      { status: 400, code: "invalid-request", field: "result", limit: limits.resultBytes },
    ],
    [
      "a fence that was never given",
      `${claims}/m/complete`,
      { fence: 1 },
      { status: 409, code: "claim-lost" },
    ],
    [
      "an unknown verb",
      "/v1/tokens",
      { name: "t", scopes: [{ verb: "rule", topics: "*" }] },
      { status: 400, code: "invalid-request", field: "scopes[0].verb" },
    ],
    [
      "a pattern with its star in the middle",
      "/v1/tokens",
      { name: "t", scopes: [{ verb: "publish", topics: "a*b" }] },
      { status: 400, code: "invalid-request", field: "scopes[0].topics" },
    ],
    [
      "an admin of a part",
      "/v1/tokens",
      { name: "t", scopes: [{ verb: "admin", topics: "a*" }] },
      { status: 400, code: "invalid-request", field: "scopes[0].topics" },
    ],
    [
      "a token without scopes",
      "/v1/tokens",
      { name: "t", scopes: [] },
      { status: 400, code: "invalid-request", field: "scopes", limit: 1 },
    ],
    [
      "a stranded batch that is not there",
      "/v1/stranded/nothing/resend",
      {},
      { status: 404, code: "stranded-not-found" },
    ],
  ])("%s is refused", async (_, path, json, expected) => {
    await expectProblem("POST", path, { json }, expected);
  });

  test.each<[string, string, Expected]>([
    [
      "a limit of zero",
      "/v1/topics?limit=0",
      { status: 400, code: "invalid-request", field: "limit", limit: 1 },
    ],
    [
      "a limit of many",
      "/v1/topics?limit=101",
      { status: 400, code: "invalid-request", field: "limit", limit: 100 },
    ],
    ["a limit in words", "/v1/topics?limit=ten", { status: 400, code: "invalid-request", field: "limit" }],
    ["an unknown parameter", "/v1/topics?page=2", { status: 400, code: "invalid-request", field: "page" }],
    [
      "a place that is none",
      `${queue}/dead-letters?after=x`,
      { status: 400, code: "invalid-request", field: "after" },
    ],
    [
      "a partition that is not there",
      `${topic}/messages?partition=2`,
      { status: 400, code: "invalid-request", field: "partition", limit: 1 },
    ],
    ["a route that is not there", "/v2/topics", { status: 404, code: "not-found" }],
  ])("%s is refused", async (_, path, expected) => {
    await expectProblem("GET", path, {}, expected);
  });

  test("a method that a route does not take is refused, naming those it takes", async () => {
    const { status, headers, body } = await api.send("PATCH", topic);
    expect([status, codeOf(body), headers.get("allow")]).toEqual([
      405,
      "method-not-allowed",
      "PUT, GET, DELETE",
    ]);
  });

  test("a path that is wrongly encoded is an answer like any other", async () => {
    for (const path of ["/v1/topics/%", "/v1/topics/%zz/messages", "/v1/topics/%ff%fe", "/v1/topics/%00"]) {
      expect((await api.send("GET", path)).status).toBeGreaterThanOrEqual(400);
      expect((await api.send("GET", path)).status).toBeLessThan(500);
    }
  });
});
