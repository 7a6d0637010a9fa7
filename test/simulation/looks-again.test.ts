// A subscription that pushes looks again until it has read what there is, whatever befalls its memory: on the real objects
// under Node, with a topic that the test takes away, and a dispatch that never ends.

import { expect, test } from "vitest";
import type { DispatchCall } from "../../src/dispatch-calls";
import type { Result } from "../../src/errors";
import { limits } from "../../src/limits";
import { objectName } from "../../src/object-name";
import { packRecords, unpackRecords } from "../../src/record-batch";
import {
  defaultSubscriptionSettings,
  defaultTopicSettings,
  type SubscriptionSettings,
} from "../../src/settings";
import { Backlog } from "../../src/subscription/backlog";
import { newCounters } from "../../src/subscription/counters";
import { LogReader } from "../../src/subscription/log-reader";
import { RecordBuffer } from "../../src/subscription/record-buffer";
import type { TopicCalls } from "../../src/topic-calls";
import { nodeObjects } from "../support/node-objects";

const NAME = objectName("g", 0);
const PUSH: SubscriptionSettings = {
  ...defaultSubscriptionSettings,
  type: "push",
  push: {
    ...{ url: "https://endpoint.example/hook", headers: {}, timeoutMs: 4_000, secrets: [] },
    ...{ batchMaxMessages: 1, batchMaxWaitMs: 0 },
  },
};

function value<T>(result: Result<T>): T {
  if (!result.ok) throw new Error(`${result.error.code}: ${result.error.detail}`);
  return result.value;
}

/** Whatever can run has run: nothing here waits for more than a promise. */
const allRan = () => new Promise<void>((resolve) => setImmediate(resolve));

/** A topic that can be away, and a subscription that pushes, by dispatches that may never end. */
async function world(push = PUSH) {
  const clock = { now: 1_000_000 };
  const topicIs = { away: false };
  const dispatches = { hang: false };
  const sent: string[] = [];
  let serial = 0;
  const deliver = async ({ lease }: DispatchCall) => {
    sent.push(...unpackRecords(lease.records).map(({ id }) => id));
    if (dispatches.hang) await new Promise(() => undefined);
  };
  const runtime = { now: () => clock.now, random: () => 0.5, newId: () => `id-${++serial}` };
  const objects = nodeObjects(runtime, { deliver });
  const direct = objects.topics.getByName(NAME);
  objects.topics.getByName = () =>
    new Proxy(direct, {
      get: (calls, method: keyof TopicCalls) => async (call: never) => {
        if (topicIs.away) throw new Error("Network connection lost.");
        return (calls[method] as (call: never) => Promise<unknown>)(call);
      },
    });
  const names = { topic: "t", generation: "g", partition: 0, version: 1 };
  value(await direct.provision({ ...names, settings: defaultTopicSettings }));
  const { startOffset } = value(await direct.attach({ generation: "g", startAt: { at: "earliest" } }));
  const subscription = objects.subscriptions.getByName(NAME);
  const reader = { ...names, topicGeneration: "g", subscription: "s", startOffset };
  value(await subscription.provision({ ...reader, settings: push }));
  await allRan();
  return {
    ...{ sent, topicIs, dispatches },
    evict: () => objects.subscriptions.crash(NAME),
    publish: async (id: string) => {
      const message = { id, publishedAt: 1, contentType: "t", body: new Uint8Array(1) };
      const head = { batchId: id, generation: "g", partition: 0, count: 1, clientIds: [] };
      value(await direct.append({ batches: [{ ...head, records: packRecords([message]) }] }));
      await allRan();
    },
    setPaused: async (paused: boolean, version: number) => {
      value(await subscription.configure({ settings: { ...push, paused }, version }));
      await allRan();
    },
    /** Lets time pass until the subscription's alarm is due, and rings it. Answers whether one was armed. */
    ring: async () => {
      clock.now += limits.lookAgainMs;
      const rang = await objects.subscriptions.tick(NAME, clock.now);
      await allRan();
      return rang;
    },
  };
}

test("a resume whose look at the log failed is not forgotten by an eviction", async () => {
  const { sent, topicIs, evict, publish, setPaused, ring } = await world();
  await setPaused(true, 2);
  await publish("while-paused");
  evict();
  topicIs.away = true;
  await setPaused(false, 3);
  evict();
  expect(await ring(), "an alarm is set").toBe(true);
  evict();
  topicIs.away = false;
  expect(await ring(), "and set again while the log does not answer").toBe(true);
  expect(sent).toEqual(["while-paused"]);
});

test("once the log has answered, nobody looks again", async () => {
  const { sent, evict, publish, setPaused, ring } = await world();
  await setPaused(true, 2);
  await setPaused(false, 3);
  await publish("after");
  expect(sent).toEqual(["after"]);
  evict();
  const rings = [await ring(), await ring(), await ring()];
  expect(rings).toEqual([true, false, false]);
});

test("what came while an at-most-once dispatch was under way is sent after a restart", async () => {
  const { sent, dispatches, evict, publish, ring } = await world({
    ...PUSH,
    ...{ guarantee: "at-most-once", ackDeadlineMs: limits.lookAgainMs },
  });
  dispatches.hang = true;
  await publish("first");
  await publish("meanwhile");
  expect(sent, "one dispatch after another").toEqual(["first"]);
  evict();
  expect(await ring(), "an alarm is set, though nothing is leased").toBe(true);
  expect(sent).toEqual(["first", "meanwhile"]);
});

test("what is asked and not answered is asked again, whoever asked", async () => {
  const snapshot = { counters: newCounters(0), leases: [], deliveries: [], lanes: [], parked: [] };
  const backlog = new Backlog({ ...snapshot, knownHead: 0 });
  const answers = [
    () => Promise.reject(new Error("Network connection lost.")),
    async () => ({ ok: true, value: { runs: [], earliest: 0, head: 0 } }),
  ];
  const topic = { read: () => answers.shift()?.() } as unknown as TopicCalls;
  const carried = { carriedRecord: () => undefined };
  const reader = new LogReader(topic, backlog, new RecordBuffer(0, 1_000), carried, (decide) => decide());
  expect(reader.isBehind).toBe(false);
  await expect(reader.readAhead()).rejects.toThrow("lost");
  expect(reader.isBehind).toBe(true);
  await reader.readAhead();
  expect(reader.isBehind).toBe(false);
});
