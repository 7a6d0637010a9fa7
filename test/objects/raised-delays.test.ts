// Delayed messages across a raise, on the real objects: what is delayed goes with its key, once, and waits where the key is.

import { evictDurableObject, runDurableObjectAlarm, runInDurableObject } from "cloudflare:test";
import { expect, test } from "vitest";
import type { Env } from "../../src/env";
import type { Message } from "../../src/message";
import { objectName } from "../../src/object-name";
import { packRecords, partitionOf, type RecordBatch, unpackRecords } from "../../src/record-batch";
import { defaultTopicSettings } from "../../src/settings";
import type { AppendCall, TopicCalls } from "../../src/topic-calls";
import { bindings, message, testRuntime, useRuntime, value } from "../support/objects";

const MINUTE = 60_000;
type Topic = TopicCalls & DurableObjectStub;

/** A key that is in `partition` of two. */
function keyIn(partition: number): string {
  for (let i = 0; ; i++) if (partitionOf(`k${i}`, 2) === partition) return `k${i}`;
}
const [STAYS, LEAVES] = [keyIn(0), keyIn(1)];

/** A topic of one partition and the second that a raise will give it, with a clock that the test moves. */
async function family() {
  const generation = `raised-${crypto.randomUUID()}`;
  const clock = testRuntime(Date.now() + 1_000 * 86_400_000);
  const start = clock.now();
  const make = async (partition: number, parent?: number) => {
    const topic = bindings.TOPIC.getByName(objectName(generation, partition)) as Topic;
    const life = { topic: "orders", generation, partition, settings: defaultTopicSettings, version: 1 };
    value(await topic.provision({ ...life, ...(parent !== undefined && { parent }) }));
    await useRuntime(topic, clock);
    return topic;
  };
  const [parent, child] = [await make(0), await make(1, 0)];
  const due = (id: string, minutes: number, orderingKey?: string) =>
    message(id, { deliverAt: start + minutes * MINUTE, ...(orderingKey !== undefined && { orderingKey }) });
  const publish = async (topic: Topic, partitions: number, ...messages: Message[]) => {
    const batch: RecordBatch = {
      ...{ batchId: crypto.randomUUID(), generation, partition: topic === parent ? 0 : 1, partitions },
      ...{ count: messages.length, records: packRecords(messages) },
      clientIds: messages.map(({ id }, index) => ({ index, id, fingerprint: `print of ${id}` })),
      scheduled: messages.flatMap(({ id, deliverAt }, index) =>
        deliverAt === undefined ? [] : [{ index, id, deliverAt }],
      ),
    };
    return value(await topic.append({ batches: [batch] }))[0]?.exceptions ?? [];
  };
  const raise = () => parent.cut({ partitions: 2 });
  const log = async (topic: Topic) => {
    const { runs } = value(await topic.read({ from: 0, maxBytes: 1_000_000 }));
    return runs.flatMap(({ records }) => unpackRecords(records).map(({ id }) => id));
  };
  const delayed = async (topic: Topic) => {
    const { messages } = value(await topic.delayed({ after: null, limit: 100 }));
    return messages.flatMap(({ record }) => unpackRecords(record).map(({ id }) => id));
  };
  const evict = async (topic: Topic) => {
    await evictDurableObject(topic);
    await useRuntime(topic, clock);
  };
  const minutes = (count: number) => clock.advance(count * MINUTE);
  return { parent, child, due, publish, raise, log, delayed, evict, minutes };
}

/** Answers the parent's next hand-over by `instead`, which may make the call. */
async function meddle(parent: Topic, instead: (call: () => Promise<unknown>) => Promise<unknown>) {
  await runInDurableObject(parent, (instance) => {
    const own = instance as unknown as { env: Env };
    const held = own.env;
    const getByName = (name: string) => ({
      adopt: (call: Pick<AppendCall, "batches">) => {
        own.env = held;
        return instead(() => held.TOPIC.getByName(name).adopt(call));
      },
    });
    own.env = { ...held, TOPIC: { getByName } } as unknown as Env;
  });
}
const away = () => Promise.reject(new Error("Network connection lost."));

test("what is delayed goes with its key, and takes its offset among what is published there", async () => {
  const { parent, child, due, publish, raise, log, delayed, minutes } = await family();
  await publish(
    parent,
    1,
    due("b", 2, LEAVES),
    due("stays", 2, STAYS),
    due("a", 1, LEAVES),
    due("c", 2, LEAVES),
  );
  value(await raise());
  expect([await delayed(parent), await delayed(child)]).toEqual([["stays"], ["a", "b", "c"]]);
  await publish(child, 2, message("now", { orderingKey: LEAVES }), due("late", 3, LEAVES));
  minutes(2);
  await runDurableObjectAlarm(child);
  await publish(child, 2, message("after", { orderingKey: LEAVES }));
  minutes(1);
  expect(await log(child)).toEqual(["now", "a", "b", "c", "after", "late"]);
  expect(await log(parent)).toEqual(["stays"]);
});

test("its id goes with it: a retry is known there, and there it is cancelled and moved", async () => {
  const { parent, child, due, publish, raise, delayed, evict } = await family();
  await publish(parent, 1, due("a", 1, LEAVES), due("b", 1, LEAVES));
  value(await raise());
  await evict(child);
  expect(await publish(child, 2, due("a", 1, LEAVES))).toMatchObject([{ duplicate: true }]);
  value(await child.cancel({ id: "a" }));
  value(await child.reschedule({ id: "b", deliverAt: 5 }));
  const unknown = await parent.cancel({ id: "b" });
  expect(!unknown.ok && unknown.error.code).toBe("message-not-found");
  expect(await delayed(child)).toEqual([]);
});

test("when the answer is lost, it is asked again, and nothing is there twice", async () => {
  const { parent, child, due, publish, raise, log, delayed, evict, minutes } = await family();
  await publish(parent, 1, due("a", 1, LEAVES), due("b", 2, LEAVES));
  await meddle(parent, async (call) => {
    await call();
    return away();
  });
  const refused = await raise();
  expect(!refused.ok && refused.error).toMatchObject({ code: "unavailable" });
  // Taken there already, and released there: here it is neither.
  minutes(1);
  await evict(parent);
  expect([await log(child), await log(parent)]).toEqual([["a"], []]);
  value(await raise());
  value(await raise());
  minutes(1);
  expect([await log(child), await log(parent), await delayed(parent)]).toEqual([["a", "b"], [], []]);
});

test("while it is on its way, nothing is released that may be elsewhere, and nothing changed", async () => {
  const { parent, child, due, publish, raise, log, delayed, minutes } = await family();
  await publish(parent, 1, due("a", 1, LEAVES), due("stays", 1, STAYS));
  await meddle(parent, away);
  expect((await raise()).ok).toBe(false);
  minutes(2);
  await runDurableObjectAlarm(parent);
  expect([await log(parent), await delayed(parent)]).toEqual([[], ["a", "stays"]]);
  for (const change of [parent.cancel({ id: "a" }), parent.reschedule({ id: "a", deliverAt: 9 })]) {
    const answer = await change;
    expect(!answer.ok && answer.error.code).toBe("unavailable");
  }
  value(await raise());
  expect([await log(parent), await log(child)]).toEqual([["stays"], ["a"]]);
});
