// Who may do what: nobody without a token, and nobody more than their scopes say.

import { env } from "cloudflare:workers";
import { beforeAll, describe, expect, test } from "vitest";
import { createApp } from "../../src/http/app";
import { mayDo, onlyPublishesTo, parseScope, scopeText, type Verb } from "../../src/http/scope";
import { api, callWorker, tokenFor } from "../support/api";
import { codeOf, type Problem, unique } from "../support/contract-client";

const topic = unique("auth");
const path = `/v1/topics/${topic}`;

beforeAll(async () => {
  await api.call("PUT", path, { json: {} });
  await api.call("PUT", `${path}/subscriptions/s`, { json: {} });
});

describe("without a good token", () => {
  test.each([
    ["no header", {}],
    ["an empty header", { authorization: "" }],
    ["another scheme", { authorization: "Basic dGVzdDp0ZXN0" }],
    ["no token", { authorization: "Bearer " }],
    ["an unknown token", { authorization: "Bearer pp_unknown" }],
    ["the root token and more", { authorization: "Bearer test-root-token-0123456789x" }],
    ["a token of absurd length", { authorization: `Bearer ${"x".repeat(5_000)}` }],
  ])("%s is answered 401, with how to authenticate", async (_, headers: Record<string, string>) => {
    const response = await callWorker(path, { headers });
    expect(response.status).toBe(401);
    expect(response.headers.get("www-authenticate")).toMatch(/^Bearer/);
    expect(await response.json()).toMatchObject({ type: "/docs/problems#unauthenticated", retryable: false });
  });

  test("whether a name exists is not told", async () => {
    const answers = await Promise.all(
      [path, `/v1/topics/${unique("absent")}`, "/v1/topics/%00bad%00"].map(async (each) =>
        JSON.stringify((await api.send("GET", each, { token: null })).body),
      ),
    );
    expect(new Set(answers).size).toBe(1);
  });

  test("health, the OpenAPI document and the pages are open", async () => {
    for (const open of ["/healthz", "/openapi.json", "/docs", "/docs/problems"]) {
      expect((await callWorker(open)).status).toBe(200);
    }
    expect((await callWorker("/metrics")).status).toBe(401);
  });
});

describe("scopes", () => {
  const refused = async (method: string, at: string, token: string, json: unknown = {}) => {
    const answer = await api.send<Problem>(method, at, { token, ...(method !== "GET" && { json }) });
    return answer.status === 403 ? codeOf(answer.body) : answer.status;
  };

  test("a token to publish publishes, and does nothing else", async () => {
    const token = await tokenFor({ verb: "publish", topics: topic });
    expect(await refused("POST", `${path}/messages`, token)).toBe(202);
    expect(await refused("POST", `${path}/subscriptions/s/pull`, token)).toBe("forbidden");
    expect(await refused("PUT", path, token)).toBe("forbidden");
    expect(await refused("POST", "/v1/tokens", token)).toBe("forbidden");
    expect(await refused("GET", "/metrics", token)).toBe("forbidden");
  });

  test("a token to consume pulls and uses ledgers, and neither publishes nor manages", async () => {
    const token = await tokenFor({ verb: "consume", topics: "auth-*" });
    expect(await refused("POST", `${path}/subscriptions/s/pull`, token)).toBe(200);
    const claim = { messageId: "m", claimant: "c" };
    expect(await refused("POST", `/v1/ledgers/auth-${topic}/claims`, token, claim)).toBe(201);
    expect(await refused("POST", "/v1/ledgers/other/claims", token, claim)).toBe("forbidden");
    expect(await refused("POST", `${path}/messages`, token)).toBe("forbidden");
    expect(await refused("DELETE", path, token)).toBe("forbidden");
  });

  test("a scope on other names says nothing about whether this one exists", async () => {
    const token = await tokenFor({ verb: "manage", topics: "elsewhere.*" });
    expect(await refused("GET", path, token)).toBe("forbidden");
    expect(await refused("GET", `/v1/topics/${unique("absent")}`, token)).toBe("forbidden");
  });

  test("a list shows what the token has a scope on", async () => {
    const token = await tokenFor({ verb: "publish", topics: topic });
    const names = async (as?: string) => {
      const { body } = await api.send<{ topics: { name: string }[] }>("GET", "/v1/topics", {
        ...(as !== undefined && { token: as }),
      });
      return body.topics.map(({ name }) => name);
    };
    await api.call("PUT", `/v1/topics/${unique("another")}`, { json: {} });
    expect(await names(token)).toEqual([topic]);
    expect((await names()).length).toBeGreaterThan(1);
  });

  test("a deleted token is refused at once by the isolate that deleted it", async () => {
    const made = await api.call<{ id: string; token: string }>("POST", "/v1/tokens", {
      json: { name: "short", scopes: [{ verb: "manage", topics: "*" }] },
    });
    expect((await api.send("GET", path, { token: made.token })).status).toBe(200);
    expect((await api.send("DELETE", `/v1/tokens/${made.id}`)).status).toBe(204);
    expect((await api.send("GET", path, { token: made.token })).status).toBe(401);
    expect(codeOf((await api.send("DELETE", `/v1/tokens/${made.id}`)).body)).toBe("token-not-found");
  });

  test("an expired token is unknown", async () => {
    const json = { name: "past", scopes: [{ verb: "manage", topics: "*" }], expiresAt: 1 };
    const { token } = await api.call<{ token: string }>("POST", "/v1/tokens", { json });
    expect((await api.send("GET", path, { token })).status).toBe(401);
  });

  test("the text of a token is shown once", async () => {
    const token = await tokenFor({ verb: "publish", topics: "secret-*" });
    expect(token).toMatch(/^pennypost_[0-9A-Za-z]{49}$/);
    const list = await api.send("GET", "/v1/tokens");
    expect(JSON.stringify(list.body)).not.toContain(token);
    expect(JSON.stringify(list.body)).toContain('"secret-*"');
  });
});

describe("a token in the URL", () => {
  const publish = (token: string) =>
    api.send<Problem>("POST", `/v1/in/${token}`, { token: null, body: "raw" });

  test("publishes to the one topic of its one scope", async () => {
    expect((await publish(await tokenFor({ verb: "publish", topics: topic }))).status).toBe(202);
  });

  test.each([
    ["a pattern", [{ verb: "publish", topics: "auth-*" }]],
    ["another verb", [{ verb: "manage", topics: topic }]],
    [
      "two scopes",
      [
        { verb: "publish", topics: topic },
        { verb: "consume", topics: topic },
      ],
    ],
  ])("a token with %s is refused: URLs are logged", async (_, scopes) => {
    const answer = await publish(await tokenFor(...scopes));
    expect([answer.status, codeOf(answer.body)]).toEqual([403, "forbidden"]);
  });

  test("an unknown token and the root token are refused", async () => {
    expect((await publish("pp_unknown")).status).toBe(401);
    expect((await publish("test-root-token-0123456789")).status).toBe(401);
  });
});

describe("a broker that is not configured", () => {
  const ask = (more: object, at = "/v1/topics") =>
    createApp().request(at, { headers: { authorization: "Bearer x" } }, { ...env, ...more });

  test("without ROOT_TOKEN it refuses everything and says what to set", async () => {
    for (const at of ["/v1/topics", "/healthz", "/openapi.json", "/metrics"]) {
      const response = await ask({ ROOT_TOKEN: undefined, ENVIRONMENT: "production" }, at);
      expect(response.status).toBe(503);
      expect(await response.json()).toMatchObject({
        type: "/docs/problems#not-configured",
        detail: expect.stringContaining("ROOT_TOKEN"),
      });
    }
  });

  test("a variable out of its bounds is named, and its value is not", async () => {
    const response = await ask({ ROOT_TOKEN: "too-short", LOG: "perhaps" });
    const { detail } = await response.json<Problem>();
    expect(detail).toMatch(/LOG.*ROOT_TOKEN/);
    expect(detail).not.toContain("too-short");
  });
});

describe("scopes as words", () => {
  const holder = (...scopes: string[]) => ({
    id: "t",
    scopes: scopes.flatMap((scope) => parseScope(scope) ?? []),
  });

  test.each<[string, Verb, string, boolean]>([
    ["publish:a", "publish", "a", true],
    ["publish:a", "publish", "ab", false],
    ["publish:a*", "publish", "ab", true],
    ["publish:a.*", "publish", "a", false],
    ["publish:*", "publish", "anything", true],
    ["publish:*", "manage", "anything", false],
    ["manage:a*", "manage", "*", false],
    ["manage:*", "manage", "*", true],
    ["admin:*", "manage", "anything", true],
    ["unknown:*", "publish", "a", false],
  ])("%s grants %s on %s: %s", (scope, verb, name, expected) => {
    expect(mayDo(holder(scope), [verb], name)).toBe(expected);
  });

  test("only a single exact publish scope may stand in a URL", () => {
    expect(onlyPublishesTo(holder("publish:a"))).toBe("a");
    expect(
      [["publish:a*"], ["manage:a"], ["publish:a", "publish:b"], []].map((s) =>
        onlyPublishesTo(holder(...s)),
      ),
    ).toEqual([undefined, undefined, undefined, undefined]);
  });

  test("a scope survives being kept", () => {
    const scope = { verb: "consume", topics: "a.*" } as const;
    expect(parseScope(scopeText(scope))).toEqual(scope);
  });
});
