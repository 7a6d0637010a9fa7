// What the broker's own key is for: without it nothing secret is taken; what it sealed, and what lies there from before,
// is sealed anew when the key is exchanged; and no secret lies anywhere in plain.

import { env as testEnv } from "cloudflare:workers";
import { expect, test } from "vitest";
import { CatalogStore } from "../../src/catalog/catalog-store";
import { putSubscription } from "../../src/catalog/subscription-lifecycle";
import { sweep } from "../../src/catalog/sweep";
import type { Env } from "../../src/env";
import { createApp } from "../../src/http/app";
import { systemRuntime } from "../../src/runtime";
import { defaultSubscriptionSettings, type SubscriptionSettings } from "../../src/settings";
import { api, ROOT_TOKEN } from "../support/api";
import { value } from "../support/result";

type Problem = { type: string; detail: string };

const env = testEnv as unknown as Env;
const store = new CatalogStore(env.CATALOG, systemRuntime);
const catalogOf = (more: Partial<Env>) => ({ env: { ...env, ...more }, store, runtime: systemRuntime });
const NEW_KEY = "new-secrets-key-0123456789abcdefgh";
const EXCHANGED = { SECRETS_KEY: NEW_KEY, SECRETS_KEY_OLD: env.SECRETS_KEY ?? "" };
const endpoint = {
  ...{ url: "https://hooks.example.com/x", headers: { "x-api-key": "hunter2" }, signatures: ["v1", "v1a"] },
  auth: { type: "bearer", token: "hunter2" },
};

async function rowOf(generation: string): Promise<string> {
  const query = env.CATALOG.prepare("SELECT settings FROM subscriptions WHERE generation = ?1");
  return (await query.bind(generation).first<string>("settings")) ?? "";
}

/** A push subscription with secrets of every sort, and its row. */
async function pushed() {
  const topic = await api.topic();
  const path = `${topic.path}/subscriptions/s`;
  const made = await api.call<{ endpoint: { keysUrl: string; signingSecret: string } }>("PUT", path, {
    json: { type: "push", endpoint },
  });
  const generation = made.endpoint.keysUrl.split("/").at(-1) ?? "";
  return { path, made, generation, topicName: topic.path.split("/").at(-1) ?? "" };
}

const keysIn = (row: string) => new Set(row.match(/s1\.[0-9a-f]{8}\./g));

test("without SECRETS_KEY what would need it is refused, saying what to set, and all else works", async () => {
  const { path } = await pushed();
  const ask = (method: string, at: string, json: object = {}) =>
    createApp().request(
      at,
      {
        method,
        headers: { authorization: `Bearer ${ROOT_TOKEN}`, "content-type": "application/json" },
        body: JSON.stringify(json),
      },
      { ...env, SECRETS_KEY: undefined, SECRETS_KEY_OLD: NEW_KEY },
    );
  for (const refused of [
    await ask("PUT", `${path}-2`, { type: "push", endpoint: { url: endpoint.url } }),
    await ask("POST", `${path}/rotate-secret`),
    await ask("POST", `${path}/expire-secrets`),
  ]) {
    const { type, detail } = await refused.json<Problem>();
    expect([refused.status, type]).toEqual([503, "/docs/problems#not-configured"]);
    expect(detail).toContain("wrangler secret put SECRETS_KEY");
  }
  expect((await ask("PUT", `${path}-3`)).status).toBe(201);
  expect((await ask("POST", `${path}/pause`)).status).toBe(200);
});

test("a key that is too short is named, and not quoted", async () => {
  const answer = await createApp().request("/v1/topics", {}, { ...env, SECRETS_KEY: "hunter2" });
  const { detail } = await answer.json<Problem>();
  expect([answer.status, /SECRETS_KEY/.test(detail), /hunter2/.test(detail)]).toEqual([503, true, false]);
});

test("no secret lies in D1 in plain", async () => {
  const { made, generation } = await pushed();
  const row = await rowOf(generation);
  expect(row).toContain("https://hooks.example.com/x");
  expect(row).not.toMatch(/hunter2|whsec_|whsk_/);
  expect(row).not.toContain(made.endpoint.signingSecret.slice(6));
});

test("while the key is exchanged the sweep seals everything under the new one, and nothing else is to be seen of it", async () => {
  const { path, generation } = await pushed();
  const shown = await api.call<object>("GET", path);
  const [before] = keysIn(await rowOf(generation));
  await sweep(catalogOf({}), async () => 0);
  expect([...keysIn(await rowOf(generation))]).toEqual([before]);
  const swept = await sweep(catalogOf(EXCHANGED), async () => 0);
  expect(swept.faults).toEqual([]);
  expect(swept.resealed).toBeGreaterThan(0);
  const after = keysIn(await rowOf(generation));
  expect([after.size, after.has(before ?? "")]).toEqual([1, false]);
  expect(await sweep(catalogOf(EXCHANGED), async () => 0)).toMatchObject({ resealed: 0 });
  expect(await api.call("GET", path)).toMatchObject({ endpoint: (shown as { endpoint: object }).endpoint });
});

test("what lies there in plain from before is sealed when it is touched", async () => {
  const { topicName, path } = await pushed();
  const settings: SubscriptionSettings = {
    ...defaultSubscriptionSettings,
    type: "push",
    push: {
      ...{ url: endpoint.url, headers: {}, timeoutMs: 30_000, batchMaxMessages: 1, batchMaxWaitMs: 0 },
      secrets: [`whsec_${btoa("x".repeat(32))}`],
    },
  };
  const topic = value(await store.topic(topicName));
  const plain = { topic, name: "old", settings, startAt: { at: "latest" } } as const;
  const { entry } = value(await putSubscription(catalogOf({}), plain));
  expect(await rowOf(entry.generation)).toContain("whsec_");
  const json = { type: "push", endpoint: { url: endpoint.url } };
  const touched = await api.call<{ endpoint: object }>("PUT", path.replace(/s$/, "old"), { json });
  // It is the secret that signed before: none is made, and none is shown.
  expect(touched.endpoint).not.toHaveProperty("signingSecret");
  const row = await rowOf(entry.generation);
  expect([/whsec_/.test(row), keysIn(row).size]).toEqual([false, 1]);
});
