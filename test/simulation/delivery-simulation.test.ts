// The real topic and subscription objects under a seeded simulation: publishes, pulls whose answers are lost,
// acks late and twice, nacks, deadlines, crashes, redrives. After every step the conservation law holds and the
// witness has no complaint; at the end every message is accounted for. A failure prints its seed.
import fc from "fast-check";
import { expect, test } from "vitest";
import type { Message } from "../../src/message";
import { objectName } from "../../src/object-name";
import { packRecords } from "../../src/record-batch";
import { defaultSubscriptionSettings, defaultTopicSettings } from "../../src/settings";
import type { LeaseRef, SettleStatus } from "../../src/subscription-calls";
import { nodeObjects } from "../support/node-objects";
import { value } from "../support/result";
import { Witness } from "./witness";

const KEYS = [undefined, undefined, "a", "b", "c"];
const SETTINGS = {
  ...defaultSubscriptionSettings,
  ackDeadlineMs: 10_000,
  maxInFlight: 40,
  retry: { maxAttempts: 3, minDelayMs: 100, maxDelayMs: 5_000 },
};

type Step = Readonly<
  | { do: "publish"; keys: number[]; twice: boolean }
  | { do: "pull"; max: number; lost: boolean; twice: boolean }
  | { do: "ack"; lease: number; from: number; count: number; twice: boolean }
  | { do: "nack"; lease: number; from: number; count: number; deadLetter: boolean }
  | { do: "extend"; lease: number; from: number; count: number }
  | { do: "advance"; ms: number }
  | { do: "crash"; which: "topic" | "subscription" }
  | { do: "redrive" }
  | { do: "purge" }
>;

const part = { lease: fc.nat(5), from: fc.nat(6), count: fc.integer({ min: 1, max: 8 }) };
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant("publish" as const),
      keys: fc.array(fc.nat(KEYS.length - 1), { minLength: 1, maxLength: 8 }),
      twice: fc.boolean(),
    }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant("pull" as const),
      max: fc.integer({ min: 1, max: 8 }),
      lost: fc.boolean(),
      twice: fc.boolean(),
    }),
  },
  { weight: 6, arbitrary: fc.record({ do: fc.constant("ack" as const), ...part, twice: fc.boolean() }) },
  {
    weight: 3,
    arbitrary: fc.record({ do: fc.constant("nack" as const), ...part, deadLetter: fc.boolean() }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("extend" as const), ...part }) },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant("advance" as const),
      ms: fc.constantFrom(50, 1_000, 11_000, 60_000),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant("crash" as const),
      which: fc.constantFrom("topic" as const, "subscription" as const),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("redrive" as const) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("purge" as const) }) },
);

/** One world: a topic, a pull subscription, a witness and a clock. */
class World {
  readonly witness = new Witness();
  steps = 0;
  private now = 1_000_000;
  private serial = 0;
  private chance = 0;
  private readonly leases: { leaseId: string; offsets: number[] }[] = [];
  private readonly objects = nodeObjects(
    {
      now: () => this.now,
      random: () => {
        this.chance = (this.chance + 0.381966) % 1;
        return this.chance;
      },
      newId: () => `id-${++this.serial}`,
    },
    { deliver: () => Promise.reject(new Error("nothing is pushed here")) },
  );
  private readonly name = objectName("g", 0);
  private readonly topic = this.objects.topics.getByName(this.name);
  private readonly subscription = this.objects.subscriptions.getByName(this.name);

  async start(): Promise<this> {
    value(
      await this.topic.provision({
        topic: "t",
        generation: "g",
        partition: 0,
        settings: defaultTopicSettings,
        version: 1,
      }),
    );
    const { startOffset } = value(await this.topic.attach({ generation: "g", startAt: { at: "latest" } }));
    const names = { topic: "t", topicGeneration: "g", subscription: "s", generation: "g", partition: 0 };
    value(await this.subscription.provision({ ...names, startOffset, settings: SETTINGS, version: 1 }));
    return this;
  }

  async take(step: Step): Promise<void> {
    this.steps += 1;
    if (step.do === "publish") await this.publish(step.keys, step.twice);
    else if (step.do === "pull") await this.pull(step.max, step.lost, step.twice);
    else if (step.do === "ack") await this.ack(this.pick(step), step.twice);
    else if (step.do === "nack") await this.nack(this.pick(step), step.deadLetter);
    else if (step.do === "extend") await this.extend(this.pick(step));
    else if (step.do === "advance") await this.advance(step.ms);
    else if (step.do === "redrive") await this.redrive();
    else if (step.do === "purge") await this.purge();
    else this.objects[step.which === "topic" ? "topics" : "subscriptions"].crash(this.name);
    await this.objects.idle();
    await this.checkConservation();
  }

  private async publish(keys: readonly number[], twice: boolean): Promise<void> {
    const messages: Message[] = keys.map((k) => {
      const orderingKey = KEYS[k];
      const message = {
        id: `m-${++this.serial}`,
        publishedAt: this.now,
        contentType: "t",
        body: new Uint8Array(9),
      };
      return orderingKey === undefined ? message : { ...message, orderingKey };
    });
    const batch = {
      batchId: `b-${++this.serial}`,
      generation: "g",
      partition: 0,
      count: messages.length,
      clientIds: [],
      records: packRecords(messages),
    };
    const [answer] = value(await this.topic.append({ batches: [batch] }));
    if (twice) expect(value(await this.topic.append({ batches: [batch] }))).toEqual([answer]);
    for (const [i, { orderingKey }] of messages.entries()) {
      this.witness.published((answer?.firstOffset ?? -1) + i, orderingKey);
    }
  }

  private async pull(max: number, lost: boolean, twice: boolean): Promise<number> {
    const call = { leaseId: `l-${++this.serial}`, max, maxBytes: 1_000_000, waitMs: 0 };
    const lease = value(await this.subscription.pull(call));
    this.witness.handedOut(lease, this.now);
    if (twice && lease.deliveries.length > 0)
      expect(value(await this.subscription.pull(call))).toEqual(lease);
    if (!lost && lease.deliveries.length > 0) {
      this.leases.unshift({ leaseId: lease.leaseId, offsets: lease.deliveries.map(({ offset }) => offset) });
    }
    return lease.deliveries.length;
  }

  /** Part of a recent lease: perhaps long ended, perhaps settled already. */
  private pick({ lease, from, count }: { lease: number; from: number; count: number }): LeaseRef[] {
    const picked = this.leases[lease];
    return (picked?.offsets.slice(from, from + count) ?? []).map((offset) => ({
      offset,
      leaseId: picked?.leaseId ?? "",
    }));
  }

  private async ack(refs: readonly LeaseRef[], twice: boolean): Promise<void> {
    const statuses = value(await this.subscription.ack({ refs }));
    for (const [i, { offset }] of refs.entries()) {
      this.witness.acked(offset, statuses[i] as SettleStatus, this.now);
    }
    if (twice) expect(value(await this.subscription.ack({ refs }))).toEqual(refs.map(() => "lease-lost"));
  }

  private async nack(refs: readonly LeaseRef[], deadLetter: boolean): Promise<void> {
    const statuses = value(await this.subscription.nack({ refs, deadLetter }));
    for (const [i, { offset, leaseId }] of refs.entries()) {
      this.witness.failed(offset, leaseId, statuses[i] as SettleStatus);
    }
  }

  private async extend(refs: readonly LeaseRef[]): Promise<void> {
    const statuses = value(await this.subscription.extend({ refs, ackDeadlineMs: 30_000 }));
    refs.forEach(({ offset }, i) => {
      if (statuses[i] === "extended") this.witness.extended(offset, this.now + 30_000);
    });
  }

  private async advance(ms: number): Promise<void> {
    this.now += ms;
    for (let ticks = 0; ticks < 100; ticks++) {
      const topic = await this.objects.topics.tick(this.name, this.now);
      const subscription = await this.objects.subscriptions.tick(this.name, this.now);
      await this.objects.idle();
      if (!topic && !subscription) break;
    }
    this.witness.deadlinesPassed(this.now);
    // Deadlines that passed may have spent the last attempt: whoever died is told by the list.
    for (const { offset } of await this.deadLetters()) this.witness.died(offset);
  }

  private async deadLetters() {
    return value(await this.subscription.deadLetters({ after: -1, limit: 1_000 }));
  }

  private async redrive(): Promise<void> {
    const dead = await this.deadLetters();
    expect(value(await this.subscription.redrive({ all: true, limit: 1_000 }))).toEqual({
      redriven: dead.length,
      superseded: 0,
    });
    for (const { offset } of dead) this.witness.redriven(offset);
  }

  private async purge(): Promise<void> {
    const [first] = await this.deadLetters();
    if (!first) return;
    expect(value(await this.subscription.purge({ offsets: [first.offset] }))).toEqual({ purged: 1 });
    this.witness.purged(first.offset);
  }

  private async checkConservation(): Promise<void> {
    const s = value(await this.subscription.stats());
    const sum = s.settled + s.filtered + s.expired + s.dead + s.purged + s.moved + s.leased + s.waiting;
    expect(s.nextOffset - s.startOffset + s.readmitted, "the conservation law").toBe(sum);
    expect(s.settled).toBe(this.witness.count("acked"));
    expect(s.purged).toBe(this.witness.count("purged"));
    expect(s.dead).toBe(this.witness.count("dead"));
    const { breach, auditedFrom, auditedTo } = value(await this.subscription.audit({ from: 0 }));
    expect([breach, auditedFrom, auditedTo], "the audit").toEqual([undefined, s.startOffset, s.nextOffset]);
  }

  /** Lets time pass and consumes until nothing is left: every message must come to its end. */
  async drain(): Promise<void> {
    for (
      let rounds = 0;
      rounds < 1_000 && this.witness.count("open") + this.witness.count("dead") > 0;
      rounds++
    ) {
      await this.redrive();
      await this.advance(60_000);
      await this.pull(100, false, false);
      const lease = this.leases[0];
      if (lease) {
        await this.ack(
          lease.offsets.map((offset) => ({ offset, leaseId: lease.leaseId })),
          false,
        );
      }
      await this.objects.idle();
      await this.checkConservation();
    }
    expect(this.witness.count("open"), "left open at the end").toBe(0);
  }
}

test("no step breaks conservation, order, leases or settlement, and every message comes to its end", async () => {
  const total = { steps: 0, acked: 0, lateAcks: 0, redelivered: 0, dead: 0, lost: 0 };
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 20, maxLength: 120 }), async (steps) => {
      const world = await new World().start();
      for (const each of steps) await world.take(each);
      await world.drain();
      const { acked, lateAcks, redelivered, dead, lost } = world.witness.seen;
      for (const [name, n] of Object.entries({
        steps: world.steps,
        acked,
        lateAcks,
        redelivered,
        dead,
        lost,
      })) {
        total[name as keyof typeof total] += n;
      }
    }),
    {
      numRuns: Number(process.env.SIMULATION_RUNS ?? 500),
      ...(process.env.SIMULATION_SEED && { seed: Number(process.env.SIMULATION_SEED) }),
    },
  );
  console.info("simulated", JSON.stringify(total));
  expect(total.steps).toBeGreaterThanOrEqual(10_000);
  for (const seen of Object.values(total)) expect(seen).toBeGreaterThan(0);
}, 600_000);
