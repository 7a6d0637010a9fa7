// A raise on the real objects: an old partition gives up what leaves it, a new one knows the ids of before and keeps keys
// in order behind what is unsettled in its parent.

import { evictDurableObject, runDurableObjectAlarm, runInDurableObject } from "cloudflare:test";
import { describe, expect, test } from "vitest";
import type { Env } from "../../src/env";
import type { Message } from "../../src/message";
import { objectName } from "../../src/object-name";
import { packRecords, partitionOf, type RecordBatch, unpackRecords } from "../../src/record-batch";
import {
  defaultSubscriptionSettings,
  defaultTopicSettings,
  type SubscriptionSettings,
} from "../../src/settings";
import type { LeaseAnswer, SubscriptionCalls } from "../../src/subscription-calls";
import type { TopicCalls } from "../../src/topic-calls";
import { bindings, conservation, message, refs, testRuntime, useRuntime, value } from "../support/objects";

const DAY = 86_400_000;
type Topic = TopicCalls & DurableObjectStub;
type Subscription = SubscriptionCalls & DurableObjectStub;

/** A key that is in `partition` of `partitions`, another for another `nth`. */
function keyIn(partition: number, partitions: number, nth = 0): string {
  for (let i = 0, met = 0; ; i++) {
    if (partitionOf(`k${i}`, partitions) === partition && met++ === nth) return `k${i}`;
  }
}
const keyed = (id: string, orderingKey: string) => message(id, { orderingKey });

/** A topic whose partitions a test makes as a raise does. */
function raisable() {
  const generation = `raised-${crypto.randomUUID()}`;
  let serial = 0;
  const at = (partition: number) => bindings.TOPIC.getByName(objectName(generation, partition)) as Topic;
  const make = async (partition: number, parent?: number) => {
    const life = { topic: "orders", generation, partition, settings: defaultTopicSettings, version: 1 };
    value(await at(partition).provision({ ...life, ...(parent !== undefined && { parent }) }));
    return at(partition);
  };
  const batch = (
    partition: number,
    partitions: number,
    messages: readonly Message[],
    { ids = [], batchId = `b${++serial}` }: { ids?: readonly string[]; batchId?: string } = {},
  ): RecordBatch => ({
    ...{ batchId, generation, partition, partitions, count: messages.length },
    clientIds: messages.flatMap(({ id }, index) =>
      ids.includes(id) ? [{ index, id, fingerprint: `print of ${id}` }] : [],
    ),
    records: packRecords(messages),
  });
  const publish = async (partition: number, partitions: number, ...messages: Message[]) =>
    value(await at(partition).append({ batches: [batch(partition, partitions, messages)] }))[0];
  return { generation, at, make, batch, publish };
}

/** Takes the objects that one of these calls away from it, so that whatever it still reaches is its own. */
async function cutOff(stub: DurableObjectStub): Promise<void> {
  await runInDurableObject(stub, (instance) => {
    const away = () => Promise.reject(new Error("Network connection lost."));
    const nobody = { getByName: () => ({ knows: away, pendingKeys: away, cuts: away }) };
    const own = instance as unknown as { env: Env };
    own.env = { ...own.env, TOPIC: nobody, SUBSCRIPTION: nobody } as unknown as Env;
  });
}

describe("a partition that was cut", () => {
  test("takes nothing that was bound before and belongs elsewhere, and says by which count to cut it", async () => {
    const { make, at, batch } = raisable();
    const old = await make(0);
    const before = batch(0, 1, [keyed("a", keyIn(1, 4))]);
    const first = value(await old.append({ batches: [before] }));
    value(await old.cut({ partitions: 4 }));
    value(await old.cut({ partitions: 4 }));
    const [leaving, staying] = [keyIn(1, 4), keyIn(0, 4)];
    const batches = [
      before,
      batch(0, 1, [keyed("b", leaving), keyed("c", staying)]),
      batch(0, 1, [keyed("d", staying), message("e")]),
      batch(0, 4, [keyed("f", staying)]),
    ];
    const answers = value(await old.append({ batches }));
    expect(answers[0]).toEqual(first[0]);
    expect(answers.map(({ movedTo }) => movedTo)).toEqual([undefined, 4, undefined, undefined]);
    const { runs } = value(await at(0).read({ from: 0, maxBytes: 1_000_000 }));
    const stored = runs.flatMap(({ records }) => unpackRecords(records).map(({ id }) => id));
    expect(stored).toEqual(["a", "d", "e", "f"]);
    await evictDurableObject(old);
    const again = value(await old.append({ batches: batches.slice(1, 2) }));
    expect(again[0]?.movedTo).toBe(4);
    expect(value(await old.cuts())).toMatchObject([{ partitions: 4, offset: 1 }]);
  });
});

describe("a partition that is full", () => {
  test("still says of what leaves it where it goes, and refuses what stays", async () => {
    const { make, at, batch } = raisable();
    const old = await make(0);
    value(await old.attach({ generation: "reader", startAt: { at: "earliest" } }));
    value(await old.append({ batches: [batch(0, 1, [message("a")])] }));
    value(await old.configure({ settings: { ...defaultTopicSettings, retentionBytes: 1 }, version: 2 }));
    value(await old.cut({ partitions: 4 }));
    const [leaving] = value(await old.append({ batches: [batch(0, 1, [keyed("b", keyIn(1, 4))])] }));
    expect(leaving?.movedTo).toBe(4);
    const staying = await at(0).append({ batches: [batch(0, 1, [keyed("c", keyIn(0, 4))])] });
    expect(!staying.ok && staying.error.code).toBe("topic-full");
  });
});

describe("the ids of before", () => {
  async function family() {
    const raised = raisable();
    const { make, batch } = raised;
    const [parent, child] = [await make(0), await make(1, 0)];
    const clock = testRuntime();
    for (const topic of [parent, child]) await useRuntime(topic, clock);
    // Of partition 5 of 8, and so of 1 of 4.
    const id = keyIn(5, 8);
    value(await parent.append({ batches: [batch(0, 1, [message("x"), message(id)], { ids: [id] })] }));
    value(await parent.cut({ partitions: 4 }));
    const publish = (topic: Topic, ids: readonly string[], partition = 1, partitions = 4) =>
      topic.append({
        batches: [
          batch(
            partition,
            partitions,
            ids.map((each) => message(each)),
            { ids },
          ),
        ],
      });
    return { ...raised, parent, child, clock, id, publish };
  }

  test("are known to the new partition, which answers where the first publish is", async () => {
    const { child, id, publish } = await family();
    const fresh = keyIn(1, 8);
    const [answer] = value(await publish(child, [id, fresh]));
    expect(answer).toMatchObject({
      firstOffset: 0,
      exceptions: [{ index: 0, duplicateOf: 1, partition: 0 }],
    });
    expect(value(await child.stats())).toMatchObject({ head: 1 });
    await evictDurableObject(child);
    const [again] = value(await publish(child, [fresh]));
    expect(again?.exceptions).toEqual([{ index: 0, duplicateOf: 0 }]);
  });

  test("are known through two raises", async () => {
    const { make, child, id, publish } = await family();
    value(await child.cut({ partitions: 8 }));
    const grandchild = await make(5, 1);
    const [answer] = value(await publish(grandchild, [id], 5, 8));
    expect(answer?.exceptions).toEqual([{ index: 0, duplicateOf: 1, partition: 0 }]);
  });

  test("refuse the append while the parent cannot be asked, and nothing is stored", async () => {
    const { child, id, publish } = await family();
    await cutOff(child);
    const refused = await publish(child, [id]);
    expect(!refused.ok && refused.error).toMatchObject({ code: "unavailable" });
    expect(value(await child.stats())).toMatchObject({ head: 0 });
  });

  test("are asked for no longer than one key horizon after the cut", async () => {
    const { child, clock, publish } = await family();
    value(await publish(child, [keyIn(1, 4, 1)]));
    await evictDurableObject(child);
    await useRuntime(child, clock);
    await cutOff(child);
    clock.advance(15 * DAY - 1);
    expect((await publish(child, [keyIn(1, 4, 2)])).ok).toBe(false);
    clock.advance(1);
    expect((await publish(child, [keyIn(1, 4, 2)])).ok).toBe(true);
  });

  test("are not asked for a message without one", async () => {
    const { child, batch } = await family();
    await cutOff(child);
    value(await child.append({ batches: [batch(1, 4, [message("made here")])] }));
  });
});

describe("the keys of before", () => {
  async function reader(settings: Partial<SubscriptionSettings> = {}) {
    const raised = raisable();
    const clock = testRuntime();
    const generation = `sub-${crypto.randomUUID()}`;
    let leases = 0;
    const follow = async (partition: number) => {
      const stub = bindings.SUBSCRIPTION.getByName(objectName(generation, partition)) as Subscription;
      await useRuntime(stub, clock);
      const attached = value(await raised.at(partition).attach({ generation, startAt: { at: "earliest" } }));
      const names = { topic: "orders", topicGeneration: raised.generation, subscription: "billing" };
      const life = { generation, partition, settings: { ...defaultSubscriptionSettings, ...settings } };
      value(await stub.provision({ ...names, ...life, version: 1, ...attached }));
      return stub;
    };
    const pull = async (stub: Subscription, max = 100): Promise<LeaseAnswer> => {
      // Longer than any pause between two questions to the parent, shorter than an ack deadline.
      clock.advance(61_000);
      const call = { leaseId: `l${++leases}`, max, maxBytes: 1_000_000, waitMs: 0, ackDeadlineMs: 3_600_000 };
      return value(await stub.pull(call));
    };
    await raised.make(0);
    const parent = await follow(0);
    const raise = async () => {
      await raised.make(1, 0);
      const child = await follow(1);
      value(await raised.at(0).cut({ partitions: 4 }));
      return child;
    };
    return { ...raised, clock, parent, follow, pull, raise };
  }
  const idsOf = ({ records }: LeaseAnswer) => unpackRecords(records).map(({ id }) => id);
  const [A, B] = [keyIn(1, 4), keyIn(1, 4, 1)];

  test("wait in the new partition until what came before is settled in the old one; other messages do not", async () => {
    const { publish, parent, pull, raise, clock } = await reader();
    await publish(0, 1, keyed("a1", A), keyed("other", keyIn(0, 4)));
    const child = await raise();
    await publish(1, 4, keyed("a2", A), message("free"), keyed("a3", A));
    // Unread.
    expect(idsOf(await pull(child))).toEqual(["free"]);
    const taken = await pull(parent);
    expect(idsOf(taken)).toEqual(["a1", "other"]);
    // Leased.
    expect(idsOf(await pull(child))).toEqual([]);
    value(await parent.nack({ refs: refs(taken).slice(0, 1), delayMs: 3_000_000 }));
    // Waiting for its next attempt, while what is left belongs to another.
    expect(idsOf(await pull(child))).toEqual([]);
    await evictDurableObject(child);
    await useRuntime(child, clock);
    expect(idsOf(await pull(child))).toEqual([]);
    value(await parent.ack({ refs: refs(taken).slice(0, 1) }));
    expect(idsOf(await pull(child))).toEqual(["a2", "a3"]);
    expect(await conservation(child)).toBe(0);
  });

  test("that are settled in the old partition go on though another key is parked there", async () => {
    const { publish, parent, pull, raise } = await reader();
    await publish(0, 1, keyed("a1", A), keyed("b1", B), keyed("b2", B));
    const child = await raise();
    await publish(1, 4, keyed("a2", A), keyed("b3", B));
    const taken = await pull(parent);
    const [a1, b1] = refs(taken);
    if (!a1 || !b1) throw new Error("nothing leased");
    value(await parent.nack({ refs: [b1], deadLetter: true }));
    expect(idsOf(await pull(child))).toEqual([]);
    value(await parent.ack({ refs: [a1] }));
    expect(idsOf(await pull(child))).toEqual(["a2"]);
    expect(value(await child.stats())).toMatchObject({ leased: 1 });
    value(await parent.redrive({ all: true, limit: 10 }));
    const rest = await pull(parent);
    expect(idsOf(rest)).toEqual(["b1", "b2"]);
    expect(idsOf(await pull(child))).toEqual([]);
    value(await parent.ack({ refs: refs(rest) }));
    expect(idsOf(await pull(child))).toEqual(["b3"]);
    expect(await conservation(child)).toBe(0);
  });

  test("wait through two raises", async () => {
    const { publish, parent, pull, raise, make, at, follow } = await reader();
    const key = keyIn(5, 8);
    await publish(0, 1, keyed("k1", key));
    await raise();
    await make(5, 1);
    const grandchild = await follow(5);
    value(await at(1).cut({ partitions: 8 }));
    await publish(5, 8, keyed("k2", key));
    expect(idsOf(await pull(grandchild))).toEqual([]);
    value(await parent.ack({ refs: refs(await pull(parent)) }));
    expect(idsOf(await pull(grandchild))).toEqual(["k2"]);
  });

  test("wait while the old partition cannot be asked, and once it was clear it is never asked again", async () => {
    const { publish, pull, raise, clock } = await reader();
    const child = await raise();
    await publish(1, 4, keyed("a1", A));
    await runInDurableObject(child, (instance) => {
      (
        instance as unknown as { memory: { loaded: { parents: { parts: { parent: unknown } } } } }
      ).memory.loaded.parents.parts.parent = {
        pendingKeys: () => Promise.reject(new Error("Network connection lost.")),
      };
    });
    expect(idsOf(await pull(child))).toEqual([]);
    await evictDurableObject(child);
    await useRuntime(child, clock);
    expect(idsOf(await pull(child))).toEqual(["a1"]);
    await evictDurableObject(child);
    await useRuntime(child, clock);
    const isOpen = await runInDurableObject(
      child,
      (instance) =>
        (instance as unknown as { memory: { loaded: { backlog: { gate: { isOpen: boolean } } } } }).memory
          .loaded.backlog.gate.isOpen,
    );
    expect(isOpen).toBe(true);
  });

  test("have the alarm of a push subscription look again until they may go", async () => {
    const push = { url: "https://gone.invalid/", headers: {}, timeoutMs: 1_000, secrets: [] };
    const { publish, parent, raise, clock } = await reader({
      ...{ type: "push", push: { ...push, batchMaxMessages: 1, batchMaxWaitMs: 0 }, paused: true },
    });
    await publish(0, 1, keyed("a1", A));
    const child = await raise();
    await publish(1, 4, keyed("a2", A));
    const settings = { ...defaultSubscriptionSettings, type: "push" as const };
    value(
      await child.configure({
        settings: { ...settings, push: { ...push, batchMaxMessages: 1, batchMaxWaitMs: 0 } },
        version: 2,
      }),
    );
    value(await child.notify({ head: 1, runs: [] }));
    expect(value(await parent.stats())).toMatchObject({ paused: true });
    for (let i = 0; i < 8; i++) {
      const alarmAt = await runInDurableObject(child, (_, state) => state.storage.getAlarm());
      expect(alarmAt).not.toBeNull();
      expect((alarmAt ?? 0) - clock.now()).toBeLessThanOrEqual(60_000);
      clock.advance(60_000);
      await runDurableObjectAlarm(child);
    }
    expect(value(await child.stats())).toMatchObject({ leased: 0, settled: 0 });
  });
});
