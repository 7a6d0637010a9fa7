// What a limiter hands out: never more than the limit in a window, and the same for the same ask.

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Policy } from "../../src/limit-policy";
import { idle, type LimiterState, look, overAt, take } from "../../src/limiter/limiter";
import { limits } from "../../src/limits";

const AT = Date.UTC(2026, 10, 24, 12);
const policy = (limit: number, period: Policy["period"] = "perMinute"): Policy => ({
  name: "token-rate",
  period,
  limit,
});

let asks = 0;
const ask = (of: Policy, need: number, want = need, owed = 0) => ({
  askId: `ask-${++asks}`,
  policy: of,
  need,
  want,
  owed,
});

describe("whatever is asked", () => {
  const steps = fc.array(
    fc.record({
      need: fc.integer({ min: 1, max: 30 }),
      more: fc.integer({ min: 0, max: 200 }),
      ms: fc.integer({ min: -5_000, max: 40_000 }),
      repeats: fc.boolean(),
      isEvicted: fc.boolean(),
    }),
    { maxLength: 80 },
  );

  test("no window hands out more than its limit, over evictions and a clock that goes back, and repeats count once", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 200 }), steps, (limit, all) => {
        const handed = new Map<number, number>();
        let state: LimiterState = idle;
        let saved: LimiterState = idle;
        let now = AT;
        for (const { need, more, ms, repeats, isEvicted } of all) {
          now += ms;
          const call = ask(policy(limit), need, need + more);
          const taken = take(state, call, now);
          state = taken.state;
          if (taken.mustSave) saved = state;
          const { granted, endsAt, left } = taken.block;
          expect(granted === 0 || granted >= need).toBe(true);
          const sum = (handed.get(endsAt) ?? 0) + granted;
          handed.set(endsAt, sum);
          expect(sum).toBeLessThanOrEqual(limit);
          expect(left).toBe(limit - sum);
          if (isEvicted) state = JSON.parse(JSON.stringify(saved)) as LimiterState;
          if (!repeats || (isEvicted && granted === 0)) continue;
          const again = take(state, call, now + 10);
          expect(again.block).toMatchObject({ granted, endsAt, left });
          expect([again.mustSave, again.state]).toEqual([false, state]);
        }
      }),
    );
  });

  test("what is refused would have gone beyond the limit", () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 20 }), { minLength: 1, maxLength: 40 }), (needs) => {
        let state = idle;
        let sum = 0;
        for (const need of needs) {
          const taken = take(state, ask(policy(100), need), AT);
          state = taken.state;
          expect(taken.block.granted).toBe(sum + need > 100 ? 0 : need);
          sum += taken.block.granted;
        }
      }),
    );
  });
});

test("a block is as large as is wanted, and no more than a share of what is free", () => {
  const first = take(idle, ask(policy(800), 1, 1_000), AT);
  expect(first.block.granted).toBe(800 / limits.limiterShare);
  expect(take(first.state, ask(policy(800), 1, 10), AT).block.granted).toBe(10);
  expect(take(first.state, ask(policy(800), 200, 1_000), AT).block.granted).toBe(200);
});

test("a busy isolate spends a limit of a thousand in a few dozen blocks", () => {
  let state = idle;
  let blocks = 0;
  for (let left = 1_000; left > 0; blocks++) {
    const taken = take(state, ask(policy(1_000), 1, 1_000), AT);
    [state, left] = [taken.state, taken.block.left];
  }
  expect(blocks).toBeLessThan(60);
});

test("what was let through while it was away counts, also beyond the limit, and is not granted again", () => {
  const owing = take(idle, ask(policy(10), 1, 1, 25), AT);
  expect(owing).toMatchObject({ block: { granted: 0, left: 0 }, mustSave: true });
  expect(look(owing.state, [policy(10)], AT)).toEqual([{ left: 0, endsAt: AT + 60_000 }]);
});

test("a limit that is raised or lowered within a window counts what was taken before", () => {
  const { state } = take(idle, ask(policy(10), 10), AT);
  expect(take(state, ask(policy(20), 10), AT).block).toMatchObject({ granted: 10, left: 0 });
  expect(take(state, ask(policy(5), 1), AT).block).toMatchObject({ granted: 0, left: 0 });
});

test("a second's tally is not written down, every other is", () => {
  const periods = ["perSecond", "perMinute", "perHour", "perDay", "perMonth"] as const;
  const saves = periods.map((period) => take(idle, ask(policy(5, period), 1), AT).mustSave);
  expect(saves).toEqual([false, true, true, true, true]);
  expect(take(idle, ask(policy(5), 6), AT).mustSave).toBe(false);
});

test("it is over when its last window is, and windows that are over are dropped", () => {
  const month = take(idle, ask(policy(5, "perMonth"), 1), AT).state;
  const both = take(month, ask(policy(5), 1), AT).state;
  expect(overAt(both)).toBe(Date.UTC(2026, 11));
  const later = take(both, ask(policy(5, "perHour"), 1), AT + 120_000).state;
  expect(Object.keys(later.tallies)).toEqual(["token-rate perMonth", "token-rate perHour"]);
  expect(overAt(idle)).toBe(0);
});
