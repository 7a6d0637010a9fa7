// The objects of a scene, and its clock: time passes for all of them at once, every alarm fires when it is due, and in the
// end retention removes what was kept.

import { evictDurableObject, runDurableObjectAlarm, runInDurableObject } from "cloudflare:test";
import { LedgerStore } from "../../src/ledger/ledger-store";
import { limits } from "../../src/limits";
import { systemRuntime } from "../../src/runtime";
import { defaultTopicSettings } from "../../src/settings";
import type { SubscriptionCalls } from "../../src/subscription-calls";
import type { TopicCalls } from "../../src/topic-calls";
import type { CostCounter } from "../support/cost-counter";
import { bindings, testRuntime, useRuntime } from "../support/objects";

export type TopicStub = TopicCalls & DurableObjectStub;
export type SubscriptionStub = SubscriptionCalls & DurableObjectStub;

const DAY_MS = 24 * 60 * 60 * 1000;
/** No alarm is so far in the past or so near that the platform fires it by itself: the scene's clock does. */
const CLOCK_AHEAD_MS = 2 * DAY_MS;
/** More alarms than this without an end are a loop. */
const ALARMS_AT_ONCE = 1_000;

export class SceneTime {
  private readonly clock = testRuntime(Date.now() + CLOCK_AHEAD_MS);
  private readonly topics: TopicStub[] = [];
  private readonly readers: DurableObjectStub[] = [];
  /** Those that only wait for an alarm. */
  private readonly sleepers: DurableObjectStub[] = [];

  constructor(private readonly counter: CostCounter) {}

  /** Has a topic's partition live by this clock. */
  async addTopic(topic: TopicStub): Promise<void> {
    await this.rule(topic);
    this.topics.push(topic);
  }

  /** Has a partition of a subscription live by this clock. */
  async addReader(reader: DurableObjectStub): Promise<void> {
    await this.rule(reader);
    this.readers.push(reader);
  }

  /** Has an object that calls nobody live by this clock. */
  async addSleeper(sleeper: DurableObjectStub): Promise<void> {
    await this.rule(sleeper);
    this.sleepers.push(sleeper);
  }

  /** Gives an object this clock, until it is evicted. */
  async rule(stub: DurableObjectStub): Promise<void> {
    await useRuntime(stub, this.clock);
  }

  now(): number {
    return this.clock.now();
  }

  /** Lets `ms` milliseconds pass; each alarm fires at its time. */
  async advance(ms: number): Promise<void> {
    const until = this.clock.now() + ms;
    for (let fired = 0; ; fired++) {
      const due = await this.nextAlarm();
      if (due === undefined || due.at > until) break;
      if (fired === ALARMS_AT_ONCE)
        throw new Error(`alarms without an end: ${JSON.stringify(this.counter.breakdown().slice(0, 12))}`);
      this.clock.advance(Math.max(0, due.at - this.clock.now()));
      await this.rule(due.stub);
      await runDurableObjectAlarm(due.stub);
      await this.settle();
    }
    this.clock.advance(until - this.clock.now());
  }

  /** The platform evicts what has been idle for ten seconds. */
  async evict(): Promise<void> {
    for (const stub of this.stubs) {
      await evictDurableObject(stub);
      await this.rule(stub);
    }
  }

  /** Lets retention remove all that was kept: messages, then publish keys, then rows of the ledger. */
  async removeAll(): Promise<void> {
    const keptMs = Math.max(defaultTopicSettings.retentionMs, limits.minKeyRetentionMs);
    await this.advance(2 * keptMs);
    // Retention has no alarm of its own: the sweep's poke is the call that drops what is past it.
    for (const topic of this.topics) await topic.wake();
    await this.settle();
    const later = { ...systemRuntime, now: () => Date.now() + limits.maxLedgerRetentionMs + DAY_MS };
    const ledger = new LedgerStore(bindings.LEDGER, later);
    while ((await ledger.sweep(limits.ledgerSweepRows)) === limits.ledgerSweepRows);
  }

  /** Returns when the objects have done what they had begun: when a turn through each brought no call. */
  async settle(): Promise<void> {
    for (let before = -1; before !== this.counter.read().objectRequests || this.counter.inFlight > 0; ) {
      before = this.counter.read().objectRequests;
      await this.turn();
    }
  }

  /** A promise must not be settled by another object's work: it is waited for by looking in on each. */
  async turn(): Promise<void> {
    for (const stub of this.stubs) await runInDurableObject(stub, () => undefined);
  }

  private get stubs(): readonly DurableObjectStub[] {
    return [...this.topics, ...this.readers];
  }

  private async nextAlarm() {
    const alarms = await Promise.all(
      [...this.stubs, ...this.sleepers].map(async (stub) => {
        const at = await runInDurableObject(stub, (_, { storage }) => storage.getAlarm());
        return at === null ? [] : [{ stub, at }];
      }),
    );
    return alarms.flat().sort((a, b) => a.at - b.at)[0];
  }
}
