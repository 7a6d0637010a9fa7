// A limiter in workerd: what it handed out outlives it, a call that arrives twice counts once, and it goes by itself.

import { evictDurableObject, runDurableObjectAlarm, runInDurableObject } from "cloudflare:test";
import { expect, test } from "vitest";
import type { Period, Policy } from "../../src/limit-policy";
import type { LimiterCalls } from "../../src/limiter-calls";
import { limits } from "../../src/limits";
import { bindings, testRuntime, useRuntime, value } from "../support/objects";

const AT = Date.UTC(2026, 10, 24, 12);

async function newLimiter(limit: number, period: Period = "perHour") {
  const name = `token:${crypto.randomUUID()}`;
  const limiter = bindings.LIMITER.getByName(name) as LimiterCalls & DurableObjectStub;
  const clock = testRuntime(AT);
  await useRuntime(limiter, clock);
  const policy: Policy = { name: "token-rate", period, limit };
  const take = async (need: number, askId: string = crypto.randomUUID()) =>
    value(await limiter.take({ askId, policy, need, want: need, owed: 0 }));
  const left = async () => value(await limiter.look({ policies: [policy] }))[0]?.left;
  const evict = async () => {
    await evictDurableObject(limiter);
    await useRuntime(limiter, clock);
  };
  const alarm = () => runDurableObjectAlarm(limiter);
  const isEmpty = () =>
    runInDurableObject(limiter, (_, { storage }) => {
      const tables = storage.sql.exec("SELECT name FROM sqlite_schema WHERE name = 'limiter'").toArray();
      return tables.length === 0;
    });
  return { limiter, clock, take, left, evict, alarm, isEmpty };
}

test("what was handed out of a window stays so when the limiter is evicted", async () => {
  const { take, left, evict, clock } = await newLimiter(8);
  expect((await take(5)).granted).toBe(5);
  await evict();
  expect(await left()).toBe(3);
  expect((await take(4)).granted).toBe(0);
  expect((await take(3)).granted).toBe(3);
  await evict();
  expect((await take(1)).granted).toBe(0);
  clock.advance(3_600_000);
  expect((await take(8)).granted).toBe(8);
});

test("a limit of a second, which lives in memory, may be handed out once more by an eviction within that second", async () => {
  const { take, evict, isEmpty } = await newLimiter(8, "perSecond");
  expect([(await take(8)).granted, (await take(1)).granted]).toEqual([8, 0]);
  await evict();
  expect([(await take(8)).granted, (await take(1)).granted]).toEqual([8, 0]);
  expect(await isEmpty()).toBe(true);
});

test("a call that arrives twice counts once and gets one answer, also across an eviction", async () => {
  const { take, left, evict } = await newLimiter(8);
  const first = await take(3, "ask");
  expect(await take(3, "ask")).toEqual(first);
  await evict();
  expect(await take(3, "ask")).toEqual(first);
  expect(await left()).toBe(5);
});

test("a block that could not be written down is not handed out when its call comes again, unless it is written then", async () => {
  const { limiter, take, left, evict } = await newLimiter(8);
  await take(1);
  type Saves = { store: { save?: (state: unknown) => void } };
  const call = {
    askId: "ask",
    policy: { name: "token-rate", period: "perHour", limit: 8 },
    need: 3,
    want: 3,
  };
  // Called within the object: a fault that crosses a call would be reported as nobody's.
  const fault = await runInDurableObject(limiter, (instance) => {
    const { store } = instance as unknown as Saves;
    store.save = () => {
      delete store.save;
      throw new Error("SQLITE_IOERR");
    };
    const { take: taking } = instance as unknown as { take: (call: object) => Promise<unknown> };
    return taking.call(instance, { ...call, owed: 0 }).catch((error: Error) => error.message);
  });
  expect(fault).toBe("SQLITE_IOERR");
  expect((await take(3, "ask")).granted).toBe(3);
  await evict();
  expect(await left()).toBe(4);
});

test("calls that come at once are handed no more than the limit", async () => {
  const { take } = await newLimiter(10);
  const blocks = await Promise.all(Array.from({ length: 25 }, () => take(1)));
  expect(blocks.filter(({ granted }) => granted === 1)).toHaveLength(10);
});

test("to be looked at brings no limiter to life, and one that nobody uses is gone some time after its last window", async () => {
  const { take, left, alarm, isEmpty, clock } = await newLimiter(10);
  expect([await left(), await isEmpty()]).toEqual([10, true]);
  await take(4);
  expect(await isEmpty()).toBe(false);
  clock.advance(limits.limiterKeptMs);
  await take(4);
  await alarm();
  expect([await left(), await isEmpty()]).toEqual([6, false]);
  clock.advance(limits.limiterKeptMs + 3_600_000);
  await alarm();
  expect([await left(), await isEmpty()]).toEqual([10, true]);
  expect((await take(4)).granted).toBe(4);
  expect([await left(), await isEmpty()]).toEqual([6, false]);
});
