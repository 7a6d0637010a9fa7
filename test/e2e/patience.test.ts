// An endpoint that takes its time: minutes, in which nothing may evict the object that waits for its answer.

import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Broker, startBroker } from "../support/broker.ts";
import { call, caughtUp, publishStored, stats } from "../support/client.ts";
import { until } from "../support/until.ts";

/** Past every time after which the runtime evicts an object that it believes idle: 10 s, and 70 to 140 s. */
const HOLD_MS = 150_000;

let broker: Broker;
let endpoint: Server;
let requests = 0;

beforeAll(async () => {
  broker = await startBroker();
  endpoint = createServer((request, response) => {
    requests += 1;
    request.resume();
    setTimeout(() => response.writeHead(204).end(), HOLD_MS);
  });
  await new Promise<void>((resolve) => endpoint.listen(0, "127.0.0.1", resolve));
});
afterAll(async () => {
  endpoint?.close();
  endpoint?.closeAllConnections();
  await broker?.stop();
});

test(
  "a dispatch whose endpoint takes minutes is not evicted under its request, and settles with one attempt",
  async () => {
    const url = `http://127.0.0.1:${(endpoint.address() as AddressInfo).port}/`;
    const json = { type: "push", ackDeadlineMs: 300_000, endpoint: { url, timeoutMs: 300_000 } };
    await call(broker, "PUT", "/v1/queues/slow", { json });
    const startedAt = Date.now();
    await publishStored(broker, "/v1/queues/slow", [{ data: "slowly" }]);
    await until("the endpoint holds the request", () => requests === 1);
    expect(await stats(broker, "/v1/queues/slow")).toMatchObject({ leased: 1, settled: 0 });
    await until("the delivery is settled", () => caughtUp(broker, "/v1/queues/slow", 1), {
      withinMs: HOLD_MS + 60_000,
      everyMs: 5_000,
    });
    expect(Date.now() - startedAt).toBeGreaterThanOrEqual(HOLD_MS);
    expect(requests).toBe(1);
  },
  HOLD_MS + 90_000,
);
