// Delayed messages on the real topic object: in which order they take their offsets, until when they can be cancelled
// and moved, and that eviction, repeats and late alarms change nothing.

import { evictDurableObject, runDurableObjectAlarm, runInDurableObject } from "cloudflare:test";
import { describe, expect, test } from "vitest";
import { limits } from "../../src/limits";
import { unpackRecords } from "../../src/record-batch";
import type { TopicSettings } from "../../src/settings";
import type { AppendException } from "../../src/topic-calls";
import {
  message,
  newSubscription,
  newTopic,
  recordBatch,
  testRuntime,
  useRuntime,
  value,
} from "../support/objects";

const MINUTE = 60_000;
const day = 86_400_000;

/** A topic whose clock stands still until the test moves it, far from the real one: no alarm fires by itself. */
async function world(settings: Partial<TopicSettings> = {}) {
  const fixture = await newTopic(settings);
  const { topic, generation } = fixture;
  const clock = testRuntime(Date.now() + 1_000 * day);
  await useRuntime(topic, clock);
  const start = clock.now();
  const due = (id: string, minutes: number, more = {}) =>
    message(id, { deliverAt: start + minutes * MINUTE, ...more });
  const append = async (
    messages: Parameters<typeof recordBatch>[1],
    prints: Record<string, string> = {},
    atomic = false,
  ) => {
    const [answer] = value(
      await topic.append({ batches: [recordBatch(generation, messages, prints)], atomic }),
    );
    return answer?.exceptions ?? [];
  };
  const log = async () => {
    const { runs } = value(await topic.read({ from: 0, maxBytes: 4_000_000 }));
    return runs.flatMap(({ records }) => unpackRecords(records).map(({ id }) => id));
  };
  const waiting = async () => {
    const page = value(await topic.delayed({ after: null, limit: 100 }));
    return page.messages.flatMap(({ record }) => unpackRecords(record).map(({ id }) => id));
  };
  const minutes = (count: number) => clock.advance(count * MINUTE);
  const evict = async () => {
    await evictDurableObject(topic);
    await useRuntime(topic, clock);
  };
  const alarm = () => runDurableObjectAlarm(topic);
  const at = (minutes: number) => start + minutes * MINUTE;
  return { ...fixture, clock, due, append, log, waiting, minutes, evict, alarm, at };
}

const codeOf = (answer: { ok: boolean; error?: { code: string } }) => answer.error?.code;
const standing = ({ index: _, ...rest }: AppendException) => rest;

describe("order", () => {
  test("messages take their offsets by instant, and those of one instant in the order of their publishing", async () => {
    const { append, due, log, minutes, alarm } = await world();
    await append([due("late", 3), due("b1", 2), message("now"), due("early", 1)]);
    await append([due("b2", 2)]);
    expect(await log()).toEqual(["now"]);
    minutes(5);
    expect(await alarm()).toBe(true);
    expect(await log()).toEqual(["now", "early", "b1", "b2", "late"]);
  });

  test("what is due has its offset before what is published then", async () => {
    const { append, due, log, minutes } = await world();
    await append([due("a", 1, { orderingKey: "k" })]);
    minutes(1);
    await append([message("b", { orderingKey: "k" })]);
    expect(await log()).toEqual(["a", "b"]);
  });

  test("a delayed message does not hold up its ordering key", async () => {
    const { append, due, log, minutes, alarm } = await world();
    await append([due("first", 1, { orderingKey: "k" }), message("second", { orderingKey: "k" })]);
    expect(await log()).toEqual(["second"]);
    minutes(1);
    await alarm();
    expect(await log()).toEqual(["second", "first"]);
  });

  test("more than a row holds is released row by row, in order, and none twice", async () => {
    const { append, due, minutes, alarm, topic } = await world();
    const big = { body: new Uint8Array(600_000) };
    for (const id of ["a", "b", "c", "d", "e"]) await append([due(id, 1, big)]);
    minutes(1);
    await alarm();
    const { runs } = value(await topic.read({ from: 0, maxBytes: 4_000_000 }));
    const rows = runs.map(({ records }) => unpackRecords(records).map(({ id }) => id));
    expect(rows).toEqual([["a", "b"], ["c", "d"], ["e"]]);
  });
});

describe("the alarm", () => {
  test("is armed for the first that is due, also after eviction, and again for the next", async () => {
    const { append, due, topic, at, minutes, evict, alarm, waiting } = await world();
    const armedAt = () => runInDurableObject(topic, (_, state) => state.storage.getAlarm());
    await append([due("b", 20)]);
    expect(await armedAt()).toBe(at(20));
    await append([due("a", 10)]);
    expect(await armedAt()).toBe(at(10));
    await evict();
    minutes(10);
    await alarm();
    expect([await waiting(), await armedAt()]).toEqual([["b"], at(20)]);
  });

  test("that was lost is made up for by the next call, whichever it is", async () => {
    const { append, due, topic, minutes, evict } = await world();
    await append([due("a", 1)]);
    await runInDurableObject(topic, (_, state) => state.storage.deleteAlarm());
    await evict();
    minutes(1);
    expect(value(await topic.stats())).toMatchObject({ head: 1, scheduled: 0 });
  });

  test("that runs twice releases once", async () => {
    const { append, due, log, topic, minutes } = await world();
    await append([due("a", 1)]);
    minutes(1);
    await runInDurableObject(topic, async (instance) => {
      const { alarm } = instance as unknown as { alarm(): Promise<void> };
      await alarm.call(instance);
      await alarm.call(instance);
    });
    expect(await log()).toEqual(["a"]);
  });

  test("that meets a fault leaves everything as it was, and comes again", async () => {
    const { append, due, log, topic, minutes, alarm, clock, waiting } = await world();
    await append([due("a", 1)]);
    minutes(1);
    const armedAt = await runInDurableObject(topic, async (instance, state) => {
      const { store, alarm } = instance as unknown as {
        store: { delayed: { deleteUpTo?: () => void } };
        alarm(): Promise<void>;
      };
      store.delayed.deleteUpTo = () => {
        throw new Error("the disk is away");
      };
      await alarm.call(instance);
      delete store.delayed.deleteUpTo;
      return state.storage.getAlarm();
    });
    expect(armedAt).toBe(clock.now() + limits.notifyAgainMs);
    await alarm();
    expect([await log(), await waiting()]).toEqual([["a"], []]);
  });

  test("tells the subscriptions of what it released", async () => {
    const fixture = await world();
    const { pull } = await newSubscription(fixture);
    await fixture.append([fixture.due("a", 1)]);
    expect((await pull()).deliveries).toEqual([]);
    fixture.minutes(1);
    await fixture.alarm();
    expect(unpackRecords((await pull()).records).map(({ id }) => id)).toEqual(["a"]);
  });
});

describe("retention", () => {
  test("runs from the release, however long the delay was, and the id is remembered as long", async () => {
    const { append, due, log, minutes, clock, evict } = await world({ retentionMs: 10 * MINUTE });
    await append([due("a", 40 * 24 * 60)], { a: "print" });
    clock.advance(20 * day);
    expect(await append([due("a", 40 * 24 * 60)], { a: "print" })).toMatchObject([{ duplicate: true }]);
    clock.advance(20 * day);
    expect(await log()).toEqual(["a"]);
    minutes(9);
    expect(await log()).toEqual(["a"]);
    minutes(3);
    expect(await log()).toEqual([]);
    clock.advance(14 * day);
    await evict();
    expect((await append([message("a")], { a: "print" })).map(standing)).toEqual([{ duplicateOf: 0 }]);
  });
});

describe("ids", () => {
  test("a retry is answered with where its first publish stands, and stores nothing", async () => {
    const { append, due, topic, at, log, waiting, minutes } = await world();
    const publish = async () => (await append([due("a", 1)], { a: "print" })).map(standing);
    expect(await publish()).toEqual([{ scheduledFor: at(1) }]);
    expect(await publish()).toEqual([{ scheduledFor: at(1), duplicate: true }]);
    value(await topic.reschedule({ id: "a", deliverAt: at(2) }));
    expect(await publish()).toEqual([{ scheduledFor: at(2), duplicate: true }]);
    expect(await waiting()).toEqual(["a"]);
    minutes(2);
    expect(await publish()).toEqual([{ duplicateOf: 0 }]);
    expect([await log(), await waiting()]).toEqual([["a"], []]);
  });

  test("a retry does not revive what was cancelled", async () => {
    const { append, due, topic, evict, log, minutes, waiting } = await world();
    await append([due("a", 1)], { a: "print" });
    value(await topic.cancel({ id: "a" }));
    await evict();
    expect((await append([due("a", 1)], { a: "print" })).map(standing)).toEqual([{ cancelled: true }]);
    minutes(2);
    expect([await log(), await waiting()]).toEqual([[], []]);
  });

  test("a waiting id that comes with other content is refused", async () => {
    const { append, due } = await world();
    await append([due("a", 1)], { a: "print" });
    expect(await append([message("a")], { a: "another" })).toMatchObject([{ error: { code: "id-reused" } }]);
  });

  test("a repeated record batch gets its first answer word for word, whatever became of its messages", async () => {
    const { topic, generation, due, minutes, waiting } = await world();
    const batch = recordBatch(generation, [due("a", 1), message("b")]);
    const first = value(await topic.append({ batches: [batch] }));
    minutes(1);
    expect(value(await topic.append({ batches: [batch] }))).toEqual(first);
    expect(await waiting()).toEqual([]);
  });
});

describe("cancel and move", () => {
  test("what was cancelled is never released, and cancelling it again is none", async () => {
    const { append, due, topic, log, minutes, alarm } = await world();
    await append([due("a", 1), due("b", 1)]);
    expect(await topic.cancel({ id: "a" })).toMatchObject({ ok: true });
    expect(await topic.cancel({ id: "a" })).toMatchObject({ ok: true });
    expect(codeOf(await topic.reschedule({ id: "a", deliverAt: 0 }))).toBe("already-cancelled");
    minutes(1);
    await alarm();
    expect(await log()).toEqual(["b"]);
  });

  test("once it is due it is too late, also when its alarm has not fired", async () => {
    const { append, due, topic, log, minutes, at } = await world();
    await append([due("a", 1)]);
    minutes(1);
    expect(codeOf(await topic.cancel({ id: "a" }))).toBe("already-released");
    expect(codeOf(await topic.reschedule({ id: "a", deliverAt: at(9) }))).toBe("already-released");
    expect(await log()).toEqual(["a"]);
  });

  test("a cancel and a release at one time: one of them happens", async () => {
    const { append, due, topic, log, minutes, alarm } = await world();
    await append([due("a", 1)]);
    minutes(1);
    const [cancelled] = await Promise.all([topic.cancel({ id: "a" }), alarm()]);
    expect([cancelled.ok, await log()]).toEqual(cancelled.ok ? [true, []] : [false, ["a"]]);
  });

  test("what nobody knows is not found", async () => {
    const { topic } = await world();
    expect(codeOf(await topic.cancel({ id: "x" }))).toBe("message-not-found");
    expect(codeOf(await topic.reschedule({ id: "x", deliverAt: 1 }))).toBe("message-not-found");
  });

  test("a message that is moved takes its offset then, in the order of publishing among its equals", async () => {
    const { append, due, topic, log, minutes, alarm, at } = await world();
    await append([due("a", 9), due("b", 2), due("c", 1)]);
    for (let twice = 0; twice < 2; twice++) {
      expect(value(await topic.reschedule({ id: "a", deliverAt: at(2) }))).toEqual({ scheduledFor: at(2) });
      expect(value(await topic.reschedule({ id: "c", deliverAt: at(3) }))).toEqual({ scheduledFor: at(3) });
    }
    minutes(5);
    await alarm();
    expect(await log()).toEqual(["a", "b", "c"]);
  });

  test("a move to an instant that is past is released at once", async () => {
    const { append, due, topic, log, alarm, at } = await world();
    await append([due("a", 9)]);
    value(await topic.reschedule({ id: "a", deliverAt: at(0) }));
    await alarm();
    expect(await log()).toEqual(["a"]);
  });

  test("its message says its new instant, and lives as long from there", async () => {
    const { append, due, topic, at } = await world();
    await append([due("a", 1, { expiresAt: at(3) })]);
    value(await topic.reschedule({ id: "a", deliverAt: at(10) }));
    const { messages } = value(await topic.delayed({ after: null, limit: 1 }));
    expect(messages[0] && unpackRecords(messages[0].record)).toMatchObject([
      { deliverAt: at(10), expiresAt: at(12) },
    ]);
  });
});

describe("the list", () => {
  test("has those due first first, page by page", async () => {
    const { append, due, topic } = await world();
    await append([due("c", 3), due("a1", 1), due("b", 2), due("a2", 1)]);
    const pages: string[][] = [];
    for (let after = null, more = true; more; ) {
      const page = value(await topic.delayed({ after, limit: 3 }));
      pages.push(page.messages.flatMap(({ record }) => unpackRecords(record).map(({ id }) => id)));
      after = (page.messages.at(-1) ?? null) as typeof after;
      more = page.more;
    }
    expect(pages).toEqual([["a1", "a2", "b"], ["c"]]);
  });
});

describe("all or none", () => {
  test("an atomic publish with a refused item delays nothing", async () => {
    const { append, due, waiting } = await world();
    await append([message("a")], { a: "print" });
    const refused = await append([due("b", 1), message("a")], { a: "another" }, true);
    expect(refused.map((each) => "error" in each && each.error.code)).toEqual([
      "atomic-refused",
      "id-reused",
    ]);
    expect(await waiting()).toEqual([]);
  });

  test("a topic that is removed takes its delayed messages with it", async () => {
    const { append, due, topic, minutes, evict, alarm } = await world();
    await append([due("a", 1)]);
    value(await topic.remove());
    await evict();
    minutes(1);
    await alarm();
    expect(codeOf(await topic.cancel({ id: "a" }))).toBe("gone");
  });

  test("a partition delays a bounded number of messages, counted again after eviction", async () => {
    const { append, due, topic, evict, waiting } = await world();
    await append([due("a", 1)]);
    await evict();
    await runInDurableObject(topic, (instance) => {
      const { memory } = instance as unknown as {
        memory: { loaded: { log: { delays: { count: number; totals: object } } } };
      };
      const { delays } = memory.loaded.log;
      expect(delays.count).toBe(1);
      Object.assign(delays.totals, { count: limits.delayedMessages - 1 });
    });
    const answers = await append([due("b", 1), due("c", 1), message("d")]);
    expect(answers.map((each) => ("error" in each ? each.error.code : "kept"))).toEqual([
      "kept",
      "too-many-delayed",
    ]);
    expect(await waiting()).toEqual(["a", "b"]);
  });
});
