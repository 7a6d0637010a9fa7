// The sweep: nothing half-done stays so, every object is poked in turn, and no failure stops the rest.

import { env } from "cloudflare:workers";
import { beforeEach, describe, expect, test } from "vitest";
import { cutPage } from "../../src/catalog/rotation";
import { putSubscription } from "../../src/catalog/subscription-lifecycle";
import { sweep } from "../../src/catalog/sweep";
import { deleteTopic, putQueue, putTopic } from "../../src/catalog/topic-lifecycle";
import type { Env } from "../../src/env";
import { limits } from "../../src/limits";
import { defaultSubscriptionSettings, defaultTopicSettings } from "../../src/settings";
import { codeOf, emptyCatalog, fakeCatalog, must } from "./fakes";

beforeEach(emptyCatalog);

const wanted = (name: string, partitions = 1) =>
  ({ name, kind: "topic", partitions, settings: defaultTopicSettings }) as const;
const nothingToPurge = async () => 0;

describe("finishing", () => {
  test("a topic left half-created is finished once its request had a minute", async () => {
    const { catalog, objects, store, runtime } = fakeCatalog();
    objects.faults.add("topic.provision 3");
    await putTopic(catalog, wanted("orders", 5));
    objects.faults.clear();

    runtime.at += limits.sweepAfterMs - 1;
    expect(await sweep(catalog, nothingToPurge)).toMatchObject({ finished: 0 });
    runtime.at += 1;
    expect(await sweep(catalog, nothingToPurge)).toMatchObject({ finished: 1, unfinished: 0, faults: [] });
    expect(must(await store.topic("orders")).state).toBe("active");
  });

  test("a queue left half-created is finished with its subscription", async () => {
    const { catalog, objects, store, runtime } = fakeCatalog();
    objects.faults.add("topic.provision 0");
    const queue = { name: "tasks", partitions: 1, settings: defaultTopicSettings };
    await putQueue(catalog, { ...queue, subscription: defaultSubscriptionSettings });
    objects.faults.clear();
    runtime.at += limits.sweepAfterMs;
    expect(await sweep(catalog, nothingToPurge)).toMatchObject({ finished: 1, unfinished: 0 });
    const topic = must(await store.topic("tasks"));
    expect(must(await store.subscription(topic, "tasks")).state).toBe("active");
  });

  test("a topic left half-deleted is removed, with its subscriptions", async () => {
    const { catalog, objects, store, runtime } = fakeCatalog();
    const topic = must(await putTopic(catalog, wanted("orders", 2))).entry;
    const reader = {
      topic,
      name: "audit",
      settings: defaultSubscriptionSettings,
      startAt: { at: "latest" },
    } as const;
    await putSubscription(catalog, reader);
    objects.faults.add("subscription.remove 1");
    expect(codeOf(await deleteTopic(catalog, "orders"))).toBe("unavailable");
    objects.faults.clear();
    runtime.at += limits.sweepAfterMs;
    expect(await sweep(catalog, nothingToPurge)).toMatchObject({ unfinished: 0, faults: [] });
    expect(await store.entries.findTopic("orders")).toBeUndefined();
    for (const object of [...objects.topics.values(), ...objects.subscriptions.values()]) {
      expect(object.alive).toBe(false);
    }
  });

  test("an object that missed a change of settings gets it", async () => {
    const { catalog, objects, runtime } = fakeCatalog();
    const topic = must(await putTopic(catalog, wanted("orders", 3))).entry;
    const reader = {
      topic,
      name: "audit",
      settings: defaultSubscriptionSettings,
      startAt: { at: "latest" },
    } as const;
    await putSubscription(catalog, reader);
    objects.faults.add("subscription.configure 2");
    const settings = { ...defaultSubscriptionSettings, ackDeadlineMs: 5_000 };
    await putSubscription(catalog, { ...reader, settings });
    objects.faults.clear();
    runtime.at += limits.sweepAfterMs;
    expect(await sweep(catalog, nothingToPurge)).toMatchObject({ finished: 1 });
    expect([...objects.subscriptions.values()].map(({ version }) => version)).toEqual([2, 2, 2]);
    runtime.at += limits.sweepAfterMs;
    expect(await sweep(catalog, nothingToPurge)).toMatchObject({ finished: 0 });
  });

  test("rows that keep failing do not hold up the rows behind them", async () => {
    const { catalog, objects, store, runtime } = fakeCatalog();
    objects.faults.add("topic.provision 1");
    for (let i = 0; i < limits.sweepRows; i++) await putTopic(catalog, wanted(`stuck-${i}`, 2));
    runtime.at += 1;
    objects.faults.add("topic.provision 0");
    await putTopic(catalog, wanted("waits"));
    objects.faults.delete("topic.provision 0");

    runtime.at += limits.sweepAfterMs;
    expect(await sweep(catalog, nothingToPurge)).toMatchObject({ finished: 0, unfinished: limits.sweepRows });
    expect(await sweep(catalog, nothingToPurge)).toMatchObject({ finished: 1, unfinished: 0 });
    expect(codeOf(await store.topic("waits"))).toBe("ok");
  });

  test("the rows are found by their partial index", async () => {
    const { CATALOG } = env as unknown as Env;
    for (const table of ["topics", "subscriptions"]) {
      const query = `SELECT * FROM ${table} WHERE (state <> 'active' OR configured_version < version) AND tried_at <= ?1 ORDER BY tried_at LIMIT 10`;
      const plan = await CATALOG.prepare(`EXPLAIN QUERY PLAN ${query}`).bind(1).all<{ detail: string }>();
      expect(plan.results.map(({ detail }) => detail).join()).toContain(`USING INDEX ${table}_unsettled`);
    }
  });
});

describe("poking", () => {
  test("every object is poked in turn, a bounded number at a time", async () => {
    const { catalog, objects } = fakeCatalog();
    for (let i = 0; i < 5; i++) await putTopic(catalog, wanted(`wide-${i}`, 64));
    const topic = must(await putTopic(catalog, wanted("narrow"))).entry;
    const reader = {
      topic,
      name: "audit",
      settings: defaultSubscriptionSettings,
      startAt: { at: "latest" },
    } as const;
    await putSubscription(catalog, reader);
    const all = [...objects.topics.values(), ...objects.subscriptions.values()];
    expect(all).toHaveLength(322);

    expect(await sweep(catalog, nothingToPurge)).toMatchObject({ poked: limits.sweepObjects, unreached: 0 });
    expect(await sweep(catalog, nothingToPurge)).toMatchObject({ poked: 322 - limits.sweepObjects });
    expect(all.every(({ woken }) => woken === 1)).toBe(true);
    expect(await sweep(catalog, nothingToPurge)).toMatchObject({ poked: limits.sweepObjects });
  });

  test("an object that cannot be reached stops no other", async () => {
    const { catalog, objects } = fakeCatalog();
    await putTopic(catalog, wanted("orders", 5));
    objects.faults.add("topic.wake 2");
    expect(await sweep(catalog, nothingToPurge)).toMatchObject({ poked: 4, unreached: 1 });
  });

  test("a page ends at its limit inside a life, and goes on there", () => {
    const lives = [
      { generation: "a", partitions: 3 },
      { generation: "b", partitions: 3 },
    ];
    const first = cutPage({ noun: "topic", generation: "", partition: 0 }, lives, 4);
    expect(first.next).toEqual({ noun: "topic", generation: "b", partition: 1 });
    const second = cutPage(first.next, lives.slice(1), 4);
    expect(second.pokes.map(({ partition }) => partition)).toEqual([1, 2]);
    expect(second.next).toEqual({ noun: "subscription", generation: "", partition: 0 });
  });

  test("a life that ended where the round stood is passed over", () => {
    const place = { noun: "topic", generation: "b", partition: 2 } as const;
    const { pokes } = cutPage(place, [{ generation: "c", partitions: 2 }], 10);
    expect(pokes.map(({ generation, partition }) => `${generation}:${partition}`)).toEqual(["c:0", "c:1"]);
  });
});

describe("one part that fails", () => {
  test("is reported and stops no other", async () => {
    const { catalog, d1 } = fakeCatalog();
    await putTopic(catalog, wanted("orders"));
    const noLedger = await sweep(catalog, () => Promise.reject(new Error("no ledger")));
    expect(noLedger).toMatchObject({ poked: 1, faults: ["purge: Error: no ledger"] });
    d1.mode = "down";
    const noCatalog = await sweep(catalog, async () => 7);
    expect(noCatalog).toMatchObject({ poked: 0, purged: 7 });
    expect(noCatalog.faults).toHaveLength(4);
  });
});
