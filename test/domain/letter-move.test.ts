// A dead letter's message on its way to another topic: its batch id, its partition, and what a topic's answer means.

import { describe, expect, test } from "vitest";
import type { DeadLetter } from "../../src/dead-letter-calls";
import { bindLetters, callsOf, type Moving, refusalOf, unmovable } from "../../src/http/letter-move";
import { limits } from "../../src/limits";
import { partitionOf, unpackRecords } from "../../src/record-batch";

const TARGET = { generation: "target", partitions: 4 };
const ORIGIN = { generation: "reader", partition: 2 };

function moving(
  offset: number,
  more: { orderingKey?: string; bytes?: number; redrives?: number } = {},
): Moving {
  const { orderingKey, bytes = 3, redrives = 0 } = more;
  const key = orderingKey === undefined ? {} : { orderingKey };
  const letter: DeadLetter = {
    ...{ epoch: 1, offset, diedAt: 5, reason: "rejected", attempts: 1, redrives, history: [] },
    ...key,
  };
  const body = new Uint8Array(bytes);
  const message = { id: `m${offset}`, publishedAt: 1, contentType: "text/plain", body, ...key };
  return { letter, message, fingerprint: `f${offset}` };
}

describe("the record batch of a letter", () => {
  test("has the same id however often it is made, and another once the letter went round", () => {
    const idOf = (letter: Moving) => bindLetters([letter], TARGET, ORIGIN).map(({ batch }) => batch.batchId);
    expect(idOf(moving(3))).toEqual(idOf(moving(3)));
    const others = [moving(3), moving(4), moving(3, { redrives: 1 })].flatMap(idOf);
    expect(new Set(others).size).toBe(3);
    const elsewhere = bindLetters([moving(3)], TARGET, { ...ORIGIN, partition: 1 });
    expect(others).not.toContain(elsewhere[0]?.batch.batchId);
  });

  test("holds the message as it was, and its id counts as its publisher's", () => {
    const [bound] = bindLetters([moving(3)], TARGET, ORIGIN);
    if (!bound) throw new Error("nothing bound");
    expect(unpackRecords(bound.batch.records)).toEqual([moving(3).message]);
    expect(bound.batch).toMatchObject({ count: 1, clientIds: [{ index: 0, id: "m3", fingerprint: "f3" }] });
  });

  test("is not delayed a second time", () => {
    const { message, ...late } = moving(3);
    const [bound] = bindLetters([{ ...late, message: { ...message, deliverAt: 9 } }], TARGET, ORIGIN);
    expect(bound?.batch).not.toHaveProperty("scheduled");
    expect(unpackRecords(bound?.batch.records ?? new Uint8Array())).toEqual([message]);
  });

  test("goes where a publish of it would: by the key, else by the id", () => {
    const bounds = bindLetters([moving(1), moving(2, { orderingKey: "k" })], TARGET, ORIGIN);
    expect(bounds.map(({ batch }) => batch.partition)).toEqual([partitionOf("m1", 4), partitionOf("k", 4)]);
  });
});

describe("append calls", () => {
  test("are for one partition, in order, and fit a row", () => {
    const half = Math.floor(limits.rowBytes * 0.4);
    const letters = [1, 2, 3, 4, 5].map((offset) => moving(offset, { orderingKey: "k", bytes: half }));
    const other = ["a", "b", "c", "d"].find((key) => partitionOf(key, 4) !== partitionOf("k", 4)) ?? "";
    const calls = callsOf(bindLetters([...letters, moving(9, { orderingKey: other })], TARGET, ORIGIN));
    const kept = calls.map((call) => call.map(({ letter }) => letter.offset));
    expect(kept).toContainEqual([9]);
    expect(kept.filter(([first]) => first !== 9)).toEqual([[1, 2], [3, 4], [5]]);
    for (const call of calls) {
      expect(new Set(call.map(({ batch }) => batch.partition)).size).toBe(1);
      expect(call.reduce((sum, { batch }) => sum + batch.records.byteLength, 0)).toBeLessThanOrEqual(
        limits.rowBytes,
      );
    }
  });
});

describe("what cannot be moved", () => {
  test("has no message any more, or one that nobody would be handed", () => {
    const { message } = moving(1);
    expect(unmovable(undefined, 5)).toMatchObject({ code: "message-not-found" });
    expect(unmovable({ ...message, expiresAt: 5 }, 5)).toMatchObject({ code: "conflict" });
    expect(unmovable({ ...message, expiresAt: 6 }, 5)).toBeUndefined();
    expect(unmovable(message, 5)).toBeUndefined();
  });
});

describe("the target's answer", () => {
  const answer = { batchId: "b", firstOffset: 7, count: 1 };

  test("without an exception: it has the message", () => {
    expect(refusalOf({ ...answer, exceptions: [] }, "t")).toBeUndefined();
  });

  test("with an earlier message of this id: nobody would be handed it, so the letter stays", () => {
    const duplicate = { ...answer, exceptions: [{ index: 0, duplicateOf: 3 }] };
    expect(refusalOf(duplicate, "t")).toMatchObject({ code: "conflict", field: "toTopic" });
  });

  test("with a refusal: it is the letter's", () => {
    const error = { code: "id-reused" as const, detail: "other content" };
    expect(refusalOf({ ...answer, exceptions: [{ index: 0, error }] }, "t")).toBe(error);
  });

  test("that it was raised: the letter is to be asked for again", () => {
    expect(refusalOf({ ...answer, exceptions: [], movedTo: 4 }, "t")).toMatchObject({ code: "unavailable" });
  });

  test("that leaves a batch out is a fault", () => {
    expect(() => refusalOf(undefined, "t")).toThrow("did not answer");
  });
});
