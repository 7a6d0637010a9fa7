// Reading the catalog: what an isolate remembers, for how long, and what it says while D1 is away.

import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { CatalogStore } from "../../src/catalog/catalog-store";
import { putSubscription } from "../../src/catalog/subscription-lifecycle";
import { deleteTopic, putTopic } from "../../src/catalog/topic-lifecycle";
import { limits } from "../../src/limits";
import { defaultSubscriptionSettings, defaultTopicSettings } from "../../src/settings";
import { codeOf, emptyCatalog, fakeCatalog, fakeD1, must } from "./fakes";

beforeEach(emptyCatalog);
afterEach(() => void vi.useRealTimers());

const settings = defaultTopicSettings;

/** A topic with a subscription, both remembered. */
async function remembered() {
  const fakes = fakeCatalog();
  const { catalog, store } = fakes;
  const put = await putTopic(catalog, { name: "orders", kind: "topic", partitions: 1, settings });
  const topic = must(put).entry;
  const reader = {
    topic,
    name: "audit",
    settings: defaultSubscriptionSettings,
    startAt: { at: "latest" },
  } as const;
  must(await putSubscription(catalog, reader));
  const entry = must(await store.topic("orders"));
  must(await store.subscription(entry, "audit"));
  return { ...fakes, topic: entry };
}

/** Another isolate's store: the same rows, nothing remembered. */
const elsewhere = (fakes: Awaited<ReturnType<typeof remembered>>) => {
  const d1 = fakeD1();
  const store = new CatalogStore(d1, fakes.runtime, (work) => fakes.behind.push(work));
  return { ...fakes.catalog, store, env: { ...fakes.env, CATALOG: d1 } };
};

const newSettings = { ...settings, retentionMs: 61_000 };
const change = (catalog: ReturnType<typeof elsewhere>) =>
  putTopic(catalog, { name: "orders", kind: "topic", partitions: 1, settings: newSettings });

describe("while D1 answers", () => {
  test("an entry is served without D1 while it is fresh", async () => {
    const { d1, store, runtime, topic } = await remembered();
    d1.mode = "hanging";
    runtime.at += limits.catalogFreshMs - 1;
    expect(must(await store.topic("orders"))).toEqual(topic);
    expect(must(await store.subscription(topic, "audit")).name).toBe("audit");
  });

  test("an entry that is due is served at once and read again behind the request, once", async () => {
    const fakes = await remembered();
    await change(elsewhere(fakes));
    fakes.runtime.at += limits.catalogFreshMs;
    fakes.behind.length = 0;
    for (let i = 0; i < 3; i++) expect(must(await fakes.store.topic("orders")).version).toBe(1);
    expect(fakes.behind).toHaveLength(1);
    await Promise.all(fakes.behind);
    expect(must(await fakes.store.topic("orders"))).toMatchObject({ version: 2, settings: newSettings });
  });

  test("an entry past that is read before it is served", async () => {
    const fakes = await remembered();
    await change(elsewhere(fakes));
    fakes.runtime.at += limits.catalogRefreshMs;
    expect(must(await fakes.store.topic("orders")).version).toBe(2);
  });

  test("a topic that was deleted elsewhere is forgotten with the read that misses it", async () => {
    const fakes = await remembered();
    must(await deleteTopic(elsewhere(fakes), "orders"));
    fakes.runtime.at += limits.catalogRefreshMs;
    expect(codeOf(await fakes.store.topic("orders"))).toBe("topic-not-found");
    fakes.d1.mode = "down";
    expect(codeOf(await fakes.store.topic("orders"))).toBe("unavailable");
  });

  test("after forget the next read asks D1, for the topic and for its subscriptions", async () => {
    const { d1, store, topic } = await remembered();
    store.forget("orders");
    d1.mode = "down";
    expect(codeOf(await store.topic("orders"))).toBe("unavailable");
    expect(codeOf(await store.subscription(topic, "audit"))).toBe("unavailable");
  });

  test("a read that began before forget does not bring the old entry back", async () => {
    const fakes = await remembered();
    fakes.runtime.at += limits.catalogFreshMs;
    fakes.behind.length = 0;
    await fakes.store.topic("orders");
    fakes.store.forget("orders");
    await Promise.all(fakes.behind);
    fakes.d1.mode = "down";
    expect(codeOf(await fakes.store.topic("orders"))).toBe("unavailable");
  });

  test("a name that was missing is found as soon as it exists", async () => {
    const { catalog, store } = fakeCatalog();
    expect(codeOf(await store.topic("orders"))).toBe("topic-not-found");
    await putTopic(catalog, { name: "orders", kind: "topic", partitions: 1, settings });
    expect(codeOf(await store.topic("orders"))).toBe("ok");
  });
});

describe("while D1 is away", () => {
  test("what is remembered is served for ten minutes, and then refused as unavailable", async () => {
    const { d1, store, runtime, topic } = await remembered();
    d1.mode = "down";
    runtime.at += limits.catalogStaleMs - 1;
    expect(must(await store.topic("orders"))).toEqual(topic);
    expect(must(await store.subscription(topic, "audit")).name).toBe("audit");
    runtime.at += 1;
    expect(codeOf(await store.topic("orders"))).toBe("unavailable");
    expect(codeOf(await store.subscription(topic, "audit"))).toBe("unavailable");
  });

  test("an unknown name is unavailable, never not found", async () => {
    const { d1, store, topic } = await remembered();
    d1.mode = "down";
    expect(codeOf(await store.topic("nobody-knows"))).toBe("unavailable");
    expect(codeOf(await store.subscription(topic, "nobody-knows"))).toBe("unavailable");
  });

  test("a D1 that does not answer counts as away after a while, and is not waited for again at once", async () => {
    const { d1, store, runtime, topic } = await remembered();
    runtime.at += limits.catalogRefreshMs;
    d1.mode = "hanging";
    vi.useFakeTimers();
    const waiting = store.topic("orders");
    await vi.advanceTimersByTimeAsync(limits.catalogWaitMs);
    expect(must(await waiting)).toEqual(topic);
    expect(must(await store.topic("orders"))).toEqual(topic);
  });

  test("a list throws a fault that does not tell the query's parameters", async () => {
    const { d1, store } = fakeCatalog();
    d1.mode = "down";
    await expect(store.listTopics({ after: "secret-name", limit: 5 })).rejects.toThrow(
      /^D1_ERROR: Network connection lost\.$/,
    );
  });
});

describe("lists", () => {
  test("go by name, a page at a time, and show active entries only", async () => {
    const { catalog, store, objects } = fakeCatalog();
    for (const name of ["c", "a", "b"]) {
      await putTopic(catalog, { name, kind: "topic", partitions: 1, settings });
    }
    objects.faults.add("topic.provision 0");
    await putTopic(catalog, { name: "half", kind: "topic", partitions: 1, settings });
    const names = (page: readonly { name: string }[]) => page.map(({ name }) => name);
    expect(names(await store.listTopics({ limit: 2 }))).toEqual(["a", "b"]);
    expect(names(await store.listTopics({ after: "b", limit: 2 }))).toEqual(["c"]);
    expect(await store.counts()).toEqual({ topics: 3, subscriptions: 0, stranded: 0 });
  });
});
