// Accepted publishes that cross a raise in the Cloudflare Queue: each message is stored once, where it belongs by then.

import { createExecutionContext, createMessageBatch, getQueueResult } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { expect, test } from "vitest";
import { CatalogStore } from "../../src/catalog/catalog-store";
import type { Catalog } from "../../src/catalog/entry-lifecycle";
import { putTopic } from "../../src/catalog/topic-lifecycle";
import type { Env } from "../../src/env";
import { consumeIngress } from "../../src/ingress/ingress-consumer";
import { objectName } from "../../src/object-name";
import { packRecordBatch, packRecords, partitionOf, unpackRecords } from "../../src/record-batch";
import { systemRuntime } from "../../src/runtime";
import { defaultTopicSettings } from "../../src/settings";
import { must } from "../catalog/fakes";

const real = env as unknown as Env;
const catalog: Catalog = {
  env: real,
  store: new CatalogStore(real.CATALOG, systemRuntime),
  runtime: systemRuntime,
};
const IDS = Array.from({ length: 12 }, (_, i) => `id-${i}`);

const raise = async (name: string, partitions: number) => {
  const wanted = { name, kind: "topic", partitions, settings: defaultTopicSettings } as const;
  return must(await putTopic(catalog, wanted)).entry;
};

/** A record batch of before the raise, with client ids. */
function bound(generation: string, batchId: string, ids: readonly string[]): Uint8Array {
  const messages = ids.map((id) => ({
    ...{ id, publishedAt: 1, contentType: "x/y", body: new Uint8Array([1]) },
  }));
  const clientIds = ids.map((id, index) => ({ index, id, fingerprint: `print of ${id}` }));
  const head = { batchId, generation, partition: 0, partitions: 1, count: ids.length, clientIds };
  return packRecordBatch({ ...head, records: packRecords(messages) });
}

async function consume(bodies: readonly Uint8Array[], by: Env = real) {
  const sent = bodies.map((body, i) => ({ id: `q-${i}`, timestamp: new Date(0), attempts: 1, body }));
  const batch = createMessageBatch("pennypost-ingress", sent);
  await consumeIngress(batch, by, systemRuntime);
  return (await getQueueResult(batch, createExecutionContext())).explicitAcks;
}

async function idsAt(generation: string, partition: number): Promise<string[]> {
  const topic = real.TOPIC.getByName(objectName(generation, partition));
  const { runs } = must(await topic.read({ from: 0, maxBytes: 1_000_000 }));
  return runs.flatMap(({ records }) => unpackRecords(records).map(({ id }) => id)).sort();
}
const ofPartition = (partition: number, partitions: number) =>
  IDS.filter((id) => partitionOf(id, partitions) === partition).sort();

test("a batch that was bound before a raise is stored part by part, once, also when it comes again with one that was stored before", async () => {
  const { generation } = await raise("crossing", 1);
  const early = ["early-1", "early-2", "early-3", "early-4"];
  expect(await consume([bound(generation, "early", early)])).toEqual(["q-0"]);
  await raise("crossing", 4);
  const both = [bound(generation, "early", early), bound(generation, "late", IDS)];
  expect(await consume(both)).toEqual(["q-0", "q-1"]);
  expect(await consume(both)).toEqual(["q-0", "q-1"]);
  // Another publish of the same ids, under an id of its own.
  expect(await consume([bound(generation, "again", [...IDS, ...early])])).toEqual(["q-0"]);
  expect(await idsAt(generation, 0)).toEqual([...early, ...ofPartition(0, 4)].sort());
  for (const partition of [1, 2, 3]) {
    expect(await idsAt(generation, partition)).toEqual(ofPartition(partition, 4));
  }
});

test("a batch of which one part cannot be stored is retried, and then stored once, though the topic was raised again", async () => {
  const { generation } = await raise("halting", 1);
  await raise("halting", 2);
  const away = objectName(generation, 1);
  const append = () => Promise.reject(new Error("Network connection lost."));
  const halting = {
    getByName: (name: string) => (name === away ? { append } : real.TOPIC.getByName(name)),
  } as unknown as Env["TOPIC"];
  const body = bound(generation, "b", IDS);
  expect(await consume([body], { ...real, TOPIC: halting, LOG: "off" })).toEqual([]);
  await raise("halting", 6);
  expect(await consume([body])).toEqual(["q-0"]);
  expect(await consume([body])).toEqual(["q-0"]);
  const stored = await Promise.all([0, 1, 2, 3, 4, 5].map((partition) => idsAt(generation, partition)));
  expect(stored.flat().sort()).toEqual([...IDS].sort());
});
