// The failed attempts of a subscription's deliveries, searched: what the call to its object takes and answers.

import type { AttemptNote, AttemptResult } from "./attempt";

export type AttemptsCall = Readonly<{
  /** Deliveries past this offset. */
  after: number;
  /** Of up to so many deliveries. */
  limit: number;
  /** Attempts from this instant on. */
  since?: number;
  /** Attempts that were answered so. */
  status?: number;
  /** Attempts that failed so. */
  result?: AttemptResult;
  /** Of this delivery alone. */
  offset?: number;
}>;

/** A delivery that has failed, with those of its newest attempts that match. */
export type FailedDelivery = Readonly<{
  offset: number;
  state: "waiting" | "leased" | "dead";
  /** All that counted, also those that are no longer kept. */
  attempts: number;
  /** When the next is due, of what waits. */
  nextAttemptAt?: number;
  history: readonly AttemptNote[];
}>;

/** `next`: where to go on, when a bounded number was looked at and there may be more. */
export type AttemptsAnswer = Readonly<{ deliveries: readonly FailedDelivery[]; next?: number }>;
