// Whoever asks and hangs up: the request is published and delivered all the same, and its reply is there for whoever asks
// again.

import { expect, test } from "vitest";
import { api, callWorker, ROOT_TOKEN } from "../support/api";

type Shown = Readonly<{ replies: readonly Readonly<{ data: string }>[] }>;

test("what an asker that hung up has asked is delivered and replied to, and asked again it is answered at once", async () => {
  const queue = await api.queue();
  const hangUp = new AbortController();
  const headers = {
    authorization: `Bearer ${ROOT_TOKEN}`,
    ...{ "content-type": "text/plain", "idempotency-key": "quote-1", prefer: "wait=60" },
  };
  const init = { method: "POST", headers, body: "how much?" };
  const unheard = callWorker(`${queue.path}/request`, { ...init, signal: hangUp.signal }).then(
    () => "answered",
    () => "hung up",
  );
  // It waits by the time that somebody is handed the request.
  const [request] = await queue.pullAll(1);
  hangUp.abort();
  expect(await unheard).toBe("hung up");
  const json = { ackId: request?.ackId, replyTo: request?.replyTo, data: "3 euros" };
  expect(await api.call("POST", `${queue.path}/reply`, { json })).toMatchObject({ status: "acked" });
  expect(await api.call<Shown>("GET", `${queue.path}/requests/quote-1`)).toMatchObject({
    ...{ state: "answered", replies: [{ data: "3 euros" }] },
  });
  const again = await callWorker(`${queue.path}/request`, init);
  expect([again.status, await again.text()]).toEqual([200, "3 euros"]);
  expect(await queue.stats()).toMatchObject([{ head: 1, settled: 1 }]);
});
