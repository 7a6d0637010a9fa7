// The capacity of a subscription in workerd: it divides among those who ask, writes nothing, and begins anew after an eviction.

import { evictDurableObject, runInDurableObject } from "cloudflare:test";
import { expect, test } from "vitest";
import type { CapacityCalls, PaceName } from "../../src/capacity-calls";
import { bindings, testRuntime, useRuntime, value } from "../support/objects";

async function newCapacity() {
  const capacity = bindings.CAPACITY.getByName(crypto.randomUUID()) as CapacityCalls & DurableObjectStub;
  const clock = testRuntime();
  await useRuntime(capacity, clock);
  const ask = async (partition: number, priority: number, pace: PaceName = "rate") => {
    const asked = { perSecond: 10, want: 100, wantLater: 100 };
    const { paces } = value(await capacity.share({ partition, priority, paces: { [pace]: asked } }));
    return paces[pace]?.requests;
  };
  const evict = async () => {
    await evictDurableObject(capacity);
    await useRuntime(capacity, clock);
  };
  return { capacity, clock, ask, evict };
}

test("what is shared goes to the highest priority, but for a tenth to the lowest", async () => {
  const { ask, clock } = await newCapacity();
  await ask(0, 0);
  await ask(1, 9);
  clock.advance(2_000);
  await ask(0, 0);
  await ask(1, 9);
  clock.advance(2_000);
  expect([await ask(0, 0), await ask(1, 9)]).toEqual([2, 18]);
});

test("each pace is divided by itself", async () => {
  const { ask, clock } = await newCapacity();
  expect([await ask(0, 0), await ask(0, 0, "drain")]).toEqual([1, 1]);
  clock.advance(2_000);
  expect([await ask(0, 0), await ask(0, 0, "drain")]).toEqual([20, 20]);
});

test("after an eviction each has one request, until what was given before has ended", async () => {
  const { ask, clock, evict } = await newCapacity();
  await ask(0, 0);
  clock.advance(2_000);
  expect(await ask(0, 0)).toBe(20);
  await evict();
  expect([await ask(1, 0), await ask(1, 0)]).toEqual([1, 0]);
  clock.advance(100);
  expect([await ask(2, 0), await ask(1, 0)]).toEqual([1, 0]);
  clock.advance(1_900);
  expect(await ask(1, 0)).toBe(10);
});

test("slots count until their dispatch says that it has ended", async () => {
  const { capacity, clock } = await newCapacity();
  let nth = 0;
  const ask = async (dispatch: string) => {
    nth += 1;
    const slots = { dispatch, nth, max: 4, underWay: 0, held: 0, want: 3, lastsMs: 60_000 };
    return value(await capacity.share({ partition: 0, priority: 0, paces: {}, slots })).slots?.slots;
  };
  expect(await ask("a")).toBe(0);
  clock.advance(1_000);
  expect([await ask("a"), await ask("b")]).toEqual([3, 1]);
  value(await capacity.share({ partition: 0, priority: 0, paces: {}, ended: "a" }));
  expect(await ask("b")).toBe(3);
});

test("nothing is written, and no alarm is set", async () => {
  const { capacity, ask } = await newCapacity();
  await ask(0, 0);
  await runInDurableObject(capacity, async (_, { storage }) => {
    expect([await storage.getAlarm(), (await storage.list()).size]).toEqual([null, 0]);
    expect(
      storage.sql.exec("SELECT name FROM sqlite_schema WHERE name NOT LIKE '\\_cf%' ESCAPE '\\'").toArray(),
    ).toEqual([]);
  });
});
