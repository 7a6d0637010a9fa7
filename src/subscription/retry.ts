// When an attempt is made again.

import { limits } from "../limits";
import type { RetryPolicy } from "../settings";
import type { AttemptNote } from "../subscription-calls";

/**
 * The delay before the attempt after `attempts` failed ones, in milliseconds: exponential with full jitter,
 * a random share of min(maxDelayMs, minDelayMs * 2^attempts), but never less than minDelayMs.
 * Source: "Exponential Backoff And Jitter", AWS Architecture Blog, 2015. `jitter` is in [0, 1).
 */
export function retryDelayMs(
  { minDelayMs, maxDelayMs }: RetryPolicy,
  attempts: number,
  jitter: number,
): number {
  const ceilingMs = Math.min(maxDelayMs, Math.max(1, minDelayMs) * 2 ** Math.min(attempts, 40));
  return Math.min(maxDelayMs, Math.max(minDelayMs, Math.floor(ceilingMs * jitter)));
}

/** The history of attempts with one more: the newest few are kept. */
export function noteAttempt(history: readonly AttemptNote[], note: AttemptNote): readonly AttemptNote[] {
  return [...history, note].slice(-limits.attemptsKept);
}
