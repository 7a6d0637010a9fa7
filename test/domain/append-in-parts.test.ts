// A record batch of before a raise reaches every partition that it belongs to by now, once, however often it comes.

import { describe, expect, test } from "vitest";
import { appendInParts } from "../../src/catalog/append-store";
import { ok, type Result, refuse } from "../../src/errors";
import { movedTo } from "../../src/raise";
import { packRecords, partitionOf, type RecordBatch, unpackRecords } from "../../src/record-batch";
import type { BatchAnswer } from "../../src/topic-calls";

const KEYS = Array.from({ length: 16 }, (_, i) => `key-${i}`);
const batch: RecordBatch = {
  ...{ batchId: "b", generation: "g", partition: 0, partitions: 1, count: KEYS.length, clientIds: [] },
  records: packRecords(
    KEYS.map((key) => ({
      ...{ id: `m-${key}`, publishedAt: 1, contentType: "x/y", body: new Uint8Array([1]) },
      orderingKey: key,
    })),
  ),
};

/** Partitions that were raised to these counts, each from the beginning on. */
function partitions(counts: readonly number[]) {
  const stored = new Map<string, string[]>();
  const state = { counts, away: new Set<number>() };
  const append = async (part: RecordBatch): Promise<Result<BatchAnswer>> => {
    if (state.away.has(part.partition)) return refuse("unavailable", "away");
    const answer = { batchId: part.batchId, firstOffset: 0, count: part.count, exceptions: [] };
    const at = `${part.partition} ${part.batchId}`;
    if (stored.has(at)) return ok(answer);
    const moved = movedTo(part, state.counts);
    if (moved !== undefined) return ok({ ...answer, movedTo: moved });
    stored.set(
      at,
      unpackRecords(part.records).map(({ id }) => id),
    );
    return ok(answer);
  };
  return { state, stored, append };
}

const everyId = (stored: ReadonlyMap<string, readonly string[]>) => [...stored.values()].flat().sort();
const all = KEYS.map((key) => `m-${key}`).sort();

describe("a batch that was bound before", () => {
  test("is stored whole, each message where it belongs, and its places in the batch are told", async () => {
    const { append, stored } = partitions([4, 8]);
    const parts = await appendInParts(batch, append);
    expect(everyId(stored)).toEqual(all);
    for (const { batch: part, indexes } of parts) {
      expect(indexes.map((index) => `m-${KEYS[index]}`)).toEqual(
        unpackRecords(part.records).map(({ id }) => id),
      );
      expect(indexes.map((index) => partitionOf(KEYS[index] ?? "", 8))).toEqual(
        indexes.map(() => part.partition),
      );
    }
  });

  test("that comes again is stored once, also when it failed half way and when another raise came meanwhile", async () => {
    const { append, stored, state } = partitions([4]);
    state.away.add(2);
    const first = await appendInParts(batch, append);
    expect(first.some(({ answered }) => !answered.ok)).toBe(true);
    state.away.clear();
    state.counts = [4, 16];
    await appendInParts(batch, append);
    await appendInParts(batch, append);
    expect(everyId(stored)).toEqual(all);
  });

  test("that must stay whole is refused when it would be cut into several, and nothing is stored", async () => {
    const { append, stored } = partitions([4]);
    const whole = refuse("atomic-spans-partitions", "no");
    expect(await appendInParts(batch, append, whole)).toMatchObject([{ answered: whole }]);
    expect(stored.size).toBe(0);
    const ofOneKey = { ...batch, count: 1, records: packRecords(unpackRecords(batch.records).slice(0, 1)) };
    expect(await appendInParts(ofOneKey, append, whole)).toMatchObject([{ answered: { ok: true } }]);
  });
});
