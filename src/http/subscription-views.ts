// Subscriptions and queues as the API shows them. Header values are never shown, and a secret only by the PUT that set it.

import { z } from "zod";
import type { SubscriptionEntry, TopicEntry } from "../catalog/catalog-entry";
import { limits } from "../limits";
import type { StartAt } from "../settings";
import { endpointView, showEndpoint } from "./endpoint-views";
import { filterForm } from "./filter-schemas";
import { limitsLeft } from "./limit-schemas";
import { instant, name } from "./schemas";
import { startAt } from "./subscription-schemas";
import { showTopic, topicView } from "./topic-schemas";

const subscriptionView = {
  type: z.enum(["push", "pull", "forward"]),
  endpoint: endpointView.optional(),
  forward: z.object({ topic: name }).optional(),
  ackDeadlineMs: z.int(),
  maxAttempts: z.int(),
  retry: z.object({ minDelayMs: z.int(), maxDelayMs: z.int() }),
  onExhausted: z.enum(["park", "skip", "block"]),
  guarantee: z.enum(["at-least-once", "at-most-once", "effectively-once"]),
  maxInFlight: z.int(),
  maxRedrives: z.int(),
  filter: filterForm.optional(),
  batch: z.object({ maxMessages: z.int(), maxWaitMs: z.int() }).optional(),
  paused: z.boolean(),
  pausedReason: z.string().optional(),
};

export const subscriptionShown = z
  .object({
    topic: name,
    name,
    ...subscriptionView,
    startAt,
    version: z.int(),
    createdAt: instant,
    updatedAt: instant,
  })
  .meta({ id: "Subscription" });

export const queueShown = topicView.extend(subscriptionView).meta({ id: "Queue" });
export const queueWithLimits = queueShown.extend({ limits: limitsLeft }).meta({ id: "QueueWithLimits" });

/**
 * A subscription as it is shown: header values are not, and `secret` is the one that this very
 * answer made.
 */
export function showSubscription(entry: SubscriptionEntry, secret?: string) {
  const { topic, name, startAt, version, createdAt, updatedAt } = entry;
  return {
    topic,
    name,
    ...showSettings(entry, secret),
    startAt: showStart(startAt),
    version,
    createdAt,
    updatedAt,
  };
}

/** A queue as it is shown: its topic with its subscription's settings. */
export function showQueue(topic: TopicEntry, subscription: SubscriptionEntry, secret?: string) {
  return { ...showTopic(topic), ...showSettings(subscription, secret) };
}

function showSettings(entry: SubscriptionEntry, secret?: string) {
  const { retry, push, forward, ...settings } = entry.settings;
  const { maxAttempts, ...delays } = retry;
  return {
    ...settings,
    maxAttempts,
    retry: delays,
    maxRedrives: settings.maxRedrives ?? limits.defaultMaxRedrives,
    ...(forward && { forward: { topic: forward.topic } }),
    ...(push && {
      endpoint: showEndpoint(entry, push, secret),
      batch: { maxMessages: push.batchMaxMessages, maxWaitMs: push.batchMaxWaitMs },
    }),
  };
}

function showStart(startAt: StartAt) {
  if (startAt.at === "time") return { time: startAt.time };
  return startAt.at === "offsets" ? { offsets: startAt.offsets } : startAt.at;
}
