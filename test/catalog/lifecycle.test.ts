// Topics and subscriptions come, change and go, whatever fails or races on the way.

import { beforeEach, describe, expect, test } from "vitest";
import type { SubscriptionEntry, TopicEntry } from "../../src/catalog/catalog-store";
import { finish } from "../../src/catalog/entry-lifecycle";
import { deleteSubscription, putSubscription, setPaused } from "../../src/catalog/subscription-lifecycle";
import { deleteTopic, putQueue, putTopic } from "../../src/catalog/topic-lifecycle";
import { limits } from "../../src/limits";
import { defaultSubscriptionSettings, defaultTopicSettings } from "../../src/settings";
import { codeOf, emptyCatalog, fakeCatalog, must } from "./fakes";

beforeEach(emptyCatalog);

const wanted = (name: string, partitions = 1) =>
  ({ name, kind: "topic", partitions, settings: defaultTopicSettings }) as const;
const reader = (topic: TopicEntry, name = "audit") =>
  ({ topic, name, settings: defaultSubscriptionSettings, startAt: { at: "latest" } }) as const;
const pushSettings = (secrets: string[]) => ({
  ...defaultSubscriptionSettings,
  type: "push" as const,
  push: {
    url: "https://a.example/",
    headers: {},
    timeoutMs: 1000,
    batchMaxMessages: 1,
    batchMaxWaitMs: 0,
    secrets,
  },
});
const living = (objects: Map<string, { alive: boolean }>) =>
  [...objects].filter(([, { alive }]) => alive).map(([name]) => name);

describe("a topic", () => {
  test("is visible with every partition provisioned", async () => {
    const { catalog, store, objects } = fakeCatalog();
    const { entry, created } = must(await putTopic(catalog, wanted("orders", 3)));
    expect(created).toBe(true);
    expect(must(await store.topic("orders"))).toEqual(entry);
    expect(entry).toMatchObject({ state: "active", version: 1, partitions: 3 });
    expect(living(objects.topics)).toEqual([0, 1, 2].map((p) => `${entry.generation}:${p}`));
  });

  test("put again with the same settings, in another order of fields, stays as it is", async () => {
    const { catalog, objects } = fakeCatalog();
    const settings = {
      retentionMs: 60_000,
      retentionBytes: 30_000_000,
      keepHeaders: ["x-a"],
      idHeader: "x-id",
    };
    const first = must(await putTopic(catalog, { ...wanted("orders"), settings }));
    const shuffled = {
      idHeader: "x-id",
      keepHeaders: ["x-a"],
      retentionBytes: 30_000_000,
      retentionMs: 60_000,
    };
    const again = must(await putTopic(catalog, { ...wanted("orders"), settings: shuffled }));
    expect(again).toEqual({ entry: first.entry, created: false });
    expect(objects.made).toEqual(["topic.provision 0"]);
  });

  test("with other settings rises by one version, and every partition hears of it", async () => {
    const { catalog, objects } = fakeCatalog();
    await putTopic(catalog, wanted("orders", 2));
    const settings = { ...defaultTopicSettings, retentionMs: 60_000 };
    const { entry } = must(await putTopic(catalog, { ...wanted("orders", 2), settings }));
    expect(entry).toMatchObject({ version: 2, settings });
    for (const object of objects.topics.values()) expect(object).toMatchObject({ version: 2, settings });
  });

  test("cannot change its kind or its number of partitions", async () => {
    const { catalog } = fakeCatalog();
    await putTopic(catalog, wanted("orders", 2));
    expect(codeOf(await putTopic(catalog, wanted("orders", 3)))).toBe("conflict");
    expect(codeOf(await putTopic(catalog, { ...wanted("orders", 2), kind: "queue" }))).toBe("conflict");
  });

  test("put twice at once is one generation", async () => {
    const { catalog, objects, store } = fakeCatalog();
    const puts = await Promise.all(Array.from({ length: 5 }, () => putTopic(catalog, wanted("orders", 4))));
    const generations = new Set(puts.map((put) => must(put).entry.generation));
    expect(generations.size).toBe(1);
    expect(puts.filter((put) => must(put).created)).toHaveLength(1);
    expect(living(objects.topics)).toHaveLength(4);
    expect(await store.listTopics({ limit: 10 })).toHaveLength(1);
  });

  test("put at once with different settings keeps both versions, in some order", async () => {
    const { catalog } = fakeCatalog();
    await putTopic(catalog, wanted("orders"));
    const retentions = [61_000, 62_000, 63_000];
    const puts = await Promise.all(
      retentions.map((retentionMs) =>
        putTopic(catalog, { ...wanted("orders"), settings: { ...defaultTopicSettings, retentionMs } }),
      ),
    );
    expect(puts.map((put) => must(put).entry.version).sort()).toEqual([2, 3, 4]);
  });

  test("whose creation fails half way is unavailable and invisible, and a repeated PUT finishes it", async () => {
    const { catalog, store, objects } = fakeCatalog();
    objects.faults.add("topic.provision 3");
    expect(codeOf(await putTopic(catalog, wanted("orders", 5)))).toBe("unavailable");
    expect(codeOf(await store.topic("orders"))).toBe("topic-not-found");
    const half = await store.entries.findTopic("orders");
    expect(half?.state).toBe("creating");

    objects.faults.clear();
    const { entry, created } = must(await putTopic(catalog, wanted("orders", 5)));
    expect({ created, generation: entry.generation }).toEqual({
      created: false,
      generation: half?.generation,
    });
    expect(living(objects.topics)).toHaveLength(5);
  });

  test("deleted and created again has another generation, and the old objects are gone", async () => {
    const { catalog, objects, store } = fakeCatalog();
    const first = must(await putTopic(catalog, wanted("orders", 2))).entry;
    await putSubscription(catalog, reader(first));
    expect(must(await deleteTopic(catalog, "orders"))).toBeNull();
    expect(codeOf(await store.topic("orders"))).toBe("topic-not-found");
    expect(living(objects.topics)).toEqual([]);
    expect(living(objects.subscriptions)).toEqual([]);

    const second = must(await putTopic(catalog, wanted("orders", 2))).entry;
    expect(second.generation).not.toBe(first.generation);
    expect(living(objects.topics)).toHaveLength(2);
    expect(await store.listSubscriptions(second, { limit: 10 })).toEqual([]);
  });

  test("that is absent is deleted", async () => {
    expect(must(await deleteTopic(fakeCatalog().catalog, "never"))).toBeNull();
  });

  test("whose deletion fails half way is invisible at once, and a PUT finishes the deletion first", async () => {
    const { catalog, objects, store } = fakeCatalog();
    const first = must(await putTopic(catalog, wanted("orders", 3))).entry;
    objects.faults.add("topic.remove 1");
    expect(codeOf(await deleteTopic(catalog, "orders"))).toBe("unavailable");
    expect(codeOf(await store.topic("orders"))).toBe("topic-not-found");
    expect(codeOf(await putTopic(catalog, wanted("orders", 2)))).toBe("unavailable");

    objects.faults.clear();
    const second = must(await putTopic(catalog, wanted("orders", 2)));
    expect(second.created).toBe(true);
    expect(living(objects.topics).every((name) => name.startsWith(second.entry.generation))).toBe(true);
    expect(second.entry.generation).not.toBe(first.generation);
  });

  test("deleted while it is being created leaves no object alive", async () => {
    const { catalog, objects, store } = fakeCatalog();
    objects.before.set("topic.provision 2", () => deleteTopic(catalog, "orders"));
    expect(codeOf(await putTopic(catalog, wanted("orders", 3)))).toBe("conflict");
    expect(living(objects.topics)).toEqual([]);
    expect(await store.entries.findTopic("orders")).toBeUndefined();
  });

  test("whose deletion began while it was being created is not brought back by its creator", async () => {
    const { catalog, objects, store } = fakeCatalog();
    objects.before.set("topic.provision 2", async () => {
      objects.faults.add("topic.remove 0");
      expect(codeOf(await deleteTopic(catalog, "orders"))).toBe("unavailable");
      objects.faults.clear();
    });
    expect(codeOf(await putTopic(catalog, wanted("orders", 3)))).toBe("conflict");
    expect((await store.entries.findTopic("orders"))?.state).toBe("deleting");
    expect(living(objects.topics)).toEqual([]);
  });

  test("with more subscriptions than one call removes is invisible at once and gone after the next calls", async () => {
    const { catalog, store } = fakeCatalog();
    const topic = must(await putTopic(catalog, wanted("wide", 64))).entry;
    for (let i = 0; i < 5; i++) must(await putSubscription(catalog, reader(topic, `s${i}`)));
    expect(limits.lifecycleObjects / 64).toBe(4);
    must(await deleteTopic(catalog, "wide"));
    expect(codeOf(await store.topic("wide"))).toBe("topic-not-found");
    expect((await store.entries.findTopic("wide"))?.state).toBe("deleting");
    must(await deleteTopic(catalog, "wide"));
    expect(await store.entries.findTopic("wide")).toBeUndefined();
  });

  test("is refused as unavailable while D1 is away", async () => {
    const { catalog, d1 } = fakeCatalog();
    d1.mode = "down";
    expect(codeOf(await putTopic(catalog, wanted("orders")))).toBe("unavailable");
    expect(codeOf(await deleteTopic(catalog, "orders"))).toBe("unavailable");
  });
});

describe("a queue", () => {
  const queue = (name: string) => ({
    name,
    partitions: 2,
    settings: defaultTopicSettings,
    subscription: { ...defaultSubscriptionSettings, ackDeadlineMs: 9_000 },
  });

  test("is a topic and one subscription of the same name, from its beginning", async () => {
    const { catalog, objects, store } = fakeCatalog();
    const { entry, subscription, created } = must(await putQueue(catalog, queue("tasks")));
    expect({ created, kind: entry.kind }).toEqual({ created: true, kind: "queue" });
    expect(subscription).toMatchObject({ name: "tasks", startAt: { at: "earliest" }, version: 1 });
    expect(subscription.settings.ackDeadlineMs).toBe(9_000);
    expect(living(objects.subscriptions)).toHaveLength(2);
    expect(must(await putQueue(catalog, queue("tasks"))).created).toBe(false);
    expect(await store.listTopics({ kind: "queue", limit: 10 })).toEqual([entry]);
    expect(await store.listTopics({ kind: "topic", limit: 10 })).toEqual([]);
  });

  test("is not visible until its subscription is, and a repeated PUT finishes both", async () => {
    const { catalog, objects, store } = fakeCatalog();
    objects.faults.add("subscription.provision 1");
    expect(codeOf(await putQueue(catalog, queue("tasks")))).toBe("unavailable");
    expect(codeOf(await store.topic("tasks"))).toBe("topic-not-found");
    objects.faults.clear();
    const { entry, subscription } = must(await putQueue(catalog, queue("tasks")));
    expect(must(await store.subscription(entry, "tasks"))).toEqual(subscription);
  });

  test("put twice at once has one subscription", async () => {
    const { catalog, store } = fakeCatalog();
    const puts = await Promise.all([1, 2, 3].map(() => putQueue(catalog, queue("tasks"))));
    expect(new Set(puts.map((put) => must(put).subscription.generation)).size).toBe(1);
    expect(await store.listSubscriptions(must(puts[0] as (typeof puts)[0]).entry, { limit: 9 })).toHaveLength(
      1,
    );
  });

  test("takes no second subscription and keeps its own", async () => {
    const { catalog } = fakeCatalog();
    const { entry } = must(await putQueue(catalog, queue("tasks")));
    expect(codeOf(await putSubscription(catalog, reader(entry, "other")))).toBe("conflict");
    expect(codeOf(await deleteSubscription(catalog, entry, "tasks"))).toBe("conflict");
  });
});

describe("a subscription", () => {
  async function withTopic(partitions = 1) {
    const fakes = fakeCatalog();
    const topic = must(await putTopic(fakes.catalog, wanted("orders", partitions))).entry;
    return { ...fakes, topic };
  }

  test("is visible when every partition is attached and provisioned", async () => {
    const { catalog, store, objects, topic } = await withTopic(5);
    const { entry } = must(await putSubscription(catalog, reader(topic)));
    expect(must(await store.subscription(topic, "audit"))).toEqual(entry);
    expect(living(objects.subscriptions)).toHaveLength(5);
    for (const object of objects.topics.values()) expect([...object.attached]).toEqual([entry.generation]);
  });

  test("whose creation fails at partition 3 of 5 is left for the next PUT, which keeps its generation", async () => {
    const { catalog, store, objects, topic } = await withTopic(5);
    objects.faults.add("subscription.provision 3");
    expect(codeOf(await putSubscription(catalog, reader(topic)))).toBe("unavailable");
    const half = await store.entries.findSubscription(topic.generation, "audit");
    expect(half?.state).toBe("creating");
    expect(codeOf(await store.subscription(topic, "audit"))).toBe("subscription-not-found");
    objects.faults.clear();
    const { entry } = must(await putSubscription(catalog, reader(topic)));
    expect(entry).toMatchObject({ generation: half?.generation, state: "active" });
  });

  test("that its topic refuses for good leaves nothing behind", async () => {
    const { catalog, store, objects, topic } = await withTopic(2);
    objects.refusals.set("topic.attach 1", { code: "invalid-request", detail: "no such offset" });
    expect(codeOf(await putSubscription(catalog, reader(topic)))).toBe("invalid-request");
    expect(await store.entries.findSubscription(topic.generation, "audit")).toBeUndefined();
    expect(living(objects.subscriptions)).toEqual([]);
  });

  test("put twice at once is one generation", async () => {
    const { catalog, objects, topic } = await withTopic(3);
    const puts = await Promise.all([1, 2, 3, 4].map(() => putSubscription(catalog, reader(topic))));
    expect(new Set(puts.map((put) => must(put).entry.generation)).size).toBe(1);
    expect(living(objects.subscriptions)).toHaveLength(3);
  });

  test("deleted while it is being created leaves no object alive and none attached", async () => {
    const { catalog, objects, topic } = await withTopic(3);
    objects.before.set("subscription.provision 2", () => deleteSubscription(catalog, topic, "audit"));
    expect(codeOf(await putSubscription(catalog, reader(topic)))).toBe("conflict");
    expect(living(objects.subscriptions)).toEqual([]);
    for (const object of objects.topics.values()) expect(object.attached.size).toBe(0);
  });

  test("created while its topic is deleted leaves no row and no object alive", async () => {
    const { catalog, objects, store, topic } = await withTopic(3);
    objects.before.set("topic.attach 2", () => deleteTopic(catalog, "orders"));
    expect(codeOf(await putSubscription(catalog, reader(topic)))).toBe("conflict");
    expect(living(objects.subscriptions)).toEqual([]);
    expect(living(objects.topics)).toEqual([]);
    expect(await store.entries.findTopic("orders")).toBeUndefined();
    expect(await store.entries.findSubscription(topic.generation, "audit")).toBeUndefined();
  });

  test("is created in the present life of its topic, whatever the caller remembers", async () => {
    const { catalog, topic } = await withTopic();
    await deleteTopic(catalog, "orders");
    expect(codeOf(await putSubscription(catalog, reader(topic)))).toBe("topic-not-found");
    const second = must(await putTopic(catalog, wanted("orders"))).entry;
    expect(must(await putSubscription(catalog, reader(topic))).entry.topicGeneration).toBe(second.generation);
  });

  test("paused and resumed changes its version and nothing else; a repeat changes nothing", async () => {
    const { catalog, objects, topic } = await withTopic();
    await putSubscription(catalog, reader(topic));
    const paused = must(await setPaused(catalog, "orders", "audit", true, "endpoint-gone"));
    expect(paused).toMatchObject({ version: 2, settings: { paused: true, pausedReason: "endpoint-gone" } });
    expect(must(await setPaused(catalog, "orders", "audit", true, "endpoint-gone")).version).toBe(2);
    const resumed = must(await setPaused(catalog, "orders", "audit", false));
    expect(resumed).toMatchObject({ version: 3, settings: defaultSubscriptionSettings });
    expect([...objects.subscriptions.values()][0]).toMatchObject({
      version: 3,
      settings: defaultSubscriptionSettings,
    });
  });

  test("put again stays paused and keeps its secrets when none are named", async () => {
    const { catalog, topic } = await withTopic();
    const put = (secrets: string[]) =>
      putSubscription(catalog, { ...reader(topic), settings: pushSettings(secrets) });
    await put(["whsec_one"]);
    await setPaused(catalog, "orders", "audit", true);
    const again = must(await put([])).entry;
    expect(again).toMatchObject({ version: 2, settings: { paused: true, push: { secrets: ["whsec_one"] } } });
    const rotated = must(await put(["whsec_two"])).entry;
    expect(rotated).toMatchObject({
      version: 3,
      settings: { paused: true, push: { secrets: ["whsec_two"] } },
    });
  });

  test("whose objects miss a change answers with the new version all the same", async () => {
    const { catalog, objects, topic } = await withTopic(2);
    await putSubscription(catalog, reader(topic));
    objects.faults.add("subscription.configure 1");
    const settings = { ...defaultSubscriptionSettings, ackDeadlineMs: 5_000 };
    expect(must(await putSubscription(catalog, { ...reader(topic), settings })).entry.version).toBe(2);
    expect([...objects.subscriptions.values()].map(({ version }) => version)).toEqual([2, 1]);
  });

  test("deleted is gone with its objects and detached; deleted again, and absent, is deleted", async () => {
    const { catalog, objects, store, topic } = await withTopic(2);
    await putSubscription(catalog, reader(topic));
    await store.subscription(topic, "audit");
    expect(must(await deleteSubscription(catalog, topic, "audit"))).toBeNull();
    expect(codeOf(await store.subscription(topic, "audit"))).toBe("subscription-not-found");
    expect(living(objects.subscriptions)).toEqual([]);
    for (const object of objects.topics.values()) expect(object.attached.size).toBe(0);
    expect(must(await deleteSubscription(catalog, topic, "audit"))).toBeNull();
  });

  test("slips in under no topic that is being deleted", async () => {
    const { catalog, store, objects, topic } = await withTopic();
    await putSubscription(catalog, reader(topic));
    objects.faults.add("topic.remove 0");
    await deleteTopic(catalog, "orders");
    const late = { topic: "orders", topicGeneration: topic.generation, partitions: 1, name: "late" };
    const life = { generation: "late", version: 1, state: "creating", createdAt: 1, updatedAt: 1 } as const;
    const { settings, startAt } = reader(topic);
    expect(await store.entries.insertSubscription({ ...late, ...life, settings, startAt })).toBe(false);
  });

  test("that is active is not taken back by a finisher who saw it half-made", async () => {
    const { catalog, store, objects, topic } = await withTopic();
    const { entry } = must(await putSubscription(catalog, reader(topic)));
    objects.refusals.set("topic.attach 0", { code: "gone", detail: "not here" });
    expect(codeOf(await finish(catalog, { ...entry, state: "creating" }))).toBe("conflict");
    expect(must(await store.subscription(topic, "audit"))).toEqual(entry);
    expect(living(objects.subscriptions)).toHaveLength(1);
  });

  test("past the limit of its topic is refused, also when many come at once", async () => {
    const { catalog, store, topic } = await withTopic();
    const now = catalog.runtime.now();
    const filler = (i: number): SubscriptionEntry => ({
      ...{ topic: "orders", topicGeneration: topic.generation, partitions: 1, name: `filler-${i}` },
      ...{ generation: `filler-${i}`, startAt: { at: "latest" }, settings: defaultSubscriptionSettings },
      ...{ version: 1, state: "creating", createdAt: now, updatedAt: now },
    });
    const fillers = Array.from({ length: limits.subscriptionsPerTopic - 1 }, (_, i) => filler(i));
    for (const entry of fillers) expect(await store.entries.insertSubscription(entry)).toBe(true);
    const puts = await Promise.all(
      ["a", "b", "c"].map((name) => putSubscription(catalog, reader(topic, name))),
    );
    expect(puts.map(codeOf).sort()).toEqual(["conflict", "conflict", "ok"]);
  });
});
