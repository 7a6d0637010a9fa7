// Where a seek leads, what it counts, and what an epoch begins with.

import { describe, expect, test } from "vitest";
import type { SeekPoint } from "../../src/seek-calls";
import { Backlog } from "../../src/subscription/backlog";
import { type Counters, newCounters } from "../../src/subscription/counters";
import { firstLease } from "../../src/subscription/delivery";
import { checkConsent, nextEpoch, openFrom, planSeek } from "../../src/subscription/seek";

const log = { earliest: 10, head: 100, atTime: 42 };

function backlogAt(nextOffset: number, more: Partial<Counters> = {}) {
  const counters = { ...newCounters(0), nextOffset, ...more };
  return new Backlog({ knownHead: nextOffset, counters, leases: [], deliveries: [], lanes: [], parked: [] });
}

const plan = (
  to: SeekPoint,
  {
    nextOffset = 50,
    reprocess = true,
    guarantee = "at-least-once" as "at-least-once" | "effectively-once",
  } = {},
) => {
  const planned = planSeek(backlogAt(nextOffset), { to, reprocess }, log, { partition: 3, guarantee });
  if (!planned.ok) throw new Error(planned.error.detail);
  return planned.value;
};

describe("where a seek leads", () => {
  test("to the ends of the log, to a time, or to an offset of it", () => {
    const points: SeekPoint[] = [
      { at: "earliest" },
      { at: "latest" },
      { at: "time", time: 7 },
      { at: "offset", offset: 55 },
    ];
    expect(points.map((to) => plan(to).toOffset)).toEqual([10, 100, 42, 55]);
  });

  test("what retention has overtaken is said, and the earliest is next to it", () => {
    expect(plan({ at: "offset", offset: 4 })).toMatchObject({ toOffset: 10, overtaken: 6 });
    expect(plan({ at: "offset", offset: 10 })).toMatchObject({ toOffset: 10, overtaken: 0 });
  });

  test("beyond the head there is nothing to seek to", () => {
    const to = { at: "offset", offset: 101 } as const;
    const beyond = planSeek(backlogAt(50), { to, reprocess: true }, log, {
      partition: 3,
      guarantee: "at-least-once",
    });
    expect(!beyond.ok && beyond.error).toMatchObject({
      ...{ code: "invalid-request", field: "to.offsets.3", limit: 100 },
    });
  });
});

describe("what a seek counts", () => {
  test("what is taken again, and what is passed over", () => {
    expect(plan({ at: "earliest" })).toMatchObject({ fromOffset: 50, again: 40, skipped: 0 });
    expect(plan({ at: "latest" })).toMatchObject({ fromOffset: 50, again: 0, skipped: 50 });
  });

  test("what was in hand", () => {
    const backlog = backlogAt(50);
    const leased = [firstLease(48, undefined, "l"), firstLease(49, "k", "l")];
    for (const delivery of leased) backlog.put(delivery);
    backlog.leases.open("l", 1, leased);
    backlog.follow("k", 50);
    const where = { partition: 0, guarantee: "at-least-once" } as const;
    const planned = planSeek(backlog, { to: { at: "earliest" }, reprocess: true }, log, where);
    expect(planned.ok && planned.value.voided).toEqual({ leased: 2, waiting: 1 });
  });
});

describe("completed work", () => {
  const back = { at: "earliest" } as const;

  test("is processed again by going back, unless the ledger knows it and nobody asked for it", () => {
    expect(plan(back, { guarantee: "effectively-once", reprocess: false }).reprocesses).toBe(false);
    expect(plan(back, { guarantee: "effectively-once", reprocess: true }).reprocesses).toBe(true);
    expect(plan(back, { reprocess: false }).reprocesses).toBe(true);
    expect(plan({ at: "latest" }, { reprocess: false }).reprocesses).toBe(false);
  });

  test("is processed again only if the operator said so", () => {
    const refused = checkConsent(plan(back, { reprocess: false }), { reprocess: false });
    expect(!refused.ok && refused.error).toMatchObject({ code: "conflict", field: "reprocess" });
    expect(checkConsent(plan(back), { reprocess: true }).ok).toBe(true);
    expect(checkConsent(plan({ at: "latest" }, { reprocess: false }), { reprocess: false }).ok).toBe(true);
  });
});

describe("an epoch", () => {
  const before = {
    ...newCounters(0),
    nextOffset: 50,
    settled: 45,
    dead: 5,
    formerDead: 2,
    epoch: 3,
    replay: 1,
  };

  test("begins with every counter at its beginning, and with the dead behind it", () => {
    expect(nextEpoch(before, 20, false)).toEqual({
      ...newCounters(20),
      ...{ epoch: 4, replay: 1, formerDead: 7 },
    });
  });

  test("is another replay only if completed work is processed again", () => {
    expect(nextEpoch(before, 20, true).replay).toBe(2);
  });
});

describe("the lowest open offset", () => {
  test("is the next one while nothing is in hand", () => {
    expect(openFrom(backlogAt(50))).toBe(50);
  });

  test("is that of the oldest delivery in hand, or of the first follower", () => {
    const backlog = backlogAt(50);
    const leased = firstLease(47, "k", "l");
    backlog.put(leased);
    backlog.leases.open("l", 1, [leased]);
    backlog.follow("k", 49);
    expect(openFrom(backlog)).toBe(47);
    backlog.remove(47);
    expect(openFrom(backlog)).toBe(49);
  });
});

describe("what this epoch has in hand", () => {
  test("are its deliveries and its followers, and nothing else", () => {
    const backlog = backlogAt(10);
    const leased = firstLease(3, "k", "l");
    backlog.put(leased);
    backlog.leases.open("l", 1, [leased]);
    backlog.follow("k", 5);
    backlog.follow("k", 7);
    expect([2, 3, 4, 5, 7].map((offset) => backlog.hasInHand(offset, "k"))).toEqual([
      ...[false, true, false, true, true],
    ]);
    expect(backlog.hasInHand(5, "other")).toBe(false);
    expect(backlog.hasInHand(5, undefined)).toBe(false);
  });
});
