// A topic gets more partitions, whatever fails or races on the way: its number is seen when every object is there.

import { beforeEach, describe, expect, test } from "vitest";
import { deleteSubscription, putSubscription, setPaused } from "../../src/catalog/subscription-lifecycle";
import { sweep } from "../../src/catalog/sweep";
import { deleteTopic, putQueue, putTopic } from "../../src/catalog/topic-lifecycle";
import { limits } from "../../src/limits";
import { objectName } from "../../src/object-name";
import { defaultSubscriptionSettings, defaultTopicSettings } from "../../src/settings";
import { codeOf, emptyCatalog, fakeCatalog, must } from "./fakes";

beforeEach(emptyCatalog);

const wanted = (partitions?: number) => ({
  ...{ name: "orders", kind: "topic" as const, settings: defaultTopicSettings, partitions },
});

/** A topic of two partitions with two subscriptions. */
async function scene() {
  await emptyCatalog();
  const fakes = fakeCatalog();
  const topic = must(await putTopic(fakes.catalog, wanted(2))).entry;
  for (const name of ["audit", "billing"]) {
    const startAt = { at: "latest" } as const;
    must(
      await putSubscription(fakes.catalog, { topic, name, settings: defaultSubscriptionSettings, startAt }),
    );
  }
  fakes.objects.made.length = 0;
  return { ...fakes, topic, raise: () => putTopic(fakes.catalog, wanted(4)) };
}
type Scene = Awaited<ReturnType<typeof scene>>;

/** Everything is there, and nothing else. */
async function expectRaised({ store, objects, topic }: Scene): Promise<void> {
  const raised = must(await store.topic("orders"));
  expect(raised).toMatchObject({ generation: topic.generation, partitions: 4, raisingTo: null });
  const topics = [0, 1, 2, 3].map((partition) => objects.topics.get(objectName(topic.generation, partition)));
  expect(topics.map((each) => [each?.alive, each?.attached.size])).toEqual(Array(4).fill([true, 2]));
  expect(topics.map((each) => each?.cut)).toEqual([4, 4, undefined, undefined]);
  for (const name of ["audit", "billing"]) {
    const entry = must(await store.subscription(raised, name));
    expect(entry).toMatchObject({ partitions: 4, raisingTo: null });
    const lives = [0, 1, 2, 3].map((p) => objects.subscriptions.get(objectName(entry.generation, p))?.alive);
    expect(lives).toEqual([true, true, true, true]);
  }
}

const living = ({ topics, subscriptions }: Scene["objects"]) =>
  [...topics, ...subscriptions].filter(([, { alive }]) => alive).map(([name]) => name);

/** The calls that a raise makes, in an order that it may make them in. */
async function callsOfRaise(): Promise<readonly string[]> {
  const { objects, raise } = await scene();
  must(await raise());
  return [...new Set(objects.made)];
}

describe("raising a topic", () => {
  test("makes the new partitions and every subscription's, then cuts the old ones, then shows the number", async () => {
    const at = await scene();
    const put = must(await at.raise());
    expect(put).toMatchObject({ created: false, entry: { partitions: 4 } });
    await expectRaised(at);
    const { made } = at.objects;
    const last = (part: string) => made.findLastIndex((call) => call.startsWith(part));
    const first = (part: string) => made.findIndex((call) => call.startsWith(part));
    expect(last("topic.provision")).toBeLessThan(first("topic.attach"));
    expect(last("subscription.provision")).toBeLessThan(first("topic.cut"));
    expect(made.filter((call) => call.startsWith("topic.cut"))).toEqual(["topic.cut 0", "topic.cut 1"]);
  });

  test("is refused to fewer partitions and to what is no multiple, with the field and what there is", async () => {
    const { catalog } = await scene();
    for (const partitions of [1, 3, 5]) {
      const refused = await putTopic(catalog, wanted(partitions));
      expect(!refused.ok && refused.error).toMatchObject({
        ...{ code: "conflict", field: "partitions", limit: 2 },
      });
    }
    expect(must(await putTopic(catalog, wanted())).entry.partitions).toBe(2);
  });

  test("changes settings in the same PUT, and a queue is raised like a topic", async () => {
    const { catalog, objects } = fakeCatalog();
    const queue = {
      name: "tasks",
      settings: defaultTopicSettings,
      subscription: defaultSubscriptionSettings,
    };
    must(await putQueue(catalog, queue));
    const settings = { ...defaultTopicSettings, retentionMs: 60_000 };
    const { entry, subscription } = must(await putQueue(catalog, { ...queue, settings, partitions: 64 }));
    expect(entry).toMatchObject({ partitions: 64, settings });
    expect(subscription.partitions).toBe(64);
    for (const object of objects.topics.values()) expect(object.settings).toEqual(settings);
    expect(living(objects)).toHaveLength(128);
  });

  test("at once by several is one raise", async () => {
    const at = await scene();
    const puts = await Promise.all([at.raise(), at.raise(), at.raise()]);
    expect(puts.map((put) => must(put).entry.partitions)).toEqual([4, 4, 4]);
    await expectRaised(at);
  });
});

describe("a raise that ends half way", () => {
  test("at any call shows the old number, and the next PUT finishes it", async () => {
    for (const call of await callsOfRaise()) {
      const at = await scene();
      at.objects.faults.add(call);
      const put = await at.raise();
      // Settings are repaired by the sweep: the number is there by then.
      const partitions = call.includes("configure") ? 4 : 2;
      expect([call, put.ok]).toEqual([call, partitions === 4]);
      expect(must(await at.store.topic("orders")).partitions).toBe(partitions);
      at.objects.faults.clear();
      must(await at.raise());
      await expectRaised(at);
    }
  });

  test("at any call, with D1 away from then on, is finished by the sweep", async () => {
    for (const call of await callsOfRaise()) {
      const at = await scene();
      at.objects.before.set(call, async () => {
        at.d1.mode = "down";
      });
      await at.raise();
      at.d1.mode = "up";
      at.runtime.at += limits.sweepAfterMs;
      expect([call, await sweep(at.catalog, async () => 0)]).toMatchObject([call, { unfinished: 0 }]);
      at.store.forget("orders");
      await expectRaised(at);
    }
  });

  test("because a topic has very many subscriptions goes on with the next calls", async () => {
    const { catalog, store, runtime } = fakeCatalog();
    const topic = must(await putTopic(catalog, wanted(1))).entry;
    const startAt = { at: "latest" } as const;
    for (let i = 0; i < 5; i++) {
      const reader = { topic, name: `s${i}`, settings: defaultSubscriptionSettings, startAt };
      must(await putSubscription(catalog, reader));
    }
    expect(Math.floor(limits.lifecycleObjects / 63)).toBe(4);
    const refused = await putTopic(catalog, wanted(64));
    expect(!refused.ok && refused.error).toMatchObject({ code: "unavailable" });
    runtime.at += limits.sweepAfterMs;
    await sweep(catalog, async () => 0);
    store.forget("orders");
    expect(must(await store.topic("orders")).partitions).toBe(64);
  });
});

describe("meanwhile", () => {
  test("the topic is deleted, at any call: no object of it stays alive, and the name is free", async () => {
    for (const call of await callsOfRaise()) {
      const at = await scene();
      at.objects.before.set(call, () => deleteTopic(at.catalog, "orders"));
      const put = await at.raise();
      // Deleted once it was raised, it is created anew by a PUT that has still to see to its settings.
      expect([call, codeOf(put)]).toEqual([call, call.includes("configure") ? "ok" : "conflict"]);
      const left = living(at.objects).filter(
        (name) => !put.ok || !name.startsWith(put.value.entry.generation),
      );
      expect([call, left]).toEqual([call, []]);
      const found = await at.store.entries.findTopic("orders");
      expect(found?.generation).not.toBe(at.topic.generation);
    }
  });

  test("a subscription is deleted, at any call: the raise goes on without it, and none of its objects stays alive", async () => {
    for (const call of await callsOfRaise()) {
      const at = await scene();
      const audit = must(await at.store.subscription(at.topic, "audit"));
      at.objects.before.set(call, () => deleteSubscription(at.catalog, at.topic, "audit"));
      expect([call, must(await at.raise()).entry.partitions]).toEqual([call, 4]);
      const left = living(at.objects).filter((name) => name.startsWith(audit.generation));
      expect([call, left]).toEqual([call, []]);
      const attached = [...at.objects.topics.values()].map((topic) => topic.attached.has(audit.generation));
      expect([call, attached]).toEqual([call, [false, false, false, false]]);
    }
  });

  test("a subscription is created, at any call: it has every partition", async () => {
    for (const call of await callsOfRaise()) {
      const at = await scene();
      const late = {
        ...{ topic: at.topic, name: "late", settings: defaultSubscriptionSettings },
        startAt: { at: "earliest" } as const,
      };
      let created: ReturnType<typeof putSubscription> | undefined;
      at.objects.before.set(call, async () => {
        created = putSubscription(at.catalog, late);
        await created;
      });
      must(await at.raise());
      if (created) must(await created);
      const { generation, partitions } = must(await putSubscription(at.catalog, late)).entry;
      const objects = living(at.objects).filter((name) => name.startsWith(generation));
      expect([call, partitions, objects.length]).toEqual([call, 4, 4]);
    }
  });

  test("a subscription gets other settings, at any call: after the next sweep every partition has them", async () => {
    for (const call of await callsOfRaise()) {
      const at = await scene();
      const settings = { ...defaultSubscriptionSettings, ackDeadlineMs: 5_000, paused: true };
      at.objects.before.set(call, async () => {
        must(await setPaused(at.catalog, "orders", "audit", true));
        const other = { topic: at.topic, name: "audit", settings, startAt: { at: "latest" } } as const;
        await putSubscription(at.catalog, other);
      });
      must(await at.raise());
      at.runtime.at += limits.sweepAfterMs;
      await sweep(at.catalog, async () => 0);
      const { generation } = must(await at.store.subscription(at.topic, "audit"));
      const held = [0, 1, 2, 3].map((p) => at.objects.subscriptions.get(objectName(generation, p))?.settings);
      expect([call, held]).toEqual([call, Array(4).fill(settings)]);
    }
  });
});
