// Each route doing what it is for. What the promises behind them are is in test/contract.

import { describe, expect, test } from "vitest";
import { routes } from "../../src/http/app";
import { api, callWorker, ROOT_TOKEN, tokenFor } from "../support/api";
import { ARRIVES_MS, type Published, unique } from "../support/contract-client";

type Named = { name: string };
type Page<Items extends string, T> = Record<Items, T[]> & { next: string | null };

const stored = { headers: { prefer: "wait" } };
const endpoint = { url: "https://hooks.example.com/x" };

describe("topics", () => {
  test("a PUT creates, and a repeated one changes nothing", async () => {
    const path = `/v1/topics/${unique("topic")}`;
    const json = { partitions: 3, retentionMs: 60_000, keepHeaders: ["X-A", "x-a"], idHeader: "X-Id" };
    const made = await api.send<{ version: number }>("PUT", path, { json });
    expect(made.status).toBe(201);
    expect(made.body).toMatchObject({
      ...{ kind: "topic", partitions: 3, retentionMs: 60_000, version: 1 },
      ...{ keepHeaders: ["x-a"], idHeader: "x-id" },
    });
    const again = await api.send("PUT", path, { json });
    expect([again.status, again.body]).toEqual([200, made.body]);
    expect(await api.call("GET", path)).toEqual(made.body);
  });

  test("a PUT without a number of partitions leaves it as it is", async () => {
    const path = `/v1/topics/${unique("topic")}`;
    await api.call("PUT", path, { json: { partitions: 4 } });
    expect(await api.call("PUT", path, { json: { retentionMs: 61_000 } })).toMatchObject({
      ...{ partitions: 4, retentionMs: 61_000, version: 2 },
    });
  });

  test("a deleted topic is not there, and deleting it again is fine", async () => {
    const path = `/v1/topics/${unique("topic")}`;
    await api.call("PUT", path, { json: {} });
    expect((await api.send("DELETE", path)).status).toBe(204);
    expect((await api.send("GET", path)).status).toBe(404);
    expect((await api.send("DELETE", path)).status).toBe(204);
  });

  test("a list runs in pages from cursor to cursor, and queues have a list of their own", async () => {
    const prefix = unique("page");
    for (const name of ["a", "b", "c"]) await api.call("PUT", `/v1/topics/${prefix}-${name}`, { json: {} });
    await api.call("PUT", `/v1/queues/${prefix}-q`, { json: {} });
    const seen: string[] = [];
    for (let next: string | null = prefix; next !== null; ) {
      const page: Page<"topics", Named> = await api.call("GET", `/v1/topics?limit=2&after=${next}`);
      seen.push(...page.topics.map(({ name }) => name).filter((name) => name.startsWith(prefix)));
      next = page.next;
    }
    expect(seen).toEqual(["a", "b", "c", "q"].map((name) => `${prefix}-${name}`));
    const { queues } = await api.call<Page<"queues", Named>>("GET", `/v1/queues?after=${prefix}`);
    expect(queues[0]?.name).toBe(`${prefix}-q`);
  });

  test("its log can be browsed by partition and offset", async () => {
    const topic = await api.topic();
    await topic.publish(
      { id: "a", data: "one", attributes: { x: "1" } },
      { dataBase64: "/w==" },
      { data: { n: 3 } },
    );
    const page = await api.call<{ messages: object[] }>("GET", `${topic.path}/messages?offset=0&limit=2`);
    expect(page).toMatchObject({ nextOffset: 2, earliest: 0, head: 3 });
    expect(page.messages).toMatchObject([
      { id: "a", partition: 0, offset: 0, data: "one", attributes: { x: "1" }, storedAt: expect.any(Number) },
      { offset: 1, dataBase64: "/w==" },
    ]);
    expect(await api.call("GET", `${topic.path}/messages?offset=2`)).toMatchObject({
      messages: [{ offset: 2, data: '{"n":3}', contentType: "application/json" }],
    });
    expect(await api.call("GET", `${topic.path}/messages?offset=99`)).toMatchObject({
      messages: [],
      head: 3,
    });
  });
});

describe("publishing", () => {
  test("a batch as NDJSON has one message a line, and each its own result", async () => {
    const topic = await api.topic();
    const { status, body } = await api.send<{ messages: Published[] }>(
      "POST",
      `${topic.path}/messages/batch`,
      {
        body: '{"id":"a","data":"1"}\n{bad\n{"id":"b","data":"2"}\n',
        headers: { "content-type": "application/x-ndjson", prefer: "wait" },
      },
    );
    expect(status).toBe(201);
    expect(body.messages.map(({ id, error }) => error?.type ?? id)).toEqual([
      "a",
      "/docs/problems#malformed-body",
      "b",
    ]);
  });

  test("an answer that was waited for says so", async () => {
    const topic = await api.topic();
    const { headers } = await topic.publishRaw("x", stored.headers);
    expect(headers.get("preference-applied")).toBe("wait");
  });

  test("what is too large for the Cloudflare Queue is stored, and answered 201", async () => {
    const topic = await api.topic();
    expect((await topic.publishRaw("x".repeat(90_000))).status).toBe(202);
    expect((await topic.publishRaw("x".repeat(110_000))).status).toBe(201);
  });

  test("a batch larger than a row is stored whole and in order", async () => {
    const topic = await api.topic();
    const data = "x".repeat(900_000);
    const results = await topic.publish(...["a", "b", "c", "d"].map((id) => ({ id, data })));
    expect(results.map(({ id, offset }) => [id, offset])).toEqual([
      ["a", 0],
      ["b", 1],
      ["c", 2],
      ["d", 3],
    ]);
  });

  test("a foreign sender needs no header of ours: the token is in the URL, its id and its headers are kept", async () => {
    const name = unique("github");
    const json = { keepHeaders: ["X-GitHub-Event"], idHeader: "X-GitHub-Delivery" };
    await api.call("PUT", `/v1/topics/${name}`, { json });
    const token = await tokenFor({ verb: "publish", topics: name });
    const headers = {
      "x-github-event": "push",
      "x-github-delivery": "d-1",
      "content-type": "application/json",
      ...stored.headers,
    };
    const body = new Uint8Array([0x7b, 0x22, 0xc3, 0xa9, 0x22, 0x0a, 0xff]);
    const send = () =>
      api.send<{ messages: Published[] }>("POST", `/v1/in/${token}`, { token: null, body, headers });
    expect((await send()).body.messages).toEqual([{ id: "d-1", partition: 0, offset: 0, duplicate: false }]);
    const timeline = `/v1/topics/${name}/messages/0.0`;
    expect((await send()).body.messages).toEqual([
      { id: "d-1", partition: 0, offset: 0, duplicate: true, timeline },
    ]);
    const page = await api.call<{ messages: object[] }>("GET", `/v1/topics/${name}/messages`);
    expect(page.messages).toMatchObject([
      {
        ...{ id: "d-1", contentType: "application/json", headers: { "x-github-event": "push" } },
        dataBase64: btoa(String.fromCharCode(...body)),
      },
    ]);
  });

  test("an accepted message whose id was used for other content is kept as a rejection", async () => {
    const topic = await api.topic();
    await topic.publish({ id: "once", data: "first" });
    expect((await topic.publishRaw("other", { "idempotency-key": "once" })).status).toBe(202);
    const subscription = await topic.subscribe();
    // It is behind the refused one on the same way: when it is there, so is the rejection.
    await topic.publishRaw("last");
    await subscription.pullAll(2);
    const page = await api.call<Page<"rejections", object>>("GET", `${topic.path}/rejections`);
    expect(page).toMatchObject({
      rejections: [{ messageId: "once", partition: 0, error: { type: "/docs/problems#id-reused" } }],
      next: null,
    });
  });
});

describe("subscriptions", () => {
  test("they are created, listed, changed and deleted", async () => {
    const topic = await api.topic();
    const path = `${topic.path}/subscriptions/s`;
    const json = {
      ackDeadlineMs: 5_000,
      maxAttempts: 3,
      retry: { minDelayMs: 1, maxDelayMs: 2 },
      startAt: "earliest",
    };
    const made = await api.send("PUT", path, { json });
    expect([made.status, made.body]).toMatchObject([201, { type: "pull", ...json, paused: false }]);
    expect((await api.send("PUT", path, { json })).status).toBe(200);
    expect(await api.call("PUT", path, { json: { ...json, maxAttempts: 4 } })).toMatchObject({
      maxAttempts: 4,
    });
    const list = await api.call<Page<"subscriptions", Named>>("GET", `${topic.path}/subscriptions`);
    expect(list.subscriptions.map(({ name }) => name)).toEqual(["s"]);
    expect((await api.send("DELETE", path)).status).toBe(204);
    expect((await api.send("GET", path)).status).toBe(404);
    expect((await api.send("DELETE", path)).status).toBe(204);
  });

  test("the signing secret is made by the broker, shown once, and kept by later PUTs", async () => {
    const topic = await api.topic();
    const path = `${topic.path}/subscriptions/s`;
    const json = { type: "push", endpoint: { ...endpoint, headers: { Authorization: "secret" } } };
    type Shown = { endpoint: { signingSecret?: string; headerNames: string[] } };
    const made = await api.call<Shown>("PUT", path, { json });
    expect(made.endpoint.signingSecret).toMatch(/^whsec_[A-Za-z0-9+/]{43}=$/);
    expect(made.endpoint.headerNames).toEqual(["Authorization"]);
    const later = [await api.call<Shown>("PUT", path, { json }), await api.call<Shown>("GET", path)];
    for (const shown of later) {
      expect(shown.endpoint.signingSecret).toBeUndefined();
      expect(JSON.stringify(shown)).not.toMatch(/whsec_|"secret"/);
    }
    expect(await api.call("GET", path)).toMatchObject({ version: 1 });
  });

  test("of two first PUTs at one moment only the one whose secret signs shows it", async () => {
    const topic = await api.topic();
    const path = `${topic.path}/subscriptions/s`;
    const json = { type: "push", endpoint };
    type Shown = { endpoint: { signingSecret?: string } };
    const puts = await Promise.all([1, 2, 3].map(() => api.call<Shown>("PUT", path, { json })));
    const secrets = puts.flatMap((shown) => shown.endpoint.signingSecret ?? []);
    expect(secrets).toHaveLength(1);
  });

  test("a signing secret that is given is taken", async () => {
    const topic = await api.topic();
    const signingSecret = `whsec_${btoa("x".repeat(32))}`;
    const json = { type: "push", endpoint: { ...endpoint, signingSecret } };
    const made = await api.call("PUT", `${topic.path}/subscriptions/s`, { json });
    expect(made).toMatchObject({ endpoint: { signingSecret } });
  });

  test("pause and resume are remembered, and a later PUT does not undo a pause", async () => {
    const topic = await api.topic();
    const path = `${topic.path}/subscriptions/s`;
    await api.call("PUT", path, { json: {} });
    expect(await api.call("POST", `${path}/pause`)).toMatchObject({ paused: true });
    expect(await api.call("PUT", path, { json: { maxAttempts: 2 } })).toMatchObject({ paused: true });
    expect(await api.call("POST", `${path}/resume`)).toMatchObject({ paused: false });
  });
});

describe("pull", () => {
  test("what was leased for a caller that hung up is handed out again at once, un-attempted", async () => {
    const topic = await api.topic();
    const path = `${topic.path}/subscriptions/s`;
    await api.call("PUT", path, { json: { ackDeadlineMs: 600_000 } });
    const hangUp = new AbortController();
    const headers = { authorization: `Bearer ${ROOT_TOKEN}`, "content-type": "application/json" };
    const body = JSON.stringify({ waitMs: 20_000 });
    const init = { method: "POST", headers, body, signal: hangUp.signal };
    const unheard = callWorker(`${path}/pull`, init).then(
      () => "answered",
      () => "hung up",
    );
    // Answered after the pull has come, which waits by then.
    await api.call("GET", `${path}/stats`);
    hangUp.abort();
    expect(await unheard).toBe("hung up");
    await topic.publish({ id: "m", data: 1 });
    const pulled = await api.call<{ messages: { attempt: number }[] }>("POST", `${path}/pull`, {
      json: { waitMs: 20_000 },
    });
    expect(pulled.messages.map(({ attempt }) => attempt)).toEqual([1]);
  });
});

describe("queues", () => {
  test("a queue is a topic and its subscription, under either name", async () => {
    const name = unique("queue");
    const json = { partitions: 2, ackDeadlineMs: 9_000, maxAttempts: 7 };
    expect(await api.call("PUT", `/v1/queues/${name}`, { json })).toMatchObject({ kind: "queue", ...json });
    expect(await api.call("GET", `/v1/queues/${name}`)).toMatchObject({ kind: "queue", ...json });
    expect(await api.call("GET", `/v1/topics/${name}`)).toMatchObject({ kind: "queue", partitions: 2 });
    expect(await api.call("GET", `/v1/topics/${name}/subscriptions/${name}`)).toMatchObject({
      ...{ ackDeadlineMs: 9_000, maxAttempts: 7, startAt: "earliest" },
    });
    await api.call("POST", `/v1/topics/${name}/messages`, { body: "x", ...stored });
    expect(await api.subscriptionAt(`/v1/queues/${name}`).pullAll(1)).toHaveLength(1);
    expect((await api.send("DELETE", `/v1/queues/${name}`)).status).toBe(204);
    expect((await api.send("GET", `/v1/topics/${name}`)).status).toBe(404);
  });

  test("deleting a queue that is a topic leaves the topic", async () => {
    const name = unique("topic");
    await api.call("PUT", `/v1/topics/${name}`, { json: {} });
    expect((await api.send("DELETE", `/v1/queues/${name}`)).status).toBe(204);
    expect((await api.send("GET", `/v1/topics/${name}`)).status).toBe(200);
  });
});

describe("pulling over several partitions", () => {
  const keys = Array.from({ length: 40 }, (_, index) => `key-${index}`);

  test("a pull takes from one partition after another until it has enough", async () => {
    const queue = await api.queue({ partitions: 8 });
    await queue.publish(...keys.map((orderingKey) => ({ orderingKey, data: orderingKey })));
    const pulled = await queue.pull({ max: 30 });
    expect(pulled).toHaveLength(30);
    expect(new Set(pulled.map(({ partition }) => partition)).size).toBeGreaterThan(1);
    expect(await queue.ack(pulled)).toEqual(pulled.map(() => "acked"));
    expect(await queue.pull({ max: 30 })).toHaveLength(10);
  });

  test("ack ids of several partitions are answered in the order they were asked", async () => {
    const queue = await api.queue({ partitions: 8 });
    await queue.publish(...keys.map((orderingKey) => ({ orderingKey, data: orderingKey })));
    const pulled = await queue.pull({ max: 40 });
    const shuffled = pulled.map((_, index) => pulled[(index * 7) % pulled.length]?.ackId ?? "");
    await queue.ack(pulled.filter((_, index) => index % 2 === 0));
    const { results } = await api.call<{ results: { ackId: string; status: string }[] }>(
      "POST",
      `${queue.path}/extend`,
      {
        json: { ackIds: shuffled, ackDeadlineMs: 60_000 },
      },
    );
    expect(results.map(({ ackId }) => ackId)).toEqual(shuffled);
    const acked = new Set(pulled.filter((_, index) => index % 2 === 0).map(({ ackId }) => ackId));
    for (const { ackId, status } of results)
      expect(status).toBe(acked.has(ackId) ? "lease-lost" : "extended");
  });

  test("whoever waits is answered by a message in any partition", async () => {
    const queue = await api.queue({ partitions: 8 });
    for (const orderingKey of keys.slice(0, 4)) {
      const waiting = queue.pull({ waitMs: ARRIVES_MS });
      await queue.publish({ orderingKey, data: orderingKey });
      expect((await waiting).map((message) => message.orderingKey)).toEqual([orderingKey]);
    }
  });

  test("a wait in which nothing comes ends empty, and leases nothing", async () => {
    const queue = await api.queue({ partitions: 8 });
    expect(await queue.pull({ waitMs: 50 })).toEqual([]);
    expect((await queue.stats()).every(({ leased }) => leased === 0)).toBe(true);
  });
});

describe("dead letters over several partitions", () => {
  test("they are listed in pages, redriven and purged across partitions", async () => {
    const queue = await api.queue({ partitions: 4 });
    await queue.publish(...Array.from({ length: 20 }, (_, index) => ({ id: `m${index}`, data: "x" })));
    await queue.nack(await queue.pull({ max: 20 }), { deadLetter: true });
    const ids: string[] = [];
    for (let after = ""; ; ) {
      const page: Page<"deadLetters", { id: string }> = await api.call(
        "GET",
        `${queue.path}/dead-letters?limit=3${after}`,
      );
      ids.push(...page.deadLetters.map(({ id }) => id));
      if (page.next === null) break;
      after = `&after=${page.next}`;
    }
    expect([ids.length, new Set(ids).size]).toEqual([20, 20]);
    const some = { json: { ids: [...ids.slice(0, 5), "3.0.999"] } };
    expect(await api.call("POST", `${queue.path}/dead-letters/redrive`, some)).toEqual({
      redriven: 5,
      superseded: 0,
      refused: 0,
      more: false,
    });
    const all = { json: { all: true } };
    expect(await api.call("DELETE", `${queue.path}/dead-letters`, all)).toEqual({ purged: 15, more: false });
    expect(await queue.pull({ max: 20 })).toHaveLength(5);
  });
});

describe("ledgers", () => {
  const base = `/v1/ledgers/${unique("ledger")}/claims`;
  const claim = (messageId: string, claimant: string, more: object = {}) =>
    api.send<{ state: string; fence: number; result?: unknown }>("POST", base, {
      json: { messageId, claimant, ...more },
    });

  test("a claim is held, repeated by its claimant, refused to others, completed with a result", async () => {
    const first = await claim("m/1", "a");
    expect([first.status, first.body.state]).toEqual([201, "claimed"]);
    expect((await claim("m/1", "a")).body.fence).toBe(first.body.fence);
    const other = await claim("m/1", "b");
    expect([other.status, Number(other.headers.get("retry-after")) > 0]).toEqual([409, true]);
    const result = { transfer: "t-1", n: [1, null] };
    const path = `${base}/${encodeURIComponent("m/1")}`;
    const extended = await api.call("POST", `${path}/extend`, {
      json: { fence: first.body.fence, leaseMs: 60_000 },
    });
    expect(extended).toEqual({ leaseUntil: expect.any(Number) });
    const json = { fence: first.body.fence, result };
    expect(await api.call("POST", `${path}/complete`, { json })).toEqual({ state: "completed" });
    expect(await claim("m/1", "b")).toMatchObject({ status: 200, body: { state: "completed", result } });
  });

  test("a failed claim is free at once, under a higher fence", async () => {
    const { body } = await claim("m2", "a");
    expect(await api.call("POST", `${base}/m2/fail`, { json: { fence: body.fence } })).toEqual({
      state: "failed",
    });
    const next = await claim("m2", "b");
    expect(next.status).toBe(201);
    expect(next.body.fence).toBeGreaterThan(body.fence);
    expect((await api.send("POST", `${base}/m2/complete`, { json: { fence: body.fence } })).status).toBe(409);
  });

  test("other content under the same id is refused", async () => {
    await claim("m3", "a", { fingerprint: "f1" });
    expect((await claim("m3", "a", { fingerprint: "f2" })).status).toBe(422);
  });

  test("many are claimed at once, each with its own answer", async () => {
    const done = await claim("b1", "a");
    await api.call("POST", `${base}/b1/complete`, { json: { fence: done.body.fence, result: "r" } });
    await claim("b2", "other");
    const json = { messages: ["b1", "b2", "b3"].map((messageId) => ({ messageId })), claimant: "a" };
    expect(await api.call("POST", `${base.replace(/claims$/, "claim-batches")}`, { json })).toMatchObject({
      claims: [
        { messageId: "b1", state: "completed", result: "r" },
        { messageId: "b2", state: "in-progress" },
        { messageId: "b3", state: "claimed" },
      ],
    });
  });
});

describe("operating", () => {
  test("the OpenAPI document describes every route, with its problems", async () => {
    const { paths, openapi } = await (await callWorker("/openapi.json")).json<{
      openapi: string;
      paths: Record<string, Record<string, { responses: object; security?: object[] }>>;
    }>();
    expect(openapi).toBe("3.1.0");
    const operations = Object.values(paths).flatMap((methods) => Object.values(methods));
    const documented = Object.entries(paths).flatMap(([path, methods]) =>
      Object.keys(methods).map((method) => `${method} ${path}`),
    );
    const served = routes.map(({ method, path }) => `${method} ${path}`);
    expect([...new Set(served)]).toEqual(served);
    expect(documented.sort()).toEqual(served.sort());
    expect(operations.every(({ responses }) => "default" in responses)).toBe(true);
    const below = (prefix: string) =>
      Object.keys(paths).flatMap((path) =>
        path.startsWith(`${prefix}/`) ? [path.slice(prefix.length)] : [],
      );
    const subscription = below("/v1/topics/{topic}/subscriptions/{subscription}");
    expect(below("/v1/queues/{queue}")).toEqual(expect.arrayContaining(subscription));
  });

  test("the page shows the document, and takes nothing from elsewhere", async () => {
    const response = await callWorker("/docs");
    const html = await response.text();
    expect(response.headers.get("content-type")).toContain("text/html");
    expect(response.headers.get("content-security-policy")).toContain("default-src 'none'");
    expect(html).toContain("/openapi.json");
    expect(html).not.toMatch(/(?:src|href)="(?:https?:)?\/\//);
  });

  test("the metrics say how many there are and where the messages of each subscription are", async () => {
    const queue = await api.queue();
    await queue.publish({ data: "a" }, { data: "b" });
    await queue.pull({ max: 1 });
    const response = await callWorker("/metrics", { headers: { authorization: `Bearer ${ROOT_TOKEN}` } });
    expect(response.headers.get("content-type")).toBe("text/plain; version=0.0.4");
    const text = await response.text();
    const name = queue.path.slice("/v1/queues/".length);
    expect(text).toContain(`pennypost_subscription_leased{topic="${name}",subscription="${name}"} 1`);
    expect(text).toContain(`pennypost_topic_messages_total{topic="${name}"} 2`);
    expect(text).toContain("pennypost_metrics_truncated 0");
    expect(text).toMatch(/^pennypost_stranded_batches 0$/m);
  });
});
