// What a producer's numbers decide: what is new, what is known, and what is missing.

import { describe, expect, test } from "vitest";
import { bind } from "../../src/http/publish";
import { cutMoved, movedTo } from "../../src/raise";
import { packRecordBatch, packRecords, partitionOf, unpackRecordBatch } from "../../src/record-batch";
import { appendProduced, type SeenId } from "../../src/topic/log";
import { judgeSequence } from "../../src/topic/producer";

const message = (id: string) => ({ id, publishedAt: 1, contentType: "x/y", body: new Uint8Array([1]) });

function batchOf(sequence: number, ids: readonly string[], prints: Readonly<Record<string, string>> = {}) {
  const clientIds = ids.flatMap((id, index) => {
    const fingerprint = prints[id];
    return fingerprint === undefined ? [] : [{ index, id, fingerprint }];
  });
  const head = { batchId: "b", generation: "g", partition: 0, partitions: 1, count: ids.length, clientIds };
  return { ...head, producer: { name: "outbox", sequence }, records: packRecords(ids.map(message)) };
}

const judge = (sequence: number, count: number, last: number) =>
  judgeSequence({ name: "outbox", sequence }, count, last);
const seenAt = (offset: number, id: string): [string, SeenId] => [id, { id, offset, fingerprint: id }];

describe("a producer's sequence", () => {
  test.each([
    ["begins at 1", [1, 3, 0], { known: 0, lastSequence: 3 }],
    ["goes on with the next", [4, 2, 3], { known: 0, lastSequence: 5 }],
    ["that comes again is known, and nothing moves", [2, 2, 5], { known: 2, lastSequence: 5 }],
    ["that ends at the last is known", [4, 2, 5], { known: 2, lastSequence: 5 }],
    ["that overlaps is known up to the last", [4, 4, 5], { known: 2, lastSequence: 7 }],
  ] as const)("%s", (_, [sequence, count, last], expected) => {
    expect(judge(sequence, count, last)).toEqual({ ok: true, value: expected });
  });

  test.each([
    ["of a new producer", 2, 0],
    ["of one that is known", 7, 5],
  ])("with a gap %s is refused with the last accepted number", (_, sequence, last) => {
    expect(judge(sequence, 1, last)).toMatchObject({ error: { code: "sequence-gap", limit: last } });
  });

  test("whatever is sent in whatever cuts, each number is new exactly once and in order", () => {
    for (let seed = 1; seed <= 200; seed++) {
      let state = seed;
      const below = (n: number) => {
        state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
        return (state >>> 8) % n;
      };
      const stored: number[] = [];
      let last = 0;
      for (let i = 0; i < 30; i++) {
        const sequence = 1 + below(20);
        const count = 1 + below(6);
        const judged = judge(sequence, count, last);
        if (!judged.ok) continue;
        for (let n = judged.value.known; n < count; n++) stored.push(sequence + n);
        last = judged.value.lastSequence;
      }
      expect(stored, `seed ${seed}`).toEqual(Array.from({ length: last }, (_, n) => n + 1));
    }
  });
});

describe("a batch of a producer", () => {
  const begun = (lastSequence: number) => ({ lastSequence, mayBegin: true });

  test("stores only what is not known", () => {
    const { answer, newCount, producer } = appendProduced(
      batchOf(4, ["a", "b", "c"]),
      new Map(),
      9,
      begun(5),
    );
    expect(answer.exceptions).toEqual([
      { index: 0, knownSequence: 4 },
      { index: 1, knownSequence: 5 },
    ]);
    expect([answer.firstOffset, newCount, producer?.lastSequence]).toEqual([9, 1, 6]);
  });

  test("gives new ids their own offsets behind what is known", () => {
    const batch = batchOf(5, ["a", "b", "c"], { a: "a", b: "b", c: "c" });
    const { newIds, answer } = appendProduced(batch, new Map([seenAt(3, "b")]), 9, begun(5));
    expect(newIds).toEqual([{ id: "c", offset: 9, fingerprint: "c" }]);
    expect(answer.exceptions).toEqual([
      { index: 0, knownSequence: 5 },
      { index: 1, duplicateOf: 3 },
    ]);
  });

  test("with a gap, or an id of other content, stores nothing and its producer stays where it was", () => {
    const gap = appendProduced(batchOf(7, ["a"]), new Map(), 9, begun(5));
    const reused = appendProduced(
      batchOf(6, ["a", "b"], { a: "new" }),
      new Map([seenAt(3, "a")]),
      9,
      begun(5),
    );
    for (const { newCount, producer } of [gap, reused]) expect([newCount, producer]).toEqual([0, undefined]);
    const codes = reused.answer.exceptions.map((met) => "error" in met && met.error.code);
    expect(codes).toEqual(["id-reused", "atomic-refused"]);
  });

  test("of one producer too many is refused", () => {
    const full = { lastSequence: 0, mayBegin: false };
    const { answer } = appendProduced(batchOf(1, ["a"]), new Map(), 0, full);
    expect(answer.exceptions).toMatchObject([{ error: { code: "too-many-producers" } }]);
  });

  test("goes by its ordering key, and without one by its producer's name, whoever made its ids", () => {
    const partitions = 16;
    const entries = ["a", "b", "c"].map((id, index) => ({ index, message: message(id), fingerprint: id }));
    const { producer } = batchOf(1, []);
    const how = { choice: 0.9, newId: () => "b", producer };
    const bounds = bind(entries, { generation: "g", partitions }, how);
    expect(bounds.map(({ batch }) => [batch.partition, batch.count, batch.producer])).toEqual([
      [partitionOf("outbox", partitions), 3, producer],
    ]);
    const keyed = entries.map((entry) => ({ ...entry, message: { ...entry.message, orderingKey: "k" } }));
    const [bound] = bind(keyed, { generation: "g", partitions }, how);
    expect(bound?.batch.partition).toBe(partitionOf("k", partitions));
  });

  test("keeps its number on the way, and moves whole with its producer in a raise", () => {
    const batch = batchOf(4, ["a", "b"], { a: "a", b: "b" });
    expect(unpackRecordBatch(packRecordBatch(batch)).producer).toEqual({ name: "outbox", sequence: 4 });
    const counts = [2, 4, 8, 16, 32];
    const to = counts.find((count) => partitionOf("outbox", count) !== 0) ?? 0;
    expect(movedTo(batch, counts)).toBe(to);
    const [part, ...others] = cutMoved(batch, to);
    expect(others).toEqual([]);
    expect(part?.batch).toMatchObject({
      partition: partitionOf("outbox", to),
      count: 2,
      producer: batch.producer,
    });
  });
});
