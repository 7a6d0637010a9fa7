// A small run of chaos (`npm run chaos` has the large one): the broker and its consumers are killed with -9 under load,
// and the histories that everybody wrote down are judged. Effectively-once is left to the large run: the claims of a
// killed dispatcher outlive it by a minute. Beside it, on a broker of its own, a dispatch waits for minutes: it costs no
// time of its own.

import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { expect, test } from "vitest";
import { eventsOf } from "../chaos/chaos-event.ts";
import { runChaos } from "../chaos/chaos-run.ts";
import { startBroker } from "../support/broker.ts";
import { call, caughtUp, publishStored, stats } from "../support/client.ts";
import { until } from "../support/until.ts";

const KILLS = 3;
const SEED = 20_261_124;
/** Far longer than it takes: a start of the broker on a busy machine takes many seconds, and there are four. */
const WITHIN_MS = 400_000;
/** Past every time after which the runtime evicts an object that it believes idle: 10 s, and 70 to 140 s. */
const HOLD_MS = 150_000;

test.concurrent(
  "whoever is killed, nothing confirmed is lost, keys keep their order, and each effect is made once",
  async () => {
    const { history, audiences, violations } = await runChaos({
      ...{ kills: KILLS, seed: SEED, effectivelyOnce: false },
    });
    expect(violations).toEqual([]);
    const kills = eventsOf(history, "killed").map(({ whom }) => whom);
    expect(kills.filter((whom) => whom === "broker")).toHaveLength(KILLS);
    expect(kills.filter((whom) => whom !== "broker")).not.toEqual([]);
    const confirmed = new Set(eventsOf(history, "stored").map(({ id }) => id)).size;
    expect(confirmed).toBeGreaterThanOrEqual(KILLS * 40);
    expect(eventsOf(history, "effect")).toHaveLength(confirmed * audiences.length);
  },
  WITHIN_MS,
);

test.concurrent(
  "a dispatch whose endpoint takes minutes is not evicted under its request, and settles with one attempt",
  async () => {
    let requests = 0;
    const endpoint = createServer((request, response) => {
      requests += 1;
      request.resume();
      setTimeout(() => response.writeHead(204).end(), HOLD_MS);
    });
    await new Promise<void>((resolve) => endpoint.listen(0, "127.0.0.1", resolve));
    const broker = await startBroker();
    try {
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
    } finally {
      endpoint.close();
      endpoint.closeAllConnections();
      await broker.stop();
    }
  },
  WITHIN_MS,
);
