// From the Cloudflare Queue to the topics: a message is acked only when its record batch is safe.

import { createExecutionContext, createMessageBatch, getQueueResult } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { beforeEach, describe, expect, test, vi } from "vitest";
import { fullForMs } from "../../src/catalog/full-store";
import { StrandedStore } from "../../src/catalog/stranded-store";
import { putTopic } from "../../src/catalog/topic-lifecycle";
import type { Env } from "../../src/env";
import { openBody } from "../../src/ingress/append-calls";
import { consumeIngress, consumeIngressDead } from "../../src/ingress/ingress-consumer";
import { limits } from "../../src/limits";
import { packRecordBatch, packRecords, type RecordBatch } from "../../src/record-batch";
import { defaultTopicSettings } from "../../src/settings";
import { emptyCatalog, fakeCatalog, must } from "../catalog/fakes";

beforeEach(emptyCatalog);

const utf8 = new TextEncoder();

function recordBatch(batchId: string, over: Partial<RecordBatch> & { bodyBytes?: number } = {}): RecordBatch {
  const { bodyBytes = 10, ...rest } = over;
  const message = {
    id: `m-${batchId}`,
    publishedAt: 1,
    contentType: "text/plain",
    body: new Uint8Array(bodyBytes),
  };
  const records = packRecords([message]);
  return { batchId, generation: "g", partition: 0, count: 1, clientIds: [], records, ...rest };
}

/** Objects of `partitions` partitions of generation `g`, alive. */
async function withTopic(partitions = 1) {
  const fakes = fakeCatalog();
  for (let partition = 0; partition < partitions; partition++) {
    const topic = fakes.objects.TOPIC.getByName(`g:${partition}`);
    await topic.provision({
      ...{ topic: "orders", generation: "g", partition, version: 1 },
      settings: { ...defaultTopicSettings, retentionMs: 1 },
    });
  }
  fakes.objects.made.length = 0;
  return { ...fakes, stranded: new StrandedStore((env as unknown as Env).CATALOG, fakes.runtime) };
}

type Consume = typeof consumeIngress;

/** Runs a consumer over bodies with ids 0, 1, …, and says what became of each. */
async function outcome(
  consume: Consume,
  fakes: { env: Env; runtime: Parameters<Consume>[2] },
  bodies: unknown[],
  attempts = 1,
) {
  const batch = createMessageBatch(
    "pennypost-ingress",
    bodies.map((body, id) => ({ id: `q-${id}`, timestamp: new Date(0), attempts, body })),
  );
  // The result tells which messages are retried, not when.
  const retries = batch.messages.map((message) => vi.spyOn(message, "retry"));
  await consume(batch, fakes.env, fakes.runtime);
  const { explicitAcks, retryMessages } = await getQueueResult(batch, createExecutionContext());
  return {
    acked: explicitAcks.toSorted(),
    retried: retryMessages.map(({ msgId }) => msgId).toSorted(),
    delays: retries.flatMap(({ mock }) => mock.calls.map(([options]) => options?.delaySeconds)),
  };
}

const bodies = (...batches: RecordBatch[]) => batches.map((batch) => packRecordBatch(batch));
const appended = (objects: { topics: Map<string, { appended: RecordBatch[] }> }, object: string) =>
  objects.topics.get(object)?.appended.map(({ batchId }) => batchId) ?? [];

describe("a record batch", () => {
  test("is acked once its topic has it, with all of one object in one call", async () => {
    const fakes = await withTopic(2);
    const sent = bodies(recordBatch("a"), recordBatch("b", { partition: 1 }), recordBatch("c"));
    expect(await outcome(consumeIngress, fakes, sent)).toMatchObject({
      acked: ["q-0", "q-1", "q-2"],
      retried: [],
    });
    expect(fakes.objects.made.toSorted()).toEqual(["topic.append 0", "topic.append 1"]);
    expect(appended(fakes.objects, "g:0")).toEqual(["a", "c"]);
  });

  test("arrives byte for byte, from an ArrayBuffer and from a view of a larger one", async () => {
    const fakes = await withTopic();
    const batch = recordBatch("a", {
      records: packRecords([{ id: "m", publishedAt: 1, contentType: "x/y", body: utf8.encode("héllo") }]),
    });
    const packed = packRecordBatch(batch);
    const padded = new Uint8Array(packed.byteLength + 7);
    padded.set(packed, 7);
    expect(openBody(packed.buffer)).toEqual(batch);
    expect(openBody(padded.subarray(7))).toEqual(batch);
    await outcome(consumeIngress, fakes, [packed.buffer]);
    expect(fakes.objects.topics.get("g:0")?.appended).toEqual([batch]);
  });

  test("shares a call only while the records fit one row", async () => {
    const fakes = await withTopic();
    const sent = Array.from({ length: 31 }, (_, i) => recordBatch(`b${i}`, { bodyBytes: 99_000 }));
    await outcome(consumeIngress, fakes, bodies(...sent));
    const perRow = Math.floor(limits.rowBytes / (sent[0] as RecordBatch).records.byteLength);
    expect(perRow).toBe(15);
    expect(fakes.objects.made).toHaveLength(Math.ceil(31 / perRow));
    expect(appended(fakes.objects, "g:0")).toEqual(sent.map(({ batchId }) => batchId));
  });

  test("that comes twice is carried once and both messages are acked", async () => {
    const fakes = await withTopic();
    const sent = bodies(recordBatch("a"), recordBatch("a"));
    expect(await outcome(consumeIngress, fakes, sent)).toMatchObject({ acked: ["q-0", "q-1"] });
    expect(appended(fakes.objects, "g:0")).toEqual(["a"]);
  });

  test("that its topic does not mention in the answer is retried", async () => {
    const fakes = await withTopic();
    const silent = { append: async () => ({ ok: true, value: [] }) };
    const mute = { ...fakes.env, TOPIC: { getByName: () => silent } } as unknown as Env;
    const seen = await outcome(consumeIngress, { ...fakes, env: mute }, bodies(recordBatch("a")));
    expect(seen).toMatchObject({ acked: [], retried: ["q-0"] });
  });
});

describe("an object that fails", () => {
  test("has its messages retried and the others' acked", async () => {
    const fakes = await withTopic(10);
    fakes.objects.faults.add("topic.append 1");
    fakes.objects.refusals.set("topic.append 2", { code: "overloaded", detail: "too much at once" });
    const sent = Array.from({ length: 10 }, (_, partition) => recordBatch(`b${partition}`, { partition }));
    const { acked, retried } = await outcome(consumeIngress, fakes, bodies(...sent));
    expect(retried).toEqual(["q-1", "q-2"]);
    expect(acked).toHaveLength(8);
  });

  test("and is full has the catalog say so until a time, written once while that lasts", async () => {
    const fakes = fakeCatalog();
    const put = { name: "full", kind: "topic", partitions: 2, settings: defaultTopicSettings } as const;
    const { generation } = must(await putTopic(fakes.catalog, put)).entry;
    fakes.objects.refusals.set("topic.append 1", { code: "topic-full", detail: "no room" });
    const entry = async () => must(await fakes.catalog.store.topic("full"));
    const send = () =>
      outcome(
        consumeIngress,
        fakes,
        bodies(recordBatch(fakes.runtime.newId(), { generation, partition: 1 })),
      );
    await send();
    const until = fakes.runtime.at + limits.topicFullForMs;
    expect((await entry()).fullUntil).toEqual({ 1: until });
    expect(fullForMs(await entry(), 1, until - 5)).toBe(5);
    expect([fullForMs(await entry(), 1, until), fullForMs(await entry(), 0, 0)]).toEqual([0, 0]);
    fakes.runtime.at += limits.topicFullForMs - limits.topicFullAgainMs;
    await send();
    fakes.catalog.store.forget("full");
    expect((await entry()).fullUntil).toEqual({ 1: until });
    fakes.runtime.at += 1;
    await send();
    fakes.catalog.store.forget("full");
    expect((await entry()).fullUntil).toEqual({ 1: fakes.runtime.at + limits.topicFullForMs });
  });

  test("is not asked again for what is left of the same batch", async () => {
    const fakes = await withTopic();
    fakes.objects.refusals.set("topic.append 0", { code: "topic-full", detail: "no room" });
    const sent = Array.from({ length: 31 }, (_, i) => recordBatch(`b${i}`, { bodyBytes: 99_000 }));
    const { retried } = await outcome(consumeIngress, fakes, bodies(...sent));
    expect(retried).toHaveLength(31);
    expect(fakes.objects.made).toHaveLength(1);
  });

  test("is tried again with backoff, and no sooner than it asked for", async () => {
    const fakes = await withTopic();
    fakes.objects.faults.add("topic.append 0");
    // Half of 1, 8 and 300 seconds: the jitter here is always 0.5.
    expect((await outcome(consumeIngress, fakes, bodies(recordBatch("a")), 1)).delays).toEqual([1]);
    expect((await outcome(consumeIngress, fakes, bodies(recordBatch("a")), 4)).delays).toEqual([4]);
    expect((await outcome(consumeIngress, fakes, bodies(recordBatch("a")), 99)).delays).toEqual([150]);
    fakes.objects.faults.clear();
    fakes.objects.refusals.set("topic.append 0", { code: "overloaded", detail: "…", retryAfterMs: 42_000 });
    expect((await outcome(consumeIngress, fakes, bodies(recordBatch("a")), 1)).delays).toEqual([42]);
  });
});

describe("what can reach no topic", () => {
  test("is stranded and then acked when its topic is gone; a living neighbour is appended", async () => {
    const fakes = await withTopic();
    const lost = recordBatch("a", { generation: "ended", partition: 3 });
    const seen = await outcome(consumeIngress, fakes, bodies(lost, recordBatch("b")));
    expect(seen).toMatchObject({ acked: ["q-0", "q-1"], retried: [] });
    const { packed, ...row } = must(await fakes.stranded.get("a"));
    expect(row).toMatchObject({
      reason: "gone",
      generation: "ended",
      partition: 3,
      messageCount: 1,
      topic: null,
    });
    expect(openBody(packed)).toEqual(lost);
    expect(await fakes.stranded.count()).toBe(1);
  });

  test("is stranded as it came when it is no record batch", async () => {
    const fakes = await withTopic();
    const cut = packRecordBatch(recordBatch("a")).slice(0, -3);
    const miscounted = packRecordBatch(recordBatch("b", { count: 2 }));
    const seen = await outcome(consumeIngress, fakes, [
      cut,
      miscounted,
      "text",
      { some: "json" },
      new ArrayBuffer(0),
    ]);
    expect(seen).toMatchObject({ acked: ["q-0", "q-1", "q-2", "q-3", "q-4"] });
    const rows = await fakes.stranded.list({ limit: 10 });
    expect(rows.map(({ reason }) => reason)).toEqual(Array(5).fill("unreadable"));
    expect(must(await fakes.stranded.get("q-0")).packed).toEqual(cut);
    expect(must(await fakes.stranded.get("q-2")).packed).toEqual(utf8.encode("text"));
    expect(fakes.objects.made).toEqual([]);
  });

  test("is retried, not acked, while D1 is away; a living neighbour is acked", async () => {
    const fakes = await withTopic();
    fakes.d1.mode = "down";
    const sent = [...bodies(recordBatch("a", { generation: "ended" }), recordBatch("b")), "text"];
    expect(await outcome(consumeIngress, fakes, sent)).toMatchObject({
      acked: ["q-1"],
      retried: ["q-0", "q-2"],
    });
  });

  test("is stranded once when it comes again", async () => {
    const fakes = await withTopic();
    const lost = bodies(recordBatch("a", { generation: "ended" }));
    await outcome(consumeIngress, fakes, lost);
    expect((await outcome(consumeIngress, fakes, lost)).acked).toEqual(["q-0"]);
    expect(await fakes.stranded.count()).toBe(1);
  });
});

describe("the dead-letter Cloudflare Queue", () => {
  test("strands every message and acks what D1 confirmed", async () => {
    const fakes = await withTopic();
    const sent = [...bodies(recordBatch("a"), recordBatch("b", { partition: 1 })), "text"];
    expect((await outcome(consumeIngressDead, fakes, sent)).acked).toEqual(["q-0", "q-1", "q-2"]);
    const rows = await fakes.stranded.list({ limit: 10 });
    expect(rows.map(({ id, reason }) => [id, reason])).toEqual([
      ["a", "undeliverable"],
      ["b", "undeliverable"],
      ["q-2", "unreadable"],
    ]);
    expect(fakes.objects.made).toEqual([]);
  });

  test("keeps its messages while D1 is away", async () => {
    const fakes = await withTopic();
    fakes.d1.mode = "down";
    const seen = await outcome(consumeIngressDead, fakes, bodies(recordBatch("a")));
    expect(seen).toMatchObject({ acked: [], retried: ["q-0"] });
  });

  test("keeps what a full stranded store does not take, for a long while", async () => {
    const fakes = await withTopic();
    await fill(limits.strandedBatches - 1);
    const sent = bodies(recordBatch("a"), recordBatch("b"), recordBatch("c"));
    const seen = await outcome(consumeIngressDead, fakes, sent);
    expect(seen).toEqual({ acked: ["q-0"], retried: ["q-1", "q-2"], delays: [300, 300] });
    expect(await fakes.stranded.count()).toBe(limits.strandedBatches);
    // What is in already is confirmed, full or not: its message need not wait.
    expect((await outcome(consumeIngressDead, fakes, bodies(recordBatch("a")))).acked).toEqual(["q-0"]);
  });
});

test("a consumer without its bindings throws nothing and loses nothing", async () => {
  const fakes = await withTopic();
  const bare = { LOG: "off" } as unknown as Env;
  const sent = [...bodies(recordBatch("a")), "text"];
  for (const consume of [consumeIngress, consumeIngressDead]) {
    expect((await outcome(consume, { ...fakes, env: bare }, sent)).retried).toEqual(["q-0", "q-1"]);
  }
});

/** Fills the stranded store in one statement. */
async function fill(count: number): Promise<void> {
  const { CATALOG } = env as unknown as Env;
  const row = "'filler-' || value, NULL, NULL, NULL, 'gone', 1, 1, 1, x'00'";
  await CATALOG.prepare(
    `INSERT INTO stranded_batches SELECT ${row} FROM (WITH RECURSIVE n(value) AS
       (SELECT 1 UNION ALL SELECT value + 1 FROM n WHERE value < ?1) SELECT value FROM n)`,
  )
    .bind(count)
    .run();
}
