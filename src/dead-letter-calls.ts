// The calls about dead letters to a subscription's object: what each takes and answers. Whoever chooses many goes on from
// `next` until there is none: a call looks at a bounded number.

import type { AttemptNote, DeadLetterReason } from "./attempt";

/** A dead letter's place in its partition. They stand by epoch, then by offset. */
export type LetterAt = Readonly<{ epoch: number; offset: number }>;

export type DeadLetter = LetterAt &
  Readonly<{
    /** The epoch in which it died: a seek begins another, and leaves dead letters where they are. */
    epoch: number;
    diedAt: number;
    reason: DeadLetterReason;
    /** In the words of who gave it up. */
    detail?: string;
    attempts: number;
    /** How often it was sent round again. */
    redrives: number;
    history: readonly AttemptNote[];
    /** Its message as one packed record; absent only when retention overtook it. */
    record?: Uint8Array;
  }>;

/** Every word must hold. Instants are epoch milliseconds. */
export type DeadLetterFilter = Readonly<{
  reason?: DeadLetterReason;
  orderingKey?: string;
  epoch?: number;
  /** At this instant or later. */
  diedAfter?: number;
  /** Before this instant. */
  diedBefore?: number;
}>;

/** Up to `limit` past offset `after` of `epoch`, the first unless it is said. */
export type DeadLettersCall = Readonly<{ after: number; epoch?: number; limit: number }>;

/** Some of one epoch, which is the first unless it is said; or the first past `after`, of those that match. */
export type DeadLetterSelection = Readonly<
  | { offsets: readonly number[]; epoch?: number }
  | { all: true; limit: number; where?: DeadLetterFilter; after?: LetterAt }
>;

/** `next`: how far was looked, when there may be more past it. */
export type DeadLetterPage = Readonly<{ letters: readonly DeadLetter[]; next?: LetterAt }>;

/** One after another: the first is available at `from`, each that follows `everyMs` later. */
export type Pace = Readonly<{ from: number; everyMs: number }>;

export type RedriveCall = DeadLetterSelection &
  Readonly<{
    /** All of them at once unless it is said. */
    pace?: Pace;
    /** Also those that were sent round as often as the subscription allows. */
    force?: boolean;
  }>;

/**
 * `superseded`: of an earlier epoch, and the present one delivers the message by itself. They are taken out. `refused`:
 * sent round as often as the subscription allows; they stay.
 */
export type RedriveAnswer = Readonly<{
  redriven: number;
  superseded: number;
  refused?: readonly LetterAt[];
  next?: LetterAt;
}>;

export type PurgeAnswer = Readonly<{ purged: number; next?: LetterAt }>;

/** A letter that another topic has; it is taken out unless it was sent round since it was read. */
export type MovedLetter = LetterAt & Readonly<{ redrives: number }>;
