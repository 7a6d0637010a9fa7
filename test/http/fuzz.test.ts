// Thousands of bad requests to every route of the OpenAPI document: each is answered, none by a fault of the broker, and
// what was refused changed nothing. A failure prints its seed and its request; `npm run fuzz` sends many more.

import { expect, test } from "vitest";
import type { Send } from "../fuzz/fuzz-judge";
import { describeFuzz } from "../fuzz/fuzz-report";
import { fuzz } from "../fuzz/fuzz-run";
import { makeWorld } from "../fuzz/fuzz-world";
import type { OpenApi } from "../fuzz/hostile-requests";
import { callWorker, ROOT_TOKEN } from "../support/api";

const REQUESTS = 6_300;
const BAD_REQUESTS = 5_000;
/** Bounded by count: the time is what a machine with much else to do may take. */
const ALL_WITHIN_MS = 300_000;
const EACH_WITHIN_MS = 60_000;
const BODILESS = ["GET", "HEAD"];

test(
  "no bad request is a fault of the broker, is left without an answer, or changes what is stored",
  async () => {
    const document = await (await callWorker("/openapi.json")).json<OpenApi>();
    const world = await makeWorld(ask, "fuzz", ROOT_TOKEN);
    const seed = Math.floor(Math.random() * 1e9);
    const report = await fuzz({
      ...{ document, world, send, ask, requests: REQUESTS, seed },
      ...{ concurrency: 4, withinMs: EACH_WITHIN_MS },
    });
    const said = describeFuzz(report, world).join("\n");
    expect(report.faults, said).toEqual([]);
    expect(refusedOf(report.counts), said).toBeGreaterThanOrEqual(BAD_REQUESTS);
    expect(report.compared, said).toBeGreaterThanOrEqual(3);
    const routes = Object.values(document.paths).flatMap((methods) => Object.keys(methods));
    expect(report.counts.size).toBe(routes.length);
  },
  ALL_WITHIN_MS,
);

/** As one request of a client, but that fetch sends no body with GET. */
const send: Send = async ({ method, path, headers, body }) => {
  const sent = new Headers();
  for (const [name, value] of headers) sent.append(name, value);
  const withBody = body !== undefined && !BODILESS.includes(method);
  const began = performance.now();
  const response = await callWorker(path, { method, headers: sent, ...(withBody && { body }) });
  response.webSocket?.accept();
  response.webSocket?.close();
  const text = response.status < 400 ? "" : await response.text();
  if (response.status < 400) await response.body?.cancel();
  const contentType = response.headers.get("content-type") ?? "";
  return { status: response.status, contentType, text, ms: performance.now() - began };
};

async function ask(method: string, path: string, json?: unknown) {
  const headers = { authorization: `Bearer ${ROOT_TOKEN}`, "content-type": "application/json" };
  const body = json === undefined ? {} : { body: JSON.stringify(json) };
  const response = await callWorker(path, { method, headers, ...body });
  const text = await response.text();
  return { status: response.status, body: text === "" ? undefined : (JSON.parse(text) as unknown) };
}

function refusedOf(counts: ReadonlyMap<string, ReadonlyMap<number, number>>): number {
  const each = [...counts.values()].flatMap((statuses) => [...statuses]);
  return each.reduce((sum, [status, count]) => sum + (status >= 400 && status < 500 ? count : 0), 0);
}
