// The marks that a topic with an alternate puts into its records.

import { expect, test } from "vitest";
import type { Filter } from "../../src/filter-form";
import type { Message } from "../../src/message";
import { packRecords, unpackRecords } from "../../src/record-batch";
import { MatchDesk, markUnmatched } from "../../src/topic/match-desk";

const ALTERNATE: Filter = { unmatched: true };
const on = (...subject: string[]): Filter => ({ subject });
const message = (subject: string): Message => ({
  ...{ id: subject, publishedAt: 1, contentType: "text/plain", subject },
  body: new TextEncoder().encode("{}"),
});
const marks = (records: Uint8Array) => unpackRecords(records).map(({ unmatched = false }) => unmatched);

/** A desk over readers that a test may change; each look at the store is counted. */
function deskOf(...filters: (Filter | null | undefined)[]) {
  const looks = { asked: 0, read: 0 };
  const store = {
    hasAlternate: () => {
      looks.asked += 1;
      return filters.some((filter) => filter?.unmatched);
    },
    filters: () => {
      looks.read += 1;
      return filters.map((filter) => ({ filter }));
    },
  };
  return { desk: new MatchDesk(store), filters, looks };
}

test("what nobody matches is marked, and is otherwise the message that it was", () => {
  const messages = ["a", "b", "c", "d"].map(message);
  const marked = markUnmatched(packRecords(messages), ({ id }) => id === "b");
  expect(unpackRecords(marked)).toEqual(
    messages.map((each) => (each.id === "b" ? each : { ...each, unmatched: true })),
  );
});

test("records of which all are matched stay as they are, byte for byte", () => {
  const records = packRecords(["a", "b"].map(message));
  expect(markUnmatched(records, () => true)).toBe(records);
});

test("without an alternate no filter is read, and the store is asked once", () => {
  const { desk, looks } = deskOf(on("a"));
  const records = packRecords([message("b")]);
  for (let i = 0; i < 3; i++) expect(desk.mark(records)).toBe(records);
  expect(looks).toEqual({ asked: 1, read: 0 });
});

test("another alternate is nobody who matches; without other readers nobody does", () => {
  expect(marks(deskOf(ALTERNATE, ALTERNATE).desk.mark(packRecords([message("a")])))).toEqual([true]);
  const { desk } = deskOf(ALTERNATE, on("a"), on("b"));
  expect(marks(desk.mark(packRecords(["a", "b", "c"].map(message))))).toEqual([false, false, true]);
});

test("a reader that takes everything, or of which nothing is known, leaves nothing unmatched", () => {
  for (const other of [null, undefined]) {
    expect(marks(deskOf(ALTERNATE, on("a"), other).desk.mark(packRecords([message("b")])))).toEqual([false]);
  }
});

test("other readers count from when the desk is told", () => {
  const { desk, filters } = deskOf(ALTERNATE, on("a"));
  const both = packRecords(["a", "b"].map(message));
  expect(marks(desk.mark(both))).toEqual([false, true]);
  filters[1] = on("b");
  desk.forget();
  expect(marks(desk.mark(both))).toEqual([true, false]);
});
