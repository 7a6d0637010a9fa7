// The calls to a subscription's object: what each takes and answers. Every call may arrive twice and changes nothing
// the second time. Records cross packed (record-batch.ts).

import type { AttemptsAnswer, AttemptsCall } from "./attempt-calls";
import type {
  DeadLetter,
  DeadLetterPage,
  DeadLetterSelection,
  DeadLettersCall,
  MovedLetter,
  PurgeAnswer,
  RedriveAnswer,
  RedriveCall,
} from "./dead-letter-calls";
import type { EndpointView } from "./endpoint-view";
import type { Result } from "./errors";
import type { ReportAnswer, ReportCall } from "./report-calls";
import type { SeekAnswer, SeekCall } from "./seek-calls";
import type { SubscriptionSettings } from "./settings";
import type { Audit, Trace, TraceCall } from "./timeline-calls";
import type { LogRun } from "./topic-calls";
import type { VerifyCall } from "./verify-calls";

export type { AttemptNote, DeadLetterReason } from "./attempt";
export type { DeadLetter, DeadLetterSelection } from "./dead-letter-calls";

export type SubscriptionProvision = Readonly<{
  topic: string;
  topicGeneration: string;
  subscription: string;
  generation: string;
  partition: number;
  startOffset: number;
  settings: SubscriptionSettings;
  version: number;
  /** The partition that its keys were in before a raise made this one. */
  parent?: number;
  /** How many share what is set for all together; 1 unless it is said. */
  partitions?: number;
}>;

export type ConfigureCall = Readonly<{
  settings: SubscriptionSettings;
  version: number;
  partitions?: number;
}>;

/** Ordering keys of which something is not settled; `all` while they are not known, or too many. */
export type PendingKeys = readonly string[] | "all";

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
  /** The first call of a pull over several priorities: when it is the lowest's turn, that is answered and nothing leased. */
  takesTurn?: true;
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
  /** It is the lowest priority's turn: this one is not it. */
  lowestFirst?: true;
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

/** `ackDeadlineMs` counts from now on. */
export type ExtendCall = Readonly<{ refs: readonly LeaseRef[]; ackDeadlineMs: number }>;

const RECEIVER_LEASE = "claim:";

/** The lease under which a receiver holds a delivery that it was handed over, by its claim's fence. */
export function receiverLeaseId(fence: number): string {
  return `${RECEIVER_LEASE}${fence}`;
}

export function isReceiverLease(leaseId: string): boolean {
  return leaseId.startsWith(RECEIVER_LEASE);
}

/**
 * What retention overtook before it was attempted: `count` messages of those from `from` to `to`, at the instant `at`.
 * The counts of all gaps are what was lost so.
 */
export type Gap = Readonly<{ from: number; to: number; count: number; at: number }>;

/** `done`: nothing below is needed any more. Otherwise the topic says it again at `againAt`. */
export type ExpireAnswer = Readonly<{ done: true } | { done: false; againAt: number }>;

/** What is counted of one epoch. */
export type EpochCounters = Readonly<{
  /** Rises by one with every seek; all other counters begin anew with it, but for the next and the last. */
  epoch: number;
  /** Rises with every seek that has completed work processed again. */
  replay: number;
  startOffset: number;
  nextOffset: number;
  /** Dead letters of earlier epochs that were redriven into this one. */
  readmitted: number;
  settled: number;
  filtered: number;
  expired: number;
  dead: number;
  purged: number;
  moved: number;
  /** Dead letters of earlier epochs; no term of the law. */
  formerDead: number;
}>;

type StatsOfPartition = Readonly<{
  partition: number;
  head: number;
  leased: number;
  waiting: number;
  /** Of `waiting`: followers behind a lane. */
  followers: number;
  blockedLanes: number;
  unread: number;
  paused: boolean;
  /** Of a push subscription; of a forwarding one it is the target topic. */
  endpoint?: EndpointView;
  /** Set when too much waits and reading has stopped. */
  stalled: boolean;
  /** Where retention overtook, oldest first. */
  gaps: readonly Gap[];
  /** When the oldest dead letter died, of whatever epoch; absent while there is none. */
  oldestDeathAt?: number;
}>;

/**
 * The conservation law, in each epoch:
 * nextOffset - startOffset + readmitted = settled + filtered + expired + dead + purged + moved + leased + waiting.
 */
export type SubscriptionStats = EpochCounters & StatsOfPartition;

export interface SubscriptionCalls {
  provision(call: SubscriptionProvision): Promise<Result<null>>;
  configure(call: ConfigureCall): Promise<Result<null>>;
  remove(): Promise<Result<null>>;
  /** Answers how far the subscription now knows the log to reach. */
  notify(call: NotifyCall): Promise<Result<{ informedTo: number }>>;
  pull(call: LeaseCall): Promise<Result<LeaseAnswer>>;
  /** Waits until something could be leased; leases nothing. */
  ready(call: { waitMs: number }): Promise<Result<{ ready: boolean }>>;
  ack(call: { refs: readonly LeaseRef[] }): Promise<Result<readonly SettleStatus[]>>;
  nack(call: NackCall): Promise<Result<readonly SettleStatus[]>>;
  extend(call: ExtendCall): Promise<Result<readonly SettleStatus[]>>;
  report(call: ReportCall): Promise<Result<ReportAnswer>>;
  /** The operator says that the endpoint is well: it is probed at once. */
  probe(): Promise<Result<null>>;
  /** Has the endpoint asked at once whether it wants what it would be sent. For partition 0. */
  verify(call: Pick<VerifyCall, "by">): Promise<Result<null>>;
  /**
   * Everything below `before` is past its retention: the unread is counted, what waits dies with its message, leases
   * are let end.
   */
  expire(call: { before: number }): Promise<Result<ExpireAnswer>>;
  /** Nothing below `offset` is needed of the log any more. */
  settledTo(): Promise<Result<{ offset: number }>>;
  /** By epoch, then by offset. */
  deadLetters(call: DeadLettersCall): Promise<Result<readonly DeadLetter[]>>;
  /** Those that are chosen, with their messages. */
  findDeadLetters(call: DeadLetterSelection): Promise<Result<DeadLetterPage>>;
  /** Sends the chosen round again. */
  redrive(call: RedriveCall): Promise<Result<RedriveAnswer>>;
  purge(call: DeadLetterSelection): Promise<Result<PurgeAnswer>>;
  /** Another topic has these: they leave for good. Answers how many did. */
  moveLetters(call: { letters: readonly MovedLetter[] }): Promise<Result<{ moved: number }>>;
  /** Begins another epoch at another place of the log: leases are void, and what waits is dropped. */
  seek(call: SeekCall): Promise<Result<SeekAnswer>>;
  /** The lowest offset that is not settled: from here on, nothing is missed. */
  position(): Promise<Result<{ openFrom: number }>>;
  /** After a raise: keys that left for `partition`, or for where that came from, and have something unsettled here. */
  pendingKeys(call: { partition: number }): Promise<Result<{ pending: PendingKeys }>>;
  /** Failed attempts of what is in hand, and of dead letters of this epoch. */
  attempts(call: AttemptsCall): Promise<Result<AttemptsAnswer>>;
  stats(): Promise<Result<SubscriptionStats>>;
  /** Where the message at an offset is, and why it has not arrived. (A method called `trace` is never served over RPC.) */
  whereabouts(call: TraceCall): Promise<Result<Trace>>;
  /** Looks at offsets from `from` on one by one, in what is stored: a bounded number a call. */
  audit(call: { from: number }): Promise<Result<Audit>>;
  wake(): Promise<Result<null>>;
}
