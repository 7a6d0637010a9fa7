// A pace: requests so and so far apart. Evenly spaced, so that no window of time holds more than the rate allows,
// wherever it begins. Pure: whoever sends brings the instant and keeps when the next may go.

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
