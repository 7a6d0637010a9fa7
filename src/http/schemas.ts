// The words that the API's requests and answers share: names, ids, numbers and pages, each with its limit.

import { type ZodType, z } from "zod";
import { ACK_ID, type AckId, parseAckId } from "../ack-id";
import { limits } from "../limits";

const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]*$/;
const MESSAGE_ID = /^[\x21-\x2d\x2f-\x7e]+$/;
const WHOLE_NUMBER = /^(?:0|[1-9]\d{0,15})$/;
const PLACE = /^(0|[1-9]\d{0,2})\.(0|[1-9]\d{0,15})$/;
const LETTER_PLACE = /^(0|[1-9]\d{0,2})\.(0|[1-9]\d{0,8})\.(0|[1-9]\d{0,15})$/;

/** A whole number from `min` to `max`. */
export function whole(min: number, max: number) {
  return z.int(`a whole number from ${min} to ${max} is needed`).min(min).max(max);
}

/** Text of `min` to `max` characters, every one of them whole: a lone surrogate has no UTF-8. */
export function text(min: number, max: number) {
  return z
    .string()
    .min(min)
    .max(max)
    .refine((value) => value.isWellFormed(), "a string of whole characters is needed");
}

/** The name of a topic, a queue, a subscription or a ledger. */
export const name = z
  .string()
  .max(limits.nameLength)
  .regex(
    NAME,
    `1 to ${limits.nameLength} letters, digits, '.', '-' or '_', the first a letter or digit, are needed`,
  )
  .meta({ example: "payments.confirmed" });

export const messageId = z
  .string()
  .max(limits.messageIdLength)
  .regex(MESSAGE_ID, "printable ASCII characters without space and '.' are needed")
  .meta({ example: "0198f0a2-4c1e-7d3a-9b57-3f1c2a5d6e7f" });

export const instant = whole(0, Number.MAX_SAFE_INTEGER).meta({
  description: "Epoch milliseconds.",
  example: 1_790_000_000_000,
});

/** An instant as a publisher may say it. */
export const askedInstant = z.union([instant, z.iso.datetime({ offset: true })]).meta({
  description: "Epoch milliseconds, or ISO 8601 with its offset.",
  example: "2027-03-01T09:00:00+01:00",
});

/** A whole number in a query. */
export function queryNumber(min: number, max: number) {
  return z
    .string()
    .regex(WHOLE_NUMBER, `a whole number from ${min} to ${max} is needed`)
    .transform(Number)
    .pipe(whole(min, max))
    .meta({ type: "integer", minimum: min, maximum: max });
}

/** Where a page of a list begins: what the page before called `next`. */
export const page = z.strictObject({
  after: text(1, 256).optional().meta({ description: "The `next` of the page before." }),
  limit: queryNumber(1, limits.pageItems).default(limits.pageItems),
});

/** A place in a topic, `{partition}.{offset}`. */
export const place = z
  .string()
  .regex(PLACE, "a partition, '.' and an offset are needed")
  .transform((value) => {
    const [, partition, offset] = PLACE.exec(value) ?? [];
    return { partition: Number(partition), offset: Number(offset) };
  })
  .meta({ type: "string", example: "0.42" });
export type Place = Readonly<{ partition: number; offset: number }>;

export function placeText({ partition, offset }: Place): string {
  return `${partition}.${offset}`;
}

/** What names a dead letter, `{partition}.{epoch}.{offset}`: a seek begins another epoch. */
export const letterPlace = z
  .string()
  .regex(LETTER_PLACE, "a partition, '.', an epoch, '.' and an offset are needed")
  .transform((value) => {
    const [, partition, epoch, offset] = LETTER_PLACE.exec(value) ?? [];
    return { partition: Number(partition), epoch: Number(epoch), offset: Number(offset) };
  })
  .meta({ type: "string", example: "0.0.42" });
export type LetterPlace = Place & Readonly<{ epoch: number }>;

export function letterText({ partition, epoch, offset }: LetterPlace): string {
  return `${partition}.${epoch}.${offset}`;
}

/** An ack id, `{partition}.{offset}.{lease id}`. */
export const ackId = z
  .string()
  .max(128)
  .regex(ACK_ID, "this is no ack id")
  .transform((value) => parseAckId(value) as AckId)
  .meta({ type: "string", example: "0.42.0198f0a2-4c1e-7d3a-9b57-3f1c2a5d6e7f" });

/** A page of items and where the next begins; null when this is the last. */
export function listOf(items: string, schema: ZodType) {
  return z.object({ [items]: z.array(schema), next: z.string().nullable() });
}

export const problem = z
  .object({
    type: z.string().meta({ example: "/docs/problems#invalid-request" }),
    title: z.string(),
    status: z.int(),
    detail: z.string(),
    retryable: z.boolean().meta({ description: "Whether the same request may succeed later." }),
    field: z.string().optional().meta({ description: "What in the request was refused." }),
    limit: z.union([z.number(), z.string()]).optional().meta({ description: "The limit that it met." }),
    faults: z
      .array(
        z.object({
          field: z.string(),
          detail: z.string(),
          limit: z.union([z.number(), z.string()]).optional(),
        }),
      )
      .optional()
      .meta({ description: "Everything that was refused, when that is more than one field." }),
    "violated-policies": z
      .array(z.string())
      .optional()
      .meta({ description: "The limits that were met, by their names in RateLimit-Policy." }),
  })
  .meta({ id: "Problem", description: "RFC 9457 problem details." });

/** A message as it comes out: exactly one of `data` and `dataBase64` is there. */
export const messageFields = {
  id: z.string(),
  partition: z.int(),
  offset: z.int(),
  contentType: z.string(),
  data: z.string().optional().meta({ description: "The bytes as text." }),
  dataBase64: z.string().optional().meta({ description: "The bytes as base64, when they are not UTF-8." }),
  orderingKey: z.string().optional(),
  subject: z.string().optional(),
  attributes: z.record(z.string(), z.string()).optional(),
  headers: z.record(z.string(), z.string()).optional().meta({ description: "Headers that the topic kept." }),
  traceparent: z.string().optional(),
  tracestate: z.string().optional(),
  publishedAt: instant,
  deliverAt: instant
    .optional()
    .meta({ description: "When it was due, if it was delayed: epoch milliseconds." }),
  expiresAt: instant
    .optional()
    .meta({ description: "Nobody is handed it from then on: epoch milliseconds." }),
};
