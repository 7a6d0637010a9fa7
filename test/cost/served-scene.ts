// A topic that the catalog knows and clients ask over HTTP, on the real objects and the scene's clock: for what is done in
// the Worker, between a client and the objects. Making it is not counted; each request is.

import { expect } from "vitest";
import { CatalogStore, type TopicEntry } from "../../src/catalog/catalog-store";
import { objectName, replyName } from "../../src/object-name";
import type { ReplyCalls } from "../../src/reply-calls";
import { systemRuntime } from "../../src/runtime";
import type { Guarantee } from "../../src/settings";
import { api } from "../support/api";
import { type Delivered, unique } from "../support/contract-client";
import type { CostCounter } from "../support/cost-counter";
import { bindings, value } from "../support/objects";
import { BODY_BYTES, consumeQueued, Scene } from "./scene";
import { SceneTime, type SubscriptionStub, type TopicStub } from "./scene-time";

type Request = Delivered & Readonly<{ replyTo: string }>;

const body = "x".repeat(BODY_BYTES);
const FIND = "SELECT generation FROM subscriptions WHERE topic_generation = ?1 AND name = 's'";

export class ServedScene {
  private constructor(
    private readonly counter: CostCounter,
    readonly time: SceneTime,
    private readonly topic: TopicEntry,
    /** The same topic and its subscription, without HTTP. Of several partitions it is the first. */
    readonly direct: Scene,
  ) {}

  /** Makes a topic with one subscription, both with what a PUT of them says. */
  static create(counter: CostCounter, settings: object, subscription: object): Promise<ServedScene> {
    return ServedScene.make(counter, new SceneTime(counter), settings, subscription);
  }

  /** Makes a topic that is forwarded to another, which nobody reads. */
  static async forward(counter: CostCounter, guarantee: Guarantee = "at-least-once"): Promise<ServedScene> {
    const time = new SceneTime(counter);
    const { name } = await newTopic(time, {});
    return ServedScene.make(counter, time, {}, { type: "forward", forward: { topic: name }, guarantee });
  }

  private static async make(counter: CostCounter, time: SceneTime, settings: object, subscription: object) {
    const topic = await newTopic(time, settings);
    const path = `/v1/topics/${topic.name}/subscriptions/s`;
    await api.call("PUT", path, { json: { startAt: "earliest", ...subscription } });
    const found = await bindings.CATALOG.prepare(FIND).bind(topic.generation).all<{ generation: string }>();
    const own = found.results[0]?.generation ?? "";
    const readers = partitionsOf(topic).map((partition) => {
      return bindings.SUBSCRIPTION.getByName(objectName(own, partition)) as SubscriptionStub;
    });
    for (const reader of readers) await time.addReader(reader);
    const first = bindings.TOPIC.getByName(objectName(topic.generation, 0)) as TopicStub;
    counter.restart();
    await time.settle();
    counter.restart();
    return new ServedScene(counter, time, topic, new Scene(counter, time, topic.generation, first, readers));
  }

  // ── publish, pull, ack ─────────────────────────────────────────────────────────────────────────────

  /** Publishes `count` messages through the Cloudflare Queue, of these priorities in turn. */
  async publishAccepted(count: number, priorities: readonly number[]): Promise<void> {
    await this.publish(count, priorities);
    await consumeQueued(this.counter);
    await this.time.settle();
  }

  async publish(count: number, priorities: readonly number[], headers = {}): Promise<void> {
    const messages = Array.from({ length: count }, (_, i) => {
      return { data: body, priority: priorities[i % priorities.length] };
    });
    await this.ask("publish", "messages/batch", { json: { messages }, headers });
  }

  /** Pulls up to `max` messages and acks them: two requests. Answers how many came. */
  async pullAndAck(max: number): Promise<number> {
    const { messages } = await this.ask<{ messages: Delivered[] }>("pull", "subscriptions/s/pull", {
      json: { max },
    });
    const ackIds = messages.map(({ ackId }) => ackId);
    if (ackIds.length > 0) await this.ask("ack", "subscriptions/s/ack", { json: { ackIds } });
    await this.time.settle();
    return messages.length;
  }

  // ── request and reply ──────────────────────────────────────────────────────────────────────────────

  /** Asks, and is answered. The objects of its replies live on by this clock. */
  async askAndHear(): Promise<void> {
    const id = systemRuntime.newId();
    await this.addReplies(id);
    await this.ask("request", "request", { body, headers: { "idempotency-key": id } });
    await this.time.settle();
  }

  /** Asks, is answered by a consumer that pulls, and hears it. */
  async askAndReply(): Promise<void> {
    const id = systemRuntime.newId();
    await this.addReplies(id);
    const asking = this.ask("request", "request", { body, headers: { "idempotency-key": id } });
    const pulled = await this.ask<{ messages: Request[] }>("pull", "subscriptions/s/pull", {
      json: { waitMs: 10_000 },
    });
    const [{ ackId, replyTo } = { ackId: "", replyTo: "" }] = pulled.messages;
    await this.ask("reply", "subscriptions/s/reply", { json: { ackId, replyTo, data: body } });
    expect(await asking).toBe(body);
    await this.time.settle();
  }

  private async addReplies(id: string): Promise<void> {
    const name = replyName({ generation: this.topic.generation, id });
    await this.time.addSleeper(bindings.REPLY.getByName(name) as DurableObjectStub & ReplyCalls);
  }

  private async ask<T>(name: string, path: string, options: object): Promise<T> {
    this.counter.workerRequest(name);
    return api.call<T>("POST", `/v1/topics/${this.topic.name}/${path}`, options);
  }
}

async function newTopic(time: SceneTime, settings: object): Promise<TopicEntry> {
  const name = unique("cost");
  await api.call("PUT", `/v1/topics/${name}`, { json: settings });
  const topic = value(await new CatalogStore(bindings.CATALOG, systemRuntime).topic(name));
  for (const partition of partitionsOf(topic)) {
    await time.addTopic(bindings.TOPIC.getByName(objectName(topic.generation, partition)) as TopicStub);
  }
  return topic;
}

function partitionsOf({ partitions }: TopicEntry): readonly number[] {
  return Array.from({ length: partitions }, (_, partition) => partition);
}
