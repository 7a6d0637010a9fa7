// What may be removed from a log: no more than every subscription was told of, or has settled.

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { fitting } from "../../src/sql/page";
import { fullDetail, needs, newStanding, type Standing, settledByAll, toldTo } from "../../src/topic/removal";
import { needsSegment } from "../../src/topic/retention";

const standing = (more: Partial<Standing>): Standing => ({ ...newStanding("g"), ...more });

describe("by time", () => {
  test("nothing is removed that a subscription was not told of, until it is overdue", () => {
    const told = standing({ toldTo: 50, wasCalled: true });
    const untold = standing({ toldTo: 10, wasCalled: true });
    expect(toldTo([told, untold], 50, 0)).toBe(10);
    expect(toldTo([told, untold], 50, 30)).toBe(30);
  });

  test("whoever was not called since the restart holds up also what is overdue", () => {
    expect(toldTo([standing({})], 50, 50)).toBe(0);
  });

  test("with nobody to tell all that is past is removed, and never more", () => {
    expect(toldTo([], 50, 0)).toBe(50);
    fc.assert(
      fc.property(
        fc.array(fc.record({ toldTo: fc.nat(100), wasCalled: fc.boolean() })),
        fc.nat(100),
        fc.nat(100),
        (standings, past, overdue) => {
          expect(toldTo(standings.map(standing), past, overdue)).toBeLessThanOrEqual(past);
        },
      ),
    );
  });
});

describe("by bytes", () => {
  test("the one that has settled least holds the space, and one that was never asked has settled nothing", () => {
    const [fast, slow, silent] = [
      standing({ generation: "fast", settledTo: 9 }),
      standing({ generation: "slow", settledTo: 4 }),
      standing({ generation: "silent" }),
    ];
    expect([settledByAll([fast, slow]), needs([fast, slow])?.generation]).toEqual([4, "slow"]);
    expect([settledByAll([fast, slow, silent]), needs([fast, slow, silent])?.generation]).toEqual([
      0,
      "silent",
    ]);
  });

  test("a refusal says for whom the space is held, or that nobody subscribes", () => {
    expect(fullDetail(3, { name: "billing", settledTo: 7 })).toContain('"billing" holds the space');
    expect(fullDetail(3, { name: "billing", settledTo: undefined })).toContain("could not be asked");
    expect(fullDetail(3, undefined)).toContain("nobody subscribes");
  });

  test("a segment closes at a sixteenth of the bytes, or at an eighth of the time", () => {
    const retention = { retentionMs: 8_000, retentionBytes: 16_000 };
    const newest = { number: 1, kind: "batches" as const, openedAt: 0, firstOffset: 0, startBytes: 500 };
    expect(needsSegment(newest, "batches", retention, 999, 1_499)).toBe(false);
    expect(needsSegment(newest, "batches", retention, 999, 1_500)).toBe(true);
    expect(needsSegment(newest, "batches", retention, 1_000, 600)).toBe(true);
    expect(needsSegment({ ...newest, kind: "keys" }, "keys", retention, 999, 9_999)).toBe(false);
  });
});

test("a page of rows takes as many as fit, and one whatever its size", () => {
  const sizes = [5, 5, 1].map((bytes) => ({ bytes }));
  expect([0, 9, 10, 11].map((max) => fitting(sizes, max).length)).toEqual([1, 1, 2, 3]);
  expect(fitting([], 10)).toEqual([]);
});
