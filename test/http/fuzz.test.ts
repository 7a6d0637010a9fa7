// Thousands of bad requests to every route of the OpenAPI document: each is answered, in time, and none by a fault of
// the broker. A failure prints its seed.

import fc from "fast-check";
import { expect, test } from "vitest";
import { api, callWorker, ROOT_TOKEN, tokenFor } from "../support/api";
import { unique } from "../support/contract-client";
import { type HostileRequest, hostileRequests, type OpenApi, type World } from "../support/hostile";

const REQUESTS = 6_300;
const BAD_REQUESTS = 5_000;
/** On a machine that is busy; a request that hangs is found by its own bound. */
const ALL_WITHIN_MS = 240_000;
const EACH_WITHIN_MS = 10_000;
/** What a broker that is busy may say. */
const BUSY = [429, 503];

test(
  "no bad request is a fault of the broker, or is left without an answer",
  async () => {
    const document = await (await callWorker("/openapi.json")).json<OpenApi>();
    const answers = new Map<number, number>();
    const requests = hostileRequests(document, await makeWorld());
    const property = fc.asyncProperty(requests, async (request) => {
      const status = await statusOf(request);
      answers.set(status, (answers.get(status) ?? 0) + 1);
    });
    await fc.assert(property, {
      numRuns: REQUESTS,
      timeout: EACH_WITHIN_MS,
      interruptAfterTimeLimit: ALL_WITHIN_MS,
      markInterruptAsFailure: true,
    });
    const refused = [...answers]
      .filter(([status]) => status >= 400)
      .reduce((sum, [, count]) => sum + count, 0);
    expect(refused).toBeGreaterThanOrEqual(BAD_REQUESTS);
  },
  ALL_WITHIN_MS + EACH_WITHIN_MS,
);

/** Sends it, and checks that the answer is one that a client can work with. */
async function statusOf({ method, path, headers, body }: HostileRequest): Promise<number> {
  const response = await callWorker(path, { method, headers, ...(body !== undefined && { body }) });
  const { status } = response;
  expect(status < 500 || BUSY.includes(status), `${method} ${path} answered ${status}`).toBe(true);
  if (status < 400) {
    await response.body?.cancel();
    return status;
  }
  expect(response.headers.get("content-type")).toBe("application/problem+json");
  expect(await response.json()).toMatchObject({
    type: expect.stringMatching(/^\/docs\/problems#[a-z-]+$/),
    title: expect.any(String),
    status,
    detail: expect.any(String),
    retryable: expect.any(Boolean),
  });
  return status;
}

/** Names that exist, so that hostile input gets past the first check. */
async function makeWorld(): Promise<World> {
  const [topic, queue] = [unique("fuzz"), unique("fuzz-q")];
  await api.call("PUT", `/v1/topics/${topic}`, { json: {} });
  await api.call("PUT", `/v1/queues/${queue}`, { json: {} });
  await api.call("PUT", `/v1/topics/${topic}/subscriptions/s`, { json: {} });
  const json = { topic, cron: "0 0 1 1 *", message: { data: "x" } };
  await api.call("PUT", "/v1/schedules/fuzz", { json });
  await api.call("PUT", `/v1/topics/${topic}/subscriptions/s/snapshots/fuzz`);
  const publishOnly = await tokenFor({ verb: "publish", topics: topic });
  const known = {
    topic: [topic, queue],
    queue: [queue, topic],
    subscription: ["s", queue],
    ledger: ["fuzz"],
    schedule: ["fuzz"],
    snapshot: ["fuzz"],
    messageId: ["m1", "m%2F2"],
    token: [publishOnly],
  };
  return { known, authorizations: [`Bearer ${ROOT_TOKEN}`, `Bearer ${publishOnly}`, "Basic x"] };
}
