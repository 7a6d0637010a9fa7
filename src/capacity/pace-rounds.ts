// A pace that several share, cut into rounds: so many requests in each, divided when it begins among those who asked in the
// one before. Whoever comes later has what nobody wanted, or did not call for in time. Nothing is handed out twice, so a
// round never has more requests than the pace, whatever became of those who hold them.
//
//   asked ──a round begins──▶ its share lies ready ──it asks──▶ it has it until the round ends
//                                   └── it does not ask in time ──▶ anybody's
//
// Pure: the caller brings the instant.

import type { PaceAsk, PaceShare } from "../capacity-calls";
import { limits } from "../limits";
import { divide, hasLevels, nextTurn, type Wish } from "./division";

/** Who asked: what it wants in the next round, and until when that is remembered. */
type Asker = Wish & Readonly<{ perSecond: number; until: number }>;
type Round = Readonly<{
  startsAt: number;
  endsAt: number;
  /** Requests a second, of all together. */
  perSecond: number;
  /** What lies ready for those who asked before. */
  ready: ReadonlyMap<number, number>;
  /** What nobody has a claim to. */
  rest: number;
  /** What each was given. */
  given: ReadonlyMap<number, number>;
  /** The most that one is given. */
  most: number;
}>;
/** Who may be sending, how fast, and until when. */
type Sender = Readonly<{ perSecond: number; until: number }>;

export type PaceRounds = Readonly<{
  askers: ReadonlyMap<number, Asker>;
  senders: ReadonlyMap<number, Sender>;
  round: Round | undefined;
  /** Tenths of a request that the lowest priority has to its credit. */
  tenths: number;
}>;

export const noRounds: PaceRounds = {
  ...{ askers: new Map(), senders: new Map(), round: undefined, tenths: 0 },
};

/** One ask: of which partition, with which priority. */
export type Asking = PaceAsk & Readonly<{ by: number; priority: number }>;

/** Answers one ask, at `now`. */
export function takeShare(
  rounds: PaceRounds,
  asking: Asking,
  now: number,
): Readonly<{ rounds: PaceRounds; share: PaceShare }> {
  const { by, want, priority } = asking;
  const noted = noteAsk(rounds, asking, now);
  const isOver = noted.round === undefined || now >= noted.round.endsAt;
  const { askers, senders, tenths, round } = isOver ? beginRound(noted, now) : opened(noted, now);
  const leftMs = round.endsAt - now;
  const had = round.given.get(by) ?? 0;
  const perSecond = freePace(round, senders, by);
  const isFree = perSecond > LEAST_PACE;
  const requests = isFree ? cut(round, by, Math.min(want, round.most - had), leftMs, perSecond) : 0;
  // While others send it all, its claim stays.
  const ready = new Map(round.ready);
  if (isFree) ready.delete(by);
  const asker: Asker = {
    ...{ by, priority, perSecond: asking.perSecond, want: asking.wantLater ?? want - requests },
    turn: nextTurn(askers.get(by)?.turn, requests > 0, now),
    until: round.endsAt + limits.shareShowUpMs,
  };
  const given = new Map(round.given).set(by, had + requests);
  const sendsMs = (requests * 1000) / perSecond;
  // Whoever was late with its ask is late with its last request: that is of this round, and slows nobody in the next.
  const until = Math.min(now + sendsMs, round.endsAt);
  return {
    rounds: {
      askers: new Map(askers).set(by, asker),
      senders: requests > 0 ? new Map(senders).set(by, { perSecond, until }) : senders,
      round: { ...round, ready, rest: round.rest + sumOf(round.ready) - sumOf(ready) - requests, given },
      tenths,
    },
    share:
      requests > 0
        ? { requests, perSecond, endsInMs: Math.max(leftMs, sendsMs), againInMs: leftMs }
        : { ...NOTHING, againInMs: waitMs(senders, leftMs, now) },
  };
}

/** Its own claim and, if that is not enough, some of the rest: what the part of the round that is left has room for. */
function cut(
  { startsAt, endsAt, ready, rest }: Round,
  by: number,
  wanted: number,
  leftMs: number,
  perSecond: number,
): number {
  const part = leftMs / (endsAt - startsAt);
  const room = Math.ceil((perSecond * leftMs) / 1000 - ROUNDING);
  const most = Math.max(0, Math.min(wanted, room));
  const claimed = Math.min(most, Math.ceil((ready.get(by) ?? 0) * part - ROUNDING));
  const share = rest > 0 ? Math.max(1, Math.floor(rest * part + ROUNDING)) : 0;
  return claimed + Math.min(most - claimed, share);
}

/** What the others leave: those who may be sending, and those whose share lies ready. */
function freePace(round: Round, senders: ReadonlyMap<number, Sender>, by: number): number {
  const lengthMs = round.endsAt - round.startsAt;
  let free = round.perSecond;
  for (const [other, { perSecond }] of senders) free -= other === by ? 0 : perSecond;
  for (const [other, count] of round.ready) free -= other === by ? 0 : (count * 1000) / lengthMs;
  return free;
}

const NOTHING = { requests: 0, perSecond: 0, endsInMs: 0 };

/** Until somebody may have done sending, or the next round. */
function waitMs(senders: ReadonlyMap<number, Sender>, leftMs: number, now: number): number {
  const ends = [...senders.values()].map(({ until }) => until - now);
  return Math.max(limits.shareAgainMs, Math.min(leftMs, ...ends));
}

/** What is asked for takes the place of what was asked before; whoever has not asked again is forgotten. */
function noteAsk({ round, ...rounds }: PaceRounds, asking: Asking, now: number): PaceRounds {
  const { by, priority, want, perSecond } = asking;
  const askers = new Map([...rounds.askers].filter(([, { until }]) => until > now));
  const turn = nextTurn(askers.get(by)?.turn, false, now);
  askers.set(by, { by, priority, want, perSecond, turn, until: Number.POSITIVE_INFINITY });
  // Whoever asks again has done with what it was given.
  const senders = new Map([...rounds.senders].filter(([other, { until }]) => other !== by && until > now));
  return { ...rounds, round, askers, senders };
}

type Begun = Omit<PaceRounds, "round"> & { readonly round: Round };

/**
 * The lowest pace that was said holds for all: whoever says another has not heard of the change yet. The first round of a
 * life gives one request to each: what a life before gave may still be under way until it ends.
 */
function beginRound({ askers, senders, round, tenths }: PaceRounds, now: number): Begun {
  const wishes = [...askers.values()];
  const perSecond = Math.min(...wishes.map((asker) => asker.perSecond));
  const requests = Math.max(1, Math.ceil((perSecond * limits.shareRoundMs) / 1000 - ROUNDING));
  const most = round === undefined ? 1 : requests;
  const credit = hasLevels(wishes) ? tenths + requests : tenths;
  const kept = Math.floor(credit / limits.sharesPerLowest);
  const bounded = wishes.map((wish) => ({ ...wish, want: Math.min(wish.want, most) }));
  const ready = divide(requests, bounded, kept);
  const endsAt = now + (requests * 1000) / perSecond;
  const begun = { startsAt: now, endsAt, perSecond, ready, given: new Map(), most };
  return {
    ...{ askers, senders, tenths: credit % limits.sharesPerLowest },
    round: { ...begun, rest: requests - sumOf(ready) },
  };
}

/** What was not called for in time is anybody's. */
function opened({ round, ...rounds }: PaceRounds, now: number): Begun {
  if (round === undefined) throw new Error("there is no round to be opened");
  if (now < round.startsAt + limits.shareShowUpMs) return { ...rounds, round };
  return { ...rounds, round: { ...round, ready: new Map(), rest: round.rest + sumOf(round.ready) } };
}

function sumOf(counts: ReadonlyMap<number, number>): number {
  return [...counts.values()].reduce((sum, count) => sum + count, 0);
}

/** What a product of fractions may be off by, and a pace that is none. */
const ROUNDING = 1e-9;
const LEAST_PACE = 1e-6;
