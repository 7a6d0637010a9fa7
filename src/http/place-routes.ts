// Where the shared routes hang: below a topic and its subscription, or below a queue, which is both. The routes are
// written once and take their place from here.

import { type ZodObject, type ZodType, z } from "zod";
import type { SubscriptionEntry, TopicEntry } from "../catalog/catalog-entry";
import { ok, type Result, refuse } from "../errors";
import type { Broker } from "./broker";
import { name } from "./schemas";

export type PathParams = Readonly<{ topic?: string; subscription?: string; queue?: string }>;
/** Their schema; as an object, so that a route below may add to it. */
export type PathSchema = ZodObject & ZodType<PathParams>;

/** A place that names a topic. */
export type TopicPlace = Readonly<{
  base: string;
  tag: string;
  params: PathSchema;
  findTopic(broker: Broker, params: PathParams): Promise<Result<TopicEntry>>;
}>;

/** A place that names a subscription. */
export type SubscriptionPlace = Readonly<{
  base: string;
  tag: string;
  params: PathSchema;
  find(broker: Broker, params: PathParams): Promise<Result<Found>>;
}>;
export type Found = Readonly<{ topic: TopicEntry; subscription: SubscriptionEntry }>;

export const topicParams = z.object({ topic: name });
export const queueParams = z.object({ queue: name });
export const subscriptionParams = z.object({ topic: name, subscription: name });

export const topicPlace: TopicPlace = {
  base: "/v1/topics/{topic}",
  tag: "Topics",
  params: topicParams,
  findTopic: ({ catalog }, { topic = "" }) => catalog.store.topic(topic),
};

export const queuePlace: TopicPlace & SubscriptionPlace = {
  base: "/v1/queues/{queue}",
  tag: "Queues",
  params: queueParams,
  findTopic: (broker, { queue = "" }) => findQueue(broker, queue),
  find: async (broker, { queue = "" }) => {
    const topic = await findQueue(broker, queue);
    return topic.ok ? findSubscription(broker, topic.value, queue) : topic;
  },
};

export const subscriptionPlace: SubscriptionPlace = {
  base: "/v1/topics/{topic}/subscriptions/{subscription}",
  tag: "Subscriptions",
  params: subscriptionParams,
  find: async (broker, { topic: topicName = "", subscription = "" }) => {
    const topic = await broker.catalog.store.topic(topicName);
    return topic.ok ? findSubscription(broker, topic.value, subscription) : topic;
  },
};

async function findQueue({ catalog }: Broker, queue: string): Promise<Result<TopicEntry>> {
  const topic = await catalog.store.topic(queue);
  const isQueue = topic.ok && topic.value.kind === "queue";
  if (isQueue || (!topic.ok && topic.error.code !== "topic-not-found")) return topic;
  return refuse("topic-not-found", `There is no queue "${queue}".`);
}

async function findSubscription(broker: Broker, topic: TopicEntry, name: string): Promise<Result<Found>> {
  const subscription = await broker.catalog.store.subscription(topic, name);
  return subscription.ok ? ok({ topic, subscription: subscription.value }) : subscription;
}

/**
 * Makes a call that may meet objects which are gone because the isolate's knowledge was out of date: then it is
 * read afresh, and the call is made once more.
 */
export async function withFresh<F extends Pick<Found, "topic">, T>(
  broker: Broker,
  find: () => Promise<Result<F>>,
  call: (found: F) => Promise<Result<T>>,
): Promise<Result<T>> {
  const found = await find();
  if (!found.ok) return found;
  const first = await call(found.value);
  if (first.ok || first.error.code !== "gone") return first;
  broker.catalog.store.forget(found.value.topic.name);
  const fresh = await find();
  return fresh.ok ? call(fresh.value) : fresh;
}
