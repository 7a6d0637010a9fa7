// The lifecycle and the consumer against the real objects: calls as they cross between Workers.

import { createExecutionContext, createMessageBatch, getQueueResult } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { expect, test } from "vitest";
import { CatalogStore } from "../../src/catalog/catalog-store";
import type { Catalog } from "../../src/catalog/entry-lifecycle";
import { resendStranded, StrandedStore } from "../../src/catalog/stranded-store";
import { sweep } from "../../src/catalog/sweep";
import { deleteTopic, putQueue } from "../../src/catalog/topic-lifecycle";
import type { Env } from "../../src/env";
import { consumeIngress } from "../../src/ingress/ingress-consumer";
import { objectName } from "../../src/object-name";
import { packRecordBatch, packRecords } from "../../src/record-batch";
import { systemRuntime } from "../../src/runtime";
import { defaultSubscriptionSettings, defaultTopicSettings } from "../../src/settings";
import { must } from "../catalog/fakes";

const real = env as unknown as Env;
const catalog: Catalog = {
  env: real,
  store: new CatalogStore(real.CATALOG, systemRuntime),
  runtime: systemRuntime,
};
const queue = {
  name: "tasks",
  partitions: 3,
  settings: defaultTopicSettings,
  subscription: defaultSubscriptionSettings,
};

test("an accepted batch outlives its queue in the stranded store, and reaches the queue's next life when sent on", async () => {
  const { entry, subscription } = must(await putQueue(catalog, queue));
  await consume("first", entry.generation);
  const stats = must(await real.TOPIC.getByName(objectName(entry.generation, 2)).stats());
  expect(stats).toMatchObject({ head: stats.earliest + 1, subscriptions: 1 });
  expect(await sweep(catalog, async () => 0)).toMatchObject({ poked: 6, unreached: 0, faults: [] });

  must(await deleteTopic(catalog, "tasks"));
  for (const object of [
    real.TOPIC.getByName(objectName(entry.generation, 2)),
    real.SUBSCRIPTION.getByName(objectName(subscription.generation, 2)),
  ]) {
    expect(await object.stats()).toMatchObject({ ok: false, error: { code: "gone" } });
  }

  await consume("second", entry.generation);
  const stranded = new StrandedStore(real.CATALOG, systemRuntime);
  expect(await stranded.list({ limit: 5 })).toMatchObject([{ id: "second", reason: "gone", partition: 2 }]);

  const next = must(await putQueue(catalog, queue)).entry;
  expect(next.generation).not.toBe(entry.generation);
  expect(await resendStranded(catalog, "second")).toMatchObject({ error: { code: "gone" } });
  expect(must(await resendStranded(catalog, "second", "tasks"))).toMatchObject({
    generation: next.generation,
    answer: { batchId: "second", count: 1, exceptions: [] },
  });
  expect(await stranded.count()).toBe(0);
});

/** Carries one record batch of partition 2, and expects it to be acked. */
async function consume(batchId: string, generation: string): Promise<void> {
  const message = { id: batchId, publishedAt: 1, contentType: "x/y", body: new Uint8Array([1]) };
  const head = { batchId, generation, partition: 2, count: 1, clientIds: [] };
  const body = packRecordBatch({ ...head, records: packRecords([message]) });
  const sent = { id: `q-${batchId}`, timestamp: new Date(0), attempts: 1, body };
  const batch = createMessageBatch("pennypost-ingress", [sent]);
  await consumeIngress(batch, real, systemRuntime);
  const { explicitAcks } = await getQueueResult(batch, createExecutionContext());
  expect(explicitAcks).toEqual([sent.id]);
}
