// Subscriptions and queues as the API takes and shows them, and the way between that and their settings.

import { z } from "zod";
import type { SubscriptionEntry, TopicEntry } from "../catalog/catalog-entry";
import { checkEndpointUrl } from "../endpoint-url";
import { type FieldFault, ok, type Result } from "../errors";
import { limits } from "../limits";
import { defaultSubscriptionSettings, type StartAt, type SubscriptionSettings } from "../settings";
import { newSigningSecret } from "./auth";
import { refuseFaults } from "./parse";
import { instant, name, whole } from "./schemas";
import { HEADER_NAME, showTopic, topicFields, topicView } from "./topic-schemas";

const SIGNING_SECRET = /^whsec_[A-Za-z0-9+/]{32,88}={0,2}$/;
/** What the broker or the connection sets; an endpoint's own headers cannot. */
const RESERVED_HEADER =
  /^(?:host|content-length|content-type|connection|expect|keep-alive|te|trailer|transfer-encoding|upgrade|traceparent|proxy-.*|webhook-.*|pennypost-.*|cf-.*)$/;
const HEADER_VALUE = /^[\x20-\x7e]*$/;
const HEADER_VALUE_LENGTH = 4_096;

const endpointHeaders = z
  .record(z.string(), z.string().max(HEADER_VALUE_LENGTH))
  .default({})
  .superRefine((headers, context) => {
    const names = Object.keys(headers);
    if (names.length > limits.endpointHeaders) {
      const params = { limit: limits.endpointHeaders };
      context.addIssue({ code: "custom", message: `at most ${limits.endpointHeaders} headers`, params });
    }
    for (const header of names) {
      const fault = headerFault(header, headers[header] ?? "");
      if (fault) context.addIssue({ code: "custom", message: fault, path: [header] });
    }
  });

function headerFault(header: string, value: string): string | undefined {
  if (!HEADER_NAME.test(header)) return "this is no header's name";
  if (RESERVED_HEADER.test(header.toLowerCase())) return "this header is set by the broker";
  return HEADER_VALUE.test(value) ? undefined : "a header's value is printable ASCII";
}

const endpoint = z.strictObject({
  url: z.string(),
  headers: endpointHeaders.meta({ description: "Sent with every request. Their values are never shown." }),
  timeoutMs: whole(limits.minTimeoutMs, limits.maxTimeoutMs).default(limits.defaultTimeoutMs),
  signingSecret: z
    .string()
    .regex(SIGNING_SECRET, "`whsec_` and the base64 of 24 to 64 bytes are needed")
    .optional()
    .meta({ description: "Made by the broker unless given. Shown once, when it is made." }),
});

const subscriptionFields = {
  type: z.enum(["push", "pull"]).default("pull"),
  endpoint: endpoint.optional(),
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
  batch: z
    .strictObject({
      maxMessages: whole(1, limits.batchMessages).default(1),
      maxWaitMs: whole(0, limits.batchWaitMs).default(0),
    })
    .optional()
    .meta({ description: "Push only: several messages in one POST." }),
};

const startAt = z
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
export function checkSubscription(body: SubscriptionFields, { local }: { local: boolean }): Result<null> {
  const isPush = body.type === "push";
  const { minDelayMs, maxDelayMs } = retryOf(body);
  const faults: FieldFault[] = [];
  const complain = (field: string, detail: string) => faults.push({ field, detail });
  if (isPush && !body.endpoint) complain("endpoint", "a push subscription needs an endpoint");
  if (!isPush && body.endpoint) complain("endpoint", "a pull subscription has no endpoint");
  if (!isPush && body.batch) complain("batch", "a pull subscription has no batch: pull with max");
  if (!isPush && body.guarantee === "effectively-once") {
    complain("guarantee", "effectively-once is for push; a pull consumer uses a ledger");
  }
  faults.push(...guaranteeFaults(body));
  if (minDelayMs > maxDelayMs) {
    faults.push({ field: "retry.minDelayMs", detail: "it is above retry.maxDelayMs", limit: maxDelayMs });
  }
  const url = body.endpoint && checkEndpointUrl(body.endpoint.url, { local });
  if (url)
    faults.push({
      field: "endpoint.url",
      detail: url.detail,
      ...(url.limit !== undefined && { limit: url.limit }),
    });
  return faults.length > 0 ? refuseFaults(faults) : ok(null);
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

/** A subscription's settings from its body. A body without a signing secret keeps the one that is held. */
export function subscriptionSettings(body: SubscriptionFields): SubscriptionSettings {
  const { type, onExhausted, guarantee, maxInFlight, maxRedrives, endpoint, batch } = body;
  const { timeoutMs, url, headers, signingSecret } = endpoint ?? { timeoutMs: 0, url: "", headers: {} };
  const secrets = signingSecret === undefined ? [] : [signingSecret];
  const { maxMessages: batchMaxMessages, maxWaitMs: batchMaxWaitMs } = batch ?? {
    maxMessages: 1,
    maxWaitMs: 0,
  };
  const push = { url, headers, timeoutMs, batchMaxMessages, batchMaxWaitMs, secrets };
  const ackDeadlineMs = body.ackDeadlineMs ?? Math.max(limits.defaultAckDeadlineMs, timeoutMs);
  const maxAttempts = guarantee === "at-most-once" ? 1 : (body.maxAttempts ?? limits.defaultMaxAttempts);
  return {
    ...{ type, ackDeadlineMs, onExhausted, guarantee, maxInFlight, maxRedrives },
    retry: { maxAttempts, ...retryOf(body) },
    paused: false,
    ...(type === "push" && { push }),
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

/** The signing secret that a PUT sets: the one it gives, or a new one in case there is none yet. */
export function secretOf({ type, endpoint }: SubscriptionFields): string | undefined {
  return type === "push" ? (endpoint?.signingSecret ?? newSigningSecret()) : undefined;
}

export function startOf(startAt: z.output<typeof subscriptionBody>["startAt"]): StartAt {
  if (startAt === "latest" || startAt === "earliest") return { at: startAt };
  return "time" in startAt ? { at: "time", time: startAt.time } : { at: "offsets", offsets: startAt.offsets };
}

const subscriptionView = {
  type: z.enum(["push", "pull"]),
  endpoint: z
    .object({
      url: z.string(),
      headerNames: z.array(z.string()),
      timeoutMs: z.int(),
      signingSecret: z.string().optional().meta({ description: "Only in the answer that made it." }),
    })
    .optional(),
  ackDeadlineMs: z.int(),
  maxAttempts: z.int(),
  retry: z.object({ minDelayMs: z.int(), maxDelayMs: z.int() }),
  onExhausted: z.enum(["park", "skip", "block"]),
  guarantee: z.enum(["at-least-once", "at-most-once", "effectively-once"]),
  maxInFlight: z.int(),
  maxRedrives: z.int(),
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

/**
 * A subscription as it is shown: header values are not, and a secret only when this very PUT set it. `secret` is what
 * the PUT gave or offered.
 */
export function showSubscription(entry: SubscriptionEntry, secret?: string) {
  const { topic, name, startAt, version, createdAt, updatedAt } = entry;
  return {
    topic,
    name,
    ...showSettings(entry.settings, secret),
    startAt: showStart(startAt),
    version,
    createdAt,
    updatedAt,
  };
}

/** A queue as it is shown: its topic with its subscription's settings. */
export function showQueue(topic: TopicEntry, { settings }: SubscriptionEntry, secret?: string) {
  return { ...showTopic(topic), ...showSettings(settings, secret) };
}

function showSettings({ retry, push, ...settings }: SubscriptionSettings, secret?: string) {
  const { maxAttempts, ...delays } = retry;
  return {
    ...settings,
    maxAttempts,
    retry: delays,
    maxRedrives: settings.maxRedrives ?? limits.defaultMaxRedrives,
    ...(push && {
      endpoint: {
        url: push.url,
        headerNames: Object.keys(push.headers),
        timeoutMs: push.timeoutMs,
        ...(secret !== undefined && push.secrets[0] === secret && { signingSecret: secret }),
      },
      batch: { maxMessages: push.batchMaxMessages, maxWaitMs: push.batchMaxWaitMs },
    }),
  };
}

function showStart(startAt: StartAt) {
  if (startAt.at === "time") return { time: startAt.time };
  return startAt.at === "offsets" ? { offsets: startAt.offsets } : startAt.at;
}
