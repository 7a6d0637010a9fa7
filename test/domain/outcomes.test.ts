// Outcomes, packed and unpacked, and the bits that say which offsets are accounted for.

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Coverage } from "../../src/subscription/coverage";
import {
  appendOutcomes,
  covers,
  type Ending,
  gather,
  type Outcome,
  spanOf,
  unpackOutcomes,
} from "../../src/subscription/outcomes";
import { type How, TERM_OF } from "../../src/timeline-calls";

const hows = Object.keys(TERM_OF) as How[];
const pack = (outcomes: readonly Outcome[]) => appendOutcomes(new Uint8Array(), outcomes);
const ended = (first: number, more: Partial<Ending> = {}): Ending => ({
  ...{ how: "acked", first, count: 1, attempts: 1 },
  ...more,
});

const ending: fc.Arbitrary<Ending> = fc.record(
  {
    how: fc.constantFrom(...hows),
    first: fc.oneof(fc.nat(1_000), fc.integer({ min: 0, max: 2 ** 52 })),
    count: fc.oneof(fc.constant(1), fc.integer({ min: 1, max: 1_000_000 })),
    attempts: fc.nat(1_000),
    status: fc.integer({ min: 100, max: 599 }),
  },
  { requiredKeys: ["how", "first", "count", "attempts"] },
);
const distinct = fc.uniqueArray(ending, { selector: ({ first }) => first, maxLength: 50 });

describe("outcomes", () => {
  test("what one change ended in one way is one outcome, with its offsets as runs", () => {
    const endings = [ended(7), ended(3), ended(4), ended(9, { attempts: 2 }), ended(5)];
    expect(gather(endings, 1_000)).toEqual([
      {
        at: 1_000,
        how: "acked",
        attempts: 1,
        runs: [
          { first: 3, count: 3 },
          { first: 7, count: 1 },
        ],
      },
      { at: 1_000, how: "acked", attempts: 2, runs: [{ first: 9, count: 1 }] },
    ]);
  });

  test("a hundred deliveries that went well together take a dozen bytes, however large their offsets", () => {
    const endings = Array.from({ length: 100 }, (_, i) =>
      ended(2 ** 50 + i, { how: "delivered", status: 204 }),
    );
    expect(pack(gather(endings, Date.now())).byteLength).toBeLessThan(24);
    const small = Array.from({ length: 100 }, (_, i) => ended(1_000_000 + i));
    expect(pack(gather(small, Date.now())).byteLength).toBeLessThanOrEqual(14);
  });

  test("packed and unpacked they are the same, one after another", () => {
    fc.assert(
      fc.property(fc.array(distinct, { maxLength: 5 }), fc.nat(2 ** 31), (changes, at) => {
        const outcomes = changes.map((endings, i) => gather(endings, at + i));
        const packed = outcomes.reduce(appendOutcomes, new Uint8Array());
        expect([...unpackOutcomes(packed)]).toEqual(outcomes.flat());
      }),
    );
  });

  test("each offset that ended is covered, and the span holds them all", () => {
    fc.assert(
      fc.property(distinct, (endings) => {
        const outcomes = gather(endings, 1);
        for (const { first, count } of endings) {
          expect(outcomes.some((outcome) => covers(outcome, first + count - 1))).toBe(true);
        }
        const span = spanOf(pack(outcomes));
        expect(span?.first).toBe(
          endings.length > 0 ? Math.min(...endings.map(({ first }) => first)) : undefined,
        );
      }),
    );
  });

  test("bytes that are cut short or of no known kind are a fault, not an answer", () => {
    const packed = pack(gather([ended(300)], 1_000_000));
    expect(() => [...unpackOutcomes(packed.subarray(0, -1))]).toThrow("cut short");
    const unknown = packed.slice();
    unknown[3] = 99;
    expect(() => [...unpackOutcomes(unknown)]).toThrow("no known kind");
  });
});

describe("coverage", () => {
  test("gaps are the offsets that nothing covers", () => {
    const coverage = new Coverage(10, 30);
    expect(coverage.cover({ first: 0, count: 12 })).toBe(2);
    expect(coverage.cover({ first: 13, count: 10 })).toBe(10);
    expect(coverage.cover({ first: 24, count: 100 })).toBe(6);
    expect([...coverage.gaps()]).toEqual([12, 23]);
    expect(coverage.twice).toBeUndefined();
  });

  test("the first offset that is covered twice is known, in whatever order they come", () => {
    const coverage = new Coverage(0, 100);
    for (const first of [0, 50, 60, 8]) coverage.cover({ first, count: 10 });
    expect(coverage.twice).toBe(8);
    coverage.cover({ first: 55, count: 1 });
    expect(coverage.twice).toBe(8);
    coverage.cover({ first: 3, count: 1 });
    expect(coverage.twice).toBe(3);
  });
});
