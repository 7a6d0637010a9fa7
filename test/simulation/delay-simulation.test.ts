// The real topic object under seeded publishes, cancels, moves, clock steps and crashes, beside a model of what was
// promised: offsets by instant, ties in the order of publishing, each message once or cancelled, never both.
import fc from "fast-check";
import { expect, test } from "vitest";
import type { Result } from "../../src/errors";
import type { Message } from "../../src/message";
import { objectName } from "../../src/object-name";
import { packRecords, unpackRecords } from "../../src/record-batch";
import { defaultTopicSettings } from "../../src/settings";
import { nodeObjects } from "../support/node-objects";

type Step = Readonly<
  | { do: "publish"; delays: readonly number[]; twice: boolean }
  | { do: "cancel" | "move"; which: number; delay: number }
  | { do: "advance"; by: number; alarm: boolean }
  | { do: "crash" }
>;
const delay = fc.integer({ min: 0, max: 6 });
const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({
    do: fc.constant("publish" as const),
    delays: fc.array(delay, { minLength: 1, maxLength: 5 }),
    twice: fc.boolean(),
  }),
  fc.record({ do: fc.constantFrom("cancel" as const, "move" as const), which: fc.nat(30), delay }),
  fc.record({ do: fc.constant("advance" as const), by: fc.integer({ min: 1, max: 3 }), alarm: fc.boolean() }),
  fc.record({ do: fc.constant("crash" as const) }),
);

type Waiting = { id: string; due: number; number: number };

function value<T>(result: Result<T>): T {
  if (!result.ok) throw new Error(`${result.error.code}: ${result.error.detail}`);
  return result.value;
}

class World {
  private now = 1_000;
  private serial = 0;
  private readonly ids: string[] = [];
  private readonly cancelled = new Set<string>();
  private readonly log: string[] = [];
  private waiting: Waiting[] = [];
  private readonly name = objectName("g", 0);
  private readonly objects = nodeObjects(
    { now: () => this.now, random: () => 0.5, newId: () => `id-${++this.serial}` },
    { deliver: () => Promise.reject(new Error("nothing is pushed here")) },
  );
  private readonly topic = this.objects.topics.getByName(this.name);

  async start(): Promise<this> {
    const identity = { topic: "t", generation: "g", partition: 0, version: 1 };
    value(await this.topic.provision({ ...identity, settings: defaultTopicSettings }));
    return this;
  }

  async take(step: Step): Promise<void> {
    if (step.do === "publish") await this.publish(step.delays, step.twice);
    else if (step.do === "advance") await this.advance(step.by, step.alarm);
    else if (step.do === "crash") this.objects.topics.crash(this.name);
    else if (step.do === "cancel") await this.cancel(this.ids[step.which]);
    else await this.move(this.ids[step.which], this.now + step.delay);
    await this.objects.idle();
    await this.check();
  }

  private async publish(delays: readonly number[], twice: boolean): Promise<void> {
    this.release();
    const messages = delays.map((ms): Message => {
      const timed = ms === 0 ? {} : { deliverAt: this.now + ms };
      return { id: `m${++this.serial}`, publishedAt: 0, contentType: "t", body: new Uint8Array(1), ...timed };
    });
    const scheduled = messages.flatMap(({ id, deliverAt }, index) =>
      deliverAt === undefined ? [] : [{ index, id, deliverAt }],
    );
    const clientIds = messages.map(({ id }, index) => ({ index, id, fingerprint: id }));
    const head = { generation: "g", partition: 0, count: messages.length, clientIds, scheduled };
    const records = packRecords(messages);
    value(await this.topic.append({ batches: [{ ...head, batchId: `b${++this.serial}`, records }] }));
    if (twice)
      value(await this.topic.append({ batches: [{ ...head, batchId: `b${++this.serial}`, records }] }));
    for (const { id, deliverAt } of messages) {
      this.ids.push(id);
      if (deliverAt === undefined) this.log.push(id);
      else this.waiting.push({ id, due: deliverAt, number: ++this.serial });
    }
  }

  private async cancel(id: string | undefined): Promise<void> {
    if (id === undefined) return;
    this.release();
    const answer = await this.topic.cancel({ id });
    expect(answer.ok).toBe(!this.log.includes(id));
    if (answer.ok) this.cancelled.add(id);
    this.waiting = this.waiting.filter((each) => each.id !== id);
  }

  private async move(id: string | undefined, to: number): Promise<void> {
    if (id === undefined) return;
    this.release();
    const answer = await this.topic.reschedule({ id, deliverAt: to });
    const waits = this.waiting.find((each) => each.id === id);
    expect(answer.ok).toBe(waits !== undefined);
    if (waits) waits.due = to;
  }

  private async advance(by: number, alarm: boolean): Promise<void> {
    this.now += by;
    if (alarm) await this.objects.topics.tick(this.name, this.now);
  }

  /** What was promised: whatever is due has its offset before anything else happens. */
  private release(): void {
    const due = this.waiting.filter((each) => each.due <= this.now);
    due.sort((a, b) => a.due - b.due || a.number - b.number);
    this.log.push(...due.map(({ id }) => id));
    this.waiting = this.waiting.filter((each) => each.due > this.now);
  }

  private async check(): Promise<void> {
    this.release();
    const { runs } = value(await this.topic.read({ from: 0, maxBytes: 4_000_000 }));
    const log = runs.flatMap(({ records }) => unpackRecords(records).map(({ id }) => id));
    expect(log).toEqual(this.log);
    const page = value(await this.topic.delayed({ after: null, limit: 1_000 }));
    const ids = page.messages.flatMap(({ record }) => unpackRecords(record).map(({ id }) => id));
    expect(new Set(ids)).toEqual(new Set(this.waiting.map(({ id }) => id)));
    expect(value(await this.topic.stats()).scheduled).toBe(this.waiting.length);
    expect(log.filter((id) => this.cancelled.has(id))).toEqual([]);
  }
}

test("delayed messages take their offsets as promised, whatever happens between", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 60 }), async (steps) => {
      const world = await new World().start();
      for (const step of steps) await world.take(step);
    }),
    { numRuns: 150 },
  );
}, 60_000);
