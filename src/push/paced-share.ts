// What a dispatch has of the paces that the partitions of its subscription share: requests that it may begin, until when, and
// whether to ask for more. While nobody answers it keeps to what it has; then, to an equal share of what is set.
//
//   none ──ask──▶ given ──spent, or over──▶ none        nobody answers for long: its equal share, and asked again after it
//
// Pure: sending.ts asks and waits.

import { PACES, type PaceAsk, type PaceName, type PaceShare } from "../capacity-calls";
import type { Shared } from "../dispatch-calls";
import { limits } from "../limits";
import { type Pace, pacedInTime } from "../pace";

type Held = Readonly<{
  /** Requests a second of all partitions together. */
  perSecond: number;
  /** Requests of the present share that have begun, and that may begin. */
  spent: number;
  left: number;
  pace: Pace;
  endsAt: number;
  /** Not before then it is asked again. */
  askAt: number;
  /** Nobody answers: it is an equal share. */
  alone: boolean;
}>;

export type PacedShare = Readonly<{
  shared: Shared;
  paces: Readonly<Partial<Record<PaceName, Held>>>;
  /** Since when asks go unanswered: not while it had no need to ask. Undefined when the last one was answered. */
  silentSince: number | undefined;
}>;

/** The share of a dispatch that begins: nothing yet. Undefined when no pace is shared. */
export function newShare(shared: Shared | undefined): PacedShare | undefined {
  if (shared === undefined || namesOf(shared.paces).length === 0) return undefined;
  const pace = { perSecond: Number.POSITIVE_INFINITY, nextSendAt: 0 };
  const paces = mapPaces(shared.paces, (perSecond) => ({
    ...{ perSecond, spent: 0, left: 0, pace, endsAt: 0, askAt: 0, alone: false },
  }));
  return { shared, paces, silentSince: undefined };
}

/** What keeps the next request: `ask` when it is time to ask; else for how long to wait, in milliseconds. */
export function heldBack({ paces }: PacedShare, now: number): "ask" | number {
  const waits = Object.values(paces).map((held) => {
    if (isGiven(held, now)) return Math.max(0, held.pace.nextSendAt - now);
    return held.askAt <= now ? ("ask" as const) : held.askAt - now;
  });
  const times = waits.filter((wait) => wait !== "ask");
  const longestMs = Math.max(0, ...times);
  return longestMs <= 0 && times.length < waits.length ? "ask" : longestMs;
}

/** What to ask for, with so many requests to send; what is held of other paces is kept. */
export function asksOf(
  { shared, paces }: PacedShare,
  requests: number,
  now: number,
): Readonly<Partial<Record<PaceName, PaceAsk>>> {
  const wanting = namesOf(paces).filter((name) => !isGiven(paces[name] as Held, now));
  return Object.fromEntries(
    wanting.map((name) => {
      const { perSecond, spent, left } = paces[name] as Held;
      // What it could not send in time, because its endpoint is slow or its keys are busy, is of more use to others.
      const most = left > 0 ? 2 * spent + 1 : Number.POSITIVE_INFINITY;
      const wantLater = shared.isBehind && { wantLater: Math.min(limits.dispatchMessages, most) };
      return [name, { perSecond, want: Math.min(requests, most), ...wantLater }];
    }),
  );
}

/** With what was answered to an ask of `askedAt`: counted from then on, so that it never outlasts what was given. */
export function answered(
  { shared, paces }: PacedShare,
  shares: Readonly<Partial<Record<PaceName, PaceShare>>>,
  askedAt: number,
  now: number,
): PacedShare {
  const next = mapPaces(paces, (held, name) => {
    const share = shares[name];
    if (share === undefined) return held;
    const { requests, perSecond, endsInMs, againInMs } = share;
    const pace = { perSecond, nextSendAt: now };
    const given = { spent: 0, left: requests, pace, endsAt: askedAt + endsInMs };
    return { ...held, ...given, askAt: askedAt + againInMs, alone: false };
  });
  return { shared, paces: next, silentSince: undefined };
}

/** Nobody answered an ask of `askedAt`. After long enough, all that was given to others has ended: each has its equal share then. */
export function unanswered(share: PacedShare, retryMs: number, askedAt: number, now: number): PacedShare {
  const { silentSince = askedAt } = share;
  const isLost = now - silentSince >= limits.shareLostMs;
  const next = mapPaces(share.paces, (held) => {
    if (isGiven(held, now)) return held;
    if (!isLost) return { ...held, left: 0, askAt: now + retryMs };
    const perSecond = held.perSecond / share.shared.partitions;
    const left = Math.max(1, Math.floor((perSecond * limits.shareRoundMs) / 1000));
    const endsAt = now + limits.shareRoundMs;
    const given = { spent: 0, left, pace: { perSecond, nextSendAt: now }, endsAt };
    return { ...held, ...given, askAt: endsAt, alone: true };
  });
  return { ...share, paces: next, silentSince };
}

/** After a request at `now`. */
export function spend(share: PacedShare, now: number): PacedShare {
  const next = mapPaces(share.paces, (held) => ({
    ...{ ...held, spent: held.spent + 1, left: held.left - 1, pace: pacedInTime(held.pace, now) },
  }));
  return { ...share, paces: next };
}

/** Requests a second that nobody divided: what the next dispatch too must keep to. Without end when there is no such. */
export function alonePerSecond({ paces }: PacedShare): number {
  const alone = Object.values(paces).filter((held) => held.alone);
  return Math.min(Number.POSITIVE_INFINITY, ...alone.map(({ pace }) => pace.perSecond));
}

function isGiven({ left, endsAt }: Held, now: number): boolean {
  return left > 0 && now < endsAt;
}

type Paces<T> = Readonly<Partial<Record<PaceName, T>>>;

function namesOf(paces: Paces<unknown>): readonly PaceName[] {
  return PACES.filter((name) => paces[name] !== undefined);
}

function mapPaces<T, U>(paces: Paces<T>, change: (each: T, name: PaceName) => U): Paces<U> {
  return Object.fromEntries(namesOf(paces).map((name) => [name, change(paces[name] as T, name)]));
}
