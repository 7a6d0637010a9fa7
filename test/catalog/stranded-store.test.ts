// Stranded batches: listed, sent on by the operator, given up; never by themselves.

import { beforeEach, expect, test } from "vitest";
import { rebatch } from "../../src/catalog/rebatch";
import { resendStranded, StrandedStore } from "../../src/catalog/stranded-store";
import { putTopic } from "../../src/catalog/topic-lifecycle";
import { packRecordBatch, packRecords, type RecordBatch } from "../../src/record-batch";
import { defaultTopicSettings } from "../../src/settings";
import { codeOf, emptyCatalog, fakeCatalog, must } from "./fakes";

beforeEach(emptyCatalog);

function recordBatch(batchId: string, generation: string, partition = 0): RecordBatch {
  const records = packRecords([
    { id: "m", publishedAt: 1, contentType: "x/y", body: new Uint8Array([1, 2, 255]) },
  ]);
  return { batchId, generation, partition, count: 1, clientIds: [], records };
}

async function withStranded(batches: (generation: string) => RecordBatch[], partitions = 2) {
  const fakes = fakeCatalog();
  const put = { name: "orders", kind: "topic", partitions, settings: defaultTopicSettings } as const;
  const topic = must(await putTopic(fakes.catalog, put)).entry;
  const stranded = new StrandedStore(fakes.env.CATALOG, fakes.runtime);
  await stranded.strand(
    batches(topic.generation).map((batch) => ({
      ...{ id: batch.batchId, generation: batch.generation, partition: batch.partition },
      ...{ reason: "undeliverable" as const, messageCount: batch.count, packed: packRecordBatch(batch) },
    })),
  );
  return { ...fakes, topic, stranded };
}

test("stranded batches are listed by id, a page at a time, with their topic's name and without their messages", async () => {
  const { stranded, topic, runtime } = await withStranded((g) => [
    recordBatch("b", g),
    recordBatch("a", "ended"),
  ]);
  const page = await stranded.list({ limit: 1 });
  const bytes = packRecordBatch(recordBatch("a", "ended")).byteLength;
  const rest = { partition: 0, reason: "undeliverable", messageCount: 1, strandedAt: runtime.at };
  expect(page).toEqual([{ id: "a", generation: "ended", topic: null, bytes, ...rest }]);
  const next = await stranded.list({ after: "a", limit: 9 });
  expect(next).toMatchObject([{ id: "b", generation: topic.generation, topic: "orders" }]);
});

test("a batch sent on lies where it was bound, byte for byte, and is stranded no more", async () => {
  const { catalog, stranded, topic, objects } = await withStranded((g) => [recordBatch("a", g, 1)]);
  const resent = must(await resendStranded(catalog, "a"));
  expect(resent).toMatchObject({
    generation: topic.generation,
    partition: 1,
    answer: { batchId: "a", count: 1 },
  });
  expect(objects.topics.get(`${topic.generation}:1`)?.appended).toEqual([
    recordBatch("a", topic.generation, 1),
  ]);
  expect(codeOf(await stranded.get("a"))).toBe("stranded-not-found");
  expect(codeOf(await resendStranded(catalog, "a"))).toBe("stranded-not-found");
});

test("a batch of an ended life is sent nowhere by itself, and to another life when the operator names it", async () => {
  const { catalog, stranded, topic, objects } = await withStranded(() => [recordBatch("a", "ended", 5)]);
  expect(codeOf(await resendStranded(catalog, "a"))).toBe("gone");
  expect(codeOf(await resendStranded(catalog, "a", "no-such-topic"))).toBe("topic-not-found");
  expect(await stranded.count()).toBe(1);
  expect(must(await resendStranded(catalog, "a", "orders"))).toMatchObject({ partition: 1 });
  expect(objects.topics.get(`${topic.generation}:1`)?.appended).toEqual([
    recordBatch("a", topic.generation, 1),
  ]);
  expect(await stranded.count()).toBe(0);
});

test("a batch that its topic does not take stays stranded", async () => {
  const { catalog, stranded, objects } = await withStranded((g) => [recordBatch("a", g)]);
  objects.refusals.set("topic.append 0", { code: "topic-full", detail: "no room" });
  expect(codeOf(await resendStranded(catalog, "a"))).toBe("topic-full");
  objects.refusals.clear();
  objects.faults.add("topic.append 0");
  expect(codeOf(await resendStranded(catalog, "a"))).toBe("unavailable");
  expect(await stranded.count()).toBe(1);
});

test("what is no record batch can only be deleted", async () => {
  const { catalog, stranded } = await withStranded(() => []);
  const nowhere = { generation: null, partition: null, messageCount: 0 };
  const packed = new Uint8Array([9]);
  await stranded.strand([{ id: "x", ...nowhere, reason: "unreadable", packed }]);
  expect(codeOf(await resendStranded(catalog, "x", "orders"))).toBe("conflict");
  expect(must(await stranded.delete("x"))).toBeNull();
  expect(codeOf(await stranded.delete("x"))).toBe("stranded-not-found");
});

test("sending on is unavailable while D1 is away", async () => {
  const { catalog, d1 } = await withStranded((g) => [recordBatch("a", g)]);
  d1.mode = "down";
  expect(codeOf(await resendStranded(catalog, "a"))).toBe("unavailable");
});

test("a batch keeps its id and its partition in another life where there is one", () => {
  const batch = recordBatch("a", "ended", 5);
  expect(rebatch(batch, { generation: "g", partitions: 8 })).toEqual({ ...batch, generation: "g" });
  expect(rebatch(batch, { generation: "g", partitions: 4 })).toEqual({
    ...batch,
    generation: "g",
    partition: 1,
  });
});
