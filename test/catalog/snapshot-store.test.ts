// Snapshots in D1: as many as a subscription may have, and for as long as it lives.

import { beforeEach, expect, test } from "vitest";
import type { SubscriptionEntry } from "../../src/catalog/catalog-store";
import { SnapshotStore } from "../../src/catalog/snapshot-store";
import { deleteSubscription, putSubscription } from "../../src/catalog/subscription-lifecycle";
import { putTopic } from "../../src/catalog/topic-lifecycle";
import { limits } from "../../src/limits";
import { defaultSubscriptionSettings, defaultTopicSettings } from "../../src/settings";
import { codeOf, emptyCatalog, fakeCatalog, must } from "./fakes";

beforeEach(emptyCatalog);

async function reader() {
  const { catalog, d1, runtime } = fakeCatalog();
  const wanted = { name: "orders", kind: "topic", partitions: 1, settings: defaultTopicSettings } as const;
  const topic = must(await putTopic(catalog, wanted)).entry;
  const subscribe = async () => {
    const startAt = { at: "latest" } as const;
    const settings = defaultSubscriptionSettings;
    return must(await putSubscription(catalog, { topic, name: "audit", settings, startAt })).entry;
  };
  const unsubscribe = () => deleteSubscription(catalog, topic, "audit");
  return { store: new SnapshotStore(d1, runtime), subscribe, unsubscribe };
}

const fill = async (store: SnapshotStore, subscription: SubscriptionEntry) => {
  for (let n = 0; n < limits.snapshotsPerSubscription; n++) {
    expect(must(await store.insert(subscription, `n-${n}`, { 0: n }))).toBe(true);
  }
};

test("a name keeps the position that it was given first", async () => {
  const { store, subscribe } = await reader();
  const subscription = await subscribe();
  expect(must(await store.insert(subscription, "mine", { 0: 7 }))).toBe(true);
  expect(must(await store.insert(subscription, "mine", { 0: 9 }))).toBe(false);
  expect(must(await store.find(subscription, "mine")).offsets).toEqual({ 0: 7 });
});

test("a subscription has at most so many, and a name that it has is not one more", async () => {
  const { store, subscribe } = await reader();
  const subscription = await subscribe();
  await fill(store, subscription);
  expect(codeOf(await store.insert(subscription, "one-more", { 0: 1 }))).toBe("conflict");
  expect(must(await store.insert(subscription, "n-0", { 0: 1 }))).toBe(false);
  await store.delete(subscription, "n-0");
  expect(must(await store.insert(subscription, "one-more", { 0: 1 }))).toBe(true);
});

test("snapshots go with their subscription, and none is kept for one that has gone", async () => {
  const { store, subscribe, unsubscribe } = await reader();
  const before = await subscribe();
  must(await store.insert(before, "mine", { 0: 7 }));
  must(await unsubscribe());
  expect(codeOf(await store.find(before, "mine"))).toBe("snapshot-not-found");
  expect(codeOf(await store.insert(before, "late", { 0: 7 }))).toBe("gone");
  expect(await store.list(await subscribe(), { limit: 10 })).toEqual([]);
});
