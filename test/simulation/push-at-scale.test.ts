// An endpoint that refuses everything while more is published than a subscription may keep waiting, on the real objects and the
// real dispatch under Node: where reading stops, what the stats say, whom it concerns, and that all of it arrives at last.

import { expect, test } from "vitest";
import type { Begin, DispatchCall } from "../../src/dispatch-calls";
import type { LedgerStore } from "../../src/ledger/ledger-store";
import { limits } from "../../src/limits";
import { objectName } from "../../src/object-name";
import { dispatch } from "../../src/push/dispatch";
import { packRecords } from "../../src/record-batch";
import { defaultSubscriptionSettings, defaultTopicSettings } from "../../src/settings";
import { nodeObjects } from "../support/node-objects";
import { value } from "../support/result";

const [TOPIC, PUSH, PULL] = ["topic", "push", "pull"].map((generation) => objectName(generation, 0));
const RETRY_MS = 3_600_000;
const MAX_IN_FLIGHT = 20_000;
const KEYS = 50;
const PUBLISHED = limits.waitingDeliveries + MAX_IN_FLIGHT + 5_000;
/** Of every hundred messages one has an ordering key. */
const keyOf = (place: number) => (place % 100 === 0 ? `key-${(place / 100) % KEYS}` : undefined);

const push = {
  ...{ url: "https://hooks.example.com/", headers: {}, timeoutMs: 10_000, secrets: [] },
  ...{ batchMaxMessages: 100, batchMaxWaitMs: 0 },
};
const pushSettings = {
  ...defaultSubscriptionSettings,
  ...{ type: "push" as const, push, ackDeadlineMs: RETRY_MS, maxInFlight: MAX_IN_FLIGHT },
  retry: { maxAttempts: 20, minDelayMs: RETRY_MS, maxDelayMs: RETRY_MS },
};

async function newWorld() {
  let [now, serial] = [1_800_000_000_000, 0];
  const endpoint = {
    isUp: false,
    requests: 0,
    arrived: new Map<string, number>(),
    lanes: new Map<string, number[]>(),
  };
  const runtime = { now: () => now, random: () => 0.5, newId: () => `id-${++serial}` };
  const fetch = async (_: string, { body }: RequestInit) => {
    endpoint.requests += 1;
    // Of the messages, not of itself: an endpoint that fails would be left alone long before the bound.
    if (!endpoint.isUp) return new Response(null, { status: 422 });
    type Carried = { id: string; offset: number; orderingKey?: string };
    const text = body instanceof Uint8Array ? new TextDecoder().decode(body) : String(body);
    for (const { id, offset, orderingKey } of JSON.parse(text).messages as Carried[]) {
      endpoint.arrived.set(id, (endpoint.arrived.get(id) ?? 0) + 1);
      if (orderingKey !== undefined)
        endpoint.lanes.set(orderingKey, [...(endpoint.lanes.get(orderingKey) ?? []), offset]);
    }
    return new Response(null, { status: 200 });
  };
  const deliver = (call: DispatchCall, begin: Begin) =>
    dispatch(call, {
      ...{ begin },
      ...{ runtime, fetch, local: false, secretsKeys: [], ledger: {} as unknown as LedgerStore },
      timeout: () => new AbortController().signal,
      // Nothing here takes time: no report is made before the last.
      sleep: () => new Promise(() => {}),
      report: (report) => objects.subscriptions.getByName(objectName(call.generation, 0)).report(report),
      reply: () => Promise.reject(new Error("nobody asks here")),
      share: () => Promise.reject(new Error("nothing is shared here")),
      topicRetentionMs: async () => undefined,
      endpointGone: () => {},
      log: () => {},
    });
  const objects = nodeObjects(runtime, { deliver });
  const topic = objects.topics.getByName(TOPIC ?? "");
  const [pushed, pulled] = [PUSH, PULL].map((name) => objects.subscriptions.getByName(name ?? ""));
  if (!pushed || !pulled) throw new Error("two subscriptions");
  const place = { topic: "t", partition: 0, version: 1 };
  value(await topic.provision({ ...place, generation: "topic", settings: defaultTopicSettings }));
  const pullSettings = { ...defaultSubscriptionSettings, maxInFlight: MAX_IN_FLIGHT };
  const readers = [
    { object: pushed, generation: "push", settings: pushSettings },
    { object: pulled, generation: "pull", settings: pullSettings },
  ];
  for (const { object, generation, settings } of readers) {
    value(await topic.attach({ generation, startAt: { at: "earliest" } }));
    const names = { ...place, topicGeneration: "topic", subscription: generation, generation };
    value(await object.provision({ ...names, settings, startOffset: 0 }));
  }
  const publish = async (first: number, count: number) => {
    const messages = Array.from({ length: count }, (_, i) => {
      const key = keyOf(first + i);
      const plain = { id: `m${first + i}`, publishedAt: now, contentType: "t", body: new Uint8Array(4) };
      return key === undefined ? plain : { ...plain, orderingKey: key };
    });
    const head = { batchId: `b-${++serial}`, generation: "topic", partition: 0, clientIds: [] };
    value(await topic.append({ batches: [{ ...head, count, records: packRecords(messages) }] }));
    await objects.idle();
  };
  const pull = async () => {
    const lease = value(
      await pulled.pull({ leaseId: `l-${++serial}`, max: 1_000, maxBytes: limits.pullBytes, waitMs: 0 }),
    );
    const refs = lease.deliveries.map(({ offset }) => ({ leaseId: lease.leaseId, offset }));
    if (refs.length > 0) value(await pulled.ack({ refs }));
    return refs.length;
  };
  const later = async (ms: number) => {
    now += ms;
    await objects.subscriptions.tick(PUSH ?? "", now);
    await objects.idle();
  };
  const statsOf = async (object: typeof pushed) => value(await object.stats());
  return { endpoint, objects, pushed, pulled, publish, pull, later, statsOf };
}

test("an endpoint that refuses everything stops the reading at the stated bound and concerns no other subscription; when it is back all arrives, each key in order", {
  timeout: 300_000,
}, async () => {
  const { endpoint, objects, pushed, pulled, publish, pull, later, statsOf } = await newWorld();
  for (let first = 0; first < PUBLISHED; first += 1_000) await publish(first, 1_000);

  const stalled = await statsOf(pushed);
  expect(stalled).toMatchObject({ stalled: true, leased: 0, settled: 0, dead: 0, paused: false });
  const inHand = stalled.waiting - stalled.followers;
  expect(inHand).toBeGreaterThanOrEqual(limits.waitingDeliveries);
  // What was under way when the bound was met comes back to wait too.
  expect(inHand).toBeLessThanOrEqual(limits.waitingDeliveries + MAX_IN_FLIGHT);
  expect(stalled.unread).toBe(PUBLISHED - stalled.nextOffset);
  expect(stalled.unread).toBeGreaterThan(0);

  // The other subscription has all of it, and what is published now.
  await publish(PUBLISHED, 1_000);
  let settled = 0;
  for (let more = await pull(); more > 0; more = await pull()) settled += more;
  expect(settled).toBe(PUBLISHED + 1_000);
  expect(await statsOf(pulled)).toMatchObject({ stalled: false, waiting: 0, unread: 0 });

  // A restart knows where it stands, and sends nothing before its time.
  const { requests } = endpoint;
  objects.subscriptions.crash(PUSH ?? "");
  await later(1_000);
  expect(await statsOf(pushed)).toMatchObject({ stalled: true, waiting: stalled.waiting });
  expect(endpoint.requests).toBe(requests);

  endpoint.isUp = true;
  await later(RETRY_MS);
  expect(await statsOf(pushed)).toMatchObject({
    ...{ stalled: false, leased: 0, waiting: 0, unread: 0, dead: 0 },
    settled: PUBLISHED + 1_000,
  });
  expect(endpoint.arrived.size).toBe(PUBLISHED + 1_000);
  expect([...endpoint.arrived.values()].filter((times) => times > 1)).toEqual([]);
  expect(endpoint.lanes.size).toBe(KEYS);
  for (const offsets of endpoint.lanes.values()) expect(offsets).toEqual([...offsets].sort((a, b) => a - b));
});
