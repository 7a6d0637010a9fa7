// The topic on the real object: appending, ids, where subscriptions start, retention.

import { evictDurableObject, runDurableObjectAlarm } from "cloudflare:test";
import { describe, expect, test } from "vitest";
import { unpackRecords } from "../../src/record-batch";
import {
  message,
  newSubscription,
  newTopic,
  recordBatch,
  testRuntime,
  useRuntime,
  value,
} from "../support/objects";

const prints = (...ids: string[]) => Object.fromEntries(ids.map((id) => [id, `print of ${id}`]));

async function idsIn(topic: Awaited<ReturnType<typeof newTopic>>["topic"], from = 0) {
  const { runs } = value(await topic.read({ from, maxBytes: 4_000_000 }));
  return runs.flatMap(({ records }) => unpackRecords(records).map(({ id }) => id));
}

describe("append", () => {
  test("offsets are dense and rise across batches and calls", async () => {
    const { topic, generation } = await newTopic();
    const first = recordBatch(generation, [message("a"), message("b")]);
    const second = recordBatch(generation, [message("c")]);
    const answers = value(await topic.append({ batches: [first, second] }));
    expect(answers.map(({ firstOffset, count }) => [firstOffset, count])).toEqual([
      [0, 2],
      [2, 1],
    ]);
    expect(
      value(await topic.append({ batches: [recordBatch(generation, [message("d")])] }))[0]?.firstOffset,
    ).toBe(3);
    expect(await idsIn(topic)).toEqual(["a", "b", "c", "d"]);
    expect(await idsIn(topic, 1)).toEqual(["b", "c", "d"]);
  });

  test("a repeated record batch gets the first answer word for word and is stored once, also after eviction", async () => {
    const { topic, generation } = await newTopic();
    const batch = recordBatch(generation, [message("a"), message("b")]);
    const first = value(await topic.append({ batches: [batch] }));
    await evictDurableObject(topic);
    expect(value(await topic.append({ batches: [batch] }))).toEqual(first);
    expect(await idsIn(topic)).toEqual(["a", "b"]);
  });

  test("a client id with the same content is stored once and answered with the original's place", async () => {
    const { topic, generation } = await newTopic();
    value(
      await topic.append({ batches: [recordBatch(generation, [message("x"), message("a")], prints("a"))] }),
    );
    const [again] = value(
      await topic.append({
        batches: [recordBatch(generation, [message("a"), message("b")], prints("a", "b"))],
      }),
    );
    expect(again).toMatchObject({ firstOffset: 2, exceptions: [{ index: 0, duplicateOf: 1 }] });
    expect(await idsIn(topic)).toEqual(["x", "a", "b"]);
  });

  test("two record batches of one call with the same client id store it once", async () => {
    const { topic, generation } = await newTopic();
    const one = recordBatch(generation, [message("a")], prints("a"));
    const two = recordBatch(generation, [message("a")], prints("a"));
    const answers = value(await topic.append({ batches: [one, two] }));
    expect(answers[1]?.exceptions).toEqual([{ index: 0, duplicateOf: 0 }]);
    expect(await idsIn(topic)).toEqual(["a"]);
  });

  test("a client id with other content is refused, its neighbours are stored, and the rejection is kept when asked", async () => {
    const { topic, generation } = await newTopic();
    value(await topic.append({ batches: [recordBatch(generation, [message("a")], prints("a"))] }));
    const changed = recordBatch(generation, [message("a"), message("b")], { a: "another print" });
    const [answer] = value(await topic.append({ batches: [changed], keepRejections: true }));
    expect(answer?.exceptions).toMatchObject([{ index: 0, error: { code: "id-reused", field: "id" } }]);
    expect(await idsIn(topic)).toEqual(["a", "b"]);
    const [rejection] = value(await topic.rejections({ after: null, limit: 10 }));
    expect(rejection).toMatchObject({ messageId: "a", error: { code: "id-reused" } });
  });

  test("an atomic publish with one refused item stores nothing", async () => {
    const { topic, generation } = await newTopic();
    value(await topic.append({ batches: [recordBatch(generation, [message("a")], prints("a"))] }));
    const changed = recordBatch(generation, [message("a"), message("b")], { a: "another print" });
    const [answer] = value(await topic.append({ batches: [changed], atomic: true }));
    expect(answer?.exceptions.map((e) => "error" in e && e.error.code)).toEqual([
      "id-reused",
      "atomic-refused",
    ]);
    expect(await idsIn(topic)).toEqual(["a"]);
  });

  test("a record batch of another generation answers gone and stores nothing", async () => {
    const { topic } = await newTopic();
    const answer = await topic.append({ batches: [recordBatch("another", [message("a")])] });
    expect(!answer.ok && answer.error.code).toBe("gone");
    expect(await idsIn(topic)).toEqual([]);
  });
});

describe("subscriptions", () => {
  test("a subscription starts at the earliest, the latest, an offset or a time, and a repeated attach answers the same", async () => {
    const { topic, publish } = await newTopic();
    const clock = testRuntime();
    await useRuntime(topic, clock);
    await publish("a", "b");
    clock.advance(10_000);
    const time = clock.now();
    await publish("c");
    const start = async (generation: string, startAt: Parameters<typeof topic.attach>[0]["startAt"]) =>
      value(await topic.attach({ generation, startAt })).startOffset;
    expect(await start("s1", { at: "earliest" })).toBe(0);
    expect(await start("s2", { at: "latest" })).toBe(3);
    expect(await start("s3", { at: "offsets", offsets: { "0": 1 } })).toBe(1);
    expect(await start("s4", { at: "time", time })).toBe(2);
    await publish("d");
    expect(await start("s2", { at: "latest" })).toBe(3);
    const beyond = await topic.attach({ generation: "s5", startAt: { at: "offsets", offsets: { "0": 99 } } });
    expect(!beyond.ok && beyond.error).toMatchObject({ code: "invalid-request", field: "startAt.offsets.0" });
  });

  test("messages published while nobody subscribes are kept for who comes later", async () => {
    const topic = await newTopic();
    await topic.publish("early");
    const { pull } = await newSubscription(topic);
    const lease = await pull();
    expect(unpackRecords(lease.records).map(({ id }) => id)).toEqual(["early"]);
  });
});

describe("retention", () => {
  test("messages past their retention are dropped with their segment, and a reader counts what it missed as expired", async () => {
    const fixture = await newTopic({ retentionMs: 80_000 });
    const { topic, publish } = fixture;
    const clock = testRuntime();
    await useRuntime(topic, clock);
    const { subscription, pull } = await newSubscription(fixture);
    await publish("old-1", "old-2");
    clock.advance(10_001);
    await publish("new");
    await evictDurableObject(subscription);
    clock.advance(75_000);
    await runDurableObjectAlarm(topic);
    expect(value(await topic.stats())).toMatchObject({ earliest: 2, head: 3 });
    expect(unpackRecords((await pull()).records).map(({ id }) => id)).toEqual(["new"]);
    expect(value(await subscription.stats())).toMatchObject({ expired: 2, leased: 1, nextOffset: 3 });
  });

  test("offsets go on rising after the whole log was dropped", async () => {
    const { topic, publish } = await newTopic({ retentionMs: 80_000 });
    const clock = testRuntime();
    await useRuntime(topic, clock);
    await publish("a", "b");
    for (let i = 0; i < 3; i++) {
      clock.advance(90_001);
      await runDurableObjectAlarm(topic);
    }
    expect(value(await topic.stats())).toMatchObject({ earliest: 2, head: 2 });
    await evictDurableObject(topic);
    expect((await publish("c"))?.firstOffset).toBe(2);
  });

  test("an id is remembered for 15 days though its message is long dropped", async () => {
    const { topic, generation, publish } = await newTopic({ retentionMs: 60_000 });
    const clock = testRuntime();
    await useRuntime(topic, clock);
    value(await topic.append({ batches: [recordBatch(generation, [message("a")], prints("a"))] }));
    const day = 86_400_000;
    for (let days = 0; days < 14; days++) {
      clock.advance(day);
      await publish(`filler-${days}`);
      await runDurableObjectAlarm(topic);
    }
    const [answer] = value(
      await topic.append({ batches: [recordBatch(generation, [message("a")], prints("a"))] }),
    );
    expect(answer?.exceptions).toEqual([{ index: 0, duplicateOf: 0 }]);
  });
});
