// How leases end because their deadline passes. Of one delivery that is an attempt that failed. Of several nobody knows
// which of them stopped the consumer, or whether any did: none's attempt counts, and each comes back in at most half
// that company, until one that stops every consumer stands alone, and then its attempts count.

import type { SubscriptionSettings } from "../settings";
import { type AttemptNote, isReceiverLease } from "../subscription-calls";
import type { Backlog } from "./backlog";
import { type Failure, type Leased, suspect } from "./delivery";
import { retryDelayMs } from "./retry";
import { fail, giveBackAfter, type Moment } from "./settling";
import { dieIfTooLate } from "./time-to-live";

/**
 * Ends the leases whose deadline has passed, until `max` deliveries have ended. A lease ends whole: how many it still
 * held says whether anybody's attempt has failed.
 */
export function expireLeases(
  backlog: Backlog,
  settings: SubscriptionSettings,
  moment: Moment,
  max: number,
): number {
  let expired = 0;
  const due = [...backlog.leases].filter(({ deadlineAt }) => deadlineAt <= moment.now);
  // Counted first: what goes back with one before it in its lane, of another of these, was company all the same.
  const companies = due.map((lease) => ({ lease, together: lease.offsets.size }));
  for (const { lease, together } of companies) {
    if (expired >= max) break;
    const held = [...lease.offsets].sort((a, b) => a - b).map((offset) => backlog.deliveries.get(offset));
    const leased = held.filter((delivery) => delivery?.state === "leased");
    expired += leased.length;
    if (isReceiverLease(lease.id)) endHandedOver(backlog, leased, settings, moment);
    else if (together > 1) suspectAll(backlog, leased, together, settings, moment);
    else for (const alone of leased) fail(backlog, alone, deadlinePassed(1, moment), settings, moment);
  }
  return expired;
}

/** The receiver has said of each that it has it: each is an attempt that failed, but for those behind it in its lane. */
function endHandedOver(
  backlog: Backlog,
  leased: readonly Leased[],
  settings: SubscriptionSettings,
  moment: Moment,
): void {
  const error = "its receiver answered 202 and did not complete it in time";
  for (const { offset } of leased) {
    const delivery = backlog.deliveries.get(offset);
    if (delivery?.state !== "leased") continue;
    fail(backlog, delivery, { note: { at: moment.now, status: 202, error } }, settings, moment);
  }
}

/** Which of them stopped the consumer nobody knows: none's attempt counts, and they come back in smaller company. */
function suspectAll(
  backlog: Backlog,
  leased: readonly Leased[],
  together: number,
  { retry }: SubscriptionSettings,
  moment: Moment,
): void {
  const { note } = deadlinePassed(together, moment);
  const heads = new Map<string, Leased>();
  for (const delivery of leased) {
    const { orderingKey: key, attempts, offset } = delivery;
    const isBehind = key !== undefined && heads.has(key);
    if (key !== undefined && !isBehind) heads.set(key, delivery);
    // What stands behind another waits for that one's turn, and for no turn of its own.
    const delayMs = isBehind ? 0 : retryDelayMs(retry, attempts + 1, moment.jitter());
    const waiting = suspect(delivery, note, moment.now + delayMs);
    backlog.put(dieIfTooLate(waiting, backlog.expiries.get(offset), moment.now));
  }
  for (const head of heads.values()) giveBackAfter(backlog, head, moment.now);
}

function deadlinePassed(together: number, { now }: Moment): Failure & { note: AttemptNote } {
  return { note: { at: now, error: "the ack deadline passed", together } };
}
