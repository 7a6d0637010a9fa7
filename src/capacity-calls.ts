// The calls to a capacity: the object that divides among the partitions of one subscription what its endpoint may be sent.

import type { Result } from "./errors";

/** How much of a pace there is for all partitions together, and how many requests whoever asks would send of it. */
export type PaceAsk = Readonly<{
  perSecond: number;
  /** In the present round, and in the next. What was not given of the former is wanted in the latter unless it says. */
  want: number;
  wantLater?: number;
}>;

/**
 * At most so many requests, no closer together than that, none of which begins after `endsInMs`; and when there may be more
 * to have. Both count from the call on.
 */
export type PaceShare = Readonly<{
  requests: number;
  perSecond: number;
  endsInMs: number;
  againInMs: number;
}>;

export const PACES = ["rate", "drain"] as const;
/** `rate`: what is set for all that is sent. `drain`: what is set for what an endpoint that recovers is sent. */
export type PaceName = (typeof PACES)[number];

/** How many requests may be under way at once over all partitions together, and how that is with whoever asks. */
export type SlotAsk = Readonly<{
  dispatch: string;
  /** The how many-th ask of this dispatch it is: one that arrives behind a later one says what is true no more. */
  nth: number;
  max: number;
  /** Requests of it that are under way, that it may have under way by what it was given last, and that it could have. */
  underWay: number;
  held: number;
  want: number;
  /** How long a request may last that begins at the last moment. */
  lastsMs: number;
}>;

/** So many requests under way; more may begin until `endsInMs`. It is to ask again, more or not, after `againInMs`. */
export type SlotShare = Readonly<{ slots: number; endsInMs: number; againInMs: number }>;

/** What a dispatch asks for. A call that arrives twice may cost its share twice, and gives nobody more than is there. */
export type ShareCall = Readonly<{
  /** The partition: an ask takes the place of the one before. */
  partition: number;
  /** Of its messages: the highest is served first. */
  priority: number;
  paces: Readonly<Partial<Record<PaceName, PaceAsk>>>;
  slots?: SlotAsk;
  /** The dispatch has ended, with all its requests. */
  ended?: string;
}>;

/** One for each that was asked for. */
export type ShareAnswer = Readonly<{
  paces: Readonly<Partial<Record<PaceName, PaceShare>>>;
  slots?: SlotShare;
}>;

export interface CapacityCalls {
  share(call: ShareCall): Promise<Result<ShareAnswer>>;
}
