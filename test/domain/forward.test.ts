// One forward from lease to report, with a target topic that answers as the test says.

import { expect, test } from "vitest";
import type { TopicEntry } from "../../src/catalog/catalog-entry";
import type { DispatchCall } from "../../src/dispatch-calls";
import { ok, type Result, refuse } from "../../src/errors";
import type { Message } from "../../src/message";
import { type Forwarding, forward } from "../../src/push/forward";
import { packRecords, type RecordBatch, unpackRecords } from "../../src/record-batch";
import type { ReportCall } from "../../src/report-calls";
import { defaultSubscriptionSettings, defaultTopicSettings } from "../../src/settings";
import type { BatchAnswer } from "../../src/topic-calls";

const NOW = 1_000_000;
const utf8 = new TextEncoder();
type Answer = (batch: RecordBatch) => Result<BatchAnswer> | Error;

const stored = ({ batchId, count }: RecordBatch): BatchAnswer => ({
  ...{ batchId, firstOffset: 0, count, exceptions: [] },
});
const topic = (partitions = 1): TopicEntry => ({
  ...{ name: "to", kind: "topic", generation: "target", partitions, version: 1, state: "active" },
  ...{ settings: defaultTopicSettings, createdAt: 0, updatedAt: 0 },
});

function callOf(messages: readonly Partial<Message>[]): DispatchCall {
  const whole = messages.map((message, index) => ({
    ...{ id: `m${index}`, publishedAt: 1, contentType: "text/plain", body: utf8.encode("x") },
    ...message,
  }));
  return {
    ...{ topic: "from", subscription: "s", generation: "sub", partition: 0, replay: 0, version: 3 },
    settings: {
      ...defaultSubscriptionSettings,
      type: "forward",
      forward: { topic: "to", generation: "target" },
    },
    lease: {
      ...{ leaseId: "lease", deadlineAt: NOW + 60_000 },
      deliveries: whole.map((_, offset) => ({ offset, attempt: 1 })),
      records: packRecords(whole),
    },
  };
}

async function run(
  call: DispatchCall,
  answer: Answer = (batch) => ok(stored(batch)),
  target: Result<TopicEntry> = ok(topic()),
) {
  const appended: RecordBatch[] = [];
  const reports: ReportCall[] = [];
  let gone = 0;
  const deps: Forwarding = {
    runtime: { now: () => NOW, random: () => 0.5, newId: () => "id" },
    sleep: (ms) => (ms > 1_000 ? new Promise(() => undefined) : Promise.resolve()),
    report: async (report) => {
      reports.push(report);
      return ok(null);
    },
    log: () => undefined,
    begin: async () => true,
    target: async () => target,
    append: async (batch) => {
      appended.push(batch);
      const given = answer(batch);
      if (given instanceof Error) throw given;
      return given;
    },
    digest: async (bytes) =>
      new Uint8Array(await crypto.subtle.digest("SHA-256", bytes as Uint8Array<ArrayBuffer>)),
    targetGone: () => {
      gone += 1;
    },
  };
  await forward(call, deps);
  const outcomes = reports.flatMap((report) => report.outcomes).sort((a, b) => a.offset - b.offset);
  const ids = appended.map(({ records }) => unpackRecords(records).map(({ id }) => id));
  return {
    appended,
    ids,
    reports,
    outcomes,
    results: outcomes.map(({ result }) => result),
    gone: () => gone,
  };
}

test("what the target has stored is settled", async () => {
  const { ids, outcomes } = await run(callOf([{}, {}]));
  expect(ids.flat()).toEqual(["m0", "m1"]);
  expect(outcomes).toMatchObject([
    { offset: 0, result: "delivered", status: 201 },
    { offset: 1, result: "delivered", status: 201 },
  ]);
});

test("a dispatch that arrives twice appends under the ids of the first", async () => {
  const call = callOf([{ orderingKey: "k" }, {}, { id: "x" }]);
  const batches = async () => (await run(call)).appended.map(({ batchId }) => batchId);
  expect(await batches()).toEqual(await batches());
});

test("a fault on the way is tried again as the same batch", async () => {
  let faults = 2;
  const { appended, results } = await run(callOf([{}]), (batch) =>
    faults-- > 0 ? new Error("lost") : ok(stored(batch)),
  );
  expect(new Set(appended.map(({ batchId }) => batchId)).size).toBe(1);
  expect([appended.length, results]).toEqual([3, ["delivered"]]);
});

test("a fault that stays is an attempt that failed, of the first of a key only", async () => {
  const { outcomes } = await run(
    callOf([{ orderingKey: "k" }, { orderingKey: "k" }, { id: "m0" }]),
    () => new Error("lost"),
  );
  expect(outcomes.map(({ result }) => result)).toEqual(["failed", "unsent", "failed"]);
  expect(outcomes[0]).not.toHaveProperty("deadLetter");
});

test("a target that is full costs no attempt, and is left alone for as long as it asks", async () => {
  const full = refuse("topic-full", "It is full.", { retryAfterMs: 10_000 });
  const { outcomes, reports, gone } = await run(callOf([{}, {}]), () => full);
  expect(outcomes).toMatchObject([
    { result: "unsent", delayMs: 10_000 },
    { result: "unsent", delayMs: 10_000 },
  ]);
  expect(reports.at(-1)?.signs).toMatchObject({ ailed: 1, pausedUntil: NOW + 10_000 });
  expect(gone()).toBe(0);
});

test("one partition of the target that is full holds up what is bound for it, in order, and nothing else", async () => {
  const body = new Uint8Array(900_000);
  const keyed = ["a", "b", "a", "b"].map((orderingKey) => ({ orderingKey, body }));
  const seen: string[] = [];
  const { results } = await run(
    callOf(keyed),
    (batch) => {
      const [first] = unpackRecords(batch.records);
      seen.push(first?.id ?? "");
      return first?.orderingKey === "a" ? refuse("topic-full", "Full.") : ok(stored(batch));
    },
    ok(topic(64)),
  );
  expect(results).toEqual(["unsent", "delivered", "unsent", "delivered"]);
  expect(seen.sort()).toEqual(["m0", "m1", "m3"]);
});

test("while the catalog is away nothing is sent, and nothing is lost", async () => {
  const { ids, results, gone } = await run(callOf([{}]), undefined, refuse("unavailable", "Away."));
  expect([ids, results, gone()]).toEqual([[], ["unsent"], 0]);
});

test("a target that is gone, whoever finds out, stops the subscription and gives everything back", async () => {
  const away = refuse("gone", "Deleted.");
  for (const found of [await run(callOf([{}]), undefined, away), await run(callOf([{}]), () => away)]) {
    expect([found.results, found.gone()]).toEqual([["unsent"], 1]);
    expect(found.reports.at(-1)).toMatchObject({ endpointGone: true, version: 3 });
  }
});

test("a message past its hops is dead for that, and what is behind it in its key goes back", async () => {
  const { ids, outcomes } = await run(
    callOf([{ orderingKey: "k", hops: 8 }, { orderingKey: "k" }, { hops: 7 }]),
  );
  expect(outcomes).toMatchObject([
    { offset: 0, result: "failed", deadLetter: "loop" },
    { offset: 1, result: "unsent" },
    { offset: 2, result: "delivered" },
  ]);
  expect(ids.flat()).toEqual(["m2"]);
});

test("a duplicate at the target is settled, and an id that is taken there is dead at once", async () => {
  const { outcomes } = await run(callOf([{}, {}, {}]), (batch) => {
    const error = refuse("id-reused", "The id 'm1' was published before with other content.").error;
    return ok({
      ...stored(batch),
      exceptions: [
        { index: 0, duplicateOf: 5 },
        { index: 1, error },
      ],
    });
  });
  expect(outcomes).toMatchObject([
    { result: "delivered" },
    { result: "failed", deadLetter: "rejected", note: { error: expect.stringContaining("'m1'") } },
    { result: "delivered" },
  ]);
});

test("a partition that was raised meanwhile gets its messages in parts, each settled by its own answer", async () => {
  const { appended, results } = await run(
    callOf([{ id: "a" }, { id: "b" }, { id: "c" }, { id: "d" }]),
    (batch) => ok(batch.partitions === 1 ? { ...stored(batch), movedTo: 4 } : stored(batch)),
  );
  expect(results).toEqual(["delivered", "delivered", "delivered", "delivered"]);
  const parts = appended.slice(1);
  expect(parts.every(({ partitions }) => partitions === 4)).toBe(true);
  expect(parts.reduce((sum, { count }) => sum + count, 0)).toBe(4);
});
