// One message of a topic's partition: by its place, by a client's id, or by an id that tells its time.

import { expect, test } from "vitest";
import { limits } from "../../src/limits";
import { unpackRecords } from "../../src/record-batch";
import type { FindCall } from "../../src/topic-calls";
import { message, newTopic, recordBatch, testRuntime, useRuntime, value } from "../support/objects";

const MINUTE_MS = 60_000;

/** A UUIDv7 made at `ms`. */
function madeAt(ms: number, serial = 0): string {
  const time = ms.toString(16).padStart(12, "0");
  return `${time.slice(0, 8)}-${time.slice(8)}-7000-8000-${String(serial).padStart(12, "0")}`;
}

async function timedTopic(retentionMs = 60 * MINUTE_MS) {
  const { topic, generation, publish } = await newTopic({ retentionMs });
  const clock = testRuntime();
  await useRuntime(topic, clock);
  const find = async (call: FindCall) => value(await topic.find(call));
  const idAt = async (call: FindCall) => {
    const { run, offset } = (await find(call)).place ?? {};
    return run && [offset, unpackRecords(run.records)[0]?.id];
  };
  return { topic, generation, publish, clock, find, idAt };
}

test("a message is found by its place, and by a client's id", async () => {
  const { topic, generation, publish, idAt, find } = await timedTopic();
  await publish("a", "b");
  value(await topic.append({ batches: [recordBatch(generation, [message("mine")], { mine: "f" })] }));
  expect(await idAt({ offset: 1 })).toEqual([1, "b"]);
  expect(await idAt({ id: "mine" })).toEqual([2, "mine"]);
  expect(await find({ offset: 3 })).toEqual({ rejections: [], head: 3 });
  expect(await find({ id: "nobody" })).toEqual({ rejections: [], head: 3 });
});

test("an id that the broker made is found from the time that it tells on", async () => {
  const { publish, clock, idAt, find } = await timedTopic();
  await publish("old");
  clock.advance(MINUTE_MS);
  const id = madeAt(clock.now());
  await publish("before", id, "after");
  clock.advance(MINUTE_MS);
  await publish("new");
  expect(await idAt({ id })).toEqual([2, id]);
  const { searched, head } = await find({ id: madeAt(clock.now() - MINUTE_MS, 7) });
  expect([searched, head]).toEqual([{ from: 1, to: 5 }, 5]);
});

test("clocks that differ by seconds hide no message", async () => {
  const { publish, clock, idAt } = await timedTopic();
  const id = madeAt(clock.now() + limits.idClockSkewMs);
  await publish(id);
  expect(await idAt({ id })).toEqual([0, id]);
});

test("one call looks through a bounded part of the log, and says how far it came", async () => {
  const { topic, generation, clock, find, idAt } = await timedTopic();
  const id = madeAt(clock.now(), 1);
  const large = new Uint8Array(1_000_000);
  const rows = limits.scanBytes / large.byteLength + 2;
  for (let i = 0; i < rows; i++) {
    value(await topic.append({ batches: [recordBatch(generation, [message(`m${i}`, { body: large })])] }));
  }
  value(await topic.append({ batches: [recordBatch(generation, [message(id)])] }));
  const { place, searched, head } = await find({ id });
  expect([place, searched?.from]).toEqual([undefined, 0]);
  expect(searched?.to).toBeLessThan(head - 1);
  expect(await idAt({ id, from: searched?.to ?? 0 })).toEqual([head - 1, id]);
});

test("where a message was is known for longer than the message", async () => {
  const { topic, generation, clock, find } = await timedTopic(MINUTE_MS);
  value(await topic.append({ batches: [recordBatch(generation, [message("mine")], { mine: "f" })] }));
  clock.advance(3 * MINUTE_MS);
  expect(await find({ id: "mine" })).toEqual({ place: { offset: 0 }, rejections: [], head: 1 });
});

test("what was refused under an id after a 202 is told with it", async () => {
  const { topic, generation, find } = await timedTopic();
  for (const fingerprint of ["first", "other"]) {
    const batches = [recordBatch(generation, [message("mine")], { mine: fingerprint })];
    value(await topic.append({ batches, keepRejections: true }));
  }
  expect(await find({ id: "mine" })).toMatchObject({
    place: { offset: 0 },
    rejections: [{ messageId: "mine", error: { code: "id-reused" } }],
  });
});
