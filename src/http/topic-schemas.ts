// Topics as the API takes and shows them, and the way between that and their settings.

import { z } from "zod";
import type { TopicEntry } from "../catalog/catalog-entry";
import type { FieldFault } from "../errors";
import type { JsonSchema, ValueSource } from "../intake-form";
import { limits } from "../limits";
import { DEFAULT_PRIORITY, layoutOf } from "../priority";
import { schemaFaults } from "../schema/schema-validator";
import { defaultTopicSettings, type TopicSettings } from "../settings";
import { present } from "./json";
import { limitsLeft, topicLimitFields, topicLimitsShown } from "./limit-schemas";
import { instant, name, whole } from "./schemas";

/** Without flags, as are all that the OpenAPI document shows: it cannot say them. */
export const HEADER_NAME = /^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}$/;
/** They prove who somebody is to us, and are nobody else's business. */
const PRIVATE_HEADERS: ReadonlySet<string> = new Set(["authorization", "cookie", "proxy-authorization"]);

const POINTER = /^(?:\/(?:[^~]|~[01])*)?$/;

const keptHeader = z
  .string()
  .regex(HEADER_NAME, "a header's name is needed")
  .transform((value) => value.toLowerCase())
  .refine((value) => !PRIVATE_HEADERS.has(value), "this header is never kept");

const sourceForm = z
  .strictObject({
    header: keptHeader
      .optional()
      .meta({ description: "Of a single publish; the items of a batch have none." }),
    pointer: z
      .string()
      .max(limits.pointerLength)
      .regex(POINTER, "a JSON pointer (RFC 6901) is needed: nothing, or names that each begin with /")
      .optional()
      .meta({ description: "A place in the JSON of the body (RFC 6901).", example: "/order/customer" }),
    required: z.boolean().default(false).meta({ description: "Whether a message without it is refused." }),
  })
  .refine(
    ({ header, pointer }) => (header === undefined) !== (pointer === undefined),
    "one of header and pointer is needed",
  )
  .transform(({ header, pointer = "", required }): ValueSource => {
    const place = header === undefined ? { pointer } : { header };
    return { ...place, ...(required && { required }) };
  })
  .meta({
    id: "ValueSource",
    description: "Where a foreign sender keeps a value: a header or a place in its body, one of them.",
  });

const schemaForm = z
  .custom<JsonSchema>()
  .superRefine((value, context) => {
    for (const { path, detail, limit } of schemaFaults(value)) {
      context.addIssue({
        code: "custom",
        message: detail,
        path: [...path],
        ...(limit !== undefined && { params: { limit } }),
      });
    }
  })
  .meta({
    id: "JsonSchema",
    type: "object",
    description:
      "A JSON Schema (2020-12 or draft 7) that the body of every message published from now on must match. " +
      "docs/intake.md says what may stand in it.",
    example: { type: "object", required: ["orderId"], properties: { orderId: { type: "string" } } },
  });

export const topicFields = {
  partitions: whole(1, limits.partitions).optional().meta({
    description:
      "Of each priority. 1 unless said; it can be raised to a multiple of what it is while there are no priorities, and never lowered.",
  }),
  priorities: z
    .array(whole(0, limits.maxPriority))
    .min(1)
    .max(limits.maxPriority + 1)
    .refine((list) => new Set(list).size === list.length, "each priority is listed once")
    .refine((list) => list.includes(DEFAULT_PRIORITY), "0 is needed: a message that names no priority has it")
    .optional()
    .meta({
      description:
        "The priorities in use: each is a log of its own. More can be added later, and none taken away.",
      example: [0, 5, 9],
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
  idFrom: sourceForm.optional().meta({
    description:
      "Where the message id is when the publisher names none. With a header it says what idHeader does.",
  }),
  orderingKeyFrom: sourceForm
    .optional()
    .meta({ description: "Where the ordering key is when the publisher names none." }),
  subjectFrom: sourceForm
    .optional()
    .meta({ description: "Where the subject is when the publisher names none." }),
  schema: schemaForm.optional(),
  ...topicLimitFields,
};

export const topicBody = z.strictObject(topicFields).meta({ id: "TopicSettings" });

const shownSource = z.object({
  header: z.string().optional(),
  pointer: z.string().optional(),
  required: z.boolean().optional(),
});

export const topicView = z
  .object({
    name,
    kind: z.enum(["topic", "queue"]),
    partitions: z.int().meta({ description: "Of each priority." }),
    priorities: z.array(z.int()).optional(),
    retentionMs: z.int(),
    retentionBytes: z.int(),
    keepHeaders: z.array(z.string()),
    idHeader: z.string().optional(),
    idFrom: shownSource.optional(),
    orderingKeyFrom: shownSource.optional(),
    subjectFrom: shownSource.optional(),
    schema: z.record(z.string(), z.unknown()).optional(),
    ...topicLimitsShown,
    version: z.int(),
    createdAt: instant,
    updatedAt: instant,
  })
  .meta({ id: "Topic" });

export const topicShown = topicView.extend({ limits: limitsLeft }).meta({ id: "TopicWithLimits" });

export const topicStats = z
  .object({
    topic: name,
    partitions: z.array(
      z.object({
        partition: z.int(),
        priority: z.int().optional(),
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

type TopicFields = z.output<z.ZodObject<typeof topicFields>>;

/** The rules between fields. */
export function topicFaults({ idHeader, idFrom, ...body }: TopicFields): readonly FieldFault[] {
  const faults: FieldFault[] = [];
  if (idHeader !== undefined && idFrom !== undefined) {
    faults.push({ field: "idFrom", detail: "idHeader says where the id is: give one of them" });
  }
  const { partitions = 1, priorities = [DEFAULT_PRIORITY] } = body;
  const most = Math.floor(limits.partitions / partitions);
  if (priorities.length > most) {
    const detail = `there are at most ${limits.partitions} partitions in all, so at most ${most} priorities of ${partitions} each`;
    faults.push({ field: "priorities", detail, limit: most });
  }
  return faults;
}

/** A topic's settings from its body. */
export function topicSettings(body: TopicFields): TopicSettings {
  const { retentionMs, retentionBytes, keepHeaders, idHeader } = body;
  const { idFrom, orderingKeyFrom, subjectFrom, schema, priorities, publishRateLimit, publishQuota } = body;
  const kept = { retentionMs, retentionBytes, keepHeaders: [...new Set(keepHeaders)] };
  const read = { idHeader, idFrom, orderingKeyFrom, subjectFrom, schema, priorities };
  return { ...kept, ...present({ ...read, publishRateLimit, publishQuota }) };
}

export function showTopic(topic: TopicEntry) {
  const { name, kind, version, createdAt, updatedAt } = topic;
  const { priorities: added, ...settings } = topic.settings;
  const { each: partitions, priorities } = layoutOf(topic);
  return {
    ...{ name, kind, partitions, ...(added && { priorities: priorities.toSorted((a, b) => a - b) }) },
    // An entry of before a setting was added has its default.
    ...{ ...defaultTopicSettings, ...settings, version, createdAt, updatedAt },
  };
}
