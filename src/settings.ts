// What can be set on a topic and on a subscription. The catalog keeps the settings with a version, http/
// validates them, and each object holds its own copy.

import type { EndpointAuth, Signing } from "./endpoint-secrets";
import type { Verification } from "./endpoint-verification";
import type { Filter } from "./filter-form";
import type { JsonSchema, ValueSource } from "./intake-form";
import type { TopicLimits } from "./limit-policy";
import { limits } from "./limits";
import type { Rate } from "./pace";

export type { Rate } from "./pace";

export type TopicSettings = TopicLimits &
  Readonly<{
    retentionMs: number;
    /** How many bytes of messages a partition keeps; what every subscription has settled makes room. */
    retentionBytes: number;
    /** Headers of the publish request to keep with the message, by lower-case name. */
    keepHeaders: readonly string[];
    /** A header that carries the message id when the sender sets no `Idempotency-Key`, by lower-case name. */
    idHeader?: string;
    /** Where the id, the ordering key and the subject are read when the publisher names none. */
    idFrom?: ValueSource;
    orderingKeyFrom?: ValueSource;
    subjectFrom?: ValueSource;
    /** What the body of every message must match. */
    schema?: JsonSchema;
    /** The priorities in use, in the order in which they were added: so their partitions lie. Absent: there are none. */
    priorities?: readonly number[];
  }>;

/** What happens to a lane when its head is out of attempts: it waits for the operator, goes on, or retries for ever. */
export type OnExhausted = "park" | "skip" | "block";
export type Guarantee = "at-least-once" | "at-most-once" | "effectively-once";

/** Sent to an endpoint, fetched by consumers, or appended to another topic. */
export type DeliveryKind = "push" | "pull" | "forward";

/** The topic that messages are forwarded to, in the life that it had when this was set. */
export type Forward = Readonly<{ topic: string; generation: string }>;

export type RetryPolicy = Readonly<{ maxAttempts: number; minDelayMs: number; maxDelayMs: number }>;

export type SubscriptionSettings = Readonly<{
  type: DeliveryKind;
  ackDeadlineMs: number;
  retry: RetryPolicy;
  onExhausted: OnExhausted;
  guarantee: Guarantee;
  /** Deliveries leased at once, per partition. */
  maxInFlight: number;
  /** What of the topic is delivered; absent: everything. */
  filter?: Filter;
  /** How often a dead letter may be sent round again; absent from settings of before this could be set. */
  maxRedrives?: number;
  paused: boolean;
  /** Why it is paused when the broker paused it: `endpoint-gone` or `target-gone`. */
  pausedReason?: string;
  /** Present exactly when `type` is push. */
  push?: PushSettings;
  /** Present exactly when `type` is forward. */
  forward?: Forward;
}>;

/** How a message stands in its request. */
export const PUSH_FORMATS = ["raw", "cloudevents-binary", "cloudevents-structured"] as const;
export type PushFormat = (typeof PUSH_FORMATS)[number];

/** Nothing secret of these is ever returned, but for a signing secret in the answer that made it. */
export type PushSettings = Signing &
  Readonly<{
    url: string;
    /** Plain values: those that were just given, or those of before they were sealed. */
    headers: Readonly<Record<string, string>>;
    /** Sealed values, by name. */
    sealedHeaders?: Readonly<Record<string, string>>;
    auth?: EndpointAuth;
    timeoutMs: number;
    /** Above 1, a POST carries up to this many messages as JSON. */
    batchMaxMessages: number;
    batchMaxWaitMs: number;
    /** `raw` when absent. */
    format?: PushFormat;
    /** At most so many requests in so long, evenly spaced, over all partitions together. Absent: no limit. */
    rate?: Rate;
    /** Requests under way at once over all partitions together. Absent: as many as the broker makes. */
    maxConcurrency?: number;
    /** Requests a second that a backlog drains at after the endpoint was away. Absent: by what it took before. */
    drainPerSecond?: number;
    /** How it shows that it wants what it is sent, and whether it has. Absent: nobody asks. */
    verification?: Verification;
  }>;

export type StartAt =
  | Readonly<{ at: "earliest" }>
  | Readonly<{ at: "latest" }>
  | Readonly<{ at: "time"; time: number }>
  | Readonly<{ at: "offsets"; offsets: Readonly<Record<string, number>> }>;

export const defaultTopicSettings: TopicSettings = {
  retentionMs: limits.defaultRetentionMs,
  retentionBytes: limits.defaultRetentionBytes,
  keepHeaders: [],
};

export const defaultSubscriptionSettings: SubscriptionSettings = {
  type: "pull",
  ackDeadlineMs: limits.defaultAckDeadlineMs,
  retry: {
    maxAttempts: limits.defaultMaxAttempts,
    minDelayMs: limits.defaultMinRetryDelayMs,
    maxDelayMs: limits.defaultMaxRetryDelayMs,
  },
  onExhausted: "park",
  guarantee: "at-least-once",
  maxInFlight: limits.defaultMaxInFlight,
  paused: false,
};
