// How one attempt to deliver ended, and why a delivery was given up, as dead letters and timelines show it.

/** One ended attempt, as a dead letter and the timeline show it. */
export type AttemptNote = Readonly<{
  at: number;
  /** The endpoint's HTTP status, when it answered. */
  status?: number;
  error?: string;
  latencyMs?: number;
  /**
   * The deadline ended it, and this many were leased together then. Of more than one nobody knows which of them
   * stopped the consumer: it did not count.
   */
  together?: number;
}>;

/**
 * How an attempt failed: the endpoint answered (`answered`), or it was sent a request and did not (`no-answer`); whoever had
 * it was silent until the ack deadline (`deadline`), or gave it back with a reason (`given-back`).
 */
export const ATTEMPT_RESULTS = ["answered", "no-answer", "deadline", "given-back"] as const;
export type AttemptResult = (typeof ATTEMPT_RESULTS)[number];

/** How the attempt of a note failed. Only a request takes time. */
export function resultOf({ status, latencyMs, together }: AttemptNote): AttemptResult {
  if (status !== undefined) return "answered";
  if (latencyMs !== undefined) return "no-answer";
  return together === undefined ? "given-back" : "deadline";
}

export type DeadLetterReason = "attempts-spent" | "rejected" | "expired" | "undeliverable" | "loop";
