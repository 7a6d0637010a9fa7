// Messages that expire, in the pure core: what is passed in the log, what dies, and that a lane goes on.

import { describe, expect, test } from "vitest";
import type { Message } from "../../src/message";
import { packRecords, unpackRecords } from "../../src/record-batch";
import { defaultSubscriptionSettings } from "../../src/settings";
import { Backlog } from "../../src/subscription/backlog";
import { bury } from "../../src/subscription/burying";
import { newCounters } from "../../src/subscription/counters";
import { cutLease } from "../../src/subscription/leasing";
import { canLease } from "../../src/subscription/readiness";
import { RecordBuffer } from "../../src/subscription/record-buffer";
import { ack, nack, report } from "../../src/subscription/settling";
import { sums } from "../../src/subscription/stats";

const settings = {
  ...defaultSubscriptionSettings,
  retry: { maxAttempts: 5, minDelayMs: 10, maxDelayMs: 10 },
};
const moment = (now: number) => ({ now, jitter: () => 0.5 });

/** `a:k@50` is a message with the key k that expires at 50. */
function world(...names: string[]) {
  const counters = newCounters(0);
  const backlog = new Backlog({
    knownHead: 0,
    counters,
    leases: [],
    deliveries: [],
    lanes: [],
    parked: [],
  });
  const buffer = new RecordBuffer(0, 1_000_000);
  const messages = names.map((name): Message => {
    const [, id = "", key, expiresAt] = /^(\w+)(?::(\w+))?(?:@(\d+))?$/.exec(name) ?? [];
    const keyed = key === undefined ? {} : { orderingKey: key };
    const timed = expiresAt === undefined ? {} : { expiresAt: Number(expiresAt) };
    return { id, publishedAt: 0, contentType: "t", body: new Uint8Array(1), ...keyed, ...timed };
  });
  const log = [{ firstOffset: 0, storedAt: 0, records: packRecords(messages) }];
  buffer.append(log);
  let leases = 0;
  const lease = (now: number, max = 10) => {
    const leaseId = `l${++leases}`;
    // Followers were forgotten: they are read again before a cut.
    buffer.hold(log);
    const cut = { leaseId, now, deadlineAt: now + 1_000, max, maxBytes: 1_000 };
    const { leased, records } = cutLease(backlog, buffer, cut);
    for (const offset of [...backlog.dying]) {
      const dying = backlog.deliveries.get(offset);
      if (dying?.state === "dying") bury(backlog, dying, undefined, false);
    }
    const ids = records.flatMap((record) => unpackRecords(record).map(({ id }) => id));
    return { ids, refs: leased.map(({ offset }) => ({ offset, leaseId })) };
  };
  const terms = () => {
    const { settled, expired, dead, waiting, leased, nextOffset } = sums(backlog, names.length);
    expect(settled + expired + dead + waiting + leased).toBe(nextOffset);
    return { nextOffset, settled, expired, dead, waiting, leased };
  };
  return { backlog, buffer, lease, terms };
}

describe("in the log", () => {
  test("what has expired is passed and counted, and what comes after it is handed out", () => {
    const { lease, terms } = world("a@50", "b", "c@50", "d@51");
    expect(lease(50).ids).toEqual(["b", "d"]);
    expect(terms()).toMatchObject({ nextOffset: 4, expired: 2, leased: 2 });
  });

  test("progress past it is made also when nothing comes after it, once", () => {
    const { backlog, buffer, lease, terms } = world("a@50", "b@50");
    expect(canLease(backlog, buffer, 49)).toBe(true);
    expect(canLease(backlog, buffer, 50)).toBe(false);
    expect(lease(50).ids).toEqual([]);
    expect(terms()).toMatchObject({ nextOffset: 2, expired: 2 });
    expect(backlog.takeChanges().state).toBe(true);
    lease(51);
    expect(backlog.takeChanges().state).toBe(false);
  });

  test("looking past followers at what has expired writes nothing", () => {
    const { backlog, lease, terms } = world("a:k", "b:k", "c@50");
    lease(0, 1);
    backlog.takeChanges();
    expect(lease(50).ids).toEqual([]);
    expect(backlog.takeChanges().state).toBe(false);
    expect(terms()).toMatchObject({ nextOffset: 1, expired: 0 });
  });

  test("a keyed one that has expired stands in line while its lane is held, and is gone when its turn comes", () => {
    const { backlog, lease, terms } = world("a:k", "b:k@50", "c:k", "d");
    const first = lease(0, 1);
    expect(lease(50).ids).toEqual(["d"]);
    expect(terms()).toMatchObject({ nextOffset: 4, expired: 0, waiting: 2 });
    ack(backlog, first.refs);
    expect(lease(51).ids).toEqual(["c"]);
    expect(terms()).toMatchObject({ expired: 1, waiting: 0 });
  });

  test("a keyed one that has expired in a free lane holds nobody", () => {
    const { lease, terms } = world("a:k@50", "b:k", "c:k@50", "d:k");
    expect(lease(50).ids).toEqual(["b", "d"]);
    expect(terms()).toMatchObject({ nextOffset: 4, expired: 2, leased: 2 });
  });
});

describe("in hand", () => {
  test("a failure whose next attempt would come too late is a death at once, reason expired", () => {
    const { backlog, lease, terms } = world("a@50");
    const { refs } = lease(30);
    expect(nack(backlog, { refs, reason: "no" }, settings, moment(41))).toEqual(["dead"]);
    expect(backlog.deliveries.get(0)).toMatchObject({
      state: "dying",
      attempts: 1,
      death: { diedAt: 41, reason: "expired" },
      history: [{ error: "no" }],
    });
    expect(terms()).toMatchObject({ waiting: 1 });
  });

  test("a failure whose next attempt comes in time waits for it", () => {
    const { backlog, lease } = world("a@50");
    const { refs } = lease(30);
    expect(nack(backlog, { refs }, settings, moment(39))).toEqual(["released"]);
    expect(lease(49).ids).toEqual(["a"]);
  });

  test("what waited too long for somebody to take it dies when it is looked at", () => {
    const { backlog, lease, terms } = world("a@50");
    nack(backlog, { refs: lease(0).refs }, settings, moment(0));
    expect(lease(50).ids).toEqual([]);
    expect(terms()).toMatchObject({ dead: 1, waiting: 0 });
    expect(backlog.takeChanges().buried.get(0)?.dying.death.reason).toBe("expired");
  });

  test("what was given back unattempted counts as expired, and is no dead letter", () => {
    const { backlog, lease, terms } = world("a@50");
    const [ref] = lease(0).refs;
    report(backlog, { leaseId: ref?.leaseId ?? "", outcomes: [], done: true }, settings, moment(1));
    expect(lease(50).ids).toEqual([]);
    expect(terms()).toMatchObject({ expired: 1, dead: 0, waiting: 0 });
  });

  test("what is leased when it expires may still be settled", () => {
    const { backlog, lease, terms } = world("a@50");
    const { refs } = lease(49);
    expect(ack(backlog, refs)).toEqual(["acked"]);
    expect(terms()).toMatchObject({ settled: 1 });
    expect(backlog.expiries.size).toBe(0);
  });

  test("a lane goes on behind a head and followers that expired, in order", () => {
    const { backlog, lease, terms } = world("a:k@50", "b:k@50", "c:k@50", "d:k", "e:k", "z");
    nack(backlog, { refs: lease(0, 1).refs, delayMs: 5 }, settings, moment(0));
    expect(lease(0).ids).toEqual(["z"]);
    expect(terms()).toMatchObject({ waiting: 5 });
    // The head dies and is buried first; then its line moves up.
    expect(lease(50).ids).toEqual([]);
    expect(lease(50).ids).toEqual(["d", "e"]);
    expect(terms()).toMatchObject({ nextOffset: 6, dead: 1, expired: 2, leased: 3, waiting: 0 });
  });
});
