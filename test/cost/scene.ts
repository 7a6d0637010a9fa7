// One topic with its subscriptions, on the real objects and a clock that the test moves: messages are published
// and delivered the way they are in production, every alarm fires when it is due, and in the end retention removes
// what was kept. Everything on the way is counted.

import {
  createMessageBatch,
  evictDurableObject,
  runDurableObjectAlarm,
  runInDurableObject,
} from "cloudflare:test";
import { consumeIngress } from "../../src/ingress/ingress-consumer";
import { LedgerStore } from "../../src/ledger/ledger-store";
import { limits } from "../../src/limits";
import type { Message } from "../../src/message";
import { objectName } from "../../src/object-name";
import { packRecordBatch } from "../../src/record-batch";
import { systemRuntime } from "../../src/runtime";
import {
  defaultSubscriptionSettings,
  defaultTopicSettings,
  type SubscriptionSettings,
} from "../../src/settings";
import type { SubscriptionCalls } from "../../src/subscription-calls";
import type { TopicCalls } from "../../src/topic-calls";
import type { CostCounter } from "../support/cost-counter";
import { bindings, message, recordBatch, testRuntime, useRuntime, value } from "../support/objects";

type TopicStub = TopicCalls & DurableObjectStub;
type SubscriptionStub = SubscriptionCalls & DurableObjectStub;

const BODY_BYTES = 200;
const DAY_MS = 24 * 60 * 60 * 1000;
/** No alarm is so far in the past or so near that the platform fires it by itself: the scene's clock does. */
const CLOCK_AHEAD_MS = 2 * DAY_MS;
/** More alarms than this without an end are a loop. */
const ALARMS_AT_ONCE = 1_000;
const TURNS_AT_ONCE = 100_000;

export class Scene {
  private constructor(
    private readonly counter: CostCounter,
    private readonly clock: ReturnType<typeof testRuntime>,
    private readonly generation: string,
    private readonly topic: TopicStub,
    private readonly subscriptions: readonly SubscriptionStub[],
  ) {}

  /** Makes a topic with `count` subscriptions, uncounted. */
  static async create(counter: CostCounter, settings: Partial<SubscriptionSettings> = {}, count = 1) {
    const clock = testRuntime(Date.now() + CLOCK_AHEAD_MS);
    const generation = crypto.randomUUID();
    const at = { topic: "orders", partition: 0, version: 1 };
    const topic = bindings.TOPIC.getByName(objectName(generation, 0)) as TopicStub;
    await useRuntime(topic, clock);
    value(await topic.provision({ ...at, generation, settings: defaultTopicSettings }));
    const attach = async (name: string) => {
      const own = crypto.randomUUID();
      const subscription = bindings.SUBSCRIPTION.getByName(objectName(own, 0)) as SubscriptionStub;
      await useRuntime(subscription, clock);
      const { startOffset } = value(await topic.attach({ generation: own, startAt: { at: "earliest" } }));
      const provision = {
        ...{ ...at, topicGeneration: generation, subscription: name, generation: own, startOffset },
        settings: { ...defaultSubscriptionSettings, ...settings },
      };
      value(await subscription.provision(provision));
      return subscription;
    };
    const subscriptions = await Promise.all(Array.from({ length: count }, (_, i) => attach(`s${i}`)));
    // Many take a while: meanwhile the platform may have evicted the topic, and with it its clock.
    await useRuntime(topic, clock);
    const scene = new Scene(counter, clock, generation, topic, subscriptions);
    await scene.settle();
    counter.restart();
    return scene;
  }

  // ── publish ────────────────────────────────────────────────────────────────────────────────────────

  /** Publishes `count` messages through the Cloudflare Queue, whose consumer gets this one record batch alone. */
  async publishAccepted(count: number): Promise<void> {
    this.counter.workerRequest("publish");
    await bindings.INGRESS.send(packRecordBatch(this.batch(count)));
    const messages = this.counter.takeQueued().map((body) => ({
      ...{ id: crypto.randomUUID(), timestamp: new Date(), attempts: 1, body },
    }));
    this.counter.workerRequest("queue");
    await consumeIngress(createMessageBatch("pennypost-ingress", messages), bindings, systemRuntime);
  }

  /** Publishes `count` messages straight to the topic; `keys` gives each its ordering key in turn. */
  async publishStored(count: number, keys: readonly string[] = []): Promise<void> {
    this.counter.workerRequest("publish");
    value(await this.topic.append({ batches: [this.batch(count, keys)] }));
  }

  private batch(count: number, keys: readonly string[] = []) {
    const body = new TextEncoder().encode("x".repeat(BODY_BYTES));
    const messages = Array.from({ length: count }, (_, i): Message => {
      const orderingKey = keys[i % keys.length];
      return message(systemRuntime.newId(), {
        publishedAt: this.clock.now(),
        contentType: "application/json",
        body,
        ...(orderingKey !== undefined && { orderingKey }),
      });
    });
    return recordBatch(this.generation, messages, {}, systemRuntime.newId());
  }

  // ── deliver ────────────────────────────────────────────────────────────────────────────────────────

  /** Runs `publish`, and returns when the dispatcher has reported `count` more messages as delivered. */
  async untilDelivered(count: number, publish: () => Promise<void>): Promise<void> {
    let delivered = 0;
    await this.untilCalls("subscription.report", publish, ([report]) => {
      const { outcomes } = report as Parameters<SubscriptionCalls["report"]>[0];
      delivered += outcomes.filter(({ result }) => result === "delivered").length;
      return delivered >= count;
    });
  }

  /** Runs `publish`, and returns when every subscription was notified. */
  async untilNotified(publish: () => Promise<void>): Promise<void> {
    let notified = 0;
    await this.untilCalls("subscription.notify", publish, () => ++notified >= this.subscriptions.length);
  }

  /** A promise must not be settled by another object's work, so this takes turns until it has seen enough. */
  private async untilCalls(
    call: string,
    publish: () => Promise<void>,
    isEnough: (args: readonly unknown[]) => boolean,
  ) {
    let enough = false;
    const stop = this.counter.onCall((ended) => {
      if (ended.call === call) enough ||= isEnough(ended.args);
    });
    await publish();
    for (let turn = 0; !enough; turn++) {
      if (turn === TURNS_AT_ONCE) throw new Error(`not enough of ${call} came`);
      await this.turn();
    }
    stop();
    await this.settle();
  }

  /** Pulls up to `max` messages and acks them: two requests. Answers how many came. */
  async pullAndAck(max: number): Promise<number> {
    const subscription = this.subscriptions[0] as SubscriptionStub;
    this.counter.workerRequest("pull");
    const leaseId = systemRuntime.newId();
    const lease = value(
      await subscription.pull({ leaseId, max, maxBytes: limits.pullBytes, waitMs: limits.pullWaitMs }),
    );
    this.counter.workerRequest("ack");
    const refs = lease.deliveries.map(({ offset }) => ({ offset, leaseId }));
    value(await subscription.ack({ refs }));
    await this.settle();
    return refs.length;
  }

  // ── time ───────────────────────────────────────────────────────────────────────────────────────────

  /** Lets `ms` milliseconds pass; each alarm fires at its time. */
  async advance(ms: number): Promise<void> {
    const until = this.clock.now() + ms;
    for (let fired = 0; ; fired++) {
      const due = await this.nextAlarm();
      if (due === undefined || due.at > until) break;
      if (fired === ALARMS_AT_ONCE)
        throw new Error(`alarms without an end: ${JSON.stringify(this.counter.breakdown().slice(0, 12))}`);
      this.clock.advance(Math.max(0, due.at - this.clock.now()));
      await runDurableObjectAlarm(due.stub);
      await this.settle();
    }
    this.clock.advance(until - this.clock.now());
  }

  /** The platform evicts what has been idle for ten seconds. */
  async evict(): Promise<void> {
    for (const stub of this.stubs) {
      await evictDurableObject(stub);
      await useRuntime(stub, this.clock);
    }
  }

  /** Lets retention remove all that was kept: messages, then publish keys, then rows of the ledger. */
  async removeAll(): Promise<void> {
    const keptMs = Math.max(defaultTopicSettings.retentionMs, limits.minKeyRetentionMs);
    await this.advance(2 * keptMs);
    // Retention has no alarm of its own: the sweep's poke is the call that drops what is past it.
    await this.topic.wake();
    await this.settle();
    const later = { ...systemRuntime, now: () => Date.now() + limits.maxLedgerRetentionMs + DAY_MS };
    const ledger = new LedgerStore(bindings.LEDGER, later);
    while ((await ledger.sweep(limits.ledgerSweepRows)) === limits.ledgerSweepRows);
  }

  /** Those with something to do: of several subscriptions only the first is pulled from, and the rest set no alarm. */
  private get stubs(): readonly DurableObjectStub[] {
    return [this.topic, ...this.subscriptions.slice(0, 1)];
  }

  private async nextAlarm() {
    const alarms = await Promise.all(
      this.stubs.map(async (stub) => {
        const at = await runInDurableObject(stub, (_, { storage }) => storage.getAlarm());
        return at === null ? [] : [{ stub, at }];
      }),
    );
    return alarms.flat().sort((a, b) => a.at - b.at)[0];
  }

  /** Returns when the objects have done what they had begun: when a turn through each brought no call. */
  private async settle(): Promise<void> {
    for (let before = -1; before !== this.counter.read().objectRequests || this.counter.inFlight > 0; ) {
      before = this.counter.read().objectRequests;
      await this.turn();
    }
  }

  private async turn(): Promise<void> {
    for (const stub of this.stubs) await runInDurableObject(stub, () => undefined);
  }
}
