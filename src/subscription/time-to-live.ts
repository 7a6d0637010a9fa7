// Messages that expire. Nobody is handed one past its expiry: what was never attempted counts as expired, and what
// was attempted dies with that reason, as soon as it is known that its next attempt would come too late. What is
// leased when it expires may still be settled.

import type { Backlog } from "./backlog";
import type { Dying, Waiting } from "./delivery";
import type { Lane } from "./lane";

const DETAIL = "the message expired before its next attempt";

export function isExpired({ expiresAt }: { readonly expiresAt?: number }, now: number): boolean {
  return expiresAt !== undefined && expiresAt <= now;
}

/** A delivery whose attempt has failed: if its next attempt would come too late, it dies at once. */
export function dieIfTooLate(ended: Waiting | Dying, expiresAt: number | undefined, now: number) {
  if (ended.state === "dying" || expiresAt === undefined || ended.availableAt < expiresAt) return ended;
  return expire(ended, now);
}

/**
 * A waiting delivery has expired: it dies if it was ever attempted or is a dead letter sent round again, and else
 * counts as expired: it was leased and given back.
 */
export function expireWaiting(backlog: Backlog, waiting: Waiting, now: number): void {
  const isRedriven = waiting.lastLeaseId === undefined;
  if (waiting.attempts > 0 || waiting.history.length > 0 || isRedriven) {
    backlog.put(expire(waiting, now));
  } else {
    backlog.remove(waiting.offset);
    backlog.end("expired", waiting.offset);
  }
}

/** The first follower of a lane has expired, unattempted. */
export function expireFollower(backlog: Backlog, lane: Lane, offset: number): void {
  backlog.takeFollower(lane);
  backlog.end("expired", offset);
  backlog.touch(lane);
}

function expire({ lastLeaseId: _, availableAt: __, ...common }: Waiting, now: number): Dying {
  return { ...common, state: "dying", death: { diedAt: now, reason: "expired", detail: DETAIL } };
}
