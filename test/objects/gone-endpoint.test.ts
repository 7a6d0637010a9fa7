// A subscription whose endpoint answered 410 pauses at once, in its object. That the catalog is told too is not
// certain: D1 may be away.

import { env } from "cloudflare:workers";
import { expect, test } from "vitest";
import { CatalogStore } from "../../src/catalog/catalog-store";
import { putSubscription, setPaused } from "../../src/catalog/subscription-lifecycle";
import { putTopic } from "../../src/catalog/topic-lifecycle";
import type { Env } from "../../src/env";
import { objectName } from "../../src/object-name";
import { systemRuntime } from "../../src/runtime";
import { defaultSubscriptionSettings, defaultTopicSettings } from "../../src/settings";
import { value } from "../support/objects";

test("a subscription that paused for a gone endpoint can be resumed, also when the catalog never heard of it", async () => {
  const bindings = env as unknown as Env;
  const store = new CatalogStore(bindings.CATALOG, systemRuntime);
  const catalog = { env: bindings, store, runtime: systemRuntime };
  const name = `gone-${crypto.randomUUID()}`;
  const topic = { name, kind: "topic", partitions: 1, settings: defaultTopicSettings } as const;
  const { entry } = value(await putTopic(catalog, topic));
  const push = { url: "https://hooks.example.com/", headers: {}, timeoutMs: 1_000, secrets: [] };
  const settings = {
    ...defaultSubscriptionSettings,
    type: "push" as const,
    push: { ...push, batchMaxMessages: 1, batchMaxWaitMs: 0 },
  };
  const wanted = { topic: entry, name: "billing", settings, startAt: { at: "latest" } } as const;
  const { generation } = value(await putSubscription(catalog, wanted)).entry;
  const subscription = bindings.SUBSCRIPTION.getByName(objectName(generation, 0));
  await subscription.report({ leaseId: "any", outcomes: [], done: true, endpointGone: true });
  expect(value(await subscription.stats()).paused).toBe(true);
  value(await setPaused(catalog, name, "billing", false));
  expect(value(await subscription.stats()).paused).toBe(false);
});
