// What retention does to a backlog: every message is accounted for, and nothing that is still there is touched.

import { describe, expect, test } from "vitest";
import { Backlog } from "../../src/subscription/backlog";
import { newCounters } from "../../src/subscription/counters";
import { firstLease } from "../../src/subscription/delivery";
import {
  killWaiting,
  leasedUntil,
  loseFollowers,
  neededFrom,
  skipUnread,
  unknownFrom,
} from "../../src/subscription/expiry";

const none = new Set<number>();

function backlogAt(nextOffset: number): Backlog {
  const counters = { ...newCounters(0), nextOffset };
  return new Backlog({ knownHead: nextOffset, counters, leases: [], deliveries: [], lanes: [], parked: [] });
}

const waiting = (offset: number) => ({
  ...{ offset, attempts: 1, history: [], state: "waiting" as const, availableAt: 1_000 },
});

test("the unread is counted once, and reading goes on at what is left", () => {
  const backlog = backlogAt(3);
  expect([skipUnread(backlog, 10), skipUnread(backlog, 10), skipUnread(backlog, 5)]).toEqual([
    true,
    false,
    false,
  ]);
  expect(backlog.counters).toMatchObject({ nextOffset: 10, expired: 7 });
  expect(backlog.changes.gap).toEqual({ from: 3, to: 10, count: 7 });
});

test("what waits below dies, up to as many as asked; what carries its message, or lies above, does not", () => {
  const backlog = backlogAt(10);
  for (const offset of [1, 2, 3, 8]) backlog.put(waiting(offset));
  const at = { before: 5, now: 7, max: 1 };
  expect(killWaiting(backlog, new Set([2]), at)).toBe(1);
  expect(killWaiting(backlog, new Set([2]), { ...at, max: 9 })).toBe(1);
  expect([...backlog.dying].sort()).toEqual([1, 3]);
  expect(backlog.deliveries.get(1)).toMatchObject({ death: { diedAt: 7, reason: "expired" } });
  expect(backlog.deliveries.get(8)?.state).toBe("waiting");
});

describe("followers", () => {
  const laneWith = (offsets: readonly number[]) => {
    const backlog = backlogAt(20);
    backlog.put({ ...waiting(0), orderingKey: "k" });
    for (const offset of offsets) backlog.follow("k", offset);
    return { backlog, lane: backlog.lane("k") };
  };

  test("that are known need no search, and those that are left stay in line", () => {
    const { backlog, lane } = laneWith([2, 4, 11]);
    expect(unknownFrom(backlog, 10)).toBeUndefined();
    loseFollowers(backlog, 10, new Map());
    expect(lane).toMatchObject({ followers: 1, known: [11], followersFrom: 11 });
    expect(backlog.counters.expired).toBe(2);
    expect(backlog.waitingCount).toBe(2);
  });

  test("that a restart forgot are counted by where they are found in the log", () => {
    const { backlog, lane } = laneWith([2, 4, 11]);
    lane.known = [];
    expect(unknownFrom(backlog, 10)).toBe(2);
    loseFollowers(backlog, 10, new Map([["k", [1, 2, 4]]]));
    expect(lane).toMatchObject({ followers: 1, known: [], followersFrom: 10 });
    expect(backlog.counters.expired).toBe(2);
    loseFollowers(backlog, 10, new Map([["k", [1, 2, 4]]]));
    expect(backlog.counters.expired).toBe(2);
  });
});

test("the topic waits for the last lease below, and needs what is in hand, what waits and what follows", () => {
  const backlog = backlogAt(20);
  const leased = [firstLease(3, undefined, "l"), firstLease(4, undefined, "l")];
  for (const delivery of leased) backlog.put(delivery);
  backlog.leases.open("l", 900, leased);
  expect([leasedUntil(backlog, 4, none), leasedUntil(backlog, 3, none)]).toEqual([900, undefined]);
  expect(leasedUntil(backlog, 4, new Set([3]))).toBeUndefined();
  expect([neededFrom(backlog, none), neededFrom(backlog, new Set([3]))]).toEqual([3, 4]);
  backlog.follow("k", 2);
  expect(neededFrom(backlog, none)).toBe(2);
  expect(neededFrom(backlogAt(20), none)).toBe(20);
});
