// One topic with its subscriptions, on the real objects and a clock that the test moves: messages are published
// and delivered the way they are in production, every alarm fires when it is due, and in the end retention removes
// what was kept. Everything on the way is counted.

import { createMessageBatch } from "cloudflare:test";
import { consumeIngress } from "../../src/ingress/ingress-consumer";
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
import type { CostCounter } from "../support/cost-counter";
import { bindings, message, recordBatch, value } from "../support/objects";
import { SceneTime, type SubscriptionStub, type TopicStub } from "./scene-time";

export const BODY_BYTES = 200;
const TURNS_AT_ONCE = 100_000;

export class Scene {
  constructor(
    private readonly counter: CostCounter,
    readonly time: SceneTime,
    private readonly generation: string,
    private readonly topic: TopicStub,
    private readonly subscriptions: readonly SubscriptionStub[],
  ) {}

  /** Makes a topic with `count` subscriptions, uncounted. */
  static async create(counter: CostCounter, settings: Partial<SubscriptionSettings> = {}, count = 1) {
    const time = new SceneTime(counter);
    const generation = crypto.randomUUID();
    const at = { topic: "orders", partition: 0, version: 1 };
    const topic = bindings.TOPIC.getByName(objectName(generation, 0)) as TopicStub;
    await time.addTopic(topic);
    value(await topic.provision({ ...at, generation, settings: defaultTopicSettings }));
    const attach = async (name: string) => {
      const own = crypto.randomUUID();
      const subscription = bindings.SUBSCRIPTION.getByName(objectName(own, 0)) as SubscriptionStub;
      await time.rule(subscription);
      const { startOffset } = value(await topic.attach({ generation: own, startAt: { at: "earliest" } }));
      const provision = {
        ...{ ...at, topicGeneration: generation, subscription: name, generation: own, startOffset },
        settings: { ...defaultSubscriptionSettings, ...settings },
      };
      value(await subscription.provision(provision));
      return subscription;
    };
    const subscriptions = await Promise.all(Array.from({ length: count }, (_, i) => attach(`s${i}`)));
    // Of several subscriptions only the first is pulled from, and the rest set no alarm.
    for (const first of subscriptions.slice(0, 1)) await time.addReader(first);
    // Many take a while: meanwhile the platform may have evicted the topic, and with it its clock.
    await time.rule(topic);
    const scene = new Scene(counter, time, generation, topic, subscriptions);
    await time.settle();
    counter.restart();
    return scene;
  }

  // ── publish ────────────────────────────────────────────────────────────────────────────────────────

  /** Publishes `count` messages through the Cloudflare Queue, whose consumer gets this one record batch alone. */
  async publishAccepted(count: number): Promise<void> {
    this.counter.workerRequest("publish");
    await bindings.INGRESS.send(packRecordBatch(this.batch(count)));
    await consumeQueued(this.counter);
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
        publishedAt: this.time.now(),
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
      await this.time.turn();
    }
    stop();
    await this.time.settle();
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
    await this.time.settle();
    return refs.length;
  }
}

/** Has what waits in the Cloudflare Queue consumed: one batch of it. */
export async function consumeQueued(counter: CostCounter): Promise<void> {
  const messages = counter.takeQueued().map((body) => ({
    ...{ id: crypto.randomUUID(), timestamp: new Date(), attempts: 1, body },
  }));
  counter.workerRequest("queue");
  await consumeIngress(createMessageBatch("pennypost-ingress", messages), bindings, systemRuntime);
}
