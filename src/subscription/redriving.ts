// How often a dead letter goes round, and when. Pure.

import type { DeadLetter, Pace } from "../dead-letter-calls";
import { limits } from "../limits";
import type { SubscriptionSettings } from "../settings";

/** Whether a dead letter may be sent round once more without the operator's insistence. */
export function mayRedrive(
  { redrives }: Pick<DeadLetter, "redrives">,
  { maxRedrives = limits.defaultMaxRedrives }: Pick<SubscriptionSettings, "maxRedrives">,
): boolean {
  return redrives < maxRedrives;
}

/** When each of those that go round is available, one after another, as it is asked; never before `now`. */
export function pacing(pace: Pace | undefined, now: number): () => number {
  const { from, everyMs } = pace ?? { from: now, everyMs: 0 };
  let count = 0;
  return () => Math.max(now, Math.round(from + everyMs * count++));
}
