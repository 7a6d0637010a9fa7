// Every route of the OpenAPI document, asked by those who may not: whether a name exists makes no difference to the
// answer, and no byte of the body is read.

import { env } from "cloudflare:workers";
import { beforeAll, describe, expect, test } from "vitest";
import { createApp, openApi } from "../../src/http/app";
import { TOKEN_SECRET_BYTES, tokenText } from "../../src/http/token-text";
import { api, ORIGIN, tokenFor } from "../support/api";
import { unique } from "../support/contract-client";

type Operation = Readonly<{ security?: unknown }>;
type Names = Readonly<Record<string, string>>;
type Route = Readonly<{ method: string; path: string }>;

const app = createApp();
const { paths } = JSON.parse(openApi()) as { paths: Record<string, Record<string, Operation>> };
const guarded: Route[] = Object.entries(paths).flatMap(([path, methods]) =>
  Object.entries(methods).flatMap(([method, { security }]) =>
    security ? [{ path, method: method.toUpperCase() }] : [],
  ),
);
/** They name no topic in their path: who may is decided by what the body or D1 says. */
const isForAnyToken = ({ path }: Route) => /^\/v1\/(topics|queues|schedules)(\/\{schedule\}.*)?$/.test(path);
/** What a token may do at its like, it may have to be told. */
const isList = ({ path }: Route) => !path.includes("{");

const prefix = unique("told");
const there: Record<string, string> = { topic: `${prefix}-t`, queue: `${prefix}-q`, subscription: "s" };
const absent: Names = Object.fromEntries(
  ["topic", "queue", "subscription", "schedule", "snapshot", "id", "ledger", "messageId", "name"].map(
    (param) => [param, `${prefix}-absent`],
  ),
);

beforeAll(async () => {
  const topic = `/v1/topics/${there.topic}`;
  await api.call("PUT", topic, { json: {} });
  await api.call("PUT", `${topic}/subscriptions/s`, { json: {} });
  await api.call("PUT", `${topic}/subscriptions/s/snapshots/snap`);
  await api.call("PUT", `/v1/queues/${there.queue}`, { json: {} });
  const json = { topic: there.topic, cron: "0 0 1 1 *", message: { data: "x" } };
  await api.call("PUT", `/v1/schedules/${prefix}`, { json });
  await api.call("POST", `/v1/ledgers/${prefix}/claims`, { json: { messageId: "m", claimant: "c" } });
  const { messages } = await api.call<{ messages: { id: string }[] }>("POST", `${topic}/messages`, {
    body: "x",
    headers: { prefer: "wait" },
  });
  const { tokens } = await api.call<{ tokens: { id: string }[] }>("GET", "/v1/tokens");
  Object.assign(there, { schedule: prefix, snapshot: "snap", ledger: prefix, messageId: "m", name: "p" });
  Object.assign(there, { id: messages[0]?.id ?? tokens[0]?.id ?? "" });
});

/** What the answer says, with the names it was asked about taken out, and how much of the body was read. */
async function ask({ method, path }: Route, names: Names, authorization: string | null) {
  let reads = 0;
  const body = new ReadableStream(
    {
      pull: (controller) => {
        reads += 1;
        controller.enqueue(new TextEncoder().encode("{}"));
        controller.close();
      },
    },
    { highWaterMark: 0 },
  );
  const filled = path.replaceAll(/\{(\w+)\}/g, (_, param: string) => names[param] ?? `${prefix}-absent`);
  const response = await app.request(
    `${ORIGIN}${filled}`,
    {
      method,
      headers: { "content-type": "application/json", ...(authorization !== null && { authorization }) },
      ...(method !== "GET" && { body }),
    },
    env,
  );
  const text = await response.text();
  const headers = [...response.headers].filter(([name]) => name !== "pennypost-request-id");
  const said = Object.values(names).reduce((rest, name) => rest.replaceAll(`"${name}\\"`, '"…\\"'), text);
  return { status: response.status, headers, said, reads };
}

describe("without a token that is good", () => {
  const random = tokenText(crypto.getRandomValues(new Uint8Array(TOKEN_SECRET_BYTES)));
  test.each([
    ["no token", null],
    ["no token of ours", "Bearer nonsense"],
    ["a token with a false checksum", `Bearer pennypost_${"a".repeat(49)}`],
    ["a token that nobody made", `Bearer ${random}`],
  ])("%s: every route answers 401 alike, and reads nothing", async (_, authorization) => {
    const first = await ask({ method: "GET", path: "/v1/topics" }, there, authorization);
    expect([first.status, first.reads]).toEqual([401, 0]);
    const odd: string[] = [];
    for (const route of guarded) {
      for (const names of [there, absent]) {
        const answer = await ask(route, names, authorization);
        if (JSON.stringify(answer) !== JSON.stringify(first)) odd.push(`${route.method} ${route.path}`);
      }
    }
    expect(odd).toEqual([]);
    expect(guarded.length).toBeGreaterThan(80);
  });
});

test("with a token for other names, every route answers alike whether its names exist, and reads nothing", async () => {
  const other = { verb: "manage", topics: `${unique("other")}*` };
  const verbs = ["publish", "consume", "manage"].map((verb) => ({ ...other, verb }));
  const authorization = `Bearer ${await tokenFor(...verbs)}`;
  const odd: string[] = [];
  for (const route of guarded.filter((each) => !isList(each))) {
    const [one, two] = [await ask(route, there, authorization), await ask(route, absent, authorization)];
    const isSame = JSON.stringify(one) === JSON.stringify(two) && one.status >= 400;
    const isUnread = one.reads === 0 || isForAnyToken(route);
    if (!isSame || !isUnread) odd.push(`${route.method} ${route.path}: ${JSON.stringify([one, two])}`);
  }
  expect(odd).toEqual([]);
});

test("lists name nothing that the token has no scope on, where the next page begins included", async () => {
  const own = `${prefix}-z-own`;
  await api.call("PUT", `/v1/topics/${own}`, { json: {} });
  const token = await tokenFor({ verb: "manage", topics: own });
  for (const path of ["/v1/topics", "/v1/queues", "/v1/schedules"]) {
    const { status, body } = await api.send("GET", `${path}?limit=1`, { token });
    expect(status).toBe(200);
    const said = JSON.stringify(body);
    for (const name of Object.values(there).filter((name) => name.startsWith(prefix))) {
      expect(said).not.toContain(`"${name}"`);
    }
  }
  const { body } = await api.send<{ topics: { name: string }[] }>("GET", "/v1/topics?limit=1", { token });
  expect(body.topics.map(({ name }) => name)).toEqual([own]);
});
