// A topic of 64 partitions whose creation ends half way, wherever that is: a repeated PUT and the sweep both finish it.

import { beforeEach, describe, expect, test } from "vitest";
import { putSubscription } from "../../src/catalog/subscription-lifecycle";
import { sweep } from "../../src/catalog/sweep";
import { putTopic } from "../../src/catalog/topic-lifecycle";
import { limits } from "../../src/limits";
import { defaultSubscriptionSettings, defaultTopicSettings } from "../../src/settings";
import { codeOf, emptyCatalog, fakeCatalog, must } from "./fakes";

beforeEach(emptyCatalog);

const PARTITIONS = 64;
const wanted = {
  ...{ name: "wide", kind: "topic" as const, settings: defaultTopicSettings, partitions: PARTITIONS },
};
type Fakes = ReturnType<typeof fakeCatalog>;

/** From the call on, nothing of the request reaches anything: its isolate is gone. */
function crashAt({ objects, d1 }: Fakes, noun: string, call: string): void {
  objects.before.set(call, async () => {
    d1.mode = "down";
    for (let partition = 0; partition < PARTITIONS; partition++) {
      for (const method of ["provision", "attach"]) {
        objects.faults.add(`topic.${method} ${partition}`);
        if (noun === "subscription") objects.faults.add(`subscription.${method} ${partition}`);
      }
    }
  });
}

function recover({ objects, d1, store }: Fakes): void {
  objects.faults.clear();
  d1.mode = "up";
  store.forget("wide");
}

const living = (objects: Map<string, { alive: boolean }>) =>
  [...objects.values()].filter(({ alive }) => alive).length;

const finishers = {
  "a repeated PUT": async ({ catalog }: Fakes) => {
    must(await putTopic(catalog, wanted));
  },
  "the sweep": async ({ catalog, runtime }: Fakes) => {
    runtime.at += limits.sweepAfterMs;
    expect(await sweep(catalog, async () => 0)).toMatchObject({ unfinished: 0, faults: [] });
  },
};

describe.each(Object.entries(finishers))("%s finishes a topic", (_, finish) => {
  test.each([0, 31, 63])("whose creation ended at the provision of partition %i", async (partition) => {
    const fakes = fakeCatalog();
    crashAt(fakes, "topic", `topic.provision ${partition}`);
    expect(codeOf(await putTopic(fakes.catalog, wanted))).toBe("unavailable");
    recover(fakes);
    expect(codeOf(await fakes.store.topic("wide"))).toBe("topic-not-found");
    const half = await fakes.store.entries.findTopic("wide");
    expect(half?.state).toBe("creating");
    await finish(fakes);
    fakes.store.forget("wide");
    expect(must(await fakes.store.topic("wide"))).toMatchObject({
      ...{ generation: half?.generation, state: "active", partitions: PARTITIONS },
    });
    expect(living(fakes.objects.topics)).toBe(PARTITIONS);
    expect(fakes.objects.topics.size).toBe(PARTITIONS);
  });

  test("whose every object was there, and only the row was not", async () => {
    const fakes = fakeCatalog();
    const { activate } = fakes.store.entries;
    fakes.store.entries.activate = () => Promise.reject(new Error("the isolate is gone"));
    await expect(putTopic(fakes.catalog, wanted)).rejects.toThrow("the isolate is gone");
    fakes.store.entries.activate = activate;
    expect(living(fakes.objects.topics)).toBe(PARTITIONS);
    expect(codeOf(await fakes.store.topic("wide"))).toBe("topic-not-found");
    await finish(fakes);
    fakes.store.forget("wide");
    expect(must(await fakes.store.topic("wide")).state).toBe("active");
  });

  test("that was active when its answer was lost, by finding nothing to do", async () => {
    const fakes = fakeCatalog();
    const { entry } = must(await putTopic(fakes.catalog, wanted));
    const { made } = fakes.objects;
    const before = made.filter((call) => call.includes("provision")).length;
    await finish(fakes);
    expect(made.filter((call) => call.includes("provision"))).toHaveLength(before);
    expect(must(await fakes.store.topic("wide"))).toEqual(entry);
  });
});

describe.each(["a repeated PUT", "the sweep"])("%s finishes a subscription", (how) => {
  test.each(["topic.attach 0", "topic.attach 31", "subscription.provision 31", "subscription.provision 63"])(
    "whose creation ended at %s",
    async (call) => {
      const fakes = fakeCatalog();
      const topic = must(await putTopic(fakes.catalog, wanted)).entry;
      const startAt = { at: "earliest" } as const;
      const reader = { topic, name: "audit", settings: defaultSubscriptionSettings, startAt };
      crashAt(fakes, "subscription", call);
      expect(codeOf(await putSubscription(fakes.catalog, reader))).toBe("unavailable");
      recover(fakes);
      expect(codeOf(await fakes.store.subscription(topic, "audit"))).toBe("subscription-not-found");
      if (how === "the sweep") await finishers[how](fakes);
      else must(await putSubscription(fakes.catalog, reader));
      fakes.store.forget("wide");
      expect(must(await fakes.store.subscription(topic, "audit")).state).toBe("active");
      expect(living(fakes.objects.subscriptions)).toBe(PARTITIONS);
      for (const object of fakes.objects.topics.values()) expect(object.attached.size).toBe(1);
    },
  );
});
