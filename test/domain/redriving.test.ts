// How often a dead letter goes round, and when.

import { describe, expect, test } from "vitest";
import { limits } from "../../src/limits";
import { redrive, release } from "../../src/subscription/delivery";
import { mayRedrive, pacing } from "../../src/subscription/redriving";

describe("the cap", () => {
  test("is the subscription's, and the default for settings of before there was one", () => {
    expect([0, 1, 2].map((redrives) => mayRedrive({ redrives }, { maxRedrives: 2 }))).toEqual([
      true,
      true,
      false,
    ]);
    const { defaultMaxRedrives } = limits;
    expect(mayRedrive({ redrives: defaultMaxRedrives - 1 }, {})).toBe(true);
    expect(mayRedrive({ redrives: defaultMaxRedrives }, {})).toBe(false);
  });

  test("of nothing lets nothing go round", () => {
    expect(mayRedrive({ redrives: 0 }, { maxRedrives: 0 })).toBe(false);
  });
});

describe("the count", () => {
  test("rises with each round, and outlives the attempts of that round", () => {
    const once = redrive({ offset: 7, history: [] }, 50);
    expect(once).toMatchObject({ redrives: 1, attempts: 0, availableAt: 50 });
    const leased = { ...once, state: "leased" as const, leaseId: "l" };
    const policy = { maxAttempts: 1, minDelayMs: 0, maxDelayMs: 0 };
    const dying = release(leased, { note: { at: 60 } }, policy, "skip", { now: 60, jitter: 0 });
    expect(dying).toMatchObject({ state: "dying", attempts: 1, redrives: 1 });
    expect(redrive(dying, 70)).toMatchObject({ redrives: 2, attempts: 0 });
  });
});

describe("the pace", () => {
  const times = (next: () => number, count: number) => Array.from({ length: count }, next);

  test("is none unless it is asked for", () => {
    expect(times(pacing(undefined, 5), 3)).toEqual([5, 5, 5]);
  });

  test("keeps its rate exactly over many, also when a step is no whole millisecond", () => {
    const at = times(pacing({ from: 1_000, everyMs: 1_000 / 3 }, 0), 7);
    expect(at).toEqual([1_000, 1_333, 1_667, 2_000, 2_333, 2_667, 3_000]);
  });

  test("that begins in the past begins now", () => {
    expect(times(pacing({ from: 0, everyMs: 10 }, 25), 4)).toEqual([25, 25, 25, 30]);
  });
});
