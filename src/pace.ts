// A pace: requests so and so far apart. Evenly spaced, so that no window of time holds more than the rate allows,
// wherever it begins. Pure: whoever sends brings the instant and keeps when the next may go.

import { limits } from "./limits";

/** At most so many requests in so long. */
export type Rate = Readonly<{ requests: number; perMs: number }>;

/** At most `perSecond` requests a second, none before `nextSendAt`. */
export type Pace = Readonly<{ perSecond: number; nextSendAt: number }>;

/** How long the next request has to wait, in milliseconds. */
export function paceWaitMs({ nextSendAt }: Pace, now: number): number {
  return Math.max(0, nextSendAt - now);
}

/** The pace after a request at `now`. */
export function paced({ perSecond }: Pace, now: number): Pace {
  return { perSecond, nextSendAt: now + 1000 / perSecond };
}

/**
 * The same where the requests are counted too: one that began a little late, as timers are, does not delay those after it.
 * No two are closer together than half of what is asked for.
 */
export function pacedInTime({ perSecond, nextSendAt }: Pace, now: number): Pace {
  const apartMs = 1000 / perSecond;
  const lateMs = Math.min(limits.paceLateMs, apartMs / 2);
  return { perSecond, nextSendAt: Math.max(nextSendAt, now - lateMs) + apartMs };
}
