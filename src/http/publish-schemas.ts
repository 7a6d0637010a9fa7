// What publishing takes and answers, for the OpenAPI page: publish-items.ts reads it by hand.

import { z } from "zod";
import { EVENT_BATCH_JSON, EVENT_JSON, SPECVERSION } from "../cloud-event";
import { limits } from "../limits";
import { askedInstant, instant, messageId, name, problem, queryNumber, whole } from "./schemas";

const priority = whole(0, limits.maxPriority).meta({
  description: "One that the topic lists; 0 when it is not said. A higher one is handed out first.",
});

/** Both, or neither. */
export const producerHeaders = z.object({
  "Pennypost-Producer": name.meta({
    description: "Who numbers its messages. With it the publish is stored whole or not at all.",
    example: "orders-outbox",
  }),
  "Pennypost-Sequence": queryNumber(1, limits.maxSequence).meta({
    description: "The number that the producer gave the first message; the others count up from it.",
  }),
});

export const publishHeaders = z.object({
  "Idempotency-Key": messageId.optional().meta({
    description: "The message id. The same id with the same content is stored once.",
  }),
  "Pennypost-Ordering-Key": z.string().max(limits.orderingKeyBytes).optional().meta({
    description: "Messages with one key are delivered one at a time and in order.",
  }),
  "Pennypost-Subject": z.string().max(limits.subjectBytes).optional().meta({
    description: "Words between dots that subscriptions may filter on.",
    example: "orders.eu.created",
  }),
  "Pennypost-Priority": priority.optional(),
  "Pennypost-Delay-Ms": whole(0, limits.maxDelayMs).optional().meta({
    description: "Deliver it this much later. Until then it can be cancelled or moved by its id.",
  }),
  "Pennypost-Deliver-At": askedInstant.optional(),
  "Pennypost-Ttl-Ms": whole(limits.minTtlMs, limits.maxTtlMs).optional().meta({
    description: "Nobody is handed it later than this after it was published, or was due.",
  }),
  "Pennypost-Attr-{name}": z.string().optional().meta({ description: "An attribute of the message." }),
  "Pennypost-Producer": producerHeaders.shape["Pennypost-Producer"].optional(),
  "Pennypost-Sequence": producerHeaders.shape["Pennypost-Sequence"].optional(),
  Prefer: z
    .string()
    .optional()
    .meta({
      description:
        "`wait`: answer only when it is stored. `matched`: so, and say how many subscriptions each message matched. " +
        "`Preference-Applied` names those that were heeded.",
      example: "wait, matched",
    }),
  traceparent: z.string().optional().meta({ description: "W3C Trace Context." }),
  tracestate: z.string().optional(),
  "ce-{attribute}": z.string().optional().meta({
    description: "An attribute of a CloudEvent in binary mode. Its id is the message id.",
  }),
});

export const batchHeaders = publishHeaders.pick({
  "Pennypost-Producer": true,
  "Pennypost-Sequence": true,
  Prefer: true,
  traceparent: true,
  tracestate: true,
});

const cloudEvent = z
  .looseObject({
    specversion: z.literal(SPECVERSION),
    id: z.string().min(1),
    source: z.string().min(1).meta({ description: "A URI reference." }),
    type: z.string().min(1),
    subject: z.string().max(limits.subjectBytes).optional(),
    time: z.string().optional(),
    datacontenttype: z.string().max(limits.contentTypeBytes).optional(),
    dataschema: z.string().optional(),
    data: z.unknown().optional(),
    data_base64: z.string().optional(),
  })
  .meta({ id: "CloudEvent", description: "Further members are extensions." });

/** CloudEvents as a body. */
export const eventContent = {
  [EVENT_JSON]: cloudEvent,
  [EVENT_BATCH_JSON]: z.array(cloudEvent).min(1).max(limits.publishMessages),
};

export const item = z
  .strictObject({
    id: messageId.optional(),
    orderingKey: z.string().max(limits.orderingKeyBytes).optional(),
    subject: z.string().max(limits.subjectBytes).optional(),
    contentType: z.string().max(limits.contentTypeBytes).optional(),
    data: z.unknown().optional().meta({
      description: "A string is its UTF-8 bytes; any other JSON value is serialised once.",
    }),
    dataBase64: z.string().optional().meta({ description: "In place of `data`, for any bytes." }),
    attributes: z.record(z.string(), z.string()).optional(),
    priority: priority.optional(),
    delayMs: whole(0, limits.maxDelayMs).optional(),
    deliverAt: askedInstant.optional(),
    ttlMs: whole(limits.minTtlMs, limits.maxTtlMs).optional(),
  })
  .meta({ id: "MessageToPublish" });

export const batchBody = z
  .strictObject({
    messages: z.array(item).min(1).max(limits.publishMessages),
    atomic: z.boolean().optional().meta({ description: "One refused message refuses all." }),
  })
  .meta({ id: "Batch" });

const accepted = z
  .object({
    status: z.literal("accepted"),
    messages: z.array(z.object({ id: z.string(), error: problem.optional() })),
  })
  .meta({ id: "Accepted" });

const stored = z
  .object({
    status: z.literal("stored"),
    messages: z.array(
      z.object({
        id: z.string().optional().meta({
          description:
            "Left out of what its producer's number says was stored before, under an id of the broker.",
        }),
        partition: z.int().optional(),
        offset: z.int().optional(),
        duplicate: z
          .boolean()
          .optional()
          .meta({ description: "It met its first publish, which has this place." }),
        timeline: z
          .string()
          .optional()
          .meta({ description: "Of a duplicate: the path of the first publish and its timeline." }),
        sequence: z.int().optional().meta({
          description: "In place of an offset: the producer's number, which was accepted before.",
        }),
        scheduledFor: instant
          .optional()
          .meta({ description: "In place of an offset: when it is due to take one." }),
        cancelled: z.literal(true).optional().meta({ description: "Its first publish was cancelled." }),
        matched: z.int().optional().meta({
          description: "With `Prefer: matched`: how many of the topic's subscriptions it matches.",
        }),
        error: problem.optional(),
      }),
    ),
  })
  .meta({ id: "Stored" });

export const published = {
  201: { description: "On disk in the topic.", schema: stored },
  202: { description: "On disk in the Cloudflare Queue, on its way to the topic.", schema: accepted },
};
