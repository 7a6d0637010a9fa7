// Delayed messages in a record batch, and what a topic decides of them.

import { describe, expect, test } from "vitest";
import { bind, cutToRows, itemResults, noteStored, type Outcomes, statusOf } from "../../src/http/publish";
import type { Message } from "../../src/message";
import { packRecordBatch, packRecords, unpackRecordBatch, unpackRecords } from "../../src/record-batch";
import { movedRecord } from "../../src/topic/delayed";
import { appendBatch, type SeenId } from "../../src/topic/log";

let serial = 0;
const newId = () => `id-${++serial}`;
const message = (id: string, more: Partial<Message> = {}): Message => {
  return { id, publishedAt: 1, contentType: "t", body: new Uint8Array(10), ...more };
};
/** `-100` after an id: due at 100. `!` before it: the client's. */
const bound = (...names: string[]) => {
  const entries = names.map((name, index) => {
    const [id = "", due] = name.replace("!", "").split("-");
    const timed = due === undefined ? {} : { deliverAt: Number(due) };
    return { index, message: message(id, timed), ...(name.startsWith("!") && { fingerprint: `f-${id}` }) };
  });
  const [only] = bind(entries, { generation: "g", partitions: 1 }, { choice: 0, newId });
  if (!only) throw new Error("nothing was bound");
  return only;
};
const append = (names: readonly string[], seen: readonly SeenId[] = [], { atomic = false, room = 10 } = {}) =>
  appendBatch(bound(...names).batch, new Map(seen.map((each) => [each.id, each])), 7, atomic, room);
const idsOf = (records: Uint8Array) => unpackRecords(records).map(({ id }) => id);

describe("a record batch", () => {
  test("says in its head which of its messages are delayed, and says nothing of it when none is", () => {
    const { batch } = bound("a", "b-100", "!c-50");
    const scheduled = [
      { index: 1, id: "b", deliverAt: 100 },
      { index: 2, id: "c", deliverAt: 50 },
    ];
    expect(batch.scheduled).toEqual(scheduled);
    expect(unpackRecordBatch(packRecordBatch(batch)).scheduled).toEqual(scheduled);
    expect(unpackRecords(batch.records)[1]).toMatchObject({ id: "b", deliverAt: 100 });
    expect(bound("a", "!b").batch).not.toHaveProperty("scheduled");
  });

  test("that is cut to rows keeps each delay with its message", () => {
    const { batch, indexes } = bound("a", "b-100", "c", "d-50");
    const large = { ...batch, records: packRecords(["a", "b", "c", "d"].map(big)) };
    const cuts = cutToRows({ batch: large, indexes }, newId);
    expect(cuts.map((cut) => cut.batch.scheduled)).toEqual([
      [],
      [{ index: 0, id: "b", deliverAt: 100 }],
      [],
      [{ index: 0, id: "d", deliverAt: 50 }],
    ]);
  });

  const big = (id: string) => message(id, { body: new Uint8Array(1_000_000) });
});

describe("an append", () => {
  test("gives no offset to what is delayed, and dense ones to its neighbours", () => {
    const appended = append(["a", "b-100", "!c", "!d-50", "e"]);
    expect(appended.answer.exceptions).toEqual([
      { index: 1, scheduledFor: 100 },
      { index: 3, scheduledFor: 50 },
    ]);
    expect([appended.newCount, idsOf(appended.records)]).toEqual([3, ["a", "c", "e"]]);
    expect(appended.delayed.map(({ id, deliverAt, fingerprint }) => [id, deliverAt, fingerprint])).toEqual([
      ["b", 100, ""],
      ["d", 50, "f-d"],
    ]);
    expect(appended.delayed.map(({ record }) => idsOf(record))).toEqual([["b"], ["d"]]);
    expect(appended.newIds).toContainEqual({ id: "c", fingerprint: "f-c", offset: 8 });
  });

  test("answers a retry with where its first publish stands: waiting, released or cancelled", () => {
    const seen: SeenId[] = [
      { id: "a", fingerprint: "f-a", scheduledFor: 90 },
      { id: "b", fingerprint: "f-b", offset: 3 },
      { id: "c", fingerprint: "f-c", cancelled: true },
    ];
    const appended = append(["!a-100", "!b-100", "!c-100"], seen);
    expect(appended.answer.exceptions).toEqual([
      { index: 0, scheduledFor: 90, duplicate: true },
      { index: 1, duplicateOf: 3 },
      { index: 2, cancelled: true },
    ]);
    expect([appended.newCount, appended.delayed]).toEqual([0, []]);
  });

  test("lets an id that comes twice in one batch meet itself", () => {
    const appended = append(["!a-100", "!a-100"]);
    expect(appended.answer.exceptions[1]).toEqual({ index: 1, scheduledFor: 100, duplicate: true });
    expect(appended.delayed).toHaveLength(1);
  });

  test("refuses a delayed message whose id was used for other content, and an id that the broker made", () => {
    const seen: SeenId[] = [
      { id: "a", fingerprint: "another", scheduledFor: 90 },
      { id: "b", fingerprint: "", offset: 3 },
    ];
    const { exceptions } = append(["!a-100", "!b"], seen).answer;
    expect(exceptions.map((each) => "error" in each && each.error.code)).toEqual(["id-reused", "id-reused"]);
  });

  test("refuses what there is no room for, by itself; with atomic, all", () => {
    const some = append(["a-1", "b-2", "c"], [], { room: 1 });
    expect(some.answer.exceptions).toMatchObject([
      { index: 0, scheduledFor: 1 },
      { index: 1, error: { code: "too-many-delayed", field: "deliverAt" } },
    ]);
    expect(idsOf(some.records)).toEqual(["c"]);
    const none = append(["a-1", "b-2", "c"], [], { room: 1, atomic: true });
    expect(none.answer.exceptions.map((each) => "error" in each && each.error.code)).toEqual([
      "atomic-refused",
      "too-many-delayed",
      "atomic-refused",
    ]);
    expect([none.newCount, none.delayed, none.newIds]).toEqual([0, [], []]);
  });
});

test("an answer says scheduledFor in the place of an offset, and that is stored", () => {
  const outcomes: Outcomes = new Map();
  const { batch, indexes } = bound("a-1", "b", "c");
  const exceptions = [
    { index: 0, scheduledFor: 1 },
    { index: 2, cancelled: true as const },
  ];
  noteStored(outcomes, { batch, indexes }, { batchId: "b", firstOffset: 4, count: 3, exceptions });
  const items = ["a", "b", "c"].map((id) => ({
    ok: true as const,
    value: { message: message(id), isClientId: true },
  }));
  expect(itemResults(items, outcomes)).toEqual([
    { id: "a", partition: 0, scheduledFor: 1, duplicate: false },
    { id: "b", partition: 0, offset: 4, duplicate: false },
    { id: "c", partition: 0, duplicate: true, cancelled: true },
  ]);
  outcomes.delete(1);
  expect(statusOf(outcomes)).toBe("stored");
});

test("a message that is moved keeps everything but its instant, and lives as long from there", () => {
  const before = message("a", { deliverAt: 100, expiresAt: 130, orderingKey: "k" });
  const [after] = unpackRecords(movedRecord(packRecords([before]), 250));
  expect(after).toEqual({ ...before, deliverAt: 250, expiresAt: 280 });
  const [plain] = unpackRecords(movedRecord(packRecords([message("b", { deliverAt: 100 })]), 50));
  expect(plain).toMatchObject({ id: "b", deliverAt: 50 });
  expect(plain).not.toHaveProperty("expiresAt");
});
