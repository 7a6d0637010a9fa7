// Producers on the real object: how far they have come is written with what they published, also across a crash, and a
// partition that a raise made goes on from what its parent knew.

import { evictDurableObject, runInDurableObject } from "cloudflare:test";
import { describe, expect, test } from "vitest";
import { objectName } from "../../src/object-name";
import { packRecords, unpackRecords } from "../../src/record-batch";
import { defaultTopicSettings } from "../../src/settings";
import type { TopicCalls } from "../../src/topic-calls";
import { bindings, message, newTopic, recordBatch, value } from "../support/objects";

type Topic = TopicCalls & DurableObjectStub;

const of = (sequence: number, name = "outbox") => ({ producer: { name, sequence } });

function produced(generation: string, sequence: number, ...ids: string[]) {
  return {
    ...recordBatch(
      generation,
      ids.map((id) => message(id)),
    ),
    ...of(sequence),
  };
}

async function idsIn(topic: TopicCalls) {
  const { runs } = value(await topic.read({ from: 0, maxBytes: 4_000_000 }));
  return runs.flatMap(({ records }) => unpackRecords(records).map(({ id }) => id));
}

async function cameTo(topic: TopicCalls) {
  return value(await topic.producer({ name: "outbox" }))?.lastSequence;
}

describe("a producer", () => {
  test("that sends the same again under another record batch, after an eviction, stores it once", async () => {
    const { topic, generation } = await newTopic();
    value(await topic.append({ batches: [produced(generation, 1, "a", "b")] }));
    await evictDurableObject(topic);
    const [again] = value(await topic.append({ batches: [produced(generation, 1, "a2", "b2", "c")] }));
    expect(again).toMatchObject({
      firstOffset: 2,
      exceptions: [
        { index: 0, knownSequence: 1 },
        { index: 1, knownSequence: 2 },
      ],
    });
    expect([await idsIn(topic), await cameTo(topic)]).toEqual([["a", "b", "c"], 3]);
  });

  test("a record batch that comes twice is answered as at first, word for word", async () => {
    const { topic, generation } = await newTopic();
    const batch = produced(generation, 1, "a");
    const first = value(await topic.append({ batches: [batch] }));
    expect(value(await topic.append({ batches: [batch] }))).toEqual(first);
    const gap = produced(generation, 3, "c");
    const refused = value(await topic.append({ batches: [gap] }));
    value(await topic.append({ batches: [produced(generation, 2, "b")] }));
    expect(value(await topic.append({ batches: [gap] }))).toEqual(refused);
    expect(await idsIn(topic)).toEqual(["a", "b"]);
  });

  test("of many relays that send the same numbers at once, each number is stored once and in order", async () => {
    const { topic, generation } = await newTopic();
    const relay = async () => {
      for (let n = 1; n <= 9; n += 3) {
        const ids = [n, n + 1, n + 2].map((number) => `m${number}`);
        value(await topic.append({ batches: [produced(generation, n, ...ids)] }));
      }
    };
    await Promise.all([relay(), relay(), relay()]);
    expect(await idsIn(topic)).toEqual(Array.from({ length: 9 }, (_, n) => `m${n + 1}`));
  });

  test("two record batches of one call are judged one after the other", async () => {
    const { topic, generation } = await newTopic();
    const batches = [
      produced(generation, 1, "a"),
      produced(generation, 2, "b"),
      produced(generation, 4, "d"),
    ];
    const answers = value(await topic.append({ batches }));
    expect(answers[2]?.exceptions).toMatchObject([{ error: { code: "sequence-gap", limit: 2 } }]);
    expect([await idsIn(topic), await cameTo(topic)]).toEqual([["a", "b"], 2]);
  });

  test("that crashes between the log row and its number has neither", async () => {
    const { topic, generation } = await newTopic();
    value(await topic.append({ batches: [produced(generation, 1, "a")] }));
    await runInDurableObject(topic, (_, { storage }) => {
      storage.sql.exec(
        "CREATE TRIGGER broken BEFORE INSERT ON producers BEGIN SELECT RAISE(ABORT, 'the disk is full'); END",
      );
    });
    const fault = await topic.append({ batches: [produced(generation, 2, "b")] }).catch(String);
    expect(fault).toContain("the disk is full");
    await runInDurableObject(topic, (_, { storage }) => {
      storage.sql.exec("DROP TRIGGER broken");
    });
    expect([await idsIn(topic), await cameTo(topic)]).toEqual([["a"], 1]);
    value(await topic.append({ batches: [produced(generation, 2, "b")] }));
    expect([await idsIn(topic), await cameTo(topic)]).toEqual([["a", "b"], 2]);
  });

  test("that is set or forgotten is so once, however often the call comes", async () => {
    const { topic, generation } = await newTopic();
    for (const _ of [1, 2]) value(await topic.beginProducer({ name: "outbox", lastSequence: 40 }));
    value(await topic.append({ batches: [produced(generation, 41, "a")] }));
    expect(await cameTo(topic)).toBe(41);
    for (const _ of [1, 2]) value(await topic.forgetProducer({ name: "outbox" }));
    expect(value(await topic.producer({ name: "outbox" }))).toBeNull();
  });
});

describe("after a raise", () => {
  async function raised() {
    const generation = `producers-${crypto.randomUUID()}`;
    const at = (partition: number) => bindings.TOPIC.getByName(objectName(generation, partition)) as Topic;
    const life = { topic: "orders", generation, settings: defaultTopicSettings, version: 1 };
    value(await at(0).provision({ ...life, partition: 0 }));
    const batch = (partition: number, partitions: number, sequence: number, id: string) => ({
      ...{ batchId: crypto.randomUUID(), generation, partition, partitions, count: 1, clientIds: [] },
      ...{ records: packRecords([message(id)]), ...of(sequence, "relay-1") },
    });
    return { at, life, batch };
  }

  test("a new partition goes on from what its parent, or that one's parent, knew, and nothing is stored twice", async () => {
    const { at, life, batch } = await raised();
    value(await at(0).append({ batches: [batch(0, 1, 1, "a")] }));
    value(await at(1).provision({ ...life, partition: 1, parent: 0 }));
    value(await at(3).provision({ ...life, partition: 3, parent: 1 }));
    for (const partitions of [2, 4]) for (const old of [0, 1]) value(await at(old).cut({ partitions }));
    const [again] = value(await at(3).append({ batches: [batch(3, 4, 1, "a")] }));
    expect(again?.exceptions).toEqual([{ index: 0, knownSequence: 1 }]);
    const [gap] = value(await at(3).append({ batches: [batch(3, 4, 3, "c")] }));
    expect(gap?.exceptions).toMatchObject([{ error: { code: "sequence-gap", limit: 1 } }]);
    value(await at(3).append({ batches: [batch(3, 4, 2, "b")] }));
    expect([await idsIn(at(0)), await idsIn(at(3))]).toEqual([["a"], ["b"]]);
  });

  test("a parent that may still take what its child would take again answers later", async () => {
    const { at, life, batch } = await raised();
    value(await at(1).provision({ ...life, partition: 1, parent: 0 }));
    const early = await at(1).append({ batches: [batch(1, 2, 1, "a")] });
    expect(early).toMatchObject({ ok: false, error: { code: "unavailable" } });
    value(await at(0).cut({ partitions: 2 }));
    value(await at(1).append({ batches: [batch(1, 2, 1, "a")] }));
    expect(await idsIn(at(1))).toEqual(["a"]);
  });
});
