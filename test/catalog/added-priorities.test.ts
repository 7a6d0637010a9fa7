// A topic is given priorities: each has partitions of its own, and what the topic holds stays where it is.

import { beforeEach, describe, expect, test } from "vitest";
import { putSubscription } from "../../src/catalog/subscription-lifecycle";
import { sweep } from "../../src/catalog/sweep";
import { putQueue, putTopic } from "../../src/catalog/topic-lifecycle";
import { limits } from "../../src/limits";
import { objectName } from "../../src/object-name";
import { layoutOf } from "../../src/priority";
import { defaultSubscriptionSettings, defaultTopicSettings } from "../../src/settings";
import { emptyCatalog, fakeCatalog, must } from "./fakes";

beforeEach(emptyCatalog);

const wanted = (priorities?: readonly number[], partitions?: number) => ({
  ...{ name: "orders", kind: "topic" as const, partitions },
  settings: { ...defaultTopicSettings, ...(priorities && { priorities }) },
});

/** A topic of two partitions with a subscription. */
async function scene() {
  await emptyCatalog();
  const fakes = fakeCatalog();
  const topic = must(await putTopic(fakes.catalog, wanted(undefined, 2))).entry;
  const startAt = { at: "latest" } as const;
  const reader = { topic, name: "audit", settings: defaultSubscriptionSettings, startAt };
  must(await putSubscription(fakes.catalog, reader));
  fakes.objects.made.length = 0;
  return { ...fakes, topic, add: () => putTopic(fakes.catalog, wanted([9, 0, 5])) };
}
type Scene = Awaited<ReturnType<typeof scene>>;

async function expectAdded({ store, objects, topic }: Scene): Promise<void> {
  const found = must(await store.topic("orders"));
  expect(found).toMatchObject({ generation: topic.generation, partitions: 6, raisingTo: null });
  expect(layoutOf(found)).toEqual({ each: 2, priorities: [0, 5, 9] });
  const subscription = must(await store.subscription(found, "audit"));
  expect(subscription).toMatchObject({ partitions: 6, raisingTo: null });
  for (let partition = 0; partition < 6; partition++) {
    const log = objects.topics.get(objectName(topic.generation, partition));
    const reader = objects.subscriptions.get(objectName(subscription.generation, partition));
    expect([partition, log?.alive, log?.attached.size, log?.cut, reader?.alive]).toEqual([
      ...[partition, true, 1, undefined, true],
    ]);
  }
}

describe("a topic that is given priorities", () => {
  test("has partitions of its own for each, of which nothing is cut, and keeps those it had", async () => {
    const at = await scene();
    must(await at.add());
    await expectAdded(at);
    const made = at.objects.made.filter((call) => call.startsWith("topic.provision"));
    expect(made).toEqual([2, 3, 4, 5].map((partition) => `topic.provision ${partition}`));
    const again = must(await putTopic(at.catalog, wanted([5, 9, 0], 2)));
    expect(again.entry.version).toBe(must(await at.store.topic("orders")).version);
    const kept = must(await putTopic(at.catalog, { ...wanted(), settings: defaultTopicSettings }));
    expect(layoutOf(kept.entry)).toEqual({ each: 2, priorities: [0, 5, 9] });
    const more = must(await putTopic(at.catalog, wanted([0, 1, 5, 9])));
    expect(layoutOf(more.entry)).toEqual({ each: 2, priorities: [0, 5, 9, 1] });
  });

  test("is refused to lose one, to have its partitions raised, and to have more than 64 in all", async () => {
    const at = await scene();
    must(await at.add());
    const refused = async (put: ReturnType<typeof wanted>) => {
      const answer = await putTopic(at.catalog, put);
      return answer.ok ? undefined : answer.error;
    };
    const conflict = { code: "conflict" };
    expect(await refused(wanted([0, 5]))).toMatchObject({
      ...conflict,
      field: "priorities",
      limit: "0, 5, 9",
    });
    expect(await refused(wanted([0, 5, 9], 4))).toMatchObject({ ...conflict, field: "partitions", limit: 2 });
    must(await putTopic(at.catalog, { ...wanted(undefined, 32), name: "wide" }));
    expect(await refused({ ...wanted([0, 1, 2]), name: "wide" })).toMatchObject({ ...conflict, limit: 2 });
  });

  test("and more partitions in the same PUT has the partitions first; a queue is created with both", async () => {
    const at = await scene();
    const both = must(await putTopic(at.catalog, wanted([0, 3], 4)));
    expect(layoutOf(both.entry)).toEqual({ each: 4, priorities: [0, 3] });
    expect(both.entry.partitions).toBe(8);
    const queue = await putQueue(at.catalog, {
      ...{ name: "tasks", settings: wanted([9, 0]).settings, partitions: 2 },
      subscription: defaultSubscriptionSettings,
    });
    expect(must(queue).subscription.partitions).toBe(4);
    expect(layoutOf(must(queue).entry)).toEqual({ each: 2, priorities: [0, 9] });
  });

  test("half way, at any call, shows those it had; the sweep gives it the rest", async () => {
    const whole = await scene();
    must(await whole.add());
    for (const call of new Set(whole.objects.made.filter((made) => !made.includes("configure")))) {
      const at = await scene();
      at.objects.faults.add(call);
      expect([call, (await at.add()).ok]).toEqual([call, false]);
      expect(layoutOf(must(await at.store.topic("orders")))).toEqual({ each: 2, priorities: [0] });
      at.objects.faults.clear();
      at.runtime.at += limits.sweepAfterMs;
      await sweep(at.catalog, async () => 0);
      at.store.forget("orders");
      await expectAdded(at);
    }
  });
});
