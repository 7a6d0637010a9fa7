// The filter in the pure core of a subscription: which version judges an offset, what a cut passes and what it writes,
// and that lanes close up.

import { describe, expect, test } from "vitest";
import type { Filter } from "../../src/filter-form";
import { limits } from "../../src/limits";
import type { Message } from "../../src/message";
import { packRecords, unpackRecords } from "../../src/record-batch";
import { Backlog } from "../../src/subscription/backlog";
import { newCounters } from "../../src/subscription/counters";
import { countNext, leaveOut, passFiltered, saveFiltered, setFilter } from "../../src/subscription/filtering";
import { cutLease } from "../../src/subscription/leasing";
import { canLease } from "../../src/subscription/readiness";
import { RecordBuffer } from "../../src/subscription/record-buffer";
import { ack } from "../../src/subscription/settling";
import { type FilterVersion, neededVersions, Sieve, withFilter } from "../../src/subscription/sieve";
import { sums } from "../../src/subscription/stats";

const onlyYes: Filter = { subject: ["yes"] };
const onlyNo: Filter = { subject: ["no"] };

/** `y1:k@50` has the subject `yes`, `n1:k@50` the subject `no`; with the key k, expiring at 50. */
function messageOf(name: string): Message {
  const [, id = "", key, expiresAt] = /^(\w+)(?::(\w+))?(?:@(\d+))?$/.exec(name) ?? [];
  return {
    ...{ id, publishedAt: 0, contentType: "t", body: new Uint8Array(1) },
    subject: id.startsWith("y") ? "yes" : "no",
    ...(key !== undefined && { orderingKey: key }),
    ...(expiresAt !== undefined && { expiresAt: Number(expiresAt) }),
  };
}

function world(
  names: readonly string[],
  filters: readonly FilterVersion[] = [at(0, onlyYes)],
  bufferBytes = 1e7,
) {
  const nothing = { leases: [], deliveries: [], lanes: [], parked: [] };
  const backlog = new Backlog({ knownHead: 0, counters: newCounters(0), ...nothing, filters });
  const buffer = new RecordBuffer(0, bufferBytes);
  const log = [{ firstOffset: 0, storedAt: 0, records: packRecords(names.map(messageOf)) }];
  buffer.append(log);
  let leases = 0;
  const lease = (max = 100, now = 0) => {
    const leaseId = `l${++leases}`;
    const cut = { leaseId, now, deadlineAt: now + 1_000, max, maxBytes: 1e9 };
    const { leased, records } = cutLease(backlog, buffer, cut);
    const ids = records.flatMap((record) => unpackRecords(record).map(({ id }) => id));
    return { ids, refs: leased.map(({ offset }) => ({ offset, leaseId })) };
  };
  const terms = () => {
    const { settled, filtered, expired, waiting, leased, nextOffset } = sums(backlog, names.length);
    expect(settled + filtered + expired + waiting + leased).toBe(nextOffset);
    return { nextOffset, settled, filtered, expired, waiting, leased };
  };
  return { backlog, buffer, log, lease, terms };
}

function at(from: number, filter: Filter | null, version = from): FilterVersion {
  return { version, from, filter };
}

describe("versions", () => {
  test("a filter holds from the offset that was next when it was set", () => {
    const versions = withFilter([], at(0, null, 1), at(500, onlyYes, 2));
    expect(versions).toEqual([at(0, null, 1), at(500, onlyYes, 2)]);
    const sieve = new Sieve(withFilter(versions, at(0, onlyYes, 2), at(700, null, 3)));
    expect([0, 499, 500, 699, 700, 9e9].map((offset) => sieve.versionAt(offset)?.version)).toEqual([
      1, 1, 2, 2, 3, 3,
    ]);
  });

  test("a filter under which nothing was taken never held", () => {
    expect(withFilter([], at(7, null, 1), at(7, onlyYes, 2))).toEqual([at(7, onlyYes, 2)]);
    const twice = withFilter([at(0, null, 1), at(7, onlyYes, 2)], at(0, null), at(7, onlyNo, 3));
    expect(twice).toEqual([at(0, null, 1), at(7, onlyNo, 3)]);
  });

  test("past the bound the oldest is forgotten, and it is said from where on they are known", () => {
    let versions: readonly FilterVersion[] = [];
    for (let i = 1; i <= limits.filterVersions + 5; i++)
      versions = withFilter(versions, at(0, null), at(i, onlyYes));
    expect(versions).toHaveLength(limits.filterVersions);
    const sieve = new Sieve(versions);
    expect([sieve.knownFrom, sieve.versionAt(3)]).toEqual([6, undefined]);
  });

  test("those that held only below an offset are not needed", () => {
    const versions = [at(0, null), at(10, onlyYes), at(20, onlyNo)];
    expect(neededVersions(versions, 9)).toEqual(versions);
    expect(neededVersions(versions, 10)).toEqual(versions.slice(1));
    expect(neededVersions(versions, 99)).toEqual(versions.slice(2));
    expect(neededVersions([], 99)).toEqual([]);
  });
});

describe("in the log", () => {
  test("what does not match is passed and counted, and what does is handed out", () => {
    const { lease, terms } = world(["n1", "y1", "n2", "n3", "y2", "n4"]);
    expect(lease().ids).toEqual(["y1", "y2"]);
    expect(terms()).toMatchObject({ nextOffset: 6, filtered: 4, leased: 2 });
  });

  test("a look that finds nothing to hand out has nothing to save", () => {
    const { backlog, lease, terms } = world(["n1", "n2"]);
    expect(lease().ids).toEqual([]);
    expect(terms()).toMatchObject({ nextOffset: 2, filtered: 2 });
    expect(backlog.takeChanges()).toMatchObject({ state: false, endings: [] });
    expect(backlog.unsaved.count).toBe(2);
    saveFiltered(backlog);
    expect([backlog.takeChanges().state, backlog.unsaved.count]).toEqual([true, 0]);
  });

  test("a long run is saved from time to time: after so many, or so many bytes", () => {
    const { backlog } = world([]);
    for (let i = 1; i < limits.filteredUnsaved; i++) leaveOut(backlog, 1);
    expect(backlog.takeChanges().state).toBe(false);
    leaveOut(backlog, 1);
    expect(backlog.takeChanges().state).toBe(true);
    leaveOut(backlog, limits.filteredUnsavedBytes);
    expect(backlog.takeChanges().state).toBe(true);
  });

  test("what is filtered leaves no outcome, and nothing in memory", () => {
    const { backlog, buffer, lease } = world(["n1", "y1", "n2"]);
    lease();
    expect(backlog.takeChanges().endings).toEqual([]);
    expect([0, 1, 2].map((offset) => buffer.get(offset) !== undefined)).toEqual([false, true, false]);
  });

  test("one cut judges its share and stops; the next goes on", () => {
    const record = packRecords([messageOf("n1")]).byteLength;
    const many = Math.ceil(limits.filterCutBytes / record);
    const { backlog, lease, terms } = world(Array.from({ length: many + 10 }, () => "n1").concat("y1"));
    expect(lease().ids).toEqual([]);
    expect(backlog.sieve.isSpent).toBe(true);
    expect(terms()).toMatchObject({ nextOffset: many, filtered: many });
    expect(lease().ids).toEqual(["y1"]);
  });

  test("a filtered message that has expired is filtered: the filter says the same at any time", () => {
    const { lease, terms } = world(["n1@50", "y1@50", "y2"]);
    expect(lease(10, 60).ids).toEqual(["y2"]);
    expect(terms()).toMatchObject({ filtered: 1, expired: 1, leased: 1 });
  });

  test("a change applies to what was not taken, and not to what waits", () => {
    const { backlog, lease, terms } = world(["y1", "n1", "y2", "n2"]);
    expect(lease(1).ids).toEqual(["y1"]);
    setFilter(backlog, { version: 0, filter: onlyYes }, { version: 2, filter: onlyNo });
    expect(lease().ids).toEqual(["n1", "n2"]);
    expect(terms()).toMatchObject({ filtered: 1, leased: 3 });
    expect(backlog.takeChanges()).toMatchObject({ state: true, filters: true });
    expect([0, 1, 2, 3].map((offset) => backlog.sieve.versionAt(offset)?.version)).toEqual([0, 2, 2, 2]);
  });

  test("whether something could be leased, and how much is next, leaves out what is filtered", () => {
    const { backlog, buffer, lease } = world(["n1", "n2", "y1", "n3", "y2"]);
    expect([
      canLease(backlog, buffer, 0),
      countNext(backlog, buffer, 10),
      countNext(backlog, buffer, 1),
    ]).toEqual([true, 2, 1]);
    passFiltered(backlog, buffer);
    expect([backlog.counters.nextOffset, backlog.counters.filtered]).toEqual([2, 2]);
    lease();
    expect([canLease(backlog, buffer, 0), countNext(backlog, buffer, 10)]).toEqual([false, 0]);
  });

  test("without a filter nothing is judged", () => {
    const { backlog, buffer, lease } = world(["n1", "y1"], []);
    expect([backlog.sieve.isOpen, countNext(backlog, buffer, 10)]).toEqual([true, 2]);
    expect(lease().ids).toEqual(["n1", "y1"]);
  });
});

describe("in a lane", () => {
  test("a filtered message is skipped, and those around it keep their order", () => {
    const { backlog, lease, terms } = world(["y1:k", "n1:k", "y2:k", "n2:k", "y3:k"]);
    const first = lease(1);
    expect(first.ids).toEqual(["y1"]);
    ack(backlog, first.refs);
    const second = lease(1);
    expect(second.ids).toEqual(["y2"]);
    ack(backlog, second.refs);
    expect(lease().ids).toEqual(["y3"]);
    expect(terms()).toMatchObject({ settled: 2, filtered: 2, leased: 1 });
  });

  test("before the first follower of a held lane it is filtered at once; behind it, when its turn has come", () => {
    const { backlog, buffer, log, lease, terms } = world([
      "y1:k",
      "n1:k",
      "y2:k",
      "n2:k",
      "y3",
      "n3:k",
      "y4",
    ]);
    const head = lease(1);
    expect(lease().ids).toEqual(["y3", "y4"]);
    expect(terms()).toMatchObject({ nextOffset: 7, filtered: 1, waiting: 3, leased: 3 });
    ack(backlog, head.refs);
    buffer.hold(log);
    expect(lease().ids).toEqual(["y2"]);
    expect(terms()).toMatchObject({ filtered: 3, waiting: 0, leased: 3 });
    expect(backlog.takeChanges()).toMatchObject({ state: true, lanes: new Set(["k"]) });
  });

  test("a line of nothing but filtered messages closes, and the lane is forgotten", () => {
    const { backlog, buffer, log, lease, terms } = world(["y1:k", "y2:k", "n1:k", "n2:k", "y3"]);
    const head = lease(1);
    setFilter(backlog, { version: 0, filter: onlyYes }, { version: 1, filter: onlyYes });
    expect(lease().ids).toEqual(["y3"]);
    ack(backlog, head.refs);
    buffer.hold(log);
    const next = lease();
    expect(next.ids).toEqual(["y2"]);
    ack(backlog, next.refs);
    expect(lease().ids).toEqual([]);
    expect(terms()).toMatchObject({ filtered: 2, settled: 2, leased: 1 });
    expect(backlog.lanes.size).toBe(0);
  });

  test("behind a held lane, much that is filtered is passed at once with those that stand in line", () => {
    const names = ["y1:k", "y2:k", ...Array.from({ length: limits.filteredUnsaved }, () => "n1")];
    const { lease, terms } = world(names);
    lease(1);
    expect(lease().ids).toEqual([]);
    expect(terms()).toMatchObject({ nextOffset: names.length, filtered: limits.filteredUnsaved, waiting: 1 });
  });
});
