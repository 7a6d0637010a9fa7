// How what there is is divided: the highest priority first, a part kept for the lowest, the same to each of equals.

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { divide, type Wish } from "../../src/capacity/division";

/** A wish as [priority, want, when it was last served]; its partition is its place. */
type Said = readonly [priority: number, want: number, servedAt?: number];
const wishesOf = (said: readonly Said[]): Wish[] =>
  said.map(([priority, want, servedAt = 0], by) => ({ by, priority, want, turn: { servedAt, since: by } }));
const dividedBy = (units: number, said: readonly Said[], kept: number) => {
  const shares = divide(units, wishesOf(said), kept);
  return said.map((_, by) => shares.get(by) ?? 0);
};

describe("what is divided", () => {
  const cases: readonly (readonly [string, number, readonly Said[], number, readonly number[]])[] = [
    ["goes to the one who wants it", 10, [[0, 4]], 0, [4]],
    ["goes to the one who wants it, as far as there is any", 10, [[0, 40]], 0, [10]],
    [
      "is the same for each of equals",
      10,
      [
        [0, 40],
        [0, 40],
      ],
      0,
      [5, 5],
    ],
    [
      "is what one leaves for another",
      10,
      [
        [0, 2],
        [0, 40],
      ],
      0,
      [2, 8],
    ],
    [
      "goes to nobody who wants nothing",
      10,
      [
        [0, 0],
        [0, 40],
        [9, 0],
      ],
      3,
      [0, 10, 0],
    ],
    [
      "goes to the highest, but for what is kept for the lowest",
      10,
      [
        [0, 40],
        [5, 40],
        [9, 40],
      ],
      1,
      [1, 0, 9],
    ],
    [
      "goes down from the highest when that has enough",
      10,
      [
        [0, 40],
        [5, 40],
        [9, 3],
      ],
      1,
      [1, 6, 3],
    ],
    [
      "goes to the lowest when nobody above wants more",
      10,
      [
        [0, 40],
        [9, 3],
      ],
      1,
      [7, 3],
    ],
    [
      "is not kept for a lowest that wants none of it",
      10,
      [
        [0, 0],
        [5, 1],
        [9, 40],
      ],
      3,
      [0, 1, 9],
    ],
    [
      "is not kept where all are equal",
      10,
      [
        [5, 40],
        [5, 40],
      ],
      3,
      [5, 5],
    ],
    [
      "goes to whoever waits longest when it is not enough for all",
      2,
      [
        [0, 9, 30],
        [0, 9, 10],
        [0, 9, 20],
      ],
      0,
      [0, 1, 1],
    ],
    [
      "is nothing when there is nothing",
      0,
      [
        [0, 9],
        [9, 9],
      ],
      1,
      [0, 0],
    ],
  ];
  it.each(cases)("%s", (_, units, said, kept, expected) => {
    expect(dividedBy(units, said, kept)).toEqual(expected);
  });

  const said = fc.array(
    fc.tuple(fc.integer({ min: 0, max: 9 }), fc.integer({ min: 0, max: 50 }), fc.integer({ min: 0, max: 9 })),
    { maxLength: 64 },
  );
  const sum = (counts: readonly number[]) => counts.reduce((all, count) => all + count, 0);

  it("is never more than there is, nor than each wants; and all of it goes while somebody wants it", () => {
    const property = fc.property(fc.nat(400), said, fc.nat(40), (units, wishes, kept) => {
      const shares = dividedBy(units, wishes, kept);
      expect(shares.every((count, by) => count >= 0 && count <= (wishes[by]?.[1] ?? 0))).toBe(true);
      expect(sum(shares)).toBe(Math.min(units, sum(wishes.map(([, want]) => want))));
    });
    fc.assert(property, { numRuns: 2_000 });
  });

  it("gives the lowest what is kept for it, and none between it and a higher one that wants more", () => {
    const property = fc.property(fc.nat(400), said, fc.nat(40), (units, wishes, kept) => {
      const shares = dividedBy(units, wishes, kept);
      const levels = [...new Set(wishes.filter(([, want]) => want > 0).map(([priority]) => priority))];
      const of = (level: number, what: (by: number) => number) =>
        sum(wishes.map(([priority], by) => (priority === level ? what(by) : 0)));
      const wanted = (level: number) => of(level, (by) => wishes[by]?.[1] ?? 0);
      const got = (level: number) => of(level, (by) => shares[by] ?? 0);
      const lowest = Math.min(...levels);
      if (levels.length > 1)
        expect(got(lowest)).toBeGreaterThanOrEqual(Math.min(kept, units, wanted(lowest)));
      for (const level of levels) {
        const isShort = levels.some((higher) => higher > level && got(higher) < wanted(higher));
        if (isShort) expect(got(level)).toBeLessThanOrEqual(level === lowest ? kept : 0);
      }
    });
    fc.assert(property, { numRuns: 2_000 });
  });
});
