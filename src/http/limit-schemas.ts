// Limits of tokens and topics as the API takes and shows them.

import { z } from "zod";
import type { TokenLimits } from "../limit-policy";
import { limits } from "../limits";
import { present } from "./json";
import { instant, whole } from "./schemas";

/** Exactly one of the periods is named. */
function oneOf<F extends Readonly<Record<string, z.ZodOptional<z.ZodInt>>>>(fields: F) {
  const periods = Object.keys(fields);
  return z
    .strictObject(fields)
    .refine((limit) => Object.values(limit).filter((units) => units !== undefined).length === 1, {
      message: `name one of ${periods.join(", ")}`,
    });
}

function rateOf(max: number) {
  const units = whole(1, max).optional();
  return oneOf({ perSecond: units, perMinute: units, perHour: units });
}

function quotaOf(max: number) {
  const units = whole(1, max).optional();
  return oneOf({ perDay: units, perMonth: units });
}

/** Of a token. */
export const tokenLimitFields = {
  rateLimit: rateOf(limits.rateRequests).optional().meta({
    description: "Requests in so long at most; acks, nacks and extensions count and are never refused.",
  }),
  quota: quotaOf(limits.quotaMessages).optional().meta({
    description: "Messages that it publishes in a day or a calendar month (UTC) at most.",
  }),
};

/** Of a topic or a queue. */
export const topicLimitFields = {
  publishRateLimit: rateOf(limits.rateMessages).optional().meta({
    description: "Messages that are published to it in so long at most, by all tokens together.",
  }),
  publishQuota: quotaOf(limits.quotaMessages).optional().meta({
    description: "Messages that are published to it in a day or a calendar month (UTC) at most.",
  }),
};

const shownRate = z.object({
  perSecond: z.int().optional(),
  perMinute: z.int().optional(),
  perHour: z.int().optional(),
});
const shownQuota = z.object({ perDay: z.int().optional(), perMonth: z.int().optional() });
export const tokenLimitsShown = { rateLimit: shownRate.optional(), quota: shownQuota.optional() };
export const topicLimitsShown = {
  publishRateLimit: shownRate.optional(),
  publishQuota: shownQuota.optional(),
};

/** How limits stand, where one thing is shown. */
export const limitsLeft = z
  .array(
    z.object({
      policy: z.string().meta({ description: "Its name in RateLimit-Policy." }),
      limit: z.int(),
      left: z.int().nullable().meta({
        description: "What was not handed out yet: isolates may hold more. Null while nobody can tell.",
      }),
      resetsAt: instant.nullable(),
    }),
  )
  .optional()
  .meta({ description: "How its limits stand; absent when it has none." });

/** A token's limits from a body; null when there are none. */
export function tokenLimits({ rateLimit, quota }: TokenLimits): TokenLimits | null {
  if (rateLimit === undefined && quota === undefined) return null;
  return present({ rateLimit, quota });
}
