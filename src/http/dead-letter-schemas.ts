// Dead letters as the API takes and shows them: what chooses them, how they are sent round, and what became of them.

import { type ZodType, z } from "zod";
import type { DeadLetter, DeadLetterFilter } from "../dead-letter-calls";
import { type FieldFault, ok, type Result } from "../errors";
import { limits } from "../limits";
import { messageJson } from "../message-json";
import { unpackRecords } from "../record-batch";
import { refuseFaults } from "./parse";
import {
  instant,
  type LetterPlace,
  letterPlace,
  letterText,
  messageFields,
  name,
  page,
  problem,
  queryNumber,
  text,
  whole,
} from "./schemas";

const reasons = ["attempts-spent", "rejected", "expired", "undeliverable", "loop"] as const;
/** As many as a place can name. */
export const HIGHEST_EPOCH = 999_999_999;

/** One ended attempt. */
export const attempt = z.object({
  at: instant,
  status: z.int().optional(),
  error: z.string().optional(),
  latencyMs: z.number().optional(),
  together: z.int().optional().meta({
    description:
      "The ack deadline ended it, and this many were leased together then. Of more than one nobody knows which stopped the consumer: it did not count.",
  }),
});

// ── what chooses ─────────────────────────────────────────────────────────────────────────────────────

const reason = z.enum(reasons).optional();
const orderingKey = text(1, limits.orderingKeyBytes).optional();

/** A page of those that match: every word of the query must hold. */
export const letterQuery = page.extend({
  reason,
  orderingKey,
  epoch: queryNumber(0, HIGHEST_EPOCH).optional(),
  diedAfter: queryNumber(0, Number.MAX_SAFE_INTEGER).optional(),
  diedBefore: queryNumber(0, Number.MAX_SAFE_INTEGER).optional(),
});

const filter = z
  .strictObject({
    reason,
    orderingKey,
    epoch: whole(0, HIGHEST_EPOCH).optional(),
    diedAfter: instant.optional().meta({ description: "Dead since this instant, in epoch milliseconds." }),
    diedBefore: instant.optional().meta({ description: "Dead before this instant." }),
  })
  .refine((words) => Object.keys(words).length > 0, "a word to choose by is needed; say `all` for all")
  .meta({ id: "DeadLetterFilter", description: "Every word must hold." });

const choice = {
  ids: z.array(letterPlace).min(1).max(limits.deadLettersPerCall).optional(),
  all: z.literal(true).optional(),
  where: filter.optional(),
};
type Choice = Readonly<{
  ids?: readonly LetterPlace[] | undefined;
  all?: true | undefined;
  where?: Loose<DeadLetterFilter> | undefined;
}>;
/** As zod says it: a field that is absent may be there and undefined. */
type Loose<T> = { readonly [K in keyof T]?: T[K] | undefined };

const ONE_OF = "exactly one of `ids`, `all` and `where` is needed";
const choosesOnce = ({ ids, all, where }: Choice) =>
  [ids, all, where].filter((each) => each !== undefined).length === 1;

/** What to purge. */
export const selection = z
  .strictObject(choice)
  .refine(choosesOnce, ONE_OF)
  .meta({ id: "DeadLetterSelection" });

/** What to send round, when and where to. */
export const redriveBody = z
  .strictObject({
    ...choice,
    perSecond: z
      .number()
      .min(limits.minRedrivesPerSecond)
      .max(limits.maxRedrivesPerSecond)
      .optional()
      .meta({ description: "One after another, at this rate; at once unless given." }),
    notBefore: instant.optional().meta({ description: "When the first is available." }),
    force: z
      .boolean()
      .default(false)
      .meta({ description: "Also those that were sent round `maxRedrives` times." }),
    toTopic: name.optional().meta({
      description: "Another topic or queue, which gets their messages. The token may publish to it.",
    }),
  })
  .refine(choosesOnce, ONE_OF)
  .meta({ id: "Redrive" });
export type Redrive = z.output<typeof redriveBody>;

/** What is chosen: some by their ids, or those that match. */
export type Selection = Readonly<{ ids: readonly LetterPlace[] } | { where: DeadLetterFilter }>;

/** The selection of a body that chooses once. */
export function selectionOf({ ids, where = {} }: Choice): Selection {
  return ids === undefined ? { where: filterOf(where) } : { ids };
}

/** The words that were said. */
export function filterOf({
  reason,
  orderingKey,
  epoch,
  diedAfter,
  diedBefore,
}: Loose<DeadLetterFilter>): DeadLetterFilter {
  return {
    ...(reason !== undefined && { reason }),
    ...(orderingKey !== undefined && { orderingKey }),
    ...(epoch !== undefined && { epoch }),
    ...(diedAfter !== undefined && { diedAfter }),
    ...(diedBefore !== undefined && { diedBefore }),
  };
}

/** The rules between the fields of a redrive from `topic`, at the instant `now`. All speak together. */
export function checkRedrive(body: Redrive, topic: string, now: number): Result<null> {
  const faults: FieldFault[] = [];
  const latest = now + limits.redriveAheadMs;
  if (body.notBefore !== undefined && body.notBefore > latest) {
    faults.push({ field: "notBefore", detail: "it is too far ahead", limit: latest });
  }
  if (body.toTopic === topic) {
    const detail =
      "they are of this topic: without `toTopic` they go round again, to this subscription alone";
    faults.push({ field: "toTopic", detail });
  }
  if (body.toTopic !== undefined) {
    const round = ["perSecond", "notBefore"] as const;
    const said = round.filter((field) => body[field] !== undefined);
    for (const field of said) faults.push({ field, detail: "what goes to another topic goes at once" });
  }
  return faults.length > 0 ? refuseFaults(faults) : ok(null);
}

// ── what is shown ────────────────────────────────────────────────────────────────────────────────────

export const deadLetter = z
  .object({
    id: z.string().meta({ description: "`{partition}.{epoch}.{offset}`" }),
    partition: z.int(),
    epoch: z
      .int()
      .meta({ description: "Dead letters of an earlier epoch than the stats show are of before a seek." }),
    offset: z.int(),
    orderingKey: z.string().optional(),
    diedAt: instant,
    reason: z.enum(reasons),
    detail: z.string().optional(),
    attempts: z.int(),
    redrives: z.int().meta({ description: "How often it was sent round again." }),
    history: z.array(attempt),
    message: z
      .object(messageFields)
      .omit({ partition: true, offset: true })
      .optional()
      .meta({ description: "Absent only when retention removed it." }),
  })
  .meta({ id: "DeadLetter" });

const counted = (verb: string, others: Readonly<Record<string, ZodType>>) => ({
  200: {
    description: `How many were ${verb}; one that is not there any more is not counted.`,
    schema: z.object({
      [verb]: z.int(),
      ...others,
      more: z.boolean().meta({ description: "Some are left: ask again." }),
    }),
  },
});

export const purgeAnswers = counted("purged", {});
export const redriveAnswers = counted("redriven", {
  superseded: z
    .int()
    .meta({ description: "Of before a seek, delivered by the present epoch anyway, and taken out." }),
  moved: z.int().optional().meta({ description: "With `toTopic`: the other topic has them." }),
  refused: z.int().meta({ description: "They stay dead letters." }),
  refusals: z
    .array(z.object({ id: z.string(), error: problem }))
    .optional()
    .meta({ description: `Why, for up to ${limits.refusalsShown} of those refused.` }),
  until: instant
    .optional()
    .meta({ description: "When the next would be available: the `notBefore` to ask again with." }),
});

/** A dead letter as it is shown, with its message. */
export function showLetter(partition: number, { record, ...letter }: DeadLetter) {
  const [message] = record ? unpackRecords(record) : [];
  const id = letterText({ partition, ...letter });
  return { id, partition, ...letter, ...(message && { message: messageJson(message) }) };
}
