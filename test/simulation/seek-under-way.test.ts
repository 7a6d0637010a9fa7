// Seeks that meet a call to the log under way, and crashes around them: on the real objects under Node, with a
// topic whose reads the test holds back.

import { expect, test } from "vitest";
import type { Result } from "../../src/errors";
import { objectName } from "../../src/object-name";
import { packRecords, unpackRecords } from "../../src/record-batch";
import type { SeekPoint } from "../../src/seek-calls";
import { defaultSubscriptionSettings, defaultTopicSettings } from "../../src/settings";
import type { TopicCalls } from "../../src/topic-calls";
import { nodeObjects } from "../support/node-objects";

const NAME = objectName("g", 0);

function value<T>(result: Result<T>): T {
  if (!result.ok) throw new Error(`${result.error.code}: ${result.error.detail}`);
  return result.value;
}

/** A topic of four messages, a subscription, and a way to hold the answers of one method of the topic back. */
async function world() {
  let serial = 0;
  const runtime = { now: () => 1_000_000, random: () => 0.5, newId: () => `id-${++serial}` };
  const objects = nodeObjects(runtime, { deliver: () => Promise.reject(new Error("nothing is pushed")) });
  const held = new Map<string, Promise<void>>();
  const direct = objects.topics.getByName(NAME);
  objects.topics.getByName = () =>
    new Proxy(direct, {
      get: (calls, method: keyof TopicCalls) => async (call: never) => {
        const answer = await (calls[method] as (call: never) => Promise<unknown>)(call);
        await held.get(method);
        return answer;
      },
    });
  const names = { topic: "t", generation: "g", partition: 0, version: 1 };
  value(await direct.provision({ ...names, settings: defaultTopicSettings }));
  const { startOffset } = value(await direct.attach({ generation: "g", startAt: { at: "earliest" } }));
  const subscription = objects.subscriptions.getByName(NAME);
  const reader = { ...names, topicGeneration: "g", subscription: "s", startOffset };
  value(await subscription.provision({ ...reader, settings: defaultSubscriptionSettings }));
  const messages = ["a", "b", "c", "d"].map((id) => ({
    ...{ id, publishedAt: 1, contentType: "t", body: new Uint8Array(1) },
  }));
  const batch = { generation: "g", partition: 0, count: 4, clientIds: [], records: packRecords(messages) };
  // The subscription is not told: it has to read what it leases.
  objects.subscriptions.crash(NAME);
  value(await direct.append({ batches: [{ ...batch, batchId: "b" }] }));
  await objects.idle();
  objects.subscriptions.crash(NAME);
  return {
    subscription,
    crash: () => objects.subscriptions.crash(NAME),
    idle: objects.idle,
    hold: (method: keyof TopicCalls) => {
      let release = () => {};
      held.set(
        method,
        new Promise<void>((resolve) => {
          release = () => {
            held.delete(method);
            resolve();
          };
        }),
      );
      return release;
    },
    pull: async (leaseId: string, max = 10) =>
      value(await subscription.pull({ leaseId, max, maxBytes: 1_000_000, waitMs: 0 })),
    seek: async (to: SeekPoint, seekId: string) =>
      value(await subscription.seek({ seekId, to, reprocess: true, dryRun: false })),
  };
}

const idsOf = ({ records }: { records: Uint8Array }) => unpackRecords(records).map(({ id }) => id);

test("a read under way belongs to the epoch in which it began: what it brings is dropped", async () => {
  const { subscription, hold, pull, seek, idle } = await world();
  const release = hold("read");
  const pulling = pull("under-way");
  await seek({ at: "offset", offset: 2 }, "s");
  release();
  const lease = await pulling;
  await idle();
  expect(idsOf(lease)).toEqual(["c", "d"]);
  expect(value(await subscription.stats())).toMatchObject({
    epoch: 1,
    startOffset: 2,
    nextOffset: 4,
    leased: 2,
  });
});

test("what is leased while the log is asked for the place is of the epoch before", async () => {
  const { subscription, hold, pull, seek } = await world();
  const release = hold("locate");
  const seeking = seek({ at: "earliest" }, "s");
  const before = await pull("before", 3);
  release();
  expect(await seeking).toMatchObject({ fromOffset: 3, again: 3, voided: { leased: 3, waiting: 0 } });
  const refs = before.deliveries.map(({ offset }) => ({ offset, leaseId: "before" }));
  expect(value(await subscription.ack({ refs }))).toEqual(["lease-lost", "lease-lost", "lease-lost"]);
  expect(idsOf(await pull("after"))).toEqual(["a", "b", "c", "d"]);
});

test("of one seek that arrives twice at once, one moves", async () => {
  const { subscription, hold, seek } = await world();
  const release = hold("locate");
  const both = [seek({ at: "latest" }, "s"), seek({ at: "latest" }, "s")];
  release();
  const [one, other] = await Promise.all(both);
  expect(other).toEqual(one);
  expect(value(await subscription.stats())).toMatchObject({ epoch: 1, nextOffset: 4 });
});

test("of two seeks at once both happen, one after the other, whichever was asked first", async () => {
  const { subscription, hold, seek } = await world();
  const release = hold("locate");
  const both = [seek({ at: "latest" }, "one"), seek({ at: "offset", offset: 1 }, "two")];
  release();
  const answers = await Promise.all(both);
  expect(answers.map(({ epoch }) => epoch).sort()).toEqual([1, 2]);
  const last = answers.find(({ epoch }) => epoch === 2);
  expect(value(await subscription.stats())).toMatchObject({ epoch: 2, startOffset: last?.toOffset });
});

test("a crash before the answer changes nothing for whoever asks again", async () => {
  const { subscription, pull, seek, crash } = await world();
  await pull("before");
  const first = await seek({ at: "offset", offset: 1 }, "s");
  crash();
  expect(idsOf(await pull("after"))).toEqual(["b", "c", "d"]);
  crash();
  expect(await seek({ at: "offset", offset: 1 }, "s")).toEqual(first);
  expect(value(await subscription.stats())).toMatchObject({ epoch: 1, leased: 3 });
});

test("a call that waited while the subscription was moved writes nothing of the epoch before", async () => {
  const { subscription, hold, pull, seek, crash, idle } = await world();
  const lease = await pull("before", 1);
  const refs = lease.deliveries.map(({ offset }) => ({ offset, leaseId: "before" }));
  value(await subscription.nack({ refs, deadLetter: true }));
  await seek({ at: "earliest" }, "one");
  const release = hold("locate");
  const seeking = seek({ at: "latest" }, "two");
  const redriving = subscription.redrive({ all: true, limit: 10 });
  release();
  await seeking;
  expect(value(await redriving)).toEqual({ redriven: 1, superseded: 0 });
  await idle();
  crash();
  expect(value(await subscription.stats())).toMatchObject({
    ...{ epoch: 2, startOffset: 4, nextOffset: 4, readmitted: 1, waiting: 1, formerDead: 0 },
  });
  expect(idsOf(await pull("after"))).toEqual(["a"]);
});
