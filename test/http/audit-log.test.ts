// Every route that changes what exists leaves one record in the audit log, under the name of whoever asked; reading and
// what is refused before it is begun leaves none.

import { env } from "cloudflare:workers";
import { afterEach, expect, test, vi } from "vitest";
import { StrandedStore } from "../../src/catalog/stranded-store";
import type { Env } from "../../src/env";
import { routes } from "../../src/http/app";
import { isAdministrative } from "../../src/http/request-routes";
import { systemRuntime } from "../../src/runtime";
import { api } from "../support/api";
import { unique } from "../support/contract-client";

type Record = Readonly<{
  number: number;
  actor: string;
  actorName: string;
  action: string;
  resource: string;
  requestId: string;
  outcome: string;
  details: unknown;
}>;
type Step = readonly [route: string, path: string, json: object | undefined, action: string];

afterEach(() => {
  vi.restoreAllMocks();
});

const newest = async () => {
  const { records } = await api.call<{ records: Record[] }>("GET", "/v1/audit-log?limit=5");
  return records;
};

const t = unique("audited");
const [topic, queue, subscription] = [
  `/v1/topics/${t}`,
  `/v1/queues/${t}-q`,
  `/v1/topics/${t}/subscriptions/s`,
];
const push = { type: "push", endpoint: { url: "https://hooks.example.com/secret-path" } };
const verified = `/v1/topics/${t}/subscriptions/v`;
const verifying = { ...push, endpoint: { ...push.endpoint, verification: "challenge" } };
const schedule = { topic: t, cron: "0 0 1 1 *", message: { data: "secret-data" } };

const below = (base: string, path: string): readonly Step[] => [
  [`POST ${base}/pause`, `${path}/pause`, undefined, "pause"],
  [`POST ${base}/resume`, `${path}/resume`, undefined, "resume"],
  [`POST ${base}/rotate-secret`, `${path}/rotate-secret`, {}, "change"],
  [`POST ${base}/expire-secrets`, `${path}/expire-secrets`, {}, "change"],
  [`POST ${base}/seek`, `${path}/seek`, { to: "earliest", reprocess: true }, "seek"],
  [`PUT ${base}/snapshots/{snapshot}`, `${path}/snapshots/x`, undefined, "create"],
  [`DELETE ${base}/snapshots/{snapshot}`, `${path}/snapshots/x`, undefined, "delete"],
  [`POST ${base}/dead-letters/redrive`, `${path}/dead-letters/redrive`, { all: true }, "redrive"],
  [`DELETE ${base}/dead-letters`, `${path}/dead-letters`, { all: true }, "purge"],
];
const producers = (base: string, path: string): readonly Step[] => [
  [`PUT ${base}/producers/{name}`, `${path}/producers/p`, { lastSequence: 5 }, "change"],
  [`DELETE ${base}/producers/{name}`, `${path}/producers/p`, undefined, "delete"],
];

async function steps(): Promise<readonly Step[]> {
  const { id } = await api.call<{ id: string }>("POST", "/v1/tokens", {
    json: { name: "another", scopes: [{ verb: "publish", topics: t }] },
  });
  const stranded = new StrandedStore((env as unknown as Env).CATALOG, systemRuntime);
  const batch = {
    topic: null,
    generation: null,
    partition: null,
    messageCount: 0,
    packed: new Uint8Array([1]),
  };
  await stranded.strand([{ ...batch, id: t, reason: "unreadable" }]);
  return [
    ["PUT /v1/topics/{topic}", topic, {}, "create"],
    ["PUT /v1/topics/{topic}", topic, { retentionMs: 60_000 }, "change"],
    ["PUT /v1/topics/{topic}", topic, { retentionMs: 60_000, partitions: 2 }, "raise"],
    ...producers("/v1/topics/{topic}", topic),
    ["PUT /v1/topics/{topic}/subscriptions/{subscription}", subscription, push, "create"],
    ...below("/v1/topics/{topic}/subscriptions/{subscription}", subscription),
    ["PUT /v1/queues/{queue}", queue, push, "create"],
    ["PUT /v1/queues/{queue}", queue, { ...push, maxInFlight: 5 }, "change"],
    ...producers("/v1/queues/{queue}", queue),
    ...below("/v1/queues/{queue}", queue),
    ["PUT /v1/topics/{topic}/subscriptions/{subscription}", verified, verifying, "create"],
    [
      "POST /v1/topics/{topic}/subscriptions/{subscription}/verify",
      `${verified}/verify`,
      undefined,
      "verify",
    ],
    ["PUT /v1/queues/{queue}", queue, { ...verifying, maxInFlight: 5 }, "change"],
    ["POST /v1/queues/{queue}/verify", `${queue}/verify`, undefined, "verify"],
    ["PUT /v1/schedules/{schedule}", `/v1/schedules/${t}`, schedule, "create"],
    ["PUT /v1/schedules/{schedule}", `/v1/schedules/${t}`, { ...schedule, cron: "0 0 2 1 *" }, "change"],
    ["POST /v1/schedules/{schedule}/pause", `/v1/schedules/${t}/pause`, undefined, "pause"],
    ["POST /v1/schedules/{schedule}/resume", `/v1/schedules/${t}/resume`, undefined, "resume"],
    ["DELETE /v1/schedules/{schedule}", `/v1/schedules/${t}`, undefined, "delete"],
    ["POST /v1/tokens", "/v1/tokens", { name: "x", scopes: [{ verb: "publish", topics: t }] }, "create"],
    ["POST /v1/tokens/{id}/rotate", `/v1/tokens/${id}/rotate`, {}, "rotate"],
    ["PUT /v1/tokens/{id}/limits", `/v1/tokens/${id}/limits`, { quota: { perDay: 9 } }, "change"],
    ["DELETE /v1/tokens/{id}", `/v1/tokens/${id}`, undefined, "delete"],
    ["POST /v1/stranded/{id}/resend", `/v1/stranded/${t}/resend`, {}, "resend"],
    ["DELETE /v1/stranded/{id}", `/v1/stranded/${t}`, undefined, "delete"],
    ["DELETE /v1/topics/{topic}/subscriptions/{subscription}", subscription, undefined, "delete"],
    ["DELETE /v1/queues/{queue}", queue, undefined, "delete"],
    ["DELETE /v1/topics/{topic}", topic, undefined, "delete"],
  ];
}

test("each administrative route leaves one record of what was done, to what, by whom, and no secret", async () => {
  // The endpoint is there, and grants nothing.
  vi.spyOn(globalThis, "fetch").mockImplementation(async () => new Response("no", { status: 200 }));
  const all = await steps();
  const known = new Set(
    routes.filter(isAdministrative).map(({ method, path }) => `${method.toUpperCase()} ${path}`),
  );
  expect([...known].filter((name) => !all.some(([route]) => route === name))).toEqual([]);

  const json = { name: "the auditor", scopes: [{ verb: "admin", topics: "*" }] };
  const { id, token } = await api.call<{ id: string; token: string }>("POST", "/v1/tokens", { json });
  for (const [route, path, body, action] of all) {
    const [before] = await newest();
    const method = route.slice(0, route.indexOf(" "));
    const answer = await api.send(method, path, { token, ...(body && { json: body }) });
    // The broker asks an endpoint by itself, too.
    const records = (await newest()).filter(
      ({ number, actor }) => number > (before?.number ?? 0) && actor !== "broker",
    );
    expect(records, `${route}: ${JSON.stringify(answer.body)}`).toHaveLength(1);
    expect(records[0]).toMatchObject({
      ...{ action, actor: id, actorName: "the auditor" },
      requestId: answer.headers.get("pennypost-request-id"),
      outcome: answer.status < 300 ? "done" : expect.stringMatching(/^[a-z-]+$/),
    });
    expect(`/v1/${records[0]?.resource}`).toContain(route.includes("{") ? path.split("/")[3] : "tokens/");
    expect(JSON.stringify(records)).not.toMatch(/secret-path|secret-data|whsec_|pennypost_/);
  }
});

test("what changes nothing leaves no record: a dry run, the same again, what was refused at the door", async () => {
  const name = unique("audited");
  const at = `/v1/topics/${name}`;
  await api.call("PUT", at, { json: {} });
  await api.call("PUT", `${at}/subscriptions/s`, { json: {} });
  const [before] = await newest();
  await api.call("PUT", at, { json: {} });
  await api.call("PUT", `${at}/subscriptions/s`, { json: {} });
  await api.call("POST", `${at}/subscriptions/s/resume`);
  await api.call("POST", `${at}/subscriptions/s/seek`, { json: { to: "latest", dryRun: true } });
  await api.call("POST", `${at}/messages`, { body: "x", headers: { prefer: "wait" } });
  await api.call("POST", `${at}/subscriptions/s/pull`);
  await api.send("PUT", at, { json: { retentionMs: 1 } });
  await api.send("PUT", at, { json: { retentionMs: 60_000 }, token: null });
  await api.send("DELETE", `${at}/subscriptions/absent`);
  expect((await newest())[0]?.number).toBe(before?.number);
});
