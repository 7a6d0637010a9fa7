// The calls to a subscription's object: what each takes and answers. Every call may arrive twice and changes nothing
// the second time. Records cross packed (record-batch.ts).

import type { Result } from "./errors";
import type { SubscriptionSettings } from "./settings";
import type { LogRun } from "./topic-calls";

export type SubscriptionProvision = Readonly<{
  topic: string;
  topicGeneration: string;
  subscription: string;
  generation: string;
  partition: number;
  startOffset: number;
  settings: SubscriptionSettings;
  version: number;
}>;

/** `runs` are the newest records, without a gap up to `head`, when they are small enough to ride along. */
export type NotifyCall = Readonly<{ head: number; runs: readonly LogRun[] }>;

export type LeaseCall = Readonly<{
  /** Made by the caller; repeating it returns the same lease. */
  leaseId: string;
  max: number;
  maxBytes: number;
  ackDeadlineMs?: number;
  /** Wait for something to lease, up to this long. 0 answers at once. */
  waitMs: number;
}>;

export type LeasedDelivery = Readonly<{
  offset: number;
  /** 1 for the first. */
  attempt: number;
}>;

/** Leased deliveries, and their records packed in the same order. */
export type LeaseAnswer = Readonly<{
  leaseId: string;
  deadlineAt: number;
  /** At-most-once: they were settled in the change that leased them. Nothing is left to ack, extend or report. */
  settled?: true;
  deliveries: readonly LeasedDelivery[];
  records: Uint8Array;
}>;

/** What an ack id says, beside its partition. */
export type LeaseRef = Readonly<{ leaseId: string; offset: number }>;
export type SettleStatus = "acked" | "released" | "dead" | "extended" | "lease-lost";

export type NackCall = Readonly<{
  refs: readonly LeaseRef[];
  /** Instead of the retry policy's backoff. */
  delayMs?: number;
  deadLetter?: boolean;
  reason?: string;
}>;

/** One ended attempt, as a dead letter and the timeline show it. */
export type AttemptNote = Readonly<{
  at: number;
  /** The endpoint's HTTP status, when it answered. */
  status?: number;
  error?: string;
  latencyMs?: number;
}>;

/** How the dispatcher fared with one delivery. */
export type DispatchOutcome = Readonly<
  { offset: number } & (
    | { result: "delivered" }
    /** An attempt that failed: counted, retried after the policy's backoff or `retryAfterMs`. */
    | { result: "failed"; note: AttemptNote; retryAfterMs?: number }
    /** Not sent: given back, no attempt counted, available again after `delayMs`. */
    | { result: "unsent"; delayMs: number; reason: string }
    /** The receiver has it for `leaseMs` from now on, and settles it by its claim's fence. */
    | { result: "handed-over"; fence: number; leaseMs: number }
  )
>;

const RECEIVER_LEASE = "claim:";

/** The lease under which a receiver holds a delivery that it was handed over, by its claim's fence. */
export function receiverLeaseId(fence: number): string {
  return `${RECEIVER_LEASE}${fence}`;
}

export function isReceiverLease(leaseId: string): boolean {
  return leaseId.startsWith(RECEIVER_LEASE);
}

export type ReportCall = Readonly<{
  leaseId: string;
  outcomes: readonly DispatchOutcome[];
  /** Move the deadline of what is left to now + this. */
  extendMs?: number;
  /** The dispatch has ended: what it does not mention is given back, no attempt counted. */
  done: boolean;
  /** The endpoint answered 410: stop sending. */
  endpointGone?: boolean;
}>;

export type DeadLetterReason = "attempts-spent" | "rejected" | "expired" | "undeliverable";

export type DeadLetter = Readonly<{
  offset: number;
  diedAt: number;
  reason: DeadLetterReason;
  /** In the words of who gave it up. */
  detail?: string;
  attempts: number;
  history: readonly AttemptNote[];
  /** Its message as one packed record; absent only when retention overtook it. */
  record?: Uint8Array;
}>;

export type DeadLetterSelection = Readonly<{ offsets: readonly number[] } | { all: true; limit: number }>;

/** The conservation law: nextOffset - startOffset = settled + filtered + expired + dead + purged + moved + leased + waiting. */
export type SubscriptionStats = Readonly<{
  partition: number;
  startOffset: number;
  nextOffset: number;
  head: number;
  settled: number;
  filtered: number;
  expired: number;
  dead: number;
  purged: number;
  moved: number;
  leased: number;
  waiting: number;
  /** Of `waiting`: followers behind a lane. */
  followers: number;
  blockedLanes: number;
  unread: number;
  paused: boolean;
  /** Set when too much waits and reading has stopped. */
  stalled: boolean;
}>;

export interface SubscriptionCalls {
  provision(call: SubscriptionProvision): Promise<Result<null>>;
  configure(call: { settings: SubscriptionSettings; version: number }): Promise<Result<null>>;
  remove(): Promise<Result<null>>;
  /** Answers how far the subscription now knows the log to reach. */
  notify(call: NotifyCall): Promise<Result<{ informedTo: number }>>;
  pull(call: LeaseCall): Promise<Result<LeaseAnswer>>;
  /** Waits until something could be leased; leases nothing. */
  ready(call: { waitMs: number }): Promise<Result<{ ready: boolean }>>;
  ack(call: { refs: readonly LeaseRef[] }): Promise<Result<readonly SettleStatus[]>>;
  nack(call: NackCall): Promise<Result<readonly SettleStatus[]>>;
  extend(call: {
    refs: readonly LeaseRef[];
    ackDeadlineMs: number;
  }): Promise<Result<readonly SettleStatus[]>>;
  report(call: ReportCall): Promise<Result<null>>;
  /** Dead letters with `offset` > `after`, oldest first. */
  deadLetters(call: { after: number; limit: number }): Promise<Result<readonly DeadLetter[]>>;
  redrive(call: DeadLetterSelection): Promise<Result<{ redriven: number }>>;
  purge(call: DeadLetterSelection): Promise<Result<{ purged: number }>>;
  stats(): Promise<Result<SubscriptionStats>>;
  wake(): Promise<Result<null>>;
}
