// Reads the log for a subscription: ahead from its next offset, and single records that wait or follow.
// What it reads lands in the buffer; what the log no longer has is told to the backlog.

import { asOwn, ok, type Result } from "../errors";
import { limits } from "../limits";
import { deliveryTerms } from "../record-batch";
import type { LogPlace, TopicCalls } from "../topic-calls";
import type { Backlog } from "./backlog";
import { learnFollowers, passBelow } from "./expiry";
import { findFollowers } from "./follower-search";
import type { Missing } from "./readiness";
import type { RecordBuffer } from "./record-buffer";

/** A message of the log, packed, and its ordering key if it has one. */
export type Found = Readonly<{ record: Uint8Array; orderingKey: string | undefined }>;
/** What one read brought, by offset. */
export type FoundAnswer = Readonly<{ found: ReadonlyMap<number, Found>; earliest: number }>;

/** What the reader needs of the subscription's own store. */
type CarriedRecords = { carriedRecord(offset: number): Uint8Array | undefined };

export class LogReader {
  private ahead: Promise<boolean> | undefined;

  constructor(
    private readonly topic: TopicCalls,
    private readonly backlog: Backlog,
    private readonly buffer: RecordBuffer,
    private readonly carried: CarriedRecords,
    private readonly change: <T>(decide: () => T) => T,
  ) {}

  informedTo(head: number): void {
    this.backlog.knownHead = Math.max(this.backlog.knownHead, head);
  }

  /** Whether the log reaches further than what is held, as far as is known. */
  get isBehind(): boolean {
    return this.backlog.isInDoubt || this.buffer.end < this.backlog.knownHead;
  }

  /** Makes the next look at the log a read, whatever is believed of its head. */
  doubt(): void {
    this.backlog.isInDoubt = true;
  }

  async askHead(): Promise<number> {
    const answer = await this.topic.stats();
    if (answer.ok) this.informedTo(answer.value.head);
    return Math.max(this.backlog.knownHead, this.backlog.counters.nextOffset);
  }

  /** Where the log begins and ends, and where `time` lies in it. */
  async locate(time?: number): Promise<Result<LogPlace>> {
    return asOwn(await this.topic.locate(time === undefined ? {} : { time }));
  }

  /** Reads on from the end of what is held. Answers whether there was anything. Callers share one read. */
  readAhead(): Promise<boolean> {
    this.ahead ??= this.readOn().finally(() => {
      this.ahead = undefined;
    });
    return this.ahead;
  }

  private async readOn(): Promise<boolean> {
    const from = this.buffer.end;
    if (this.buffer.isFull) return false;
    const answer = await this.topic.read({ from, maxBytes: limits.readAheadBytes }).catch((fault) => {
      // What was asked is still not known: whoever sends by itself is to ask again.
      this.doubt();
      throw fault;
    });
    if (!answer.ok) return false;
    this.backlog.isInDoubt = false;
    const { runs, earliest, head } = answer.value;
    this.informedTo(head);
    if (earliest > this.buffer.end && !(await this.skipTo(earliest))) return false;
    this.buffer.append(runs);
    return this.buffer.end > from;
  }

  /**
   * Retention overtook the subscription: what it never read counts as expired. False when it is not there yet, and has to
   * look again.
   */
  private async skipTo(earliest: number): Promise<boolean> {
    const found = await findFollowers(this.topic, this.backlog, earliest);
    const { nextOffset } = this.backlog.counters;
    // What is held and not taken yet comes first.
    if (nextOffset >= earliest || this.buffer.end > nextOffset) return true;
    const isPassed = found !== undefined && this.change(() => passBelow(this.backlog, earliest, found));
    if (isPassed) this.buffer.restartAt(earliest);
    else this.doubt();
    return isPassed;
  }

  /** Reads what is missing. Answers the offsets that the log no longer has. */
  async readMissing({ offsets, lanes }: Missing): Promise<readonly number[]> {
    const lost = await this.hold(offsets);
    if (lanes.length > 0) await this.searchLanes(lanes);
    return lost;
  }

  /**
   * Holds the records at `offsets`, as many as one read brings. Answers those that retention overtook; with
   * `retired`, for what is kept and not handed out, only those that are removed.
   */
  async hold(offsets: readonly number[], { retired } = { retired: false }): Promise<readonly number[]> {
    const missing = offsets.filter((offset) => !this.buffer.get(offset) && !this.holdCarried(offset));
    if (missing.length === 0) return [];
    const answer = await this.topic.readOffsets({ offsets: missing.sort((a, b) => a - b), retired });
    if (!answer.ok) return missing;
    this.buffer.hold(answer.value.runs);
    return missing.filter((offset) => offset < answer.value.earliest);
  }

  /** The messages at `offsets` (rising), as many as one read brings. Nothing is held. */
  async find(offsets: readonly number[], { retired } = { retired: false }): Promise<Result<FoundAnswer>> {
    const answer = asOwn(await this.topic.readOffsets({ offsets, retired }));
    if (!answer.ok) return answer;
    const { runs, earliest } = answer.value;
    const found = new Map(
      runs.map(({ firstOffset, records: record }) => {
        const { orderingKey } = deliveryTerms(record, { start: 0, end: record.byteLength });
        return [firstOffset, { record, orderingKey }] as const;
      }),
    );
    return ok({ found, earliest });
  }

  private holdCarried(offset: number): boolean {
    const records = this.carried.carriedRecord(offset);
    if (records) this.buffer.hold([{ firstOffset: offset, storedAt: 0, records }]);
    return records !== undefined;
  }

  private async searchLanes(lanes: Missing["lanes"]): Promise<void> {
    const to = this.backlog.counters.nextOffset;
    const answer = await this.topic.readLanes({ lanes, to, limit: limits.followersRead });
    if (!answer.ok) return;
    const { runs, scannedTo } = answer.value;
    this.buffer.hold(runs);
    const offsets = new Map<string, number[]>();
    for (const { firstOffset } of runs) {
      const key = this.buffer.get(firstOffset)?.orderingKey;
      if (key !== undefined) offsets.set(key, [...(offsets.get(key) ?? []), firstOffset]);
    }
    // All there was then was looked at, and since then more was taken, or overtaken: where a lane had nothing, it is looked
    // for again. Taken for looked at, its followers would be sought among messages that never stood in line.
    const isOutrun = scannedTo >= to && this.backlog.counters.nextOffset > to;
    const learnt = lanes.filter(({ key }) => !isOutrun || offsets.has(key));
    this.change(() => {
      for (const { key } of learnt) learnFollowers(this.backlog, key, offsets.get(key) ?? [], scannedTo);
    });
  }
}
