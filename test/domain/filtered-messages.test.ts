// The real objects under Node: messages are published, pulled, acked and given back while filters change and the
// subscription crashes, in any order. Nothing is lost, nothing left out comes, and everything can be told.

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { DispatchCalls } from "../../src/dispatch-calls";
import { Candidate } from "../../src/filter/candidate";
import { compileFilter } from "../../src/filter/matcher";
import type { Filter } from "../../src/filter-form";
import type { Message } from "../../src/message";
import { objectName } from "../../src/object-name";
import { packRecords, unpackRecords } from "../../src/record-batch";
import {
  defaultSubscriptionSettings,
  defaultTopicSettings,
  type SubscriptionSettings,
} from "../../src/settings";
import { nodeObjects } from "../support/node-objects";
import { value } from "../support/result";

const NO_DISPATCH: DispatchCalls = { deliver: () => Promise.reject(new Error("nothing is pushed here")) };
const PUSH: Partial<SubscriptionSettings> = {
  type: "push",
  push: {
    url: "http://x",
    headers: {},
    timeoutMs: 1_000,
    batchMaxMessages: 1,
    batchMaxWaitMs: 0,
    secrets: [],
  },
};
const SUBJECTS = ["a", "b", "a.b"];
const FILTERS: readonly (Filter | undefined)[] = [
  undefined,
  { subject: ["a"] },
  { subject: ["#.b"] },
  { body: { n: [{ numeric: ["<", 3] }] } },
];

type Step =
  | { do: "publish"; messages: readonly { subject: string; key: string | undefined; n: number }[] }
  | { do: "pull"; max: number }
  | { do: "ack" | "nack" | "crash" | "stats" }
  | { do: "filter"; to: number };

const published = fc.record({
  subject: fc.constantFrom(...SUBJECTS),
  key: fc.constantFrom(undefined, "k", "l"),
  n: fc.nat(5),
});
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant("publish" as const),
      messages: fc.array(published, { minLength: 1, maxLength: 6 }),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({ do: fc.constant("pull" as const), max: fc.integer({ min: 1, max: 5 }) }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constantFrom("ack" as const, "nack" as const, "crash" as const, "stats" as const),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("filter" as const), to: fc.nat(FILTERS.length - 1) }) },
);

function messageOf(id: string, subject: string, body: string): Message {
  return { id, publishedAt: 1, contentType: "text/plain", subject, body: new TextEncoder().encode(body) };
}

async function begin(more: Partial<SubscriptionSettings> = {}, dispatcher = NO_DISPATCH) {
  let [serial, version] = [0, 1];
  const runtime = { now: () => 1_000, random: () => 0.5, newId: () => `id-${++serial}` };
  const { topics, subscriptions, idle } = nodeObjects(runtime, dispatcher);
  const names = { topic: objectName("t", 0), subscription: objectName("s", 0) };
  const [topic, subscription] = [topics.getByName(names.topic), subscriptions.getByName(names.subscription)];
  const at = { topic: "orders", partition: 0, version };
  value(await topic.provision({ ...at, generation: "t", settings: defaultTopicSettings }));
  const { startOffset } = value(await topic.attach({ generation: "s", startAt: { at: "earliest" } }));
  const retry = { maxAttempts: 100, minDelayMs: 0, maxDelayMs: 0 };
  const settings = { ...defaultSubscriptionSettings, retry, ...more };
  const named = { ...at, topicGeneration: "t", subscription: "billing", generation: "s" };
  value(await subscription.provision({ ...named, startOffset, settings }));
  const log: Message[] = [];
  const open: { leaseId: string; offset: number }[] = [];
  const delivered: number[] = [];
  const filters = new Map<number, Filter | undefined>([[version, undefined]]);

  const pull = async (max: number) => {
    const leaseId = runtime.newId();
    const lease = value(await subscription.pull({ leaseId, max, maxBytes: 1e6, waitMs: 0 }));
    for (const [i, { id }] of unpackRecords(lease.records).entries()) {
      const offset = lease.deliveries[i]?.offset ?? -1;
      expect(log[offset]?.id).toBe(id);
      open.push({ leaseId, offset });
      delivered.push(offset);
    }
    return lease.deliveries.length;
  };
  const settle = async (verb: "ack" | "nack") => {
    const refs = open.splice(0);
    const statuses = value(await subscription[verb]({ refs }));
    expect(new Set(statuses).size).toBeLessThanOrEqual(1);
  };
  const append = async (made: readonly Message[]) => {
    log.push(...made);
    const of = { generation: "t", partition: 0, count: made.length, clientIds: [] };
    const batch = { ...of, batchId: runtime.newId(), records: packRecords(made) };
    value(await topic.append({ batches: [batch] }));
  };
  const steps = {
    publish: async ({ messages }: Extract<Step, { do: "publish" }>) => {
      const made = messages.map(({ subject, key, n }): Message => {
        const body = new TextEncoder().encode(JSON.stringify({ n }));
        const common = {
          id: runtime.newId(),
          publishedAt: 1,
          contentType: "application/json",
          subject,
          body,
        };
        return key === undefined ? common : { ...common, orderingKey: key };
      });
      await append(made);
    },
    pull: ({ max }: Extract<Step, { do: "pull" }>) => pull(max),
    ack: () => settle("ack"),
    nack: () => settle("nack"),
    crash: async () => {
      await idle();
      subscriptions.crash(names.subscription);
    },
    stats: async () => {
      const { startOffset, nextOffset, ...terms } = value(await subscription.stats());
      const { settled, filtered, leased, waiting } = terms;
      expect(settled + filtered + leased + waiting).toBe(nextOffset - startOffset);
    },
    filter: async ({ to }: Extract<Step, { do: "filter" }>) => {
      const filter = FILTERS[to];
      version += 1;
      filters.set(version, filter);
      value(await subscription.configure({ settings: filter ? { ...settings, filter } : settings, version }));
    },
  };
  return {
    ...{ steps, subscription, log, delivered, filters, pull, idle },
    append: (subjects: readonly string[], body: string) =>
      append(subjects.map((subject) => messageOf(runtime.newId(), subject, body))),
    tick: () => subscriptions.tick(names.subscription, runtime.now()),
  };
}

test("whatever happens, each message is settled or was left out by the filter that held, which is told", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 40, size: "max" }), async (plan) => {
      const { steps, subscription, log, delivered, filters, pull, idle } = await begin();
      for (const each of plan) await (steps[each.do] as (step: Step) => Promise<unknown>)(each);
      await steps.ack();
      while ((await pull(10)) > 0) await steps.ack();
      await steps.stats();
      const audit = value(await subscription.audit({ from: 0 }));
      expect(audit).toMatchObject({ holds: true, nextOffset: log.length, auditedTo: log.length });
      let newest = 0;
      for (const [offset, message] of log.entries()) {
        const { where } = value(await subscription.whereabouts({ offset }));
        if (where.state !== "filtered") {
          expect(where).toMatchObject({ state: "settled", how: "acked" });
          expect(delivered).toContain(offset);
          continue;
        }
        expect(delivered).not.toContain(offset);
        const filter = filters.get(where.version);
        expect(filter && compileFilter(filter).matches(new Candidate(message))).toBe(false);
        expect(where.version).toBeGreaterThanOrEqual(newest);
        newest = where.version;
      }
      expect(inOrder(log, delivered)).toBe(true);
      await idle();
    }),
    { numRuns: 200 },
  );
}, 60_000);

describe("a run of filtered messages that is longer than one look goes", { timeout: 60_000 }, () => {
  const HALF_MB = "x".repeat(500_000);
  /** Some 30 MB that no filter lets through, and one message that it does. */
  const long = async (settings: Partial<SubscriptionSettings>, dispatcher: DispatchCalls) => {
    const world = await begin({ ...settings, filter: { subject: ["yes"] } }, dispatcher);
    for (let i = 0; i < 30; i++) await world.append(["no", "no"], HALF_MB);
    await world.append(["yes"], "x");
    return world;
  };

  test("a pull that does not wait comes to its end, and the next goes on from there", async () => {
    const { subscription, pull } = await long({}, NO_DISPATCH);
    expect(await pull(10)).toBe(0);
    const { filtered, unread } = value(await subscription.stats());
    expect([filtered > 0, unread > 0]).toEqual([true, true]);
    let pulls = 1;
    while ((await pull(10)) === 0) pulls += 1;
    expect(pulls).toBeLessThan(5);
  });

  test("what is pushed has the alarm go on at once, without waiting for news", async () => {
    const sent: number[] = [];
    const deliver: DispatchCalls["deliver"] = async ({ lease }) => {
      sent.push(...lease.deliveries.map(({ offset }) => offset));
    };
    const { idle, tick } = await long(PUSH, { deliver });
    await idle();
    for (let rounds = 0; sent.length === 0; rounds++) {
      expect([rounds < 5, await tick()]).toEqual([true, true]);
      await idle();
    }
    expect(sent).toEqual([60]);
  });
});

/** Whether the first deliveries of each key came in the order of their offsets. */
function inOrder(log: readonly Message[], delivered: readonly number[]): boolean {
  return ["k", "l"].every((key) => {
    const firsts = [...new Set(delivered)].filter((offset) => log[offset]?.orderingKey === key);
    return firsts.every((offset, i) => i === 0 || (firsts[i - 1] ?? 0) < offset);
  });
}
