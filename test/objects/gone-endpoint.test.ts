// A subscription whose endpoint answered 410 pauses at once, in its object. That the catalog is told too is not
// certain: D1 may be away.

import { env } from "cloudflare:workers";
import { expect, test } from "vitest";
import { CatalogStore, type TopicEntry } from "../../src/catalog/catalog-store";
import { putSubscription, setPaused } from "../../src/catalog/subscription-lifecycle";
import { putTopic } from "../../src/catalog/topic-lifecycle";
import { NO_SIGNS } from "../../src/endpoint-signs";
import type { Env } from "../../src/env";
import { objectName } from "../../src/object-name";
import { systemRuntime } from "../../src/runtime";
import {
  defaultSubscriptionSettings,
  defaultTopicSettings,
  type SubscriptionSettings,
} from "../../src/settings";
import { value } from "../support/objects";

const bindings = env as unknown as Env;
const store = new CatalogStore(bindings.CATALOG, systemRuntime);
const catalog = { env: bindings, store, runtime: systemRuntime };
const GONE = { leaseId: "any", outcomes: [], done: true, endpointGone: true };
const URL = "https://hooks.example.com/";

test("a subscription that paused for a gone endpoint can be resumed, also when the catalog never heard of it", async () => {
  const { topic, subscription } = await pushTo(await newTopic(), URL);
  await subscription.report({ ...GONE, version: 1 });
  expect(value(await subscription.stats()).paused).toBe(true);
  value(await setPaused(catalog, topic.name, "billing", false));
  expect(value(await subscription.stats()).paused).toBe(false);
});

test("a dispatch to an endpoint that was replaced meanwhile does not pause the subscription", async () => {
  const { topic, subscription } = await pushTo(await newTopic(), URL);
  await pushTo(topic, "https://other.example.com/");
  await subscription.report({ ...GONE, version: 1 });
  expect(value(await subscription.stats()).paused).toBe(false);
});

test("what an endpoint answered before it was replaced is not held against the new one", async () => {
  const { topic, subscription } = await pushTo(await newTopic(), URL);
  await pushTo(topic, "https://other.example.com/");
  const signs = { ...NO_SIGNS, ailed: 1, failing: 1, pausedUntil: Date.now() + 3_600_000 };
  const report = { leaseId: "late", outcomes: [], done: true, signs };
  await subscription.report({ ...report, version: 1 });
  expect(value(await subscription.stats()).endpoint?.state).toBe("closed");
  await subscription.report({ ...report, version: 2 });
  expect(value(await subscription.stats()).endpoint?.state).toBe("open");
});

test("a forward to a target that was replaced meanwhile does not pause the subscription", async () => {
  const topic = await newTopic();
  const subscription = await forwardTo(topic, "the life before");
  await forwardTo(topic, "the life now");
  await subscription.report({ ...GONE, version: 1 });
  expect(value(await subscription.stats()).paused).toBe(false);
  await subscription.report({ ...GONE, version: 2 });
  expect(value(await subscription.stats()).paused).toBe(true);
});

async function newTopic() {
  const name = `gone-${crypto.randomUUID()}`;
  const topic = { name, kind: "topic", partitions: 1, settings: defaultTopicSettings } as const;
  return value(await putTopic(catalog, topic)).entry;
}

async function pushTo(topic: TopicEntry, url: string) {
  const push = { url, headers: {}, timeoutMs: 1_000, secrets: [], batchMaxMessages: 1, batchMaxWaitMs: 0 };
  return { topic, subscription: await put(topic, { ...defaultSubscriptionSettings, type: "push", push }) };
}

function forwardTo(topic: TopicEntry, generation: string) {
  const forward = { topic: "elsewhere", generation };
  return put(topic, { ...defaultSubscriptionSettings, type: "forward", forward });
}

async function put(topic: TopicEntry, settings: SubscriptionSettings) {
  const wanted = { topic, name: "billing", settings, startAt: { at: "latest" } } as const;
  const { generation } = value(await putSubscription(catalog, wanted)).entry;
  return bindings.SUBSCRIPTION.getByName(objectName(generation, 0));
}
