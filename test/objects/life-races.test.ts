// Subscriptions and topics that come, change and go while messages are on their way: each interleaving is made by hand,
// by holding a call back until the other has been.

import { runInDurableObject } from "cloudflare:test";
import { describe, expect, test } from "vitest";
import type { DispatchCall } from "../../src/dispatch-calls";
import type { Result } from "../../src/errors";
import type { SubscriptionSettings } from "../../src/settings";
import type { SubscriptionCalls } from "../../src/subscription-calls";
import {
  conservation,
  idsOf,
  message,
  newSubscription,
  newTopic,
  recordBatch,
  refs,
  value,
} from "../support/objects";

type Subscription = SubscriptionCalls & DurableObjectStub;
const code = (answer: Result<unknown>) => (answer.ok ? "ok" : answer.error.code);
const numbers = (count: number) => Array.from({ length: count }, (_, i) => `m${i}`);

const pushSettings = (url: string): Partial<SubscriptionSettings> => ({
  type: "push",
  push: { url, headers: {}, timeoutMs: 1_000, batchMaxMessages: 1, batchMaxWaitMs: 0, secrets: [] },
});

/** Everything on an object's disk. */
function diskOf(stub: DurableObjectStub): Promise<string> {
  return runInDurableObject(stub, (_, { storage }) => {
    const names = storage.sql
      .exec<{ name: string }>("SELECT name FROM sqlite_schema WHERE type = 'table'")
      .toArray();
    const tables = names.filter(({ name }) => !name.startsWith("_cf"));
    return JSON.stringify(tables.map(({ name }) => storage.sql.exec(`SELECT * FROM "${name}"`).toArray()));
  });
}

/** Replaces a part deep inside the object, with something made there. */
function replace(stub: DurableObjectStub, path: string, make: (held: Held) => unknown): Promise<void> {
  return runInDurableObject(stub, (instance) => {
    const names = path.split(".");
    const last = names.pop() ?? "";
    const owner = names.reduce(
      (part, name) => part[name] as Record<string, unknown>,
      instance as unknown as Record<string, unknown>,
    );
    const holder = instance as unknown as { held?: Held };
    holder.held ??= { calls: [], release: [] };
    owner[last] = make(holder.held);
  });
}
/** What was called and is held back, kept in the object itself. */
type Held = { calls: unknown[]; release: (() => void)[] };

/** Waits until `count` calls are held back, by calls that the object answers in between. */
async function heldCalls<C>(stub: Subscription | DurableObjectStub, count: number): Promise<C[]> {
  for (let turns = 0; turns < 1_000; turns++) {
    const calls = await runInDurableObject(stub, (instance) => [
      ...((instance as unknown as { held: Held }).held.calls as C[]),
    ]);
    if (calls.length >= count) return calls;
  }
  throw new Error(`fewer than ${count} calls came`);
}

function releaseAll(stub: DurableObjectStub): Promise<void> {
  return runInDurableObject(stub, (instance) => {
    for (const release of (instance as unknown as { held: Held }).held.release.splice(0)) release();
  });
}

/** A dispatcher that notes what it is handed, and does not come back until it is released. */
const holdDispatches = (stub: Subscription) =>
  replace(stub, "memory.loaded.pump.parts.dispatcher", (held) => ({
    deliver: (call: DispatchCall) => {
      held.calls.push(call);
      return new Promise<void>((resolve) => held.release.push(() => resolve()));
    },
  }));

describe("a subscription that is created among publishes", () => {
  test("gets exactly what has an offset at or past its start, at whatever moment it came", async () => {
    const topic = await newTopic();
    const readers: Awaited<ReturnType<typeof newSubscription>>[] = [];
    const work: Promise<unknown>[] = [];
    for (const id of numbers(12)) {
      work.push(topic.publish(id));
      if (Number(id.slice(1)) % 3 === 0) {
        work.push(newSubscription(topic, {}, { at: "latest" }).then((reader) => readers.push(reader)));
      }
    }
    await Promise.all(work);
    const log = value(await topic.topic.stats()).head;
    for (const { pull, provision } of readers) {
      const lease = await pull();
      expect(lease.deliveries.map(({ offset }) => offset)).toEqual(
        Array.from({ length: log - provision.startOffset }, (_, i) => provision.startOffset + i),
      );
    }
  });

  test("between an append and its notify is not told of what lies before its start, and of all that comes after", async () => {
    const topic = await newTopic();
    const early = await newSubscription(topic, {}, { at: "latest" });
    await replace(topic.topic, "memory.loaded.notifier.subscriptions", (held) => ({
      getByName: (name: string) => ({
        notify: (call: { head: number }) => {
          held.calls.push({ name, head: call.head });
          return new Promise((resolve) =>
            held.release.push(() => resolve({ ok: true, value: { informedTo: call.head } })),
          );
        },
      }),
    }));
    await topic.publish("before");
    await heldCalls(topic.topic, 1);
    const late = await newSubscription(topic, {}, { at: "latest" });
    await topic.publish("after");
    const told = await heldCalls<{ name: string; head: number }>(topic.topic, 2);
    expect(told.map(({ name, head }) => [name.startsWith(early.generation), head])).toEqual([
      [true, 1],
      [false, 2],
    ]);
    expect(late.provision.startOffset).toBe(1);
    expect(idsOf(await late.pull())).toEqual(["after"]);
    expect(idsOf(await early.pull())).toEqual(["before", "after"]);
    await releaseAll(topic.topic);
  });
});

describe("settings that change while a lease is open", () => {
  test("leave its deadline as it is, and give the next lease the new one", async () => {
    const topic = await newTopic();
    const { subscription, provision, pull, clock } = await newSubscription(topic, { ackDeadlineMs: 60_000 });
    await topic.publish("a", "b");
    const open = await pull(1);
    const settings = { ...provision.settings, ackDeadlineMs: 5_000 };
    value(await subscription.configure({ settings, version: 2 }));
    expect((await pull(1)).deadlineAt).toBe(clock.now() + 5_000);
    expect(open.deadlineAt).toBe(clock.now() + 60_000);
    clock.advance(5_001);
    expect(value(await subscription.extend({ refs: refs(open), ackDeadlineMs: 1_000 }))).toEqual([
      "extended",
    ]);
  });

  test("decide how it ends: fewer attempts make its failure the last, more give it another", async () => {
    const topic = await newTopic();
    const few = { maxAttempts: 1, minDelayMs: 0, maxDelayMs: 0 };
    const { subscription, provision, pull } = await newSubscription(topic, {
      retry: { ...few, maxAttempts: 9 },
    });
    await topic.publish("a", "b");
    const [a, b] = refs(await pull());
    if (!a || !b) throw new Error("nothing leased");
    const configure = async (retry: SubscriptionSettings["retry"], version: number) =>
      value(await subscription.configure({ settings: { ...provision.settings, retry }, version }));
    await configure(few, 2);
    expect(value(await subscription.nack({ refs: [a] }))).toEqual(["dead"]);
    await configure({ ...few, maxAttempts: 2 }, 3);
    expect(value(await subscription.nack({ refs: [b] }))).toEqual(["released"]);
    expect(await conservation(subscription)).toBe(0);
  });

  test("to paused let it be settled, and hand out nothing new", async () => {
    const topic = await newTopic();
    const { subscription, provision, pull } = await newSubscription(topic);
    await topic.publish("a", "b");
    const open = await pull(1);
    value(await subscription.configure({ settings: { ...provision.settings, paused: true }, version: 2 }));
    expect(idsOf(await pull())).toEqual([]);
    expect(value(await subscription.ack({ refs: refs(open) }))).toEqual(["acked"]);
    value(await subscription.configure({ settings: provision.settings, version: 3 }));
    expect(idsOf(await pull())).toEqual(["b"]);
  });

  test("that come late, and older than what is there, change nothing", async () => {
    const topic = await newTopic();
    const { subscription, provision } = await newSubscription(topic);
    value(await subscription.configure({ settings: { ...provision.settings, paused: true }, version: 3 }));
    value(await subscription.configure({ settings: provision.settings, version: 2 }));
    expect(value(await subscription.stats()).paused).toBe(true);
  });

  test("to another endpoint leave a dispatch that is under way its own, and the next goes to the new one", async () => {
    const topic = await newTopic();
    const { subscription, provision } = await newSubscription(topic, pushSettings("https://old.example/"));
    await holdDispatches(subscription);
    await topic.publish("a");
    const [first] = await heldCalls<DispatchCall>(subscription, 1);
    const settings = { ...provision.settings, ...pushSettings("https://new.example/") };
    value(await subscription.configure({ settings, version: 2 }));
    await topic.publish("b");
    const [, second] = await heldCalls<DispatchCall>(subscription, 2);
    expect([first, second].map((call) => call && [call.settings.push?.url, idsOf(call.lease)])).toEqual([
      ["https://old.example/", ["a"]],
      ["https://new.example/", ["b"]],
    ]);
    for (const call of [first, second]) {
      const { leaseId, deliveries } = call?.lease ?? { leaseId: "", deliveries: [] };
      const outcomes = deliveries.map(({ offset }) => ({ offset, result: "delivered" as const }));
      value(await subscription.report({ leaseId, outcomes, done: true }));
    }
    await releaseAll(subscription);
    expect(value(await subscription.stats())).toMatchObject({ settled: 2, leased: 0 });
  });
});

describe("a subscription that is deleted", () => {
  test("while pulls wait answers them gone at once", async () => {
    const topic = await newTopic();
    const { subscription } = await newSubscription(topic);
    const wait = { max: 1, maxBytes: 1_000, waitMs: 20_000 };
    const waiting = [
      subscription.pull({ leaseId: "one", ...wait }),
      subscription.pull({ leaseId: "two", ...wait }),
      subscription.ready({ waitMs: 20_000 }),
    ];
    await subscription.stats();
    value(await subscription.remove());
    expect((await Promise.all(waiting)).map(code)).toEqual(["gone", "gone", "gone"]);
  });

  test("while a dispatch is under way is not touched by its reports, nor by its end", async () => {
    const topic = await newTopic();
    const { subscription } = await newSubscription(topic, pushSettings("https://slow.example/"));
    await holdDispatches(subscription);
    await topic.publish("a", "b");
    const [call] = await heldCalls<DispatchCall>(subscription, 1);
    value(await subscription.remove());
    const disk = await diskOf(subscription);
    const leaseId = call?.lease.leaseId ?? "";
    const report = { leaseId, outcomes: [{ offset: 0, result: "delivered" as const }] };
    expect(code(await subscription.report({ ...report, done: false, extendMs: 60_000 }))).toBe("gone");
    expect(code(await subscription.report({ ...report, done: true, endpointGone: true }))).toBe("gone");
    await releaseAll(subscription);
    expect(code(await subscription.stats())).toBe("gone");
    expect(await diskOf(subscription)).toBe(disk);
  });

  test("while a notify reads the log for it writes nothing any more", async () => {
    const topic = await newTopic();
    const { subscription } = await newSubscription(topic, pushSettings("https://slow.example/"));
    await replace(subscription, "memory.loaded.reader.topic", (held) => ({
      read: (call: unknown) => {
        held.calls.push(call);
        return new Promise((resolve) =>
          held.release.push(() => resolve({ ok: true, value: { runs: [], earliest: 7, head: 9 } })),
        );
      },
    }));
    const notified = subscription.notify({ head: 9, runs: [] });
    await heldCalls(subscription, 1);
    value(await subscription.remove());
    const disk = await diskOf(subscription);
    await releaseAll(subscription);
    await notified;
    expect(await diskOf(subscription)).toBe(disk);
    expect(code(await subscription.stats())).toBe("gone");
  });

  test("while its topic tells it is told no more, and nothing waits for it", async () => {
    const topic = await newTopic();
    const { generation } = await newSubscription(topic);
    await replace(topic.topic, "memory.loaded.notifier.subscriptions", (held) => ({
      getByName: () => ({
        notify: (call: unknown) => {
          held.calls.push(call);
          return new Promise((resolve) =>
            held.release.push(() => resolve({ ok: true, value: { informedTo: 0 } })),
          );
        },
      }),
    }));
    await topic.publish("a");
    await heldCalls(topic.topic, 1);
    value(await topic.topic.detach({ generation }));
    await releaseAll(topic.topic);
    await topic.publish("b");
    value(await topic.topic.wake());
    expect(await heldCalls(topic.topic, 1)).toHaveLength(1);
    expect(value(await topic.topic.stats())).toMatchObject({ subscriptions: 0, head: 2 });
  });

  test("and created again under its name knows nothing of the acks, nacks and reports of its former life", async () => {
    const topic = await newTopic();
    const former = await newSubscription(topic);
    await topic.publish("a", "b", "c");
    const lease = await former.pull(3, "of before");
    value(await former.subscription.remove());
    value(await topic.topic.detach({ generation: former.generation }));
    const next = await newSubscription(topic);
    const mine = await next.pull(1, "of now");
    const disk = await diskOf(next.subscription);
    const late = refs(lease);
    const lost = late.map(() => "lease-lost");
    expect(value(await next.subscription.ack({ refs: late }))).toEqual(lost);
    expect(value(await next.subscription.nack({ refs: late, deadLetter: true }))).toEqual(lost);
    expect(value(await next.subscription.extend({ refs: late, ackDeadlineMs: 9_000 }))).toEqual(lost);
    const outcomes = late.map(({ offset }) => ({ offset, result: "delivered" as const }));
    expect(code(await next.subscription.report({ leaseId: lease.leaseId, outcomes, done: false }))).toBe(
      "lease-lost",
    );
    expect(await diskOf(next.subscription)).toBe(disk);
    expect(value(await next.subscription.ack({ refs: refs(mine) }))).toEqual(["acked"]);
    expect(await conservation(next.subscription)).toBe(0);
  });
});

describe("a topic that is deleted", () => {
  test("among appends has stored what it answered for, and refuses the rest as gone", async () => {
    const { generation, topic } = await newTopic();
    const append = (id: string) => topic.append({ batches: [recordBatch(generation, [message(id)])] });
    const before = [append("a"), append("b")];
    const removed = topic.remove();
    const after = [append("c"), append("d")];
    expect((await Promise.all(before)).map(code)).toEqual(["ok", "ok"]);
    value(await removed);
    expect((await Promise.all(after)).map(code)).toEqual(["gone", "gone"]);
    expect(code(await topic.read({ from: 0, maxBytes: 1_000 }))).toBe("gone");
  });

  test("and whose name lives again refuses what was bound for its former life", async () => {
    const former = await newTopic();
    const late = recordBatch(former.generation, [message("late")]);
    value(await former.topic.remove());
    const next = await newTopic();
    expect(code(await next.topic.append({ batches: [late] }))).toBe("gone");
    expect(value(await next.topic.stats()).head).toBe(0);
  });

  test("while a subscription reads it leaves that one what it has in hand, and nothing hangs", async () => {
    const topic = await newTopic();
    const { subscription, pull } = await newSubscription(topic);
    await topic.publish("a", "b");
    const open = await pull(1);
    value(await topic.topic.remove());
    expect(value(await subscription.ack({ refs: refs(open) }))).toEqual(["acked"]);
    expect((await pull()).deliveries.length).toBeLessThanOrEqual(1);
    expect(value(await subscription.stats())).toMatchObject({ settled: 1 });
  });
});
