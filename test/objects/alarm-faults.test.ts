// An alarm that is lost, stale, early, late, double or failing stalls nothing for good: the next call that changes
// something, and the sweep's wake at the latest, arms it again, and what it does is derived from what is stored.

import { evictDurableObject, runDurableObjectAlarm, runInDurableObject } from "cloudflare:test";
import { describe, expect, test } from "vitest";
import { ok, refuse } from "../../src/errors";
import { limits } from "../../src/limits";
import type { SubscriptionSettings } from "../../src/settings";
import type { TopicCalls } from "../../src/topic-calls";
import {
  conservation,
  idsOf,
  newSubscription,
  newTopic,
  refs,
  testRuntime,
  useRuntime,
  value,
} from "../support/objects";

// Nobody answers there.
const PUSH: Partial<SubscriptionSettings> = {
  type: "push",
  push: {
    ...{ url: "http://127.0.0.1:9/", headers: {}, timeoutMs: 1_000, secrets: [] },
    ...{ batchMaxMessages: 1, batchMaxWaitMs: 0 },
  },
};

const armedAt = (stub: DurableObjectStub) => runInDurableObject(stub, (_, { storage }) => storage.getAlarm());

type Clock = ReturnType<typeof testRuntime>;
type Scene = Readonly<{
  stub: DurableObjectStub & { wake(): Promise<unknown> };
  clock: Clock;
  /** What is owed is done, once its time has come and the alarm has run. */
  done(): Promise<void>;
}>;

/** What an alarm is armed for, each with one message on its way. */
const scenes: Readonly<Record<string, () => Promise<Scene>>> = {
  "the deadline of a pulled lease": async () => {
    const topic = await newTopic();
    const { subscription, clock, pull } = await newSubscription(topic);
    await topic.publish("a");
    await pull();
    const done = async () => {
      expect(value(await subscription.stats())).toMatchObject({ leased: 0, waiting: 1 });
      expect(await conservation(subscription)).toBe(0);
    };
    return { stub: subscription, clock, done };
  },
  "the deadline of a lease whose dispatcher died": async () => {
    const topic = await newTopic();
    const { subscription, clock, provision } = await newSubscription(topic, PUSH);
    await runInDurableObject(subscription, (instance) => {
      const held = instance as unknown as {
        memory: { loaded: { pump: { parts: { dispatcher: unknown } } } };
      };
      held.memory.loaded.pump.parts.dispatcher = {
        deliver: () => Promise.reject(new Error("its isolate is gone")),
      };
    });
    await topic.publish("a");
    value(await subscription.notify({ head: 1, runs: [] }));
    expect(value(await subscription.stats())).toMatchObject({ leased: 1 });
    const settings = { ...provision.settings, paused: true };
    value(await subscription.configure({ settings, version: 2 }));
    const done = async () => {
      expect(value(await subscription.stats())).toMatchObject({ leased: 0, waiting: 1 });
    };
    return { stub: subscription, clock, done };
  },
  "the next attempt of a pulled delivery": async () => {
    const topic = await newTopic();
    const { subscription, clock, pull } = await newSubscription(topic);
    await topic.publish("a");
    value(await subscription.nack({ refs: refs(await pull()), delayMs: 30_000 }));
    const done = async () => expect(idsOf(await pull())).toEqual(["a"]);
    return { stub: subscription, clock, done };
  },
  "the next attempt of a push": async () => {
    const topic = await newTopic();
    const retry = { maxAttempts: 9, minDelayMs: 30_000, maxDelayMs: 30_000 };
    const { subscription, clock } = await newSubscription(topic, { ...PUSH, retry });
    await runInDurableObject(subscription, (instance) => {
      const held = instance as unknown as {
        memory: { loaded: { pump: { parts: { dispatcher: unknown } } } };
      };
      held.memory.loaded.pump.parts.dispatcher = {
        deliver: () => Promise.reject(new Error("its isolate is gone")),
      };
    });
    await topic.publish("a");
    value(await subscription.notify({ head: 1, runs: [] }));
    const leaseId = await runInDurableObject(subscription, (instance) => {
      const { memory } = instance as unknown as {
        memory: { loaded: { backlog: { leases: Set<{ id: string }> } } };
      };
      return [...memory.loaded.backlog.leases][0]?.id ?? "";
    });
    const failed = { offset: 0, result: "failed" as const, note: { at: clock.now(), error: "500" } };
    value(await subscription.report({ leaseId, outcomes: [failed], done: true }));
    const done = async () => {
      const { leased, waiting } = value(await subscription.stats());
      expect(leased + waiting).toBe(1);
    };
    return { stub: subscription, clock, done };
  },
  "a batch that gathers": async () => {
    const topic = await newTopic();
    const push = { ...PUSH.push, batchMaxMessages: 10, batchMaxWaitMs: 10_000 } as const;
    const { subscription, clock } = await newSubscription(topic, { ...PUSH, push } as typeof PUSH);
    await useRuntime(topic.topic, clock);
    await topic.publish("a");
    value(await subscription.notify({ head: 1, runs: [] }));
    const done = async () => {
      const { unread } = value(await subscription.stats());
      expect(unread).toBe(0);
    };
    return { stub: subscription, clock, done };
  },
  "a dying delivery whose message could not be read": async () => {
    const topic = await newTopic();
    const { subscription, clock, pull } = await newSubscription(topic);
    await topic.publish("a");
    const lease = await pull();
    await evictDurableObject(subscription);
    await useRuntime(subscription, clock);
    await runInDurableObject(subscription, (instance) => {
      const held = instance as unknown as { memory: { loaded: { reader: { topic: TopicCalls } } } };
      const { reader } = held.memory.loaded;
      const real = reader.topic;
      const readOffsets = () => {
        reader.topic = real;
        return Promise.reject(new Error("Network connection lost."));
      };
      reader.topic = { readOffsets } as unknown as TopicCalls;
    });
    value(await subscription.nack({ refs: refs(lease), deadLetter: true }));
    const done = async () => {
      const [letter] = value(await subscription.deadLetters({ after: -1, limit: 1 }));
      expect(letter?.record?.byteLength).toBeGreaterThan(0);
    };
    return { stub: subscription, clock, done };
  },
  "a notify that its topic owes": async () => {
    const topic = await newTopic();
    const clock = testRuntime();
    await useRuntime(topic.topic, clock);
    const { subscription, pull } = await newSubscription(topic);
    await runInDurableObject(topic.topic, (instance) => {
      const held = instance as unknown as { memory: { loaded: { notifier: { subscriptions: unknown } } } };
      const away = () => Promise.reject(new Error("Network connection lost."));
      held.memory.loaded.notifier.subscriptions = { getByName: () => ({ notify: away }) };
    });
    await topic.publish("a");
    const done = async () => {
      expect(value(await subscription.stats())).toMatchObject({ unread: 1 });
      expect(idsOf(await pull())).toEqual(["a"]);
    };
    return { stub: topic.topic, clock, done };
  },
};

/** The platform gave the alarm up, after six failures or never having had it, and the object was evicted. */
async function lose({ stub, clock }: Scene): Promise<void> {
  await runInDurableObject(stub, (_, { storage }) => storage.deleteAlarm());
  await evictDurableObject(stub);
  await useRuntime(stub, clock);
  expect(await armedAt(stub)).toBeNull();
}

/** Lets time pass until the alarm, and runs it. */
async function comeDue({ stub, clock }: Scene): Promise<void> {
  clock.advance(Math.max(0, ((await armedAt(stub)) ?? 0) - clock.now()) + 1);
  await runDurableObjectAlarm(stub);
}

describe.each(Object.entries(scenes))("the alarm for %s", (name, make) => {
  const isNotify = name.startsWith("a notify");

  test("is armed with the change that owes it", async () => {
    const scene = await make();
    expect(await armedAt(scene.stub)).not.toBeNull();
  });

  test("lost, is armed again by the sweep's wake, and what was owed is done", async () => {
    const scene = await make();
    await lose(scene);
    await scene.stub.wake();
    // A topic that restarted asks its readers in the wake itself.
    if (!isNotify) await comeDue(scene);
    await scene.done();
  });

  test("that is said to be armed for the past, and never fires, is armed again", async () => {
    const scene = await make();
    await runInDurableObject(scene.stub, async (instance, { storage }) => {
      await storage.deleteAlarm();
      const { memory } = instance as unknown as { memory: object };
      Object.assign(memory, { armedAt: scene.clock.now() - 3_600_000 });
    });
    await scene.stub.wake();
    expect(await armedAt(scene.stub)).not.toBeNull();
  });

  test("early, late and twice does what is due, once", async () => {
    const scene = await make();
    await runDurableObjectAlarm(scene.stub);
    await comeDue(scene);
    scene.clock.advance(3_600_000);
    await runDurableObjectAlarm(scene.stub);
    await runInDurableObject(scene.stub, (instance) => (instance as { alarm(): Promise<void> }).alarm());
    await runInDurableObject(scene.stub, (instance) => (instance as { alarm(): Promise<void> }).alarm());
    if (!isNotify) await scene.done();
  });
});

type Store = { transaction: unknown; real?: unknown };

describe("an alarm whose work fails", () => {
  test("never throws, so it is not given up, and comes again after a while and not at once", async () => {
    const topic = await newTopic();
    const { subscription, clock, pull } = await newSubscription(topic);
    await topic.publish("a");
    await pull();
    clock.advance(60_001);
    await runInDurableObject(subscription, (instance) => {
      const { store } = (instance as unknown as { memory: { host: { store: Store } } }).memory.host;
      store.real = store.transaction;
      store.transaction = () => {
        throw new Error("storage is away");
      };
    });
    for (let failures = 0; failures < 7; failures++) {
      expect(await runDurableObjectAlarm(subscription)).toBe(true);
      const at = await armedAt(subscription);
      expect((at ?? 0) - clock.now()).toBeGreaterThan(0);
      expect((at ?? 0) - clock.now()).toBeLessThanOrEqual(limits.lookAgainMs);
      clock.advance(limits.lookAgainMs);
    }
    await runInDurableObject(subscription, (instance) => {
      const { store } = (instance as unknown as { memory: { host: { store: Store } } }).memory.host;
      store.transaction = store.real;
    });
    await runDurableObjectAlarm(subscription);
    expect(value(await subscription.stats())).toMatchObject({ leased: 0, waiting: 1 });
  });

  test("because a subscription cannot be reached is armed again by its topic, each time", async () => {
    const topic = await newTopic();
    const clock = testRuntime();
    await useRuntime(topic.topic, clock);
    const { subscription } = await newSubscription(topic);
    const answers = {
      notify: () => Promise.reject(new Error("Network connection lost.")) as Promise<unknown>,
    };
    await runInDurableObject(topic.topic, (instance) => {
      const held = instance as unknown as { memory: { loaded: { notifier: { subscriptions: unknown } } } };
      held.memory.loaded.notifier.subscriptions = { getByName: () => ({ notify: () => answers.notify() }) };
    });
    await topic.publish("a");
    for (let failures = 0; failures < 7; failures++) {
      const at = (await armedAt(topic.topic)) ?? 0;
      expect(at - clock.now()).toBeLessThanOrEqual(limits.notifyAgainMs);
      clock.advance(limits.notifyAgainMs);
      expect(await runDurableObjectAlarm(topic.topic)).toBe(true);
      value(await topic.topic.stats());
    }
    answers.notify = async () => refuse("gone", "deleted");
    await runDurableObjectAlarm(topic.topic);
    answers.notify = async () => ok({ informedTo: 1 });
    await runDurableObjectAlarm(topic.topic);
    value(await topic.topic.stats());
    clock.advance(limits.notifyAgainMs);
    await runDurableObjectAlarm(topic.topic);
    expect(await armedAt(topic.topic)).toBeNull();
    expect(value(await subscription.stats())).toMatchObject({ unread: 1 });
  });
});

describe("calls that change something", () => {
  test.each(["pull", "ack", "extend"] as const)("arm a lost alarm again: %s", async (verb) => {
    const topic = await newTopic();
    const { subscription, clock, pull } = await newSubscription(topic);
    await topic.publish("a", "b");
    const [, b] = refs(await pull());
    if (!b) throw new Error("nothing leased");
    await lose({ stub: subscription, clock, done: async () => {} });
    if (verb === "pull") await pull();
    if (verb === "ack") value(await subscription.ack({ refs: [b] }));
    if (verb === "extend") value(await subscription.extend({ refs: [b], ackDeadlineMs: 90_000 }));
    expect(await armedAt(subscription)).toBe(clock.now() + 60_000);
  });
});
