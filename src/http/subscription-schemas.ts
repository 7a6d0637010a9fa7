// Subscriptions and queues as the API takes them: their fields, the rules between these, and the settings that they make.

import { z } from "zod";
import { type FieldFault, ok, type Result } from "../errors";
import { limits } from "../limits";
import { defaultSubscriptionSettings, type StartAt, type SubscriptionSettings } from "../settings";
import { type EndpointRules, endpoint, endpointFaults, endpointSettings } from "./endpoint-schemas";
import { filterForm } from "./filter-schemas";
import { refuseFaults } from "./parse";
import { instant, name, whole } from "./schemas";
import { topicFields } from "./topic-schemas";

const subscriptionFields = {
  type: z.enum(["push", "pull", "forward"]).default("pull"),
  endpoint: endpoint.optional(),
  forward: z.strictObject({ topic: name }).optional().meta({
    description: "The topic or queue that a subscription of type forward appends its messages to.",
  }),
  ackDeadlineMs: whole(limits.minAckDeadlineMs, limits.maxAckDeadlineMs)
    .optional()
    .meta({
      description: `${limits.defaultAckDeadlineMs} unless given; for push, no less than endpoint.timeoutMs.`,
    }),
  maxAttempts: whole(1, limits.maxAttempts)
    .optional()
    .meta({ description: `${limits.defaultMaxAttempts} unless given; under at-most-once it is 1.` }),
  retry: z
    .strictObject({
      minDelayMs: whole(limits.minRetryDelayMs, limits.maxRetryDelayMs).optional(),
      maxDelayMs: whole(limits.minRetryDelayMs, limits.maxRetryDelayMs).optional(),
    })
    .default({}),
  onExhausted: z.enum(["park", "skip", "block"]).default("park"),
  guarantee: z.enum(["at-least-once", "at-most-once", "effectively-once"]).default("at-least-once"),
  maxInFlight: whole(1, limits.maxInFlight).default(limits.defaultMaxInFlight),
  maxRedrives: whole(0, limits.maxRedrives)
    .default(limits.defaultMaxRedrives)
    .meta({ description: "How often a dead letter may be sent round again, unless it is forced." }),
  filter: filterForm.optional(),
  batch: z
    .strictObject({
      maxMessages: whole(1, limits.batchMessages).default(1),
      maxWaitMs: whole(0, limits.batchWaitMs).default(0),
    })
    .optional()
    .meta({ description: "Push only: several messages in one POST." }),
};

export const startAt = z
  .union([
    z.enum(["latest", "earliest"]),
    z.strictObject({ offsets: z.record(z.string().regex(/^\d{1,2}$/), whole(0, Number.MAX_SAFE_INTEGER)) }),
    z.strictObject({ time: instant }),
  ])
  .default("latest")
  .meta({ description: "Counts when the subscription is created, not after." });

export const subscriptionBody = z
  .strictObject({ ...subscriptionFields, startAt })
  .meta({ id: "SubscriptionSettings" });
export const queueBody = z
  .strictObject({ ...topicFields, ...subscriptionFields })
  .meta({ id: "QueueSettings" });

type SubscriptionFields = z.output<z.ZodObject<typeof subscriptionFields>>;

/** The rules between fields, and those that a deployed broker and a local one differ in. All speak together. */
export function checkSubscription(body: SubscriptionFields, rules: EndpointRules): Result<null> {
  const { minDelayMs, maxDelayMs } = retryOf(body);
  const faults = [...kindFaults(body), ...guaranteeFaults(body), ...formatFaults(body)];
  if (minDelayMs > maxDelayMs) {
    faults.push({ field: "retry.minDelayMs", detail: "it is above retry.maxDelayMs", limit: maxDelayMs });
  }
  if (body.endpoint) faults.push(...endpointFaults(body.endpoint, rules));
  return faults.length > 0 ? refuseFaults(faults) : ok(null);
}

/** What the kind of delivery needs, and what it has no use for. */
function kindFaults({ type, endpoint, forward, batch, guarantee }: SubscriptionFields): FieldFault[] {
  const faults: FieldFault[] = [];
  const complain = (field: string, detail: string) => faults.push({ field, detail });
  const isPush = type === "push";
  if (isPush && !endpoint) complain("endpoint", "a push subscription needs an endpoint");
  if (!isPush && endpoint) complain("endpoint", `a ${type} subscription has no endpoint`);
  if (!isPush && batch) complain("batch", `a ${type} subscription has no batch`);
  if (type === "forward" && !forward) complain("forward", "a forward subscription needs a topic");
  if (type !== "forward" && forward) complain("forward", `a ${type} subscription forwards to no topic`);
  if (type === "pull" && guarantee === "effectively-once") {
    complain("guarantee", "effectively-once is for push and forward; a pull consumer uses a ledger");
  }
  if (type === "forward" && guarantee === "at-most-once") {
    complain("guarantee", "a forward is at-least-once or effectively-once: it never needs to lose a message");
  }
  return faults;
}

/**
 * What contradicts the guarantee. A lease shorter than its request could end under it, and the message would be sent
 * a second time while the first is still being answered.
 */
function guaranteeFaults({
  guarantee,
  maxAttempts,
  ackDeadlineMs,
  endpoint,
}: SubscriptionFields): FieldFault[] {
  if (guarantee === "at-most-once") {
    if ((maxAttempts ?? 1) === 1) return [];
    return [{ field: "maxAttempts", detail: "at-most-once makes one attempt", limit: 1 }];
  }
  if (endpoint === undefined || (ackDeadlineMs ?? endpoint.timeoutMs) >= endpoint.timeoutMs) return [];
  const detail = "it is below endpoint.timeoutMs: a lease outlives its request";
  return [{ field: "ackDeadlineMs", detail, limit: endpoint.timeoutMs }];
}

/** What one request cannot carry: binary mode is for one event, and a batch of events has no place for claims. */
function formatFaults({ endpoint, batch, guarantee }: SubscriptionFields): FieldFault[] {
  const isBatch = (batch?.maxMessages ?? 1) > 1;
  if (!isBatch || endpoint === undefined || endpoint.format === "raw") return [];
  if (endpoint.format === "cloudevents-binary") {
    const detail = "binary mode carries one event: batches are cloudevents-structured";
    return [{ field: "endpoint.format", detail }];
  }
  if (guarantee !== "effectively-once") return [];
  return [{ field: "guarantee", detail: "a batch of CloudEvents has no place for claims", limit: 1 }];
}

/** A subscription's settings from its body, but for the target of a forward. A body without a signing secret keeps the one that is held. */
export function subscriptionSettings(body: SubscriptionFields): SubscriptionSettings {
  const { type, onExhausted, guarantee, maxInFlight, maxRedrives, endpoint, filter, batch } = body;
  const { maxMessages: batchMaxMessages, maxWaitMs: batchMaxWaitMs } = batch ?? {
    maxMessages: 1,
    maxWaitMs: 0,
  };
  const push = endpoint && { ...endpointSettings(endpoint), batchMaxMessages, batchMaxWaitMs };
  const timeoutMs = endpoint?.timeoutMs ?? 0;
  const ackDeadlineMs = body.ackDeadlineMs ?? Math.max(limits.defaultAckDeadlineMs, timeoutMs);
  const maxAttempts = guarantee === "at-most-once" ? 1 : (body.maxAttempts ?? limits.defaultMaxAttempts);
  return {
    ...{ type, ackDeadlineMs, onExhausted, guarantee, maxInFlight, maxRedrives },
    retry: { maxAttempts, ...retryOf(body) },
    paused: false,
    ...(filter !== undefined && { filter }),
    ...(type === "push" && push && { push }),
  };
}

/** A bound that is not named stays at its default, unless the other one is beyond it. */
function retryOf({ retry }: SubscriptionFields): { minDelayMs: number; maxDelayMs: number } {
  const defaults = defaultSubscriptionSettings.retry;
  const minDelayMs =
    retry.minDelayMs ?? Math.min(defaults.minDelayMs, retry.maxDelayMs ?? defaults.minDelayMs);
  const maxDelayMs = retry.maxDelayMs ?? Math.max(defaults.maxDelayMs, minDelayMs);
  return { minDelayMs, maxDelayMs };
}

export function startOf(startAt: z.output<typeof subscriptionBody>["startAt"]): StartAt {
  if (startAt === "latest" || startAt === "earliest") return { at: startAt };
  return "time" in startAt ? { at: "time", time: startAt.time } : { at: "offsets", offsets: startAt.offsets };
}
