// Limits where HTTP alone cannot show them: who has none pays nothing, who may not ask is told nothing, and a limiter that
// is away or whose answer is lost.

import { env } from "cloudflare:workers";
import { expect, test } from "vitest";
import type { Env } from "../../src/env";
import { createApp } from "../../src/http/app";
import type { LimiterCalls } from "../../src/limiter-calls";
import type { TopicCalls } from "../../src/topic-calls";
import { api, ORIGIN, ROOT_TOKEN } from "../support/api";
import { unique } from "../support/contract-client";

const app = createApp();
const real = env as unknown as Env;
const away: LimiterCalls = {
  take: () => Promise.reject(new Error("the limiter is away")),
  look: () => Promise.reject(new Error("the limiter is away")),
};

/** An isolate of its own, with this limiter. */
function isolate(limiterAt: (name: string) => LimiterCalls, others: Partial<Env> = {}) {
  const own: Env = { ...real, ...others, LIMITER: { getByName: limiterAt } };
  return async (method: string, path: string, token: string, body?: BodyInit) => {
    const headers = { authorization: `Bearer ${token}`, "content-type": "application/json", prefer: "wait" };
    const init = { method, headers, ...(body !== undefined && { body }) };
    const response = await app.request(`${ORIGIN}${path}`, init, own);
    return { status: response.status, headers: response.headers, text: await response.text() };
  };
}

async function tokenWith(limits: object, topics = "*") {
  const scopes = ["publish", "consume"].map((verb) => ({ verb, topics }));
  const { token } = await api.call<{ token: string }>("POST", "/v1/tokens", {
    json: { name: "limited", scopes, ...limits },
  });
  return token;
}

test("who has no limits asks no limiter, and is told of none", async () => {
  const queue = await api.queue();
  const token = await tokenWith({});
  const asked: string[] = [];
  const call = isolate((name) => {
    asked.push(name);
    return away;
  });
  for (const each of [token, ROOT_TOKEN]) {
    const published = await call("POST", `${queue.path}/messages`, each, "{}");
    const pulled = await call("POST", `${queue.path}/pull`, each, "{}");
    const shown = await call("GET", queue.path, each);
    expect([published.status, pulled.status, shown.status]).toEqual([201, 200, 200]);
    for (const { headers } of [published, pulled, shown]) {
      expect([headers.has("ratelimit"), headers.has("ratelimit-policy")]).toEqual([false, false]);
    }
  }
  expect(asked).toEqual([]);
});

test("who asks comes first: what is refused for its token or its scope counts nothing, and a spent limit tells no names", async () => {
  const prefix = unique("limited");
  await api.topic({}, `${prefix}-there`);
  const token = await tokenWith({ rateLimit: { perHour: 2 } }, `${prefix}*`);
  const call = isolate((name) => real.LIMITER.getByName(name));
  const [there, absent] = [`/v1/topics/${prefix}-there`, `/v1/topics/${prefix}-absent`];
  for (let i = 0; i < 3; i++) {
    const strange = await call("GET", there, "pp_nobody");
    const beyond = await call("GET", "/v1/topics/another", token);
    expect([strange.status, beyond.status]).toEqual([401, 403]);
    expect([strange, beyond].some(({ headers }) => headers.has("ratelimit-policy"))).toBe(false);
  }
  expect([(await call("GET", there, token)).status, (await call("GET", absent, token)).status]).toEqual([
    200, 404,
  ]);
  const refused = [await call("GET", there, token), await call("GET", absent, token)];
  expect(refused.map(({ status }) => status)).toEqual([429, 429]);
  expect(refused[0]?.text).toBe(refused[1]?.text);
});

test("a request that is refused for a limit is not read", async () => {
  const token = await tokenWith({ rateLimit: { perHour: 1 } });
  const call = isolate((name) => real.LIMITER.getByName(name));
  let reads = 0;
  const pull = () => {
    reads += 1;
  };
  const body = () => new ReadableStream({ pull }, { highWaterMark: 0 }) as unknown as BodyInit;
  await call("GET", "/v1/topics", token);
  const refused = await call("POST", `/v1/topics/${unique("t")}/messages/batch`, token, body());
  expect([refused.status, reads]).toEqual([429, 0]);
});

test("while the limiter is away a rate lets its limit through, and then says that it cannot tell", async () => {
  const token = await tokenWith({ rateLimit: { perHour: 3 } });
  const call = isolate(() => away);
  const answers = [];
  for (let i = 0; i < 4; i++) answers.push(await call("GET", "/v1/topics", token));
  expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 503]);
  expect(answers[3]?.headers.get("retry-after")).toBe("1");
  expect(answers[3]?.text).toContain('"violated-policies":["token-rate"]');
});

test("while the limiter is away a quota lets a hundredth of it through, and what has one can be shown", async () => {
  const topic = await api.topic({ publishQuota: { perMonth: 200 } });
  const call = isolate(() => away);
  const publish = () => call("POST", `${topic.path}/messages`, ROOT_TOKEN, "x");
  const statuses = [(await publish()).status, (await publish()).status, (await publish()).status];
  expect(statuses).toEqual([201, 201, 503]);
  const shown = await call("GET", topic.path, ROOT_TOKEN);
  expect([shown.status, JSON.parse(shown.text).limits]).toEqual([
    200,
    [{ policy: "topic-quota", limit: 200, left: null, resetsAt: null }],
  ]);
});

test("a socket that a limited token opens is a socket, and its answer has the headers", async () => {
  const queue = await api.queue();
  const token = await tokenWith({ rateLimit: { perHour: 2 } });
  const headers = { authorization: `Bearer ${token}`, upgrade: "websocket" };
  const answer = await app.request(`${ORIGIN}${queue.path}/socket`, { headers }, env);
  const { webSocket } = answer;
  expect([answer.status, answer.headers.get("ratelimit-policy")]).toEqual([101, '"token-rate";q=2;w=3600']);
  webSocket?.accept();
  const said = new Promise((resolve) => webSocket?.addEventListener("message", ({ data }) => resolve(data)));
  webSocket?.send("no JSON");
  expect(await said).toContain('"type":"open"');
  webSocket?.close();
});

test("an ask whose answer is lost is asked again, and counts once", async () => {
  const token = await tokenWith({ rateLimit: { perHour: 10 } });
  let calls = 0;
  const call = isolate((name) => ({
    look: (look) => real.LIMITER.getByName(name).look(look),
    take: async (take) => {
      const answer = await real.LIMITER.getByName(name).take(take);
      calls += 1;
      if (calls === 1) throw new Error("the answer is lost");
      return answer;
    },
  }));
  const { headers } = await call("GET", "/v1/topics", token);
  expect([calls, headers.get("ratelimit")]).toEqual([2, expect.stringMatching(/^"token-rate";r=9;t=\d+$/)]);
});

test.each(["messages", "request"])(
  "a message to %s counts that may have been stored, though its answers were lost",
  async (to) => {
    const queue = await api.queue({ publishQuota: { perDay: 10 } });
    const topicAt = (name: string): TopicCalls => {
      const topic = real.TOPIC.getByName(name);
      const append: TopicCalls["append"] = async (call) => {
        await topic.append(call);
        throw new Error("the answer is lost");
      };
      return new Proxy(topic, { get: (calls, key) => (key === "append" ? append : Reflect.get(calls, key)) });
    };
    const call = isolate((name) => real.LIMITER.getByName(name), { TOPIC: { getByName: topicAt } });
    const { status, headers } = await call("POST", `${queue.path}/${to}`, ROOT_TOKEN, "{}");
    expect([status, headers.get("ratelimit")]).toEqual([503, expect.stringContaining('"topic-quota";r=9;')]);
    expect((await queue.stats())[0]).toMatchObject({ head: 1 });
  },
);
