// A seek as a subscription's object takes it: where to, and what it did there, or would do.

/** Where a partition of a subscription is moved to. */
export type SeekPoint = Readonly<
  { at: "earliest" } | { at: "latest" } | { at: "time"; time: number } | { at: "offset"; offset: number }
>;

export type SeekCall = Readonly<{
  /** Made by the caller; repeating it returns the first answer and moves nothing. */
  seekId: string;
  to: SeekPoint;
  /** Completed work is to be processed again: a new replay, of which the ledger knows nothing yet. */
  reprocess: boolean;
  /** Counts what would happen, and changes nothing. */
  dryRun: boolean;
}>;

/** What a seek did to one partition, or would do. */
export type SeekAnswer = Readonly<{
  partition: number;
  /** The epoch that begins. */
  epoch: number;
  fromOffset: number;
  toOffset: number;
  /** Offsets taken before that will be taken again. */
  again: number;
  /** Offsets never taken, and now passed over. */
  skipped: number;
  /** What was in hand and no longer is: from `toOffset` on it is taken again, before that it is given up. */
  voided: Readonly<{ leased: number; waiting: number }>;
  /** Offsets that were asked for and that retention has removed. */
  overtaken: number;
  /** Whether completed work is processed again. */
  reprocesses: boolean;
}>;
