// Topics as the API takes and shows them, and the way between that and their settings.

import { z } from "zod";
import type { TopicEntry } from "../catalog/catalog-entry";
import { limits } from "../limits";
import { defaultTopicSettings, type TopicSettings } from "../settings";
import { instant, name, whole } from "./schemas";

export const HEADER_NAME = /^[a-z0-9!#$%&'*+.^_`|~-]{1,64}$/i;
/** They prove who somebody is to us, and are nobody else's business. */
const PRIVATE_HEADERS: ReadonlySet<string> = new Set(["authorization", "cookie", "proxy-authorization"]);

const keptHeader = z
  .string()
  .regex(HEADER_NAME, "a header's name is needed")
  .transform((value) => value.toLowerCase())
  .refine((value) => !PRIVATE_HEADERS.has(value), "this header is never kept");

export const topicFields = {
  partitions: whole(1, limits.partitions).optional().meta({
    description: "1 unless said; it can be raised to a multiple of what it is, and never lowered.",
  }),
  retentionMs: whole(limits.minRetentionMs, limits.maxRetentionMs).default(defaultTopicSettings.retentionMs),
  retentionBytes: whole(limits.minRetentionBytes, limits.topicBytes)
    .default(defaultTopicSettings.retentionBytes)
    .meta({
      description:
        "Bytes of messages that a partition keeps. What all subscriptions settled makes room; else publishes are refused.",
    }),
  keepHeaders: z
    .array(keptHeader)
    .max(limits.keptHeaderCount)
    .default([])
    .meta({ description: "Headers of a single publish to keep with the message." }),
  idHeader: keptHeader.optional().meta({
    description: "The header that carries the message id when there is no Idempotency-Key.",
    example: "X-GitHub-Delivery",
  }),
};

export const topicBody = z.strictObject(topicFields).meta({ id: "TopicSettings" });

export const topicView = z
  .object({
    name,
    kind: z.enum(["topic", "queue"]),
    partitions: z.int(),
    retentionMs: z.int(),
    retentionBytes: z.int(),
    keepHeaders: z.array(z.string()),
    idHeader: z.string().optional(),
    version: z.int(),
    createdAt: instant,
    updatedAt: instant,
  })
  .meta({ id: "Topic" });

export const topicStats = z
  .object({
    topic: name,
    partitions: z.array(
      z.object({
        partition: z.int(),
        earliest: z.int().meta({ description: "The oldest offset still retained." }),
        head: z.int().meta({ description: "The offset that the next message will take." }),
        bytes: z.int().meta({ description: "On disk, publish keys and all." }),
        messageBytes: z.int().meta({ description: "Messages, as retentionBytes counts them." }),
        subscriptions: z.int(),
        rejections: z.int(),
      }),
    ),
  })
  .meta({ id: "TopicStats" });

/** A topic's settings from its body. */
export function topicSettings({
  retentionMs,
  retentionBytes,
  keepHeaders,
  idHeader,
}: Pick<
  z.output<typeof topicBody>,
  "retentionMs" | "retentionBytes" | "keepHeaders" | "idHeader"
>): TopicSettings {
  const kept = { retentionMs, retentionBytes, keepHeaders: [...new Set(keepHeaders)] };
  return { ...kept, ...(idHeader !== undefined && { idHeader }) };
}

export function showTopic({ name, kind, partitions, settings, version, createdAt, updatedAt }: TopicEntry) {
  // An entry of before a setting was added has its default.
  return { name, kind, partitions, ...defaultTopicSettings, ...settings, version, createdAt, updatedAt };
}
