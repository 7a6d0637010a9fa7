// Public keys are read by anyone, again and again: an isolate that has read them asks D1 no more for a while.

import { env } from "cloudflare:workers";
import { expect, test } from "vitest";
import type { Env } from "../../src/env";
import { createApp } from "../../src/http/app";
import { limits } from "../../src/limits";
import { api, ORIGIN } from "../support/api";
import { testRuntime } from "../support/objects";

/** An isolate of its own, whose questions to D1 are counted, with a clock that the test moves. */
function isolate() {
  const clock = testRuntime();
  const app = createApp(clock);
  const { CATALOG } = env as unknown as Env;
  let questions = 0;
  let isAway = false;
  const counted = new Proxy(CATALOG, {
    get: (d1, method: keyof D1Database) => {
      if (method !== "prepare") return (...parts: never[]) => (d1[method] as CallableFunction)(...parts);
      return (query: string) => {
        questions += 1;
        return d1.prepare(isAway ? "SELECT * FROM what_is_not_there WHERE a = ?1 OR b = ?2" : query);
      };
    },
  });
  const bindings = { ...(env as object), CATALOG: counted };
  return {
    clock,
    questions: () => questions,
    leave: () => {
      isAway = true;
    },
    get: (path: string, address?: string) =>
      app.request(
        `${ORIGIN}${path}`,
        { headers: address === undefined ? {} : { "cf-connecting-ip": address } },
        bindings,
      ),
  };
}

test("a set of public keys is read once in a while, however often it is asked for, and told while D1 is away", async () => {
  const topic = await api.topic();
  const endpoint = { url: "https://hooks.example.com/", signatures: ["v1a"] };
  const path = `${topic.path}/subscriptions/s`;
  const made = await api.call<{ endpoint: { keysUrl: string } }>("PUT", path, {
    json: { type: "push", endpoint },
  });
  const { keysUrl } = made.endpoint;
  const { clock, questions, get, leave } = isolate();
  for (let reads = 0; reads < 20; reads++) {
    const response = await get(keysUrl);
    expect(response.status).toBe(200);
    expect(response.headers.get("cache-control")).toBe("public, max-age=300");
    expect(await response.json()).toMatchObject({ keys: [{ whpk: expect.stringMatching(/^whpk_/) }] });
  }
  expect(questions()).toBe(1);
  clock.advance(limits.keySetFreshMs);
  expect(JSON.stringify(await (await get(keysUrl)).json())).not.toContain("secret");
  expect(questions()).toBe(2);
  leave();
  clock.advance(limits.keySetFreshMs);
  expect((await get(keysUrl)).status).toBe(200);
});

test("a name that nobody has is asked for once in a while, and answered 404", async () => {
  const { questions, get } = isolate();
  const path = `/v1/signing-keys/${crypto.randomUUID()}`;
  for (let reads = 0; reads < 20; reads++) {
    const response = await get(path);
    expect([response.status, response.headers.get("cache-control")]).toEqual([404, "public, max-age=10"]);
  }
  expect(questions()).toBe(1);
});

test("an address that makes up names is refused after a few, and costs D1 no more; others, and what is known, are not", async () => {
  const topic = await api.topic();
  const made = await api.call<{ endpoint: { keysUrl: string } }>("PUT", `${topic.path}/subscriptions/s`, {
    json: { type: "push", endpoint: { url: "https://hooks.example.com/", signatures: ["v1a"] } },
  });
  const { keysUrl } = made.endpoint;
  const { clock, questions, get } = isolate();
  const madeUp = () => `/v1/signing-keys/${crypto.randomUUID()}`;
  const at = "2001:db8::1";
  await get(keysUrl, at);
  for (let asked = 0; asked < limits.unknownKeySetsByAddress; asked++) {
    expect((await get(madeUp(), at)).status).toBe(404);
  }
  const before = questions();
  for (let asked = 0; asked < 20; asked++) {
    const refused = await get(madeUp(), at);
    expect([refused.status, Number(refused.headers.get("retry-after")) <= 60]).toEqual([429, true]);
  }
  expect((await get(keysUrl, at)).status).toBe(200);
  expect(questions()).toBe(before);
  expect((await get(madeUp(), "192.0.2.1")).status).toBe(404);
  clock.advance(limits.unknownKeySetsMs);
  expect((await get(keysUrl, at)).status).toBe(200);
});

test("all who make up names at once cost D1 no more questions in a minute than an isolate allows", async () => {
  const { questions, get } = isolate();
  const asks = Array.from({ length: limits.unknownKeySets + 100 }, (_, index) =>
    get(`/v1/signing-keys/${crypto.randomUUID()}`, `198.51.${index % 256}.${index >> 8}`),
  );
  const statuses = (await Promise.all(asks)).map(({ status }) => status);
  expect(statuses.filter((status) => status === 429)).toHaveLength(100);
  expect(questions()).toBe(limits.unknownKeySets);
});
