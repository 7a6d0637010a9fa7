// Topics and queues: create, read, change, list, delete, and the log of either to look at.

import { deleteTopic, putQueue, putTopic } from "../catalog/topic-lifecycle";
import { priorityShown } from "../priority";
import { type Broker, urlRules } from "./broker";
import { withVerification } from "./endpoint-verifying";
import { forwardTo } from "./forward-target-store";
import { topicLimitsLeft } from "./limits-left-store";
import { refuseFaults } from "./parse";
import { everyPartition, topicAt } from "./partition-routes";
import { queueParams, queuePlace, topicParams, topicPlace } from "./place-routes";
import { type Route, reply, route } from "./route";
import { listOf, page } from "./schemas";
import { type Principal, patternsOf } from "./scope";
import { secretsOf } from "./seal-store";
import { checkSubscription, queueBody, subscriptionSettings } from "./subscription-schemas";
import { queueShown, queueWithLimits, showQueue } from "./subscription-views";
import {
  showTopic,
  topicBody,
  topicFaults,
  topicSettings,
  topicShown,
  topicStats,
  topicView,
} from "./topic-schemas";

const any = ["publish", "consume", "manage"] as const;

export const topicRoutes: readonly Route[] = [
  route({
    ...{ method: "get", path: "/v1/topics", tag: "Topics", access: "any-token" },
    summary: "List topics and queues",
    description: "Those that the token has a scope on.",
    query: page,
    answers: { 200: { description: "A page of topics, by name.", schema: listOf("topics", topicView) } },
    handle: async ({ broker, principal, query }) => {
      const { items, next } = await listVisible(broker, principal, query);
      return reply(200, { topics: items.map(showTopic), next });
    },
  }),
  route({
    ...{ method: "put", path: "/v1/topics/{topic}", tag: "Topics", access: ["manage"] },
    summary: "Create a topic, or change its settings",
    params: topicParams,
    body: topicBody,
    answers: {
      200: { description: "It exists with these settings.", schema: topicView },
      201: { description: "It was created.", schema: topicView },
    },
    handle: async ({ broker, params: { topic: name }, body }) => {
      const faults = topicFaults(body);
      if (faults.length > 0) return refuseFaults(faults);
      const settings = topicSettings(body);
      const { partitions } = body;
      const put = await putTopic(broker.catalog, { name, kind: "topic", partitions, settings });
      return put.ok ? reply(put.value.created ? 201 : 200, showTopic(put.value.entry)) : put;
    },
  }),
  route({
    ...{ method: "get", path: "/v1/topics/{topic}", tag: "Topics", access: any },
    summary: "Show a topic",
    params: topicParams,
    answers: { 200: { description: "The topic.", schema: topicShown } },
    handle: async ({ broker, params }) => {
      const topic = await topicPlace.findTopic(broker, params);
      if (!topic.ok) return topic;
      return reply(200, { ...showTopic(topic.value), ...(await topicLimitsLeft(broker, topic.value)) });
    },
  }),
  route({
    ...{ method: "get", path: "/v1/topics/{topic}/stats", tag: "Topics", access: any },
    summary: "Say what each partition holds",
    params: topicParams,
    answers: { 200: { description: "Its partitions.", schema: topicStats } },
    handle: async ({ broker, params }) => {
      const topic = await topicPlace.findTopic(broker, params);
      if (!topic.ok) return topic;
      const partitions = await everyPartition(topic.value.partitions, (partition) =>
        topicAt(broker, topic.value, partition).stats(),
      );
      return partitions.ok
        ? reply(200, {
            topic: topic.value.name,
            partitions: partitions.value.map((each) => ({
              ...each,
              ...priorityShown(topic.value, each.partition),
            })),
          })
        : partitions;
    },
  }),
  route({
    ...{ method: "delete", path: "/v1/topics/{topic}", tag: "Topics", access: ["manage"] },
    summary: "Delete a topic with its messages and subscriptions",
    params: topicParams,
    answers: { 204: { description: "It does not exist." } },
    handle: async ({ broker, params: { topic } }) => {
      const deleted = await deleteTopic(broker.catalog, topic);
      return deleted.ok ? reply(204, undefined) : deleted;
    },
  }),
];

export const queueRoutes: readonly Route[] = [
  route({
    ...{ method: "get", path: "/v1/queues", tag: "Queues", access: "any-token" },
    summary: "List queues",
    description: "Those that the token has a scope on.",
    query: page,
    answers: { 200: { description: "A page of queues, by name.", schema: listOf("queues", topicView) } },
    handle: async ({ broker, principal, query }) => {
      const { items, next } = await listVisible(broker, principal, { ...query, kind: "queue" });
      return reply(200, { queues: items.map(showTopic), next });
    },
  }),
  route({
    ...{ method: "put", path: "/v1/queues/{queue}", tag: "Queues", access: ["manage"] },
    summary: "Create a queue, or change its settings",
    description: "A queue is a topic with one subscription of the same name, which starts at its beginning.",
    params: queueParams,
    body: queueBody,
    answers: {
      200: { description: "It exists with these settings.", schema: queueShown },
      201: { description: "It was created.", schema: queueShown },
    },
    handle: async ({ broker, principal, params: { queue: name }, body, request }) => {
      const faults = topicFaults(body);
      if (faults.length > 0) return refuseFaults(faults);
      const rules = checkSubscription(body, urlRules(broker, request));
      if (!rules.ok) return rules;
      const target = await forwardTo(broker, principal, name, body.forward);
      if (!target.ok) return target;
      const secrets = await secretsOf(broker, body);
      if (!secrets.ok) return secrets;
      const put = await putQueue(broker.catalog, {
        ...{ name, partitions: body.partitions, settings: topicSettings(body) },
        subscription: withVerification(broker, request, body, {
          ...subscriptionSettings(body),
          ...target.value,
        }),
        ...secrets.value,
      });
      if (!put.ok) return put;
      const { entry, created } = put.value;
      const secret = await secrets.value.shown?.(put.value.subscription);
      return reply(created ? 201 : 200, showQueue(entry, put.value.subscription, secret));
    },
  }),
  route({
    ...{ method: "get", path: "/v1/queues/{queue}", tag: "Queues", access: any },
    summary: "Show a queue",
    params: queueParams,
    answers: { 200: { description: "The queue.", schema: queueWithLimits } },
    handle: async ({ broker, params }) => {
      const found = await queuePlace.find(broker, params);
      if (!found.ok) return found;
      const { topic, subscription } = found.value;
      return reply(200, { ...showQueue(topic, subscription), ...(await topicLimitsLeft(broker, topic)) });
    },
  }),
  route({
    ...{ method: "delete", path: "/v1/queues/{queue}", tag: "Queues", access: ["manage"] },
    summary: "Delete a queue with its messages",
    params: queueParams,
    answers: { 204: { description: "It does not exist." } },
    handle: async ({ broker, params }) => {
      const topic = await queuePlace.findTopic(broker, params);
      if (!topic.ok && topic.error.code !== "topic-not-found") return topic;
      // A topic of that name is no queue: the queue does not exist, and the topic stays.
      if (!topic.ok && (await broker.catalog.store.topic(params.queue)).ok) return reply(204, undefined);
      const deleted = await deleteTopic(broker.catalog, params.queue);
      return deleted.ok ? reply(204, undefined) : deleted;
    },
  }),
];

type Listing = Readonly<{ after?: string | undefined; limit: number; kind?: "queue" }>;

async function listVisible(broker: Broker, principal: Principal, listing: Listing) {
  // Chosen by D1 and not from its page: where the next one begins would name what the token may not see.
  const patterns = patternsOf(principal, any);
  const items = await broker.catalog.store.listTopics({ ...listing, patterns });
  return { items, next: items.length === listing.limit ? (items.at(-1)?.name ?? null) : null };
}
