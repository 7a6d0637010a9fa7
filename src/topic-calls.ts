// The calls to a topic's object: what each takes and answers. Every call may arrive twice and changes nothing the
// second time. Records cross packed (record-batch.ts).

import type { BrokerError, Result } from "./errors";
import type { Filter } from "./filter-form";
import type { Cut } from "./raise";
import type { RecordBatch } from "./record-batch";
import type { StartAt, TopicSettings } from "./settings";

export type TopicProvision = Readonly<{
  topic: string;
  generation: string;
  partition: number;
  settings: TopicSettings;
  version: number;
  /** Where its keys were before a raise made this partition. */
  parent?: number;
}>;

/**
/** What became of a message: it has an offset, waits for its instant, or was cancelled before. */
export type Standing = Readonly<{ offset: number } | { scheduledFor: number } | { cancelled: true }>;

/**
 * An item of a record batch that took no offset: it met its first publish, was refused, or is delayed. `duplicate`: it
 * met its first publish, which still waits; `cancelled`: which was cancelled. `partition` says where the first publish is,
 * when that is another one.
 */
export type AppendException = Readonly<
  { index: number; partition?: number } & (
    | { duplicateOf: number }
    | { error: BrokerError }
    | { scheduledFor: number; duplicate?: true }
    | { cancelled: true }
    /** Its producer's number was accepted before. Where it lies is not known. */
    | { knownSequence: number }
  )
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
  /** Nothing was stored: some of it belongs elsewhere. Cut it by this number of partitions (raise.ts). */
  movedTo?: number;
}>;

/** How far a producer has come: the number of its last accepted message, and when that was. */
export type ProducerPlace = Readonly<{ lastSequence: number; lastAt: number }>;

/** An id that a partition knows, what became of it there, and the fingerprint of what it named then. */
export type KnownId = Standing & Readonly<{ id: string; partition: number; fingerprint: string }>;

export type AppendCall = Readonly<{
  batches: readonly RecordBatch[];
  /** Refuse the whole batch when one item is refused. Only for calls with one record batch. */
  atomic?: boolean;
  /** Keep refused items for inspection: their publisher was answered 202 and cannot be told. */
  keepRejections?: boolean;
}>;

/** What a subscription wants: its filter, null when it takes everything, by the version of its settings. */
export type Wanted = Readonly<{ version: number; filter: Filter | null }>;

/** Tells a topic of a subscription, by its generation; `subscription` is its name, for people. */
export type AttachCall = Readonly<{
  generation: string;
  startAt: StartAt;
  subscription?: string;
  wanted?: Wanted;
}>;

/** `parent` is the partition that this one's keys were in before a raise. */
export type AttachAnswer = Readonly<{ startOffset: number; parent?: number }>;

/** A run of dense offsets from `firstOffset`, one per record. */
export type LogRun = Readonly<{ firstOffset: number; storedAt: number; records: Uint8Array }>;

export type ReadCall = Readonly<{ from: number; maxBytes: number }>;
export type FollowCall = ReadCall & Readonly<{ waitMs: number }>;

export type ReadAnswer = Readonly<{
  runs: readonly LogRun[];
  /** The oldest offset still retained, or `head` when nothing is. */
  earliest: number;
  /** The offset the next message will take. */
  head: number;
}>;

export type LogPlace = Readonly<{
  earliest: number;
  head: number;
  /** Of the first message stored at the time asked for, or later; the head when there is none. */
  atTime?: number;
}>;

export type LaneRead = Readonly<{
  lanes: readonly { key: string; from: number }[];
  to: number;
  limit: number;
}>;
export type LaneAnswer = Readonly<{ runs: readonly LogRun[]; scannedTo: number }>;

export type OffsetsRead = Readonly<{
  offsets: readonly number[];
  /** Also what is past its retention and not removed yet: to be kept with a dead letter, not to be handed out. */
  retired?: boolean;
}>;
/** `earliest` is the oldest offset that could be read. */
export type OffsetsAnswer = Readonly<{ runs: readonly LogRun[]; earliest: number }>;

/** The offsets of each ordering key; everything below `scannedTo` was looked at. */
export type KeyedOffsets = Readonly<{
  offsets: readonly (readonly [key: string, offsets: readonly number[]])[];
  scannedTo: number;
}>;

export type Rejection = Readonly<{ id: string; messageId: string; rejectedAt: number; error: BrokerError }>;

/**
 * By place or by id. An id that no publish key knows and that tells its time, as those of the broker do, is looked for
 * in the log from that time on, or from the offset `from` on when an earlier call came so far.
 */
export type FindCall = Readonly<{ offset: number } | { id: string; from?: number }>;

/** What a topic's partition knows of a message. */
export type Finding = Readonly<{
  /** Its place; the run holds its record, and is absent when retention removed it. */
  place?: Readonly<{ offset: number; run?: LogRun }>;
  /** It is delayed, or was cancelled while it was. */
  delayed?: Readonly<{ scheduledFor: number; record: Uint8Array } | { cancelled: true }>;
  /** What was refused under its id after a 202. */
  rejections: readonly Rejection[];
  /** The part of the log that was looked through for it. */
  searched?: Readonly<{ from: number; to: number }>;
  head: number;
}>;
/** Where a delayed message stands in line: by its instant, and among those of one instant by its number. */
export type DelayedPlace = Readonly<{ deliverAt: number; number: number }>;
/** A delayed message, with its record. */
export type DelayedMessage = DelayedPlace & Readonly<{ record: Uint8Array }>;
export type DelayedPage = Readonly<{ messages: readonly DelayedMessage[]; more: boolean }>;

export type TopicStats = Readonly<{
  partition: number;
  earliest: number;
  head: number;
  /** What the partition takes on disk, publish keys and all. */
  bytes: number;
  /** Of `bytes`: messages, as `retentionBytes` counts them. */
  messageBytes: number;
  subscriptions: number;
  rejections: number;
  /** Delayed messages that have no offset yet. */
  scheduled: number;
}>;

export interface TopicCalls {
  provision(call: TopicProvision): Promise<Result<null>>;
  /** Newer settings replace older ones; an older version changes nothing. */
  configure(call: { settings: TopicSettings; version: number }): Promise<Result<null>>;
  remove(): Promise<Result<null>>;
  append(call: AppendCall): Promise<Result<readonly BatchAnswer[]>>;
  /** Takes a delayed message back. Refused once it has its offset; a repeat of a cancel is none. */
  cancel(call: { id: string }): Promise<Result<null>>;
  /** Moves a delayed message to another instant. Refused once it has its offset, or was cancelled. */
  reschedule(call: { id: string; deliverAt: number }): Promise<Result<{ scheduledFor: number }>>;
  /** Delayed messages past `after`, those due first first: as many as `limit` and the bytes of a read allow. */
  delayed(call: { after: DelayedPlace | null; limit: number }): Promise<Result<DelayedPage>>;
  /** Tells the topic of a subscription and fixes where it starts; a repeat gets the first answer. */
  attach(call: AttachCall): Promise<Result<AttachAnswer>>;
  detach(call: { generation: string }): Promise<Result<null>>;
  /** What readers want by now; an older version changes nothing, and neither does who is not attached. */
  describe(call: { readers: readonly (Wanted & Readonly<{ generation: string }>)[] }): Promise<Result<null>>;
  /**
   * The topic is raised to `partitions`: from here on what then belongs elsewhere is not taken any more, and what is delayed
   * of it is handed there. Refused while that cannot take it: said again, it goes on.
   */
  cut(call: { partitions: number }): Promise<Result<null>>;
  /** Takes delayed messages over from the partition that their keys left. Nobody is asked about their ids. */
  adopt(call: Pick<AppendCall, "batches">): Promise<Result<readonly BatchAnswer[]>>;
  cuts(): Promise<Result<readonly Cut[]>>;
  /** Which of `ids` this partition, or one it came from, has seen; and when the keys of `child` left it, if they did. */
  knows(call: {
    ids: readonly string[];
    child: number;
  }): Promise<Result<{ known: readonly KnownId[]; cutAt?: number }>>;
  /** How far a producer has come; null when it is unknown. `child` asks as a partition that a raise made of this one. */
  producer(call: { name: string; child?: number }): Promise<Result<ProducerPlace | null>>;
  /** The next sequence of a producer is the one after `lastSequence`, whatever it was. */
  beginProducer(call: { name: string; lastSequence: number }): Promise<Result<null>>;
  /** Forgets a producer. One that is unknown is forgotten already. */
  forgetProducer(call: { name: string }): Promise<Result<null>>;
  /** Whole rows from `from` on (trimmed to start there), up to `maxBytes` but at least one row. */
  read(call: ReadCall): Promise<Result<ReadAnswer>>;
  /** As `read`, but when there is nothing from `from` on it waits for it, up to `waitMs`. (A method called `tail` is never served over RPC.) */
  follow(call: FollowCall): Promise<Result<ReadAnswer>>;
  /** The records at `offsets` (rising) that are still retained, or with `retired` still on disk. */
  readOffsets(call: OffsetsRead): Promise<Result<OffsetsAnswer>>;
  /**
   * For each lane, up to `limit` of its records with `from` <= offset < `to`. One call reads a bounded part of
   * the log: everything below `scannedTo` was looked at.
   */
  readLanes(call: LaneRead): Promise<Result<LaneAnswer>>;
  /** One message by its id or its place, and what was refused under its id. */
  find(call: FindCall): Promise<Result<Finding>>;
  /** Where the log begins and ends, and the first offset stored at `time` or later. */
  locate(call: { time?: number }): Promise<Result<LogPlace>>;
  /** Where keyed messages lie from `from` to `to`, also retired ones. One call looks at a bounded part. */
  keyedOffsets(call: { from: number; to: number }): Promise<Result<KeyedOffsets>>;
  rejections(call: { after: string | null; limit: number }): Promise<Result<readonly Rejection[]>>;
  stats(): Promise<Result<TopicStats>>;
  /** The sweep's poke: arms what should be armed, notifies who is behind. */
  wake(): Promise<Result<null>>;
}
