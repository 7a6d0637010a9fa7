// How many requests a dispatch may have under way of those that the partitions of its subscription share: given for a moment,
// and given anew while it goes on. While nobody answers it keeps to what it has; then, to what is its own.

import type { SlotShare } from "../capacity-calls";
import type { Shared } from "../dispatch-calls";
import { limits } from "../limits";

export type HeldSlots = {
  readonly max: number;
  /** What is its own while nobody divides them; with none it ends then. */
  readonly own: number;
  given: number;
  until: number;
  /** How often it has asked. */
  asks: number;
  /** Since when nobody has answered. */
  silentSince: number;
  /** Whoever waits for a slot looks again. */
  changed: PromiseWithResolvers<void>;
};

/** Of a dispatch that begins: none yet. Undefined when none are shared. */
export function newSlots(shared: Shared | undefined, now: number): HeldSlots | undefined {
  if (shared?.slots === undefined) return undefined;
  const changed = Promise.withResolvers<void>();
  return { ...shared.slots, given: 0, until: 0, asks: 0, silentSince: now, changed };
}

/** Requests that may be under way at `now` for another to begin. */
export function slotsAt({ given, until }: HeldSlots, now: number): number {
  return now < until ? given : 0;
}

/** Takes the answer to an ask of `askedAt`. Answers when to ask again. */
export function takeGiven(slots: HeldSlots, share: SlotShare, askedAt: number, now: number): number {
  slots.given = share.slots;
  slots.until = askedAt + share.endsInMs;
  slots.silentSince = now;
  tell(slots);
  return askedAt + share.againInMs;
}

/** Nobody answered. True when it goes on without: by what is its own, once that is all that anybody has. */
export function goOnAlone(slots: HeldSlots, now: number): boolean {
  const isLost = now - slots.silentSince >= limits.shareLostMs;
  if (isLost) {
    slots.given = slots.own;
    slots.until = now + limits.slotsMs + limits.shareWaitMs + limits.shareRetryMs;
  }
  tell(slots);
  return !isLost || slots.own > 0;
}

function tell(slots: HeldSlots): void {
  const { changed } = slots;
  slots.changed = Promise.withResolvers<void>();
  changed.resolve();
}
