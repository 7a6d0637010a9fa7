// What a socket and a ticket owe to the token behind them: they end with it.

import { env } from "cloudflare:workers";
import { expect, test } from "vitest";
import type { Env } from "../../src/env";
import { createApp } from "../../src/http/app";
import { api, ORIGIN } from "../support/api";
import { frameReader } from "../support/contract-live";
import { testRuntime } from "../support/objects";

type Made = Readonly<{ id: string; token: string }>;
type Ticket = Readonly<{ ticket: string; expiresAt: number }>;

const clock = testRuntime();
const app = createApp(clock);

async function newToken(more: object = {}) {
  const scopes = [{ verb: "consume", topics: "*" }];
  const made = await api.call<Made>("POST", "/v1/tokens", { json: { name: "reader", scopes, ...more } });
  const ticketFor = (path: string, json: object = {}) =>
    api.call<Ticket>("POST", `${path}/ticket`, { json, token: made.token });
  const revoke = () => api.call("DELETE", `/v1/tokens/${made.id}`);
  return { ...made, ticketFor, revoke };
}

async function listen(url: string, headers: Record<string, string> = {}) {
  const answer = await app.request(`${ORIGIN}${url}`, { headers: { upgrade: "websocket", ...headers } }, env);
  if (!answer.webSocket) throw new Error(`${answer.status}: ${await answer.text()}`);
  answer.webSocket.accept();
  return frameReader(answer.webSocket);
}

test("a socket ends when the token does that opened it, itself or by a ticket, and says so", async () => {
  const queue = await api.queue();
  const expiresAt = Date.now() + 600_000;
  const { token, ticketFor } = await newToken({ expiresAt });
  const { ticket } = await ticketFor(queue.path);
  for (const socket of [
    await listen(`${queue.path}/socket`, { authorization: `Bearer ${token}` }),
    await listen(`${queue.path}/socket?ticket=${ticket}`),
  ]) {
    expect(await socket.next("open")).toMatchObject({ until: expiresAt });
    socket.close();
  }
});

test("a ticket ends with the token that made it: at its expiry, and when it is taken away", async () => {
  const queue = await api.queue();
  const expiresAt = Date.now() + 30_000;
  const soon = await newToken({ expiresAt });
  expect(await soon.ticketFor(queue.path, { ttlMs: 60_000 })).toMatchObject({ expiresAt });
  const { ticketFor, revoke } = await newToken();
  const { ticket } = await ticketFor(queue.path);
  const open = () => app.request(`${ORIGIN}${queue.path}/stream?ticket=${ticket}`, {}, env);
  const before = await open();
  await before.body?.cancel();
  await revoke();
  expect([before.status, (await open()).status]).toEqual([200, 401]);
});

test("while D1 is away a ticket lets in, as a token does that is known", async () => {
  const queue = await api.queue();
  const { ticketFor } = await newToken();
  const { ticket } = await ticketFor(queue.path);
  const { CATALOG } = env as unknown as Env;
  let isAway = false;
  const catalog = new Proxy(CATALOG, {
    get: (d1, method: keyof D1Database) => {
      if (method !== "prepare") return (...parts: never[]) => (d1[method] as CallableFunction)(...parts);
      return (query: string) => d1.prepare(isAway ? "SELECT * FROM what_is_not_there WHERE a = ?1" : query);
    },
  });
  const open = async () => {
    const bindings = { ...(env as object), CATALOG: catalog };
    const answer = await app.request(`${ORIGIN}${queue.path}/stream?ticket=${ticket}`, {}, bindings);
    await answer.body?.cancel();
    return answer.status;
  };
  expect(await open()).toBe(200);
  isAway = true;
  expect(await open()).toBe(200);
});
