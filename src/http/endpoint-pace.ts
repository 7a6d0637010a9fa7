// How fast an endpoint may be sent to, as the API takes and shows it.

import { z } from "zod";
import { limits } from "../limits";
import type { PushSettings, Rate } from "../settings";
import { whole } from "./schemas";

const PERIODS_MS = { perSecond: 1_000, perMinute: 60_000, perHour: 3_600_000 } as const;
type Period = keyof typeof PERIODS_MS;
const PERIODS = Object.keys(PERIODS_MS) as Period[];

const requests = whole(1, limits.rateRequests).optional();

const rateLimit = z
  .strictObject({ perSecond: requests, perMinute: requests, perHour: requests })
  .refine((rate) => PERIODS.filter((period) => rate[period] !== undefined).length === 1, {
    message: "name one of perSecond, perMinute and perHour",
  });

/** Of an endpoint. */
export const paceFields = {
  rateLimit: rateLimit.optional().meta({
    description: "Requests in so long at most, evenly spaced, over all partitions together.",
  }),
  maxConcurrency: whole(1, limits.maxConcurrency).optional().meta({
    description:
      "Requests under way at once over all partitions together; under at-most-once, one for each at least.",
  }),
  drainPerSecond: whole(1, limits.maxDrainPerSecond)
    .optional()
    .meta({
      description: `Requests a second that a backlog drains at after the endpoint was away. Unless given, twice what it took before, at least ${limits.minDrainPerSecond} for each partition.`,
    }),
};

type Paced = Readonly<z.output<z.ZodObject<typeof paceFields>>>;

export function paceSettings({ rateLimit, maxConcurrency, drainPerSecond }: Paced) {
  const rate = rateLimit && rateOf(rateLimit);
  return {
    ...(rate && { rate }),
    ...(maxConcurrency !== undefined && { maxConcurrency }),
    ...(drainPerSecond !== undefined && { drainPerSecond }),
  };
}

export function showPace({ rate, maxConcurrency, drainPerSecond }: PushSettings) {
  const period = PERIODS.find((each) => PERIODS_MS[each] === rate?.perMs);
  return {
    ...(rate && period && { rateLimit: { [period]: rate.requests } }),
    ...(maxConcurrency !== undefined && { maxConcurrency }),
    ...(drainPerSecond !== undefined && { drainPerSecond }),
  };
}

function rateOf(limit: z.output<typeof rateLimit>): Rate | undefined {
  const period = PERIODS.find((each) => limit[each] !== undefined);
  const requests = period && limit[period];
  return period && requests !== undefined ? { requests, perMs: PERIODS_MS[period] } : undefined;
}
