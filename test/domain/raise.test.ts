// A raise of partitions, decided: what has moved, into which parts a batch is cut, and which keys must wait.

import { describe, expect, test } from "vitest";
import { limits } from "../../src/limits";
import { cutFor, cutMoved, leftFor, movedTo } from "../../src/raise";
import { packRecords, partitionOf, type RecordBatch, unpackRecords } from "../../src/record-batch";
import { LaneGate } from "../../src/subscription/lane-gate";

type Item = Readonly<{ id: string; key?: string; isClientId?: boolean }>;

function batchOf(items: readonly Item[], partition: number, partitions?: number): RecordBatch {
  const messages = items.map(({ id, key }) => ({
    ...{ id, publishedAt: 1, contentType: "text/plain", body: new TextEncoder().encode(id) },
    ...(key !== undefined && { orderingKey: key }),
  }));
  const clientIds = items.flatMap(({ id, isClientId }, index) =>
    isClientId ? [{ index, id, fingerprint: `print of ${id}` }] : [],
  );
  const head = { batchId: "b", generation: "g", partition, count: items.length, clientIds };
  return { ...head, ...(partitions !== undefined && { partitions }), records: packRecords(messages) };
}

const idsOf = ({ records }: RecordBatch) => unpackRecords(records).map(({ id }) => id);
/** A key that is in `partition` of `partitions`. */
function keyIn(partition: number, partitions: number): string {
  for (let i = 0; ; i++) if (partitionOf(`k${i}`, partitions) === partition) return `k${i}`;
}

describe("a batch of before a raise", () => {
  test("a key of partition q of a multiple was in partition q modulo the count before", () => {
    for (let i = 0; i < 1_000; i++) {
      for (const [few, many] of [
        [1, 4],
        [4, 8],
        [3, 63],
      ] as const)
        expect(partitionOf(`key-${i}`, many) % few).toBe(partitionOf(`key-${i}`, few));
    }
  });

  test("has moved by the least count that sends one of its messages elsewhere, above the one it was bound under", () => {
    const key = keyIn(4, 8);
    const batch = (partitions?: number) => batchOf([{ id: "a", key }], 0, partitions);
    expect(movedTo(batch(1), [])).toBeUndefined();
    expect(movedTo(batch(1), [4])).toBeUndefined();
    expect(movedTo(batch(1), [4, 8, 16])).toBe(8);
    expect(movedTo(batch(), [4, 8, 16])).toBe(8);
    expect(movedTo(batch(8), [4, 8])).toBeUndefined();
  });

  test("is bound by ordering key, else by client's id; what has neither stays", () => {
    const leaving = keyIn(3, 4);
    const staying = keyIn(0, 4);
    expect(movedTo(batchOf([{ id: leaving }], 0, 1), [4])).toBeUndefined();
    expect(movedTo(batchOf([{ id: leaving, isClientId: true }], 0, 1), [4])).toBe(4);
    expect(movedTo(batchOf([{ id: leaving, isClientId: true, key: staying }], 0, 1), [4])).toBeUndefined();
    expect(movedTo(batchOf([{ id: staying, isClientId: true, key: leaving }], 0, 1), [4])).toBe(4);
  });

  test("is cut into one part for each partition, in order, with its ids and fingerprints, under ids of its own", () => {
    const [zero, three] = [keyIn(0, 4), keyIn(3, 4)];
    const batch = batchOf(
      [
        { id: "a", key: three },
        { id: "b", key: zero, isClientId: true },
        { id: "c" },
        { id: "d", key: three, isClientId: true },
      ],
      ...([0, 1] as const),
    );
    const parts = cutMoved(batch, 4);
    expect(parts.map(({ batch: part, indexes }) => [part.batchId, part.partition, indexes])).toEqual([
      ["b/3", 3, [0, 3]],
      ["b/0", 0, [1, 2]],
    ]);
    expect(parts.map(({ batch: part }) => idsOf(part))).toEqual([
      ["a", "d"],
      ["b", "c"],
    ]);
    expect(parts[0]?.batch).toMatchObject({
      ...{ generation: "g", partitions: 4, count: 2 },
      clientIds: [{ index: 1, id: "d", fingerprint: "print of d" }],
    });
    expect(parts.map(({ batch: part }) => movedTo(part, [4]))).toEqual([undefined, undefined]);
  });

  test("takes with each delayed message the instant that it waits for", () => {
    const [stays, goes] = [keyIn(0, 4), keyIn(2, 4)];
    const keys = [stays, goes, goes];
    const whole = batchOf(
      keys.map((key, index) => ({ id: `m${index}`, key })),
      0,
    );
    const batch = { ...whole, scheduled: [{ index: 2, id: "m2", deliverAt: 9_000 }] };
    const parts = cutMoved(batch, 4).map(({ batch: part }) => part);
    expect(parts.map(({ partition, scheduled }) => [partition, scheduled])).toEqual([
      [0, []],
      [2, [{ index: 1, id: "m2", deliverAt: 9_000 }]],
    ]);
  });

  test("cut again after another raise has the parts it had before, cut further", () => {
    const keys = [keyIn(1, 4), keyIn(5, 8), keyIn(2, 8), keyIn(13, 16)];
    const batch = batchOf(
      keys.map((key, i) => ({ id: `m${i}`, key })),
      ...([0, 1] as const),
    );
    const first = cutMoved(batch, movedTo(batch, [4]) ?? 0);
    const later = cutMoved(batch, movedTo(batch, [4, 16]) ?? 0);
    expect(later).toEqual(first);
    const one = first.find(({ batch: part }) => part.partition === 1)?.batch;
    expect(one && movedTo(one, [16])).toBe(16);
    expect(one && cutMoved(one, 16).map(({ batch: part }) => part.batchId)).toEqual(
      [...new Set(keys.filter((key) => partitionOf(key, 4) === 1).map((key) => partitionOf(key, 16)))].map(
        (partition) => `b/1/${partition}`,
      ),
    );
  });
});

describe("the cut behind which a child's keys left", () => {
  const cuts = [8, 4].map((partitions) => ({ partitions, offset: partitions * 10, cutAt: partitions }));

  test("is that of the first raise that took them away", () => {
    expect(cutFor(cuts, 0, 1)?.partitions).toBe(4);
    expect(cutFor(cuts, 0, 5)?.partitions).toBe(4);
    expect(cutFor(cuts, 0, 4)?.partitions).toBe(8);
    expect(cutFor(cuts.slice(0, 1), 1, 5)?.partitions).toBe(8);
    expect(cutFor([], 0, 1)).toBeUndefined();
  });

  test("tells the keys that went to the child, or to where the child came from", () => {
    const cut = { partitions: 4, offset: 0, cutAt: 0 };
    expect(leftFor(keyIn(1, 4), cut, 5)).toBe(true);
    expect(leftFor(keyIn(2, 4), cut, 5)).toBe(false);
  });
});

describe("the gate of a partition that a raise made", () => {
  test("holds every key until the parent was asked, then those that it names, and none for ever once it names none", () => {
    const gate = new LaneGate(false);
    expect([gate.isOpen, gate.holds("a")]).toEqual([false, true]);
    gate.learn(["a"], 0);
    expect([gate.isOpen, gate.holds("a"), gate.holds("b")]).toEqual([false, true, false]);
    gate.learn([], 0);
    expect([gate.isOpen, gate.holds("a")]).toEqual([true, false]);
    expect(gate.waitMs(0)).toBe(Number.POSITIVE_INFINITY);
  });

  test("has its parent asked again within a second while fewer keys wait, and at last each minute while nothing changes", () => {
    const gate = new LaneGate(false);
    gate.learn(["a", "b"], 0);
    expect(gate.askAt).toBe(limits.minAskParentMs);
    for (let i = 0; i < 20; i++) gate.learn(["a", "b"], 0);
    expect(gate.askAt).toBe(limits.maxAskParentMs);
    gate.learn(["a"], 0);
    expect(gate.askAt).toBe(limits.minAskParentMs);
  });

  test("of a partition without a parent is open", () => {
    expect(new LaneGate(true).holds("a")).toBe(false);
  });
});
