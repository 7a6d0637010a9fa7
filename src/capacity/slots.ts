// Requests that may be under way at once, divided among the dispatches that have something to send: the highest priority
// first, a tenth for the lowest that waits. A slot is given for a moment and given anew while the dispatch goes on. It
// counts until its request has ended, also when more is under way than is given any more.
//
//   waits ──given──▶ holds ──asks again: fewer──▶ begins none until so many have ended
//                      └── says that it has ended, or is silent for as long as its requests may last ──▶ gone
//
// Pure: the caller brings the instant.

import type { SlotAsk, SlotShare } from "../capacity-calls";
import { limits } from "../limits";
import { divide, hasLevels, nextTurn, type Wish } from "./division";

type Holder = Wish<string> &
  Readonly<{
    max: number;
    /** Its newest ask. */
    nth: number;
    given: number;
    /** What was under way when it asked, or was begun until it was answered. */
    underWay: number;
    /** Until when it may begin requests; those may be under way until `goneAt`. */
    until: number;
    goneAt: number;
    /** Since when it has some without a break. */
    heldSince: number;
  }>;

export type Slots = Readonly<{
  /** When this life began: what one before gave has ended, or was told, soon after. */
  bornAt: number | undefined;
  holders: ReadonlyMap<string, Holder>;
  /** Slots that the lowest priority has to its credit, as of `at`. */
  credit: number;
  at: number;
}>;

export const noSlots: Slots = { bornAt: undefined, holders: new Map(), credit: 0, at: 0 };

export type SlotAsking = SlotAsk & Readonly<{ priority: number }>;

/** Answers one ask, at `now`. */
export function takeSlots(
  slots: Slots,
  asking: SlotAsking,
  now: number,
): Readonly<{ slots: Slots; share: SlotShare }> {
  const { bornAt = now } = slots;
  const heard = slots.holders.get(asking.dispatch);
  // It was under way for long, or comes twice: what it says has been said, or is no more.
  if (heard && heard.nth >= asking.nth) return { slots, share: shareOf(heard.given, limits.slotsSoonMs) };
  const others = new Map(
    [...slots.holders].filter(([by, { goneAt }]) => by !== asking.dispatch && goneAt > now),
  );
  const { dispatch: by, nth, priority, max, want } = asking;
  const underWay = Math.max(asking.underWay, asking.held);
  const turn = nextTurn(heard?.turn, false, now);
  const live = [
    ...others.values(),
    { ...NOTHING, ...heard, by, priority, want, turn, until: Number.POSITIVE_INFINITY },
  ];
  const wishes = live.filter(({ until }) => until > now).map((each) => inTurn(each, now));
  const most = Math.min(max, ...[...others.values()].map((other) => other.max));
  const credit = creditAt(slots, most, now);
  const fair = divide(most, wishes, keptOf(credit, most, wishes)).get(by) ?? 0;
  const free = most - [...others.values()].reduce((sum, other) => sum + counted(other), 0);
  const warmInMs = bornAt + limits.slotsMs - now;
  const given = Math.max(0, Math.min(fair, free, warmInMs > 0 ? asking.held : most));
  const until = now + limits.slotsMs;
  const holder: Holder = {
    ...{ by, nth, priority, want, max, given, underWay, until },
    turn: nextTurn(turn, given > 0, now),
    goneAt: until + asking.lastsMs,
    heldSince: heard && heard.given > 0 ? heard.heldSince : now,
  };
  return {
    slots: { bornAt, holders: others.set(by, holder), credit, at: now },
    share: shareOf(given, againMs(given < want, warmInMs)),
  };
}

function shareOf(slots: number, againInMs: number): SlotShare {
  return { slots, endsInMs: limits.slotsMs, againInMs };
}

const NOTHING = { given: 0, heldSince: 0 };

/** What is held is not passed on at each ask: only after a while it is the turn of those who have none. */
function inTurn<W extends Wish<string> & Pick<Holder, "given" | "heldSince">>(wish: W, now: number): W {
  const isFresh = wish.given > 0 && now < wish.heldSince + limits.shareRoundMs;
  return isFresh ? { ...wish, turn: { servedAt: 0, since: 0 } } : wish;
}

/** A dispatch has ended: nothing of it is under way, whatever an ask of it says that comes later. */
export function freeSlots(slots: Slots, dispatch: string): Slots {
  const ended = slots.holders.get(dispatch);
  if (ended === undefined) return slots;
  return { ...slots, holders: new Map(slots.holders).set(dispatch, { ...ended, ...ENDED }) };
}

const ENDED = {
  nth: Number.POSITIVE_INFINITY,
  given: 0,
  underWay: 0,
  want: 0,
  max: Number.POSITIVE_INFINITY,
  until: 0,
};

/** What of all slots is taken by one: more than it is given while more is under way. */
function counted({ given, underWay }: Holder): number {
  return Math.max(given, underWay);
}

function againMs(isShort: boolean, warmInMs: number): number {
  if (!isShort) return limits.slotsAgainMs;
  return Math.max(
    limits.shareAgainMs,
    Math.min(limits.slotsSoonMs, warmInMs > 0 ? warmInMs : Number.POSITIVE_INFINITY),
  );
}

/**
 * Whole slots that are kept for the lowest now: no more than a tenth, or one where that is less. What it has it keeps until its
 * credit is spent: each change of hands leaves a slot idle for a moment.
 */
function keptOf(credit: number, most: number, wishes: readonly (Wish<string> & { given: number })[]): number {
  const lowest = Math.min(...wishes.filter(({ want }) => want > 0).map(({ priority }) => priority));
  const has = wishes.reduce((sum, { priority, given }) => sum + (priority === lowest ? given : 0), 0);
  const owed = Math.max(Math.floor(credit + ROUNDING), credit > 0 ? has : 0);
  return Math.min(owed, Math.ceil(most / limits.sharesPerLowest));
}

/** While others want slots too, the lowest priority is owed a tenth of each moment; what it holds is paid of that. */
function creditAt({ holders, credit, at }: Slots, most: number, now: number): number {
  const all = [...holders.values()].filter(({ until, want }) => until > at && want > 0);
  if (!hasLevels(all)) return credit;
  const lowest = Math.min(...all.map(({ priority }) => priority));
  const held = all.reduce((sum, each) => sum + (each.priority === lowest ? counted(each) : 0), 0);
  const tenth = most / limits.sharesPerLowest;
  // Enough that what it is owed while others still hold it is not forgotten.
  const bound = 1 + Math.max(1, tenth);
  const earned = ((tenth - held) * (now - at)) / limits.slotsMs;
  return Math.min(bound, Math.max(-bound, credit + earned));
}

/** What a product of fractions may be off by. */
const ROUNDING = 1e-9;
