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

export type DeadLetterReason = "attempts-spent" | "rejected" | "expired" | "undeliverable";
