// Filters on the real objects: what a restart, a change, a seek and retention make of messages that were left out.

import { evictDurableObject, runInDurableObject } from "cloudflare:test";
import { describe, expect, test } from "vitest";
import type { Filter } from "../../src/filter-form";
import type { Message } from "../../src/message";
import { defaultSubscriptionSettings } from "../../src/settings";
import type { SubscriptionCalls } from "../../src/subscription-calls";
import { conservation, idsOf, message, newSubscription, newTopic, refs, value } from "../support/objects";

const EAGER = { retry: { maxAttempts: 3, minDelayMs: 0, maxDelayMs: 0 } };
const of = (subject: string): Filter => ({ subject: [subject] });
const about = (subject: string, id: string, more: Partial<Message> = {}) => message(id, { subject, ...more });

async function world(filter: Filter | undefined) {
  const topic = await newTopic();
  const reader = await newSubscription(topic, { ...EAGER, ...(filter && { filter }) });
  let version = 1;
  const setFilter = async (filter: Filter | undefined) => {
    version += 1;
    const settings = { ...defaultSubscriptionSettings, ...EAGER, ...(filter && { filter }) };
    value(await reader.subscription.configure({ settings, version }));
  };
  const where = async (offset: number, orderingKey?: string) => {
    const call = orderingKey === undefined ? { offset } : { offset, orderingKey };
    return value(await reader.subscription.whereabouts(call)).where;
  };
  return { ...topic, ...reader, setFilter, where };
}

const stats = async (subscription: SubscriptionCalls) => value(await subscription.stats());
const audit = async (subscription: SubscriptionCalls) => value(await subscription.audit({ from: 0 }));
/** Rows of every table, by its name. */
const rowsOf = (subscription: DurableObjectStub) =>
  runInDurableObject(subscription, (_, { storage }) => {
    const tables = storage.sql.exec<{ name: string }>(
      "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE '\\_%' ESCAPE '\\' AND name NOT LIKE 'sqlite%'",
    );
    const counts = tables.toArray().map(({ name }) => {
      const { n } = storage.sql.exec<{ n: number }>(`SELECT count(*) AS n FROM "${name}"`).one();
      return [name, n] as const;
    });
    return Object.fromEntries(counts);
  });
const rowsWrittenBy = async (subscription: DurableObjectStub, act: () => Promise<unknown>) => {
  const written = await runInDurableObject(subscription, (_, { storage }) => {
    const prototype = Object.getPrototypeOf(storage.sql) as {
      exec: (...args: unknown[]) => { rowsWritten: number };
    };
    const original = prototype.exec;
    const count = { rows: 0, restore: () => Object.assign(prototype, { exec: original }) };
    prototype.exec = function (this: unknown, ...args) {
      const cursor = original.apply(this, args);
      count.rows += cursor.rowsWritten;
      return cursor;
    };
    return count;
  });
  await act();
  written.restore();
  return written.rows;
};

describe("filtered messages", () => {
  test("leave no row behind, and looking at them writes none", async () => {
    const { subscription, pull, publish } = await world(of("yes"));
    const before = await rowsOf(subscription);
    await publish(...Array.from({ length: 500 }, (_, i) => about("no", `n${i}`)));
    const written = await rowsWrittenBy(subscription, async () => expect(idsOf(await pull())).toEqual([]));
    expect(written).toBe(0);
    expect(await stats(subscription)).toMatchObject({ filtered: 500, nextOffset: 500, unread: 0 });
    expect(await rowsOf(subscription)).toEqual(before);
  });

  test("what was told of them a restart does not take back", async () => {
    const { subscription, pull, publish, where } = await world(of("yes"));
    await publish(about("no", "a"), about("no", "b"));
    await pull();
    expect(await stats(subscription)).toMatchObject({ filtered: 2, nextOffset: 2 });
    await evictDurableObject(subscription);
    expect(await stats(subscription)).toMatchObject({ filtered: 2, nextOffset: 2 });
    expect(await where(1)).toEqual({ state: "filtered", version: 1 });
    expect(await audit(subscription)).toMatchObject({ holds: true, found: { filtered: 2 } });
  });

  test("a restart before anything was told judges them again, with the same end", async () => {
    const { subscription, pull, publish } = await world(of("yes"));
    await publish(about("no", "a"), about("yes", "b"));
    await evictDurableObject(subscription);
    expect(idsOf(await pull())).toEqual(["b"]);
    await publish(about("no", "c"));
    expect(idsOf(await pull())).toEqual([]);
    await evictDurableObject(subscription);
    await publish(about("yes", "d"));
    expect(idsOf(await pull())).toEqual(["d"]);
    expect(await conservation(subscription)).toBe(0);
  });
});

test("a dead letter of before a seek that the filter leaves out now is delivered, and what comes next comes next", async () => {
  const { subscription, pull, publish, setFilter } = await world(undefined);
  await publish(about("no", "dead"), about("yes", "a"), about("yes", "b"));
  value(await subscription.nack({ refs: refs(await pull(1)), deadLetter: true }));
  await setFilter(of("yes"));
  const seek = { seekId: "back", to: { at: "earliest" }, reprocess: true, dryRun: false } as const;
  value(await subscription.seek(seek));
  value(await subscription.redrive({ all: true, limit: 10 }));
  // It lies ahead too: what is read on holds it, and must go on holding it until it is passed there.
  const again = await pull(1);
  expect(idsOf(again)).toEqual(["dead"]);
  value(await subscription.ack({ refs: refs(again) }));
  expect(idsOf(await pull())).toEqual(["a", "b"]);
  expect(await stats(subscription)).toMatchObject({ nextOffset: 3, filtered: 1, settled: 1, readmitted: 1 });
  expect(await conservation(subscription)).toBe(0);
});

describe("a change of the filter", () => {
  test("holds for what was not taken; each message is told with the version that judged it", async () => {
    const { subscription, pull, publish, setFilter, where } = await world(undefined);
    await publish(about("no", "a"));
    expect(idsOf(await pull())).toEqual(["a"]);
    await setFilter(of("yes"));
    await publish(about("no", "b"), about("yes", "c"));
    expect(idsOf(await pull())).toEqual(["c"]);
    await publish(about("no", "d"));
    expect(idsOf(await pull())).toEqual([]);
    // Not saved yet: the change saves it, and so it stays filtered by the version that judged it.
    await setFilter(of("no"));
    await evictDurableObject(subscription);
    await publish(about("yes", "e"), about("no", "f"));
    expect(idsOf(await pull())).toEqual(["f"]);
    await setFilter(undefined);
    await publish(about("whatever", "g"));
    expect(idsOf(await pull())).toEqual(["g"]);
    await evictDurableObject(subscription);
    const filtered = { state: "filtered" };
    expect(await Promise.all([1, 3, 4].map((offset) => where(offset)))).toEqual([
      { ...filtered, version: 2 },
      { ...filtered, version: 2 },
      { ...filtered, version: 3 },
    ]);
    expect(await where(0)).toMatchObject({ state: "leased" });
    expect(await audit(subscription)).toMatchObject({ holds: true, stored: { filtered: 3, leased: 4 } });
  });

  test("does not judge again what waits, stands in line or is dead", async () => {
    const { subscription, pull, publish, setFilter } = await world(of("no"));
    const keyed = { orderingKey: "k" };
    await publish(about("no", "a", keyed), about("no", "b", keyed), about("no", "c"), about("no", "dead"));
    const lease = await pull();
    const dead = refs(lease).find((_, i) => idsOf(lease)[i] === "dead");
    if (!dead) throw new Error("nothing leased");
    value(await subscription.nack({ refs: [dead], deadLetter: true, reason: "no" }));
    value(await subscription.nack({ refs: refs(lease).filter((ref) => ref !== dead) }));
    await setFilter(of("yes"));
    value(await subscription.redrive({ offsets: [dead.offset] }));
    expect(idsOf(await pull()).sort()).toEqual(["a", "b", "c", "dead"]);
    expect(await stats(subscription)).toMatchObject({ filtered: 0, leased: 4 });
  });

  test("settings that say the same of it make no other version", async () => {
    const { subscription, publish, pull, setFilter, where } = await world(of("yes"));
    await setFilter(of("yes"));
    await publish(about("no", "a"));
    await pull();
    expect(await where(0)).toEqual({ state: "filtered", version: 1 });
    expect(await rowsOf(subscription)).toMatchObject({ filters: 1 });
  });
});

test("after a seek everything is judged by the filter that holds now", async () => {
  const { subscription, pull, publish, setFilter, where } = await world(of("a"));
  await publish(about("a", "a1"), about("b", "b1"), about("a", "a2"));
  const lease = await pull();
  expect(idsOf(lease)).toEqual(["a1", "a2"]);
  const [first] = refs(lease);
  if (!first) throw new Error("nothing leased");
  value(await subscription.nack({ refs: [first], deadLetter: true }));
  await setFilter(of("b"));
  value(await subscription.seek({ seekId: "s", to: { at: "earliest" }, reprocess: true, dryRun: false }));
  // A dead letter of the epoch before matched then, and this epoch's filter would leave it out: it goes round.
  const again = await subscription.redrive({ all: true, limit: 10 });
  expect(value(again)).toMatchObject({ redriven: 1, superseded: 0 });
  expect(idsOf(await pull())).toEqual(["a1", "b1"]);
  expect(await where(2)).toEqual({ state: "filtered", version: 2 });
  expect(await conservation(subscription)).toBe(0);
  await evictDurableObject(subscription);
  expect(await stats(subscription)).toMatchObject({ epoch: 1, filtered: 2, readmitted: 1, leased: 2 });
});

test("what retention removes after it was filtered is not counted as expired, and its filter is forgotten", async () => {
  const { subscription, pull, publish, setFilter, where, topic } = await world(of("yes"));
  await publish(about("no", "a"), about("no", "b"));
  await pull();
  value(await subscription.expire({ before: 2 }));
  await evictDurableObject(subscription);
  expect(await stats(subscription)).toMatchObject({ filtered: 2, expired: 0, nextOffset: 2, gaps: [] });
  await setFilter(of("no"));
  await publish(about("no", "c"));
  expect(idsOf(await pull())).toEqual(["c"]);
  value(await subscription.expire({ before: 2 }));
  expect(await rowsOf(subscription)).toMatchObject({ filters: 1 });
  expect(await where(1)).toEqual({ state: "forgotten" });
  expect(await audit(subscription)).toMatchObject({ holds: true, auditedFrom: 2 });
  expect(value(await subscription.settledTo())).toEqual({ offset: 2 });
  expect(value(await topic.stats())).toMatchObject({ head: 3 });
});
