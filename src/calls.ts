// The calls between http/, ingress/, the objects and the dispatcher: what each takes and answers.
// Every call may arrive twice and changes nothing the second time. Records cross packed (record-batch.ts).

import type { BrokerError, Result } from "./errors";
import type { RecordBatch } from "./record-batch";
import type { StartAt, SubscriptionSettings, TopicSettings } from "./settings";

/** The object of one partition of one generation of a topic or subscription. */
export function objectName(generation: string, partition: number): string {
  return `${generation}:${partition}`;
}

// ── topic ────────────────────────────────────────────────────────────────────────────────────────────

export type TopicProvision = Readonly<{
  topic: string;
  generation: string;
  partition: number;
  settings: TopicSettings;
  version: number;
}>;

/** An item of a record batch that was not simply stored: it met its first publish, or was refused. */
export type AppendException = Readonly<
  { index: number } & ({ duplicateOf: number } | { error: BrokerError })
>;

/**
 * The answer to one record batch, the same whenever it is repeated: items without an exception took the
 * offsets from `firstOffset` on, in order.
 */
export type BatchAnswer = Readonly<{
  batchId: string;
  firstOffset: number;
  count: number;
  exceptions: readonly AppendException[];
}>;

export type AppendCall = Readonly<{
  batches: readonly RecordBatch[];
  /** Refuse the whole batch when one item is refused. Only for calls with one record batch. */
  atomic?: boolean;
  /** Keep refused items for inspection: their publisher was answered 202 and cannot be told. */
  keepRejections?: boolean;
}>;

/** A run of dense offsets from `firstOffset`, one per record. */
export type LogRun = Readonly<{ firstOffset: number; storedAt: number; records: Uint8Array }>;

export type ReadAnswer = Readonly<{
  runs: readonly LogRun[];
  /** The oldest offset still retained, or `head` when nothing is. */
  earliest: number;
  /** The offset the next message will take. */
  head: number;
}>;

export type LaneRead = Readonly<{
  lanes: readonly { key: string; from: number }[];
  to: number;
  limit: number;
}>;
export type LaneAnswer = Readonly<{ runs: readonly LogRun[]; scannedTo: number }>;

export type Rejection = Readonly<{ id: string; messageId: string; rejectedAt: number; error: BrokerError }>;

export type TopicStats = Readonly<{
  partition: number;
  earliest: number;
  head: number;
  bytes: number;
  subscriptions: number;
  rejections: number;
}>;

export interface TopicCalls {
  provision(call: TopicProvision): Promise<Result<null>>;
  /** Newer settings replace older ones; an older version changes nothing. */
  configure(call: { settings: TopicSettings; version: number }): Promise<Result<null>>;
  remove(): Promise<Result<null>>;
  append(call: AppendCall): Promise<Result<readonly BatchAnswer[]>>;
  /** Tells the topic of a subscription and fixes where it starts; a repeat gets the first answer. */
  attach(call: { generation: string; startAt: StartAt }): Promise<Result<{ startOffset: number }>>;
  detach(call: { generation: string }): Promise<Result<null>>;
  /** Whole rows from `from` on (trimmed to start there), up to `maxBytes` but at least one row. */
  read(call: { from: number; maxBytes: number }): Promise<Result<ReadAnswer>>;
  /** The records at `offsets` (rising) that are still retained. */
  readOffsets(call: {
    offsets: readonly number[];
  }): Promise<Result<{ runs: readonly LogRun[]; earliest: number }>>;
  /**
   * For each lane, up to `limit` of its records with `from` <= offset < `to`. One call reads a bounded part of
   * the log: everything below `scannedTo` was looked at.
   */
  readLanes(call: LaneRead): Promise<Result<LaneAnswer>>;
  rejections(call: { after: string | null; limit: number }): Promise<Result<readonly Rejection[]>>;
  stats(): Promise<Result<TopicStats>>;
  /** The sweep's poke: arms what should be armed, notifies who is behind. */
  wake(): Promise<Result<null>>;
}

// ── subscription ─────────────────────────────────────────────────────────────────────────────────────

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
  )
>;

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

// ── push ─────────────────────────────────────────────────────────────────────────────────────────────

export type DispatchCall = Readonly<{
  topic: string;
  subscription: string;
  /** The subscription's generation: with `partition`, the object to report to. */
  generation: string;
  partition: number;
  settings: SubscriptionSettings;
  lease: LeaseAnswer;
}>;

export interface DispatchCalls {
  /** Carries a leased batch to its endpoint and reports how it fared. Never throws for an endpoint's fault. */
  deliver(call: DispatchCall): Promise<void>;
}
