// What a dispatch sends next, and that every delivery gets one outcome, whatever is answered when.

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  giveBack,
  type Item,
  leasedItems,
  planOf,
  reported,
  settleParcel,
  skipDone,
  takeParcel,
  type WebhookAnswer,
} from "../../src/push/dispatch-plan";
import { packRecords } from "../../src/record-batch";

const item = (offset: number, orderingKey?: string): Item => ({
  offset,
  attempt: 1,
  message: {
    id: `m${offset}`,
    publishedAt: 0,
    contentType: "text/plain",
    body: new Uint8Array(),
    ...(orderingKey !== undefined && { orderingKey }),
  },
});
const offsets = (items: readonly Item[]) => items.map(({ offset }) => offset);
const ok: WebhookAnswer = { delivered: true, status: 200, at: 1, latencyMs: 2, failures: new Map() };
const failed: WebhookAnswer = { delivered: false, note: { at: 1, status: 500 }, gone: false };
const behind = { result: "unsent", delayMs: 0, reason: "behind a failed delivery of its ordering key" };

describe("the next parcel", () => {
  it("is the first message whose lane is free", () => {
    const first = takeParcel(planOf([item(1, "a"), item(2, "a"), item(3, "b"), item(4)]), 1);
    expect(offsets(first.parcel)).toEqual([1]);
    const second = takeParcel(first.plan, 1);
    expect(offsets(second.parcel)).toEqual([3]);
    const third = takeParcel(second.plan, 1);
    expect(offsets(third.parcel)).toEqual([4]);
    expect(takeParcel(third.plan, 1).parcel).toEqual([]);
  });

  it("holds a run of one lane in order, beside others", () => {
    const { parcel, plan } = takeParcel(planOf([item(1, "a"), item(2), item(3, "a"), item(4, "b")]), 3);
    expect(offsets(parcel)).toEqual([1, 2, 3]);
    expect(offsets(takeParcel(plan, 3).parcel)).toEqual([4]);
  });

  it("frees a lane only when its parcel has ended", () => {
    const first = takeParcel(planOf([item(1, "a"), item(2, "a")]), 1);
    expect(takeParcel(first.plan, 1).parcel).toEqual([]);
    const plan = settleParcel(first.plan, first.parcel, ok);
    expect(offsets(takeParcel(plan, 1).parcel)).toEqual([2]);
  });
});

describe("what is not done, in its lane", () => {
  const lane = [item(1, "a"), item(2, "a"), item(3, "b")];
  const handOver = { leaseMs: 5_000, claims: new Map([[1, { claim: "0.1.0.7", fence: 7 }]]) };

  it("holds up the rest when its receiver has taken it on", () => {
    const { parcel, plan } = takeParcel(planOf(lane), 1);
    const settled = settleParcel(plan, parcel, { ...ok, handOver });
    expect(settled.outcomes).toMatchObject([
      { offset: 1, result: "handed-over", fence: 7, leaseMs: 5_000 },
      { offset: 2, result: "unsent", delayMs: 0 },
    ]);
    expect(offsets(settled.pending)).toEqual([3]);
  });

  it("holds up nothing under at-most-once: it does not come again", () => {
    const { parcel, plan } = takeParcel(planOf(lane, { holdsLanes: false }), 1);
    const settled = settleParcel(plan, parcel, failed);
    expect(settled.outcomes).toMatchObject([{ offset: 1, result: "failed" }]);
    expect(offsets(takeParcel(settled, 1).parcel)).toEqual([2]);
  });

  it("fails no other of its batch under at-most-once", () => {
    const { parcel, plan } = takeParcel(planOf(lane, { holdsLanes: false }), 3);
    const settled = settleParcel(plan, parcel, { ...ok, failures: new Map([["m1", "busy"]]) });
    expect(settled.outcomes.map(({ offset, result }) => [offset, result])).toEqual([
      [1, "failed"],
      [2, "delivered"],
      [3, "delivered"],
    ]);
  });
});

describe("the end of a parcel", () => {
  it("gives back the rest of a lane behind a failure, and nothing of other lanes", () => {
    const { parcel, plan } = takeParcel(planOf([item(1, "a"), item(2, "a"), item(3, "b"), item(4)]), 1);
    const after = settleParcel(plan, parcel, failed);
    expect(after.outcomes).toEqual([
      { offset: 1, result: "failed", note: { at: 1, status: 500 } },
      { offset: 2, ...behind },
    ]);
    expect(offsets(after.pending)).toEqual([3, 4]);
  });

  it("counts one attempt for each lane of a failed batch, and for each message without a key", () => {
    const { parcel, plan } = takeParcel(planOf([item(1, "a"), item(2), item(3, "a"), item(4)]), 4);
    expect(settleParcel(plan, parcel, failed).outcomes.map(({ offset, result }) => [offset, result])).toEqual(
      [
        [1, "failed"],
        [2, "failed"],
        [3, "unsent"],
        [4, "failed"],
      ],
    );
  });

  it("takes a batch's own word for what failed, but lets nothing overtake it in its lane", () => {
    const { parcel, plan } = takeParcel(planOf([item(1, "a"), item(2, "a"), item(3), item(4, "a")]), 3);
    const answer = { ...ok, failures: new Map([["m1", "no stock"]]) };
    expect(settleParcel(plan, parcel, answer).outcomes).toEqual([
      { offset: 1, result: "failed", note: { at: 1, status: 200, latencyMs: 2, error: "no stock" } },
      { offset: 2, ...behind },
      { offset: 3, result: "delivered", status: 200 },
      { offset: 4, ...behind },
    ]);
  });

  it("passes on how long the endpoint asks to wait", () => {
    const { parcel, plan } = takeParcel(planOf([item(1)]), 1);
    const { outcomes } = settleParcel(plan, parcel, { ...failed, retryAfterMs: 9_000 });
    expect(outcomes).toMatchObject([{ result: "failed", retryAfterMs: 9_000 }]);
  });
});

describe("what is not sent", () => {
  it("takes its lane's followers with it", () => {
    const a = item(1, "a");
    const plan = giveBack(planOf([a, item(2, "a"), item(3)]), [a], 700, "because");
    expect(plan.outcomes).toEqual([
      { offset: 1, result: "unsent", delayMs: 700, reason: "because" },
      { offset: 2, ...behind },
    ]);
    expect(offsets(plan.pending)).toEqual([3]);
  });

  it("is delivered when an earlier dispatch has done it, and its lane goes on", () => {
    const a = item(1, "a");
    const plan = skipDone(planOf([a, item(2, "a")]), a);
    expect(plan.outcomes).toEqual([{ offset: 1, result: "delivered" }]);
    expect(offsets(takeParcel(plan, 1).parcel)).toEqual([2]);
  });

  it("is reported once", () => {
    const plan = giveBack(planOf([item(1), item(2)]), [item(1)], 0, "x");
    expect(reported(plan, 1).outcomes).toEqual([]);
  });
});

describe("a lease", () => {
  it("pairs its deliveries with their records in order", () => {
    const records = packRecords([item(7).message, item(9).message]);
    const deliveries = [
      { offset: 7, attempt: 1 },
      { offset: 9, attempt: 4 },
    ];
    const items = leasedItems({ leaseId: "l", deadlineAt: 0, deliveries, records });
    expect(items.map(({ offset, attempt, message }) => [offset, attempt, message.id])).toEqual([
      [7, 1, "m7"],
      [9, 4, "m9"],
    ]);
  });

  it("that lacks a record is a fault", () => {
    const lease = { leaseId: "l", deadlineAt: 0, deliveries: [{ offset: 7, attempt: 1 }] };
    expect(() => leasedItems({ ...lease, records: new Uint8Array() })).toThrow("offset 7");
  });
});

describe("whatever the endpoint answers, in whatever order requests end", () => {
  it("every delivery gets one outcome, and each lane a run delivered, then one failure, then the rest given back", () => {
    const key = fc.option(fc.constantFrom("a", "b", "c"), { nil: undefined });
    fc.assert(
      fc.property(
        fc.array(key, { maxLength: 30 }),
        fc.integer({ min: 1, max: 4 }),
        fc.array(fc.record({ pick: fc.nat(), fails: fc.boolean() }), { minLength: 40, maxLength: 40 }),
        (keys, max, steps) => {
          const items = keys.map((orderingKey, index) => item(index, orderingKey));
          let plan = planOf(items);
          const flying: (readonly Item[])[] = [];
          for (const { pick, fails } of steps) {
            while (flying.length < 3) {
              const taken = takeParcel(plan, max);
              if (taken.parcel.length === 0) break;
              plan = taken.plan;
              flying.push(taken.parcel);
            }
            const lanes = flying.map(
              (parcel) => new Set(parcel.flatMap(({ message }) => message.orderingKey ?? [])),
            );
            const busy = lanes.flatMap((lane) => [...lane]);
            expect(new Set(busy).size).toBe(busy.length);
            const [ended] = flying.splice(pick % (flying.length || 1), 1);
            if (ended) plan = settleParcel(plan, ended, fails ? failed : ok);
          }
          expect(plan.pending).toEqual([]);
          expect(plan.outcomes.map(({ offset }) => offset).sort((x, y) => x - y)).toEqual(offsets(items));
          const byOffset = new Map(plan.outcomes.map((outcome) => [outcome.offset, outcome.result]));
          for (const lane of ["a", "b", "c"]) {
            const results = items
              .filter(({ message }) => message.orderingKey === lane)
              .map(({ offset }) => byOffset.get(offset)?.charAt(0));
            expect(results.join("")).toMatch(/^d*(fu*)?$/);
          }
        },
      ),
      { numRuns: 500 },
    );
  });
});
