// Where a message is on its way to one subscription, and the proof that none is lost: what the calls `whereabouts` and
// `audit` of a subscription's object take and answer.

import type { AttemptNote, DeadLetterReason } from "./attempt";
import type { EndpointView } from "./endpoint-view";

/** How a delivery left for good, and the term of the conservation law that counts it. */
export const TERM_OF = {
  /** By a consumer. */
  acked: "settled",
  /** By an endpoint's 2xx. */
  delivered: "settled",
  /** Unsent: the ledger had it as completed by an earlier dispatch. */
  "already-completed": "settled",
  /** Settled before it was handed out. */
  "handed-out": "settled",
  expired: "expired",
  purged: "purged",
  moved: "moved",
} as const;
export type How = keyof typeof TERM_OF;
export type EndedTerm = (typeof TERM_OF)[How];

/** What holds a delivery of an ordering key up: the one of its lane that goes before it. */
export type Blocker = Readonly<{ offset: number; state: "leased" | "waiting" | "dead" | "blocked" }>;

/** Where one message is on its way to one subscription. Instants are epoch milliseconds. */
export type Whereabouts = Readonly<
  /** It lies before the offset that the subscription began at. */
  | { state: "before-start"; startOffset: number }
  /** In the log; `ahead` messages are to be taken before it. */
  | { state: "unread"; ahead: number }
  | {
      state: "leased";
      leaseId: string;
      deadlineAt: number;
      attempt: number;
      history: readonly AttemptNote[];
    }
  | {
      state: "waiting";
      availableAt: number;
      attempts: number;
      history: readonly AttemptNote[];
      behind?: Blocker;
      /** Why it was given back unsent, while that is known. */
      reason?: string;
    }
  /** It follows in its lane, and was never handed out. `parked`: the lane waits for the operator. */
  | { state: "blocked"; behind?: Blocker; parked: boolean }
  | {
      state: "dead";
      diedAt: number;
      reason: DeadLetterReason;
      detail?: string;
      attempts: number;
      history: readonly AttemptNote[];
    }
  | { state: "settled"; how: How; at: number; attempts: number; status?: number }
  | { state: Exclude<EndedTerm, "settled">; at: number }
  /** The filter of this version of the subscription left it out. */
  | { state: "filtered"; version: number }
  /** It left for good, and how is no longer kept. */
  | { state: "forgotten" }
  /** Nothing accounts for it: the law is broken, and the audit names the first such offset. */
  | { state: "unaccounted" }
>;

/** `orderingKey` is the message's, when the caller knows the message. */
export type TraceCall = Readonly<{ offset: number; orderingKey?: string }>;
export type Trace = Readonly<{
  where: Whereabouts;
  paused: boolean;
  pausedReason?: string;
  /** Of a push subscription whose endpoint is not well. */
  endpoint?: EndpointView;
  /** So much waits that reading has stopped. */
  stalled: boolean;
  /** As many deliveries are leased as may be at once. */
  inFlightFull: boolean;
}>;

/** The terms of the conservation law. */
export const TERMS = [
  "settled",
  "filtered",
  "expired",
  "dead",
  "purged",
  "moved",
  "leased",
  "waiting",
] as const;
export type Term = (typeof TERMS)[number];
export type Terms = Readonly<Record<Term, number>>;

export type Audit = Readonly<{
  partition: number;
  startOffset: number;
  nextOffset: number;
  /** Offsets from here on were looked at one by one; how those before it ended is no longer kept. */
  auditedFrom: number;
  /** Up to here, this offset excluded. Less than `nextOffset`: ask again from here. */
  auditedTo: number;
  /** The counters. */
  stored: Terms;
  /** What was found, offset by offset, from `auditedFrom` to `auditedTo`. */
  found: Terms;
  /** Not accounted for, and not to be judged: retention removed their messages, so their lanes cannot be told. */
  overtaken: number;
  holds: boolean;
  /** The first offset that breaks the law, or only what is wrong when the counters alone are. */
  breach?: Readonly<{ offset?: number; detail: string }>;
}>;
