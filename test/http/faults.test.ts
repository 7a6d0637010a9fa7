// What publishing and pulling do when the Cloudflare Queue, a partition or the catalog fails them.

import { env } from "cloudflare:workers";
import { beforeAll, describe, expect, test } from "vitest";
import { StrandedStore } from "../../src/catalog/stranded-store";
import type { Env } from "../../src/env";
import { refuse } from "../../src/errors";
import { createApp } from "../../src/http/app";
import { packRecordBatch, partitionOf } from "../../src/record-batch";
import { systemRuntime } from "../../src/runtime";
import type { SubscriptionCalls } from "../../src/subscription-calls";
import type { AppendCall, TopicCalls } from "../../src/topic-calls";
import { api, ROOT_TOKEN } from "../support/api";
import { codeOf, type Problem, type Published, unique } from "../support/contract-client";
import { message, recordBatch } from "../support/objects";

const bindings = env as unknown as Env;
/** Without jitter, a try follows at once on the one before. */
const app = createApp({ ...systemRuntime, random: () => 0 });
const topic = `/v1/topics/${unique("faults")}`;

beforeAll(async () => {
  await api.call("PUT", topic, { json: {} });
});

/** Calls the Worker with some of its bindings replaced. */
async function call<T = Problem>(
  more: Partial<Env>,
  method: string,
  path: string,
  json: unknown,
  headers = {},
) {
  const init = {
    method,
    body: JSON.stringify(json),
    headers: { authorization: `Bearer ${ROOT_TOKEN}`, "content-type": "application/json", ...headers },
  };
  const response = await app.request(path, init, { ...bindings, ...more });
  return { status: response.status, headers: response.headers, body: await response.json<T>() };
}

/** What the runtime throws when an object restarts under a call. */
function lostConnection(): Error {
  return Object.assign(new Error("Network connection lost."), { retryable: true });
}

/** A Cloudflare Queue that fails as `fault` says; undefined lets the send through to nowhere. */
function queueThat(fault: (sends: number) => Error | undefined) {
  const sent: number[] = [];
  const send = async (count: number) => {
    sent.push(count);
    const met = fault(sent.length);
    if (met) throw met;
  };
  const INGRESS = {
    send: () => send(1),
    sendBatch: (batch: Iterable<unknown>) => send([...batch].length),
  } as unknown as Env["INGRESS"];
  return { INGRESS, sent };
}

/** The topic's objects, whose append goes through `meet` first. */
function topicThat(meet: (call: AppendCall, calls: number) => ReturnType<TopicCalls["append"]> | undefined) {
  const calls: AppendCall[] = [];
  const TOPIC: Env["TOPIC"] = {
    getByName: (name) =>
      ({
        append: (call: AppendCall) => {
          calls.push(call);
          return meet(call, calls.length) ?? bindings.TOPIC.getByName(name).append(call);
        },
      }) as unknown as TopicCalls,
  };
  return { TOPIC, calls };
}

describe("the Cloudflare Queue", () => {
  test("too fast for it is answered 429 with when to come back, and is not tried again", async () => {
    const { INGRESS, sent } = queueThat(() => new Error("Queue send failed: Too Many Requests"));
    const single = await call({ INGRESS }, "POST", `${topic}/messages`, "x");
    expect([single.status, codeOf(single.body), single.headers.get("retry-after")]).toEqual([
      429,
      "too-many-requests",
      "1",
    ]);
    expect(sent).toHaveLength(1);
    const batch = await call({ INGRESS }, "POST", `${topic}/messages/batch`, {
      messages: [{ data: 1 }, { data: 2 }],
    });
    expect([batch.status, codeOf(batch.body), batch.headers.get("retry-after")]).toEqual([
      429,
      "too-many-requests",
      "1",
    ]);
  });

  test("a fault of its own is tried again, and only then refused as unavailable", async () => {
    const once = queueThat((sends) => (sends === 1 ? lostConnection() : undefined));
    expect((await call({ INGRESS: once.INGRESS }, "POST", `${topic}/messages`, "x")).status).toBe(202);
    expect(once.sent).toHaveLength(2);
    const always = queueThat(() => lostConnection());
    const refused = await call({ INGRESS: always.INGRESS }, "POST", `${topic}/messages`, "x");
    expect([refused.status, codeOf(refused.body), refused.body.retryable]).toEqual([
      503,
      "unavailable",
      true,
    ]);
    expect(always.sent).toHaveLength(3);
  });

  test("record batches for several partitions go in sends that it can take", async () => {
    const wide = `/v1/topics/${unique("wide")}`;
    await api.call("PUT", wide, { json: { partitions: 16 } });
    const { INGRESS, sent } = queueThat(() => undefined);
    const data = "x".repeat(60_000);
    const ids = Array.from({ length: 1_000 }, (_, index) => `m${index}`);
    const onePerPartition = Map.groupBy(ids, (id) => partitionOf(id, 16)).values();
    const messages = [...onePerPartition].map(([id]) => ({ id, data }));
    const { status, body } = await call<{ messages: unknown[] }>(
      { INGRESS },
      "POST",
      `${wide}/messages/batch`,
      { messages },
    );
    expect([status, body.messages.length]).toEqual([202, 16]);
    expect(sent.reduce((sum, count) => sum + count)).toBe(16);
    expect(Math.max(...sent)).toBeLessThanOrEqual(4);
  });
});

describe("a partition", () => {
  const wait = { prefer: "wait" };

  test("a fault on the way is tried again with the same record batch id, so that nothing is stored twice", async () => {
    const { TOPIC, calls } = topicThat((_, count) =>
      count < 3 ? Promise.reject(lostConnection()) : undefined,
    );
    const { status, body } = await call<{ messages: Published[] }>(
      { TOPIC },
      "POST",
      `${topic}/messages`,
      "x",
      wait,
    );
    expect([status, body.messages[0]?.duplicate]).toEqual([201, false]);
    expect(calls).toHaveLength(3);
    expect(new Set(calls.map(({ batches }) => batches[0]?.batchId)).size).toBe(1);
  });

  test("an answer that got lost is answered again, word for word", async () => {
    const { TOPIC } = topicThat((append, count) => {
      if (count > 1) return undefined;
      const name = `${append.batches[0]?.generation}:${append.batches[0]?.partition}`;
      return bindings.TOPIC.getByName(name)
        .append(append)
        .then(() => Promise.reject(new Error("the answer is lost")));
    });
    const before = await api.call<{ head: number }>("GET", `${topic}/messages`);
    const { status, body } = await call<{ messages: Published[] }>(
      { TOPIC },
      "POST",
      `${topic}/messages`,
      "x",
      wait,
    );
    expect([status, body.messages[0]?.offset, body.messages[0]?.duplicate]).toEqual([
      201,
      before.head,
      false,
    ]);
    expect(await api.call("GET", `${topic}/messages`)).toMatchObject({ head: before.head + 1 });
  });

  test("one that cannot be reached is unavailable, and one that is overloaded is not pressed", async () => {
    const away = topicThat(() => Promise.reject(lostConnection()));
    const unreached = await call({ TOPIC: away.TOPIC }, "POST", `${topic}/messages`, "x", wait);
    expect([unreached.status, codeOf(unreached.body), away.calls.length]).toEqual([503, "unavailable", 3]);
    const busy = topicThat(() =>
      Promise.reject(Object.assign(new Error("overloaded"), { overloaded: true })),
    );
    const pressed = await call({ TOPIC: busy.TOPIC }, "POST", `${topic}/messages`, "x", wait);
    expect([pressed.status, codeOf(pressed.body), busy.calls.length]).toEqual([503, "overloaded", 1]);
  });

  test("one of several that refuses, refuses its own messages and no others", async () => {
    const wide = `/v1/topics/${unique("wide")}`;
    await api.call("PUT", wide, { json: { partitions: 8 } });
    const { TOPIC } = topicThat(({ batches }) =>
      batches[0]?.partition === 0 ? Promise.resolve(refuse("topic-full", "Full.")) : undefined,
    );
    const messages = Array.from({ length: 40 }, (_, index) => ({ orderingKey: `k${index}`, data: index }));
    const answer = await call<{ messages: Published[] }>({ TOPIC }, "POST", `${wide}/messages/batch`, {
      messages,
    });
    expect(answer.status).toBe(201);
    const refused = answer.body.messages.filter(({ error }) => error);
    expect(refused.length).toBeGreaterThan(0);
    expect(refused.length).toBeLessThan(40);
    expect(refused.every(({ error }) => error && codeOf(error) === "topic-full")).toBe(true);
  });

  test("one that is gone makes the catalog be read afresh, once", async () => {
    const { TOPIC, calls } = topicThat(() => Promise.resolve(refuse("gone", "Gone.")));
    const { status, body } = await call({ TOPIC }, "POST", `${topic}/messages`, "x", wait);
    expect([status, codeOf(body), calls.length]).toEqual([410, "gone", 1]);
  });

  test("a topic that was made anew behind the isolate's back takes the message that the old one was too late for", async () => {
    const name = unique("anew");
    await api.call("PUT", `/v1/topics/${name}`, { json: { partitions: 2 } });
    const { TOPIC, calls } = topicThat((_, count) => {
      if (count > 1) return undefined;
      const remade = api
        .call("DELETE", `/v1/topics/${name}`)
        .then(() => api.call("PUT", `/v1/topics/${name}`, { json: {} }));
      return remade.then(() => refuse("gone", "Gone."));
    });
    const { status } = await call({ TOPIC }, "POST", `/v1/topics/${name}/messages`, "x", { ...wait });
    const generations = calls.map(({ batches }) => batches[0]?.generation ?? "");
    expect([status, new Set(generations).size]).toEqual([201, 2]);
    expect(await api.call("GET", `/v1/topics/${name}/messages`)).toMatchObject({ head: 1 });
  });

  test("a partition that fails a pull or an ack does not take the others with it", async () => {
    const name = unique("partial");
    await api.call("PUT", `/v1/queues/${name}`, { json: { partitions: 6 } });
    const queue = api.subscriptionAt(`/v1/queues/${name}`);
    const messages = Array.from({ length: 30 }, (_, index) => ({ orderingKey: `k${index}`, data: index }));
    await api.call("POST", `/v1/queues/${name}/messages/batch`, { json: { messages } });
    const leased = await queue.pull({ max: 30 });
    const broken = leased[0]?.partition;
    const SUBSCRIPTION: Env["SUBSCRIPTION"] = {
      getByName: (object) =>
        object.endsWith(`:${broken}`)
          ? ({
              ack: () => Promise.reject(lostConnection()),
            } as unknown as SubscriptionCalls)
          : bindings.SUBSCRIPTION.getByName(object),
    };
    const ackIds = leased.map(({ ackId }) => ackId);
    const { status, body } = await call<{ results: { status?: string; error?: Problem }[] }>(
      { SUBSCRIPTION },
      "POST",
      `/v1/queues/${name}/ack`,
      { ackIds },
    );
    expect(status).toBe(200);
    const expected = leased.map(({ partition }) => (partition === broken ? "unavailable" : "acked"));
    expect(body.results.map((each) => each.status ?? (each.error && codeOf(each.error)))).toEqual(expected);
  });
});

describe("the catalog", () => {
  test("while D1 is away an unknown topic is unavailable, not unknown", async () => {
    const away = () => Promise.reject(new Error("D1_ERROR: away"));
    const statement = { bind: () => statement, all: away, raw: away, run: away, first: away };
    const CATALOG = { prepare: () => statement, batch: away } as unknown as D1Database;
    const { status, body, headers } = await call({ CATALOG }, "POST", `${topic}/messages`, "x");
    expect([status, codeOf(body), body.retryable]).toEqual([503, "unavailable", true]);
    expect(headers.get("retry-after")).not.toBeNull();
    // Of the form that a token has: what has not is refused without a look.
    const token = { authorization: `Bearer pp_${"x".repeat(43)}` };
    expect((await call({ CATALOG }, "POST", `${topic}/messages`, "x", token)).status).toBe(503);
  });

  test("while the ledger is away a claim is unavailable", async () => {
    const away = () => Promise.reject(new Error("D1_ERROR: away"));
    const statement = { bind: () => statement };
    const LEDGER = { prepare: () => statement, batch: away } as unknown as D1Database;
    const claim = { messageId: "m", claimant: "c" };
    const { status, body } = await call({ LEDGER }, "POST", "/v1/ledgers/l/claims", claim);
    expect([status, codeOf(body)]).toEqual([503, "unavailable"]);
  });
});

describe("stranded record batches", () => {
  async function strand(id: string, generation: string): Promise<void> {
    const batch = recordBatch(generation, [message("lost-1"), message("lost-2")], {}, id);
    const stranding = { id, generation, partition: 0, reason: "gone", messageCount: 2 } as const;
    const store = new StrandedStore(bindings.CATALOG, systemRuntime);
    await store.strand([{ ...stranding, packed: packRecordBatch(batch) }]);
  }

  test("they are listed, sent on to the topic that is named, and then forgotten", async () => {
    const id = unique("batch");
    await strand(id, unique("generation"));
    const list = await api.call<{ stranded: { id: string }[] }>("GET", "/v1/stranded");
    expect(list.stranded.find((each) => each.id === id)).toMatchObject({ reason: "gone", messageCount: 2 });
    expect((await api.send("POST", `/v1/stranded/${id}/resend`, { json: {} })).status).toBe(410);
    const to = await api.topic();
    const json = { topic: to.path.slice("/v1/topics/".length) };
    const sent = await api.call("POST", `/v1/stranded/${id}/resend`, { json });
    expect(sent).toEqual({ partition: 0, firstOffset: 0, count: 2, refused: 0 });
    expect(await api.call("GET", `${to.path}/messages`)).toMatchObject({ head: 2 });
    expect((await api.send("POST", `/v1/stranded/${id}/resend`, { json })).status).toBe(404);
  });

  test("they can be given up", async () => {
    const id = unique("batch");
    await strand(id, unique("generation"));
    expect((await api.send("DELETE", `/v1/stranded/${id}`)).status).toBe(204);
    expect((await api.send("DELETE", `/v1/stranded/${id}`)).status).toBe(404);
  });
});
