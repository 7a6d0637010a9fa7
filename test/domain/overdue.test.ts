// What becomes of a lease whose deadline passes: who pays for a consumer that fell silent.

import fc from "fast-check";
import { expect, test } from "vitest";
import { packRecords } from "../../src/record-batch";
import { defaultSubscriptionSettings } from "../../src/settings";
import { Backlog } from "../../src/subscription/backlog";
import { bury } from "../../src/subscription/burying";
import { newCounters } from "../../src/subscription/counters";
import type { Leased } from "../../src/subscription/delivery";
import { cutLease } from "../../src/subscription/leasing";
import { expireLeases } from "../../src/subscription/overdue";
import { RecordBuffer } from "../../src/subscription/record-buffer";
import { ack, nack } from "../../src/subscription/settling";

const MAX_ATTEMPTS = 3;
const DEADLINE_MS = 1_000;
const settings = {
  ...defaultSubscriptionSettings,
  retry: { maxAttempts: MAX_ATTEMPTS, minDelayMs: 10, maxDelayMs: 100 },
  onExhausted: "skip" as const,
};
const moment = (now: number) => ({ now, jitter: () => 0.5 });

/** A subscription of a log of `keys.length` messages with these ordering keys. */
function world(keys: readonly (string | undefined)[]) {
  const nothing = { leases: [], deliveries: [], lanes: [], parked: [] };
  const backlog = new Backlog({ knownHead: 0, counters: newCounters(0), ...nothing });
  const buffer = new RecordBuffer(0, 1_000_000);
  const messages = keys.map((key, i) => ({
    ...{ id: `m${i}`, publishedAt: 0, contentType: "t", body: new Uint8Array(1) },
    ...(key !== undefined && { orderingKey: key }),
  }));
  const log = [{ firstOffset: 0, storedAt: 0, records: packRecords(messages) }];
  buffer.append(log);
  let leases = 0;
  const lease = (now: number, max: number): readonly Leased[] => {
    buffer.hold(log);
    const cut = {
      ...{ leaseId: `l${++leases}`, now, deadlineAt: now + DEADLINE_MS, max },
      maxBytes: 1_000_000,
    };
    return cutLease(backlog, buffer, cut).leased;
  };
  const offsetsOf = (leased: readonly Leased[]) => leased.map(({ offset }) => offset);
  const endAll = (now: number) => expireLeases(backlog, settings, moment(now), 1_000);
  const attemptsOf = (offset: number) => backlog.deliveries.get(offset)?.attempts;
  return { backlog, lease, offsetsOf, endAll, attemptsOf };
}

/** A consumer that acks as it goes, or at the end, and that one message kills: until all else is acked and that is dead. */
function consume(keys: readonly (string | undefined)[], poison: number, max: number, acksEach: boolean) {
  const { backlog, lease, endAll } = world(keys);
  const acked = new Set<number>();
  let [uncounted, most, dead] = [0, 0, 0];
  for (let round = 0; acked.size + dead < keys.length; round++) {
    if (round > 1_000) throw new Error(`${acked.size} of ${keys.length} acked, and no end`);
    const now = round * (DEADLINE_MS + 100);
    const leased = lease(now, max);
    const died = leased.findIndex(({ offset }) => offset === poison);
    const done = died < 0 ? leased : acksEach ? leased.slice(0, died) : [];
    expect(ack(backlog, done)).toEqual(done.map(() => "acked"));
    for (const { offset } of done) acked.add(offset);
    const before = backlog.deliveries.get(poison)?.attempts;
    endAll(now + DEADLINE_MS);
    for (const { offset, attempts } of backlog.deliveries.values()) {
      if (offset !== poison) expect(attempts).toBe(0);
      else if (died >= 0) uncounted = attempts === before ? uncounted + 1 : 0;
    }
    most = Math.max(most, uncounted);
    dead += backlog.dying.size;
    for (const offset of [...backlog.dying]) {
      const dying = backlog.deliveries.get(offset);
      if (dying?.state === "dying") bury(backlog, dying, undefined, false);
      expect([offset, dying?.attempts]).toEqual([poison, MAX_ATTEMPTS]);
    }
  }
  return { most, dead };
}

test("a message that kills every consumer dies alone, and costs no other an attempt", () => {
  const key = fc.option(fc.constantFrom("a", "b"), { nil: undefined });
  const log = fc.array(key, { minLength: 1, maxLength: 40 });
  fc.assert(
    fc.property(log, fc.nat(), fc.integer({ min: 1, max: 50 }), fc.boolean(), (keys, at, max, acksEach) => {
      const poison = at % keys.length;
      const { most, dead } = consume(keys, poison, max, acksEach);
      expect(dead).toBe(1);
      // Each time in at most half the company: of 40, it is alone after five.
      expect(most).toBeLessThanOrEqual(Math.floor(Math.log2(Math.min(max, keys.length))));
    }),
    { numRuns: 300 },
  );
});

test("what goes back with one before it in its lane was company all the same, for what it was extended with", () => {
  const { backlog, lease, endAll, attemptsOf } = world(["k", "k", undefined]);
  expect(lease(0, 3)).toHaveLength(3);
  // Both deadlines have passed by the time that anybody looks.
  backlog.moveDeadline([1, 2], DEADLINE_MS + 100);
  expect(endAll(DEADLINE_MS + 200)).toBe(2);
  expect([0, 1, 2].map(attemptsOf)).toEqual([1, 0, 0]);
});

test("of several that were leased together none's attempt counts, and they come back in halves", () => {
  const { lease, offsetsOf, endAll, attemptsOf, backlog } = world(Array.from({ length: 8 }, () => undefined));
  lease(0, 8);
  endAll(1_000);
  expect([...backlog.deliveries.values()].map(({ attempts, history }) => [attempts, history])).toEqual(
    Array.from({ length: 8 }, () => [0, [{ at: 1_000, error: "the ack deadline passed", together: 8 }]]),
  );
  expect(offsetsOf(lease(2_000, 8))).toEqual([0, 1, 2, 3]);
  expect(offsetsOf(lease(2_000, 8))).toEqual([4, 5, 6, 7]);
  endAll(3_000);
  expect(offsetsOf(lease(4_000, 8))).toEqual([0, 1]);
  endAll(5_000);
  expect(attemptsOf(0)).toBe(0);
});

test("whoever fell silent alone stays alone until its consumer says something of it", () => {
  const { backlog, lease, offsetsOf, endAll, attemptsOf } = world(Array.from({ length: 4 }, () => undefined));
  lease(0, 1);
  endAll(1_000);
  expect(attemptsOf(0)).toBe(1);
  const [alone] = lease(2_000, 4);
  expect(offsetsOf(alone ? [alone] : [])).toEqual([0]);
  expect(offsetsOf(lease(2_000, 1))).toEqual([1]);
  nack(
    backlog,
    { refs: [{ offset: 0, leaseId: alone?.leaseId ?? "" }], delayMs: 0 },
    settings,
    moment(2_100),
  );
  expect(offsetsOf(lease(2_100, 4))).toEqual([0, 2, 3]);
});

test("what is left of a lease when its deadline passes is what counts: the last one left pays for itself", () => {
  const { backlog, lease, endAll, attemptsOf } = world(Array.from({ length: 3 }, () => undefined));
  const [first, second] = lease(0, 3);
  ack(
    backlog,
    [first, second].flatMap((leased) => (leased ? [leased] : [])),
  );
  endAll(1_000);
  expect(attemptsOf(2)).toBe(1);
});

test("a lease ends whole, though there are more than one alarm ends", () => {
  const { backlog, lease } = world(Array.from({ length: 6 }, () => undefined));
  lease(0, 3);
  lease(0, 3);
  expect(expireLeases(backlog, settings, moment(1_000), 2)).toBe(3);
  expect(backlog.leasedCount).toBe(3);
  expect(expireLeases(backlog, settings, moment(1_000), 2)).toBe(3);
  expect([...backlog.deliveries.values()].map(({ attempts }) => attempts)).toEqual([0, 0, 0, 0, 0, 0]);
});

test("a run of a lane goes back in order, and stays in order whatever its halves", () => {
  const { lease, offsetsOf, endAll } = world(["k", "k", "k", "k"]);
  lease(0, 4);
  endAll(1_000);
  expect(offsetsOf(lease(2_000, 4))).toEqual([0, 1]);
  expect(offsetsOf(lease(2_000, 4))).toEqual([]);
  endAll(3_000);
  expect(offsetsOf(lease(4_000, 4))).toEqual([0]);
});
