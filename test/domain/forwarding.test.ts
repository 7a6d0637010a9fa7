// What of a lease goes to which partition of another topic, under which names, and what is not taken on; and how a loop among
// topics is found.

import { describe, expect, test } from "vitest";
import { mayGoOn, walkFrom, walkOn } from "../../src/catalog/forward-walk";
import { limits } from "../../src/limits";
import type { Message } from "../../src/message";
import type { Item } from "../../src/push/dispatch-plan";
import {
  batchOf,
  batchSource,
  forwarded,
  isKnownById,
  linesOf,
  type Parcel,
  unfit,
} from "../../src/push/forwarding";
import { partitionOf, unpackRecords } from "../../src/record-batch";
import { validatorOf } from "../../src/schema/schema-validator";

const BROKER_ID = "0193a5b0-6f3e-7c21-9a42-0123456789ab";
const utf8 = new TextEncoder();
const message = (more: Partial<Message> = {}): Message => ({
  ...{ id: BROKER_ID, publishedAt: 5, contentType: "text/plain", body: utf8.encode("{}") },
  ...more,
});
const item = (offset: number, more: Partial<Message> = {}): Item => ({
  offset,
  attempt: 1,
  message: message(more),
});
const target = { generation: "g", partitions: 64 };
const how = { lease: "lease-1", guarantee: "at-least-once" } as const;
const placesOf = (lines: readonly (readonly Parcel[])[]) =>
  lines.flatMap((line) => line.map(({ partition, items }) => [partition, items.map(({ offset }) => offset)]));

describe("a message that is forwarded", () => {
  test("keeps all that its publisher said, when that was, and its expiry, and counts a hop", () => {
    const whole = message({
      ...{ id: "a", orderingKey: "k", subject: "s", attributes: { a: "b" }, headers: { h: "v" } },
      ...{ traceparent: "00-1-2-01", eventShape: { untyped: true }, expiresAt: 9 },
    });
    expect(forwarded(whole)).toEqual({ ...whole, hops: 1 });
    expect(forwarded(forwarded(whole)).hops).toBe(2);
  });

  test("that was delayed is not delayed again", () => {
    expect("deliverAt" in forwarded(message({ deliverAt: 7 }))).toBe(false);
  });

  test("is known by its id when its publisher chose that, and under effectively-once always", () => {
    expect(isKnownById(message({ id: "order-5" }), "at-least-once")).toBe(true);
    expect(isKnownById(message(), "at-least-once")).toBe(false);
    expect(isKnownById(message(), "effectively-once")).toBe(true);
  });

  test("goes by its ordering key, else by an id that is known again, else with its lease", () => {
    const lines = linesOf(
      [item(1, { id: "x" }), item(2, { orderingKey: "k" }), item(3), item(4)],
      target,
      how,
    );
    expect(placesOf(lines)).toEqual([
      [partitionOf("x", 64), [1]],
      [partitionOf("k", 64), [2]],
      [partitionOf("lease-1", 64), [3, 4]],
    ]);
  });

  test("shares a row with others as long as there is room, in order", () => {
    const body = new Uint8Array(600_000);
    const lines = linesOf(
      [1, 2, 3, 4, 5].map((offset) => item(offset, { body })),
      target,
      how,
    );
    expect(placesOf(lines).map(([, offsets]) => offsets)).toEqual([[1, 2], [3, 4], [5]]);
  });

  test("is in a batch whose source names exactly what is in it", () => {
    const from = { generation: "s", partition: 0, replay: 0 };
    const parcel = (...offsets: number[]): Parcel => ({ partition: 1, items: offsets.map((at) => item(at)) });
    const sources = [
      batchSource(from, target, parcel(1, 2, 3)),
      batchSource(from, target, parcel(1, 3)),
      batchSource(from, target, parcel(1, 2)),
      batchSource({ ...from, replay: 1 }, target, parcel(1, 2)),
      batchSource({ ...from, partition: 1 }, target, parcel(1, 2)),
      batchSource(from, { ...target, generation: "h" }, parcel(1, 2)),
      batchSource(from, { ...target, partitions: 128 }, parcel(1, 2)),
      batchSource(from, target, { ...parcel(1, 2), partition: 2 }),
    ];
    expect(new Set(sources).size).toBe(sources.length);
    expect(batchSource(from, target, parcel(1, 2))).toBe(sources[2]);
  });

  test("has a fingerprint in its batch when the target is to know its id", () => {
    const parcel = { partition: 3, items: [item(1), item(2, { id: "x" })] };
    const batch = batchOf("b", target, parcel, new Map([[1, "print"]]));
    expect(batch).toMatchObject({ batchId: "b", generation: "g", partition: 3, partitions: 64, count: 2 });
    expect(batch.clientIds).toEqual([{ index: 1, id: "x", fingerprint: "print" }]);
    expect(unpackRecords(batch.records).map(({ id, hops }) => [id, hops])).toEqual([
      [BROKER_ID, 1],
      ["x", 1],
    ]);
  });
});

describe("a message that is not taken on", () => {
  const work = () => ({ left: limits.schemaSteps });

  test("has come as far as a message may", () => {
    expect(unfit(message({ hops: limits.forwardHops - 1 }), undefined, work())).toBeUndefined();
    expect(unfit(message({ hops: limits.forwardHops }), undefined, work())).toMatchObject({
      ...{ reason: "loop", status: 508, detail: expect.stringContaining("8 times") },
    });
  });

  test("has a body that the target's schema refuses, or that is no JSON", () => {
    const validator = validatorOf("forwarding.test", { type: "object", required: ["a"] });
    const of = (body: string) => unfit(message({ body: utf8.encode(body) }), validator, work())?.detail;
    expect(of('{"a":1}')).toBeUndefined();
    expect(of("{}")).toMatch(/schema refuses it: data: required/);
    expect(of("no json")).toMatch(/the body is not JSON/);
    expect(unfit(message({ body: Uint8Array.of(0xff) }), validator, work())).toMatchObject({
      reason: "rejected",
    });
  });
});

describe("the search for a loop", () => {
  /** Whether `from` leads to `to`, by the forwards of `map`. */
  const leads = (map: Readonly<Record<string, readonly string[]>>, from: string, to: string) => {
    let walk = walkFrom(from);
    let levels = 0;
    while (mayGoOn(walk) && !walk.met.has(to)) {
      walk = walkOn(
        walk,
        walk.edge.flatMap((topic) => map[topic] ?? []),
      );
      levels += 1;
    }
    return [walk.met.has(to), levels, walk.met.size] as const;
  };

  test("finds a way back along forwards, however they fan out", () => {
    const map = { b: ["c", "d"], c: ["e"], d: ["a"] };
    expect(leads(map, "b", "a")[0]).toBe(true);
    expect(leads({ b: ["c"], c: ["d"] }, "b", "a")[0]).toBe(false);
  });

  test("ends in a loop that it is no part of", () => {
    expect(leads({ b: ["c"], c: ["b"] }, "b", "a")).toEqual([false, 2, 2]);
  });

  test("looks at a bounded number of topics", () => {
    const wide = Array.from({ length: 1_000 }, (_, i) => `t${i}`);
    const [found, , met] = leads({ b: wide }, "b", "a");
    expect([found, met]).toEqual([false, limits.forwardWalkTopics]);
  });
});
