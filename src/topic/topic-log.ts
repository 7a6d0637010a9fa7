// The log of one partition over its store: where it begins and ends, appends and reads. It holds in memory
// only what the store can tell again.

import { ok, type Result, refuse } from "../errors";
import { limits } from "../limits";
import { joinBytes, type RecordBatch, recordSpans, unpackRecord } from "../record-batch";
import type { StartAt } from "../settings";
import type {
  AppendCall,
  BatchAnswer,
  KeyedOffsets,
  LaneAnswer,
  LaneRead,
  LogPlace,
  LogRun,
  ReadAnswer,
} from "../topic-calls";
import type { Delayed } from "./delayed";
import { Delays } from "./delays";
import { type Appended, appendBatch, appendProduced, type SeenId, trimRun } from "./log";
import { ProducerMarks } from "./producer-marks";
import {
  type Dated,
  droppable,
  needsSegment,
  nextDropAt,
  type Retention,
  type Segment,
  type SegmentKind,
} from "./retention";
import type { TopicStore } from "./topic-store";

export class TopicLog {
  readonly delays: Delays;
  head = 0;
  private segments: Segment[];
  private lastStoredAt = 0;
  /** Bytes of records that the log has taken since it began, those removed since included. */
  private logBytes = 0;
  /** What lies before is retired: past its retention, shown to nobody, and on disk until its subscriptions know. */
  private floor = 0;
  /** When each closed segment was last written, as far as it was asked. */
  private readonly closedAt = new Map<number, number>();

  constructor(
    private readonly store: TopicStore,
    private readonly retention: Retention,
  ) {
    this.delays = new Delays(store.delayed);
    this.segments = store.segments();
    const newest = this.of("batches").at(-1);
    if (newest === undefined) return;
    const last = store.lastRow(newest);
    this.head = last?.end ?? newest.firstOffset;
    this.lastStoredAt = last?.storedAt ?? newest.openedAt;
    this.logBytes = last?.logBytes ?? newest.startBytes ?? 0;
  }

  /** The oldest offset still retained; the head when nothing is. */
  get earliest(): number {
    return Math.max(this.floor, this.storedFrom);
  }

  /** The oldest offset on disk: below `earliest` while what is retired waits to be removed. */
  get storedFrom(): number {
    return this.of("batches")[0]?.firstOffset ?? this.head;
  }

  /** Bytes of the records on disk. */
  get bytes(): number {
    return this.logBytes - (this.of("batches")[0]?.startBytes ?? 0);
  }

  /**
   * Appends record batches as one row, and answers each; one that was answered before gets that answer again,
   * word for word. Runs inside the caller's transaction, so that answers and records exist together.
   */
  append(
    { batches, atomic = false, keepRejections = false }: AppendCall,
    now: number,
    { knownAbove, producersAbove, movedTo }: Beside = {},
  ): AppendedCall {
    const answered = new Map(this.lookUp(batches).map((answer) => [answer.batchId, answer]));
    const here = this.seen(batches.flatMap(({ clientIds }) => clientIds.map(({ id }) => id)));
    const seen = new Map([...(knownAbove ?? []).map((known) => [known.id, known] as const), ...here]);
    const added: Appended[] = [];
    let head = this.head;
    let { room } = this.delays;
    const marks = new ProducerMarks(this.store.producers, producersAbove);
    for (const batch of batches) {
      if (answered.has(batch.batchId)) continue;
      const moved = movedTo?.(batch);
      if (moved !== undefined) {
        answered.set(batch.batchId, notTaken(batch, moved, head));
        continue;
      }
      const { producer } = batch;
      const appended = producer
        ? appendProduced({ ...batch, producer }, seen, head, marks.before(producer.name))
        : appendBatch(batch, seen, head, atomic, room);
      marks.note(appended.producer);
      room -= appended.delayed.length;
      for (const id of appended.newIds) seen.set(id.id, id);
      answered.set(batch.batchId, appended.answer);
      added.push(appended);
      head += appended.newCount;
    }
    const run = this.write(added, head, now, keepRejections);
    marks.save(now);
    return { run, answers: batches.flatMap(({ batchId }) => answered.get(batchId) ?? []) };
  }

  /** The first answers to record batches that come again; undefined unless all of them do. */
  answeredBefore({ batches }: AppendCall): readonly BatchAnswer[] | undefined {
    const answered = new Map(this.lookUp(batches).map((answer) => [answer.batchId, answer]));
    const answers = batches.flatMap(({ batchId }) => answered.get(batchId) ?? []);
    return answers.length === batches.length ? answers : undefined;
  }

  private write(
    added: readonly Appended[],
    head: number,
    now: number,
    keepRejections: boolean,
  ): LogRun | undefined {
    if (added.length === 0) return undefined;
    const storedAt = Math.max(now, this.lastStoredAt);
    const keys = this.segmentFor("keys", storedAt);
    for (const { answer, newIds, delayed, rejected } of added) {
      this.store.keys.insertAnswer(keys, answer);
      this.store.keys.insertIds(keys, newIds);
      this.delays.add(delayed);
      for (const { messageId, error } of keepRejections ? rejected : []) {
        this.store.insertRejection(messageId, now, JSON.stringify(error), limits.rejectionsKept);
      }
    }
    if (head === this.head) return undefined;
    return this.writeRow(joinBytes(added.map(({ records }) => records)), head - this.head, storedAt);
  }

  private writeRow(records: Uint8Array, count: number, storedAt: number): LogRun {
    const run = { firstOffset: this.head, storedAt, records };
    const segment = this.segmentFor("batches", storedAt);
    this.logBytes += records.byteLength;
    this.store.insertBatch(segment, run, count, this.logBytes);
    this.head += count;
    this.lastStoredAt = storedAt;
    return run;
  }

  /**
   * Appends delayed messages that are due as one row. Their ids are remembered from now on, like their messages.
   * Runs inside the caller's transaction.
   */
  appendReleased(due: readonly Delayed[], now: number): LogRun {
    const storedAt = Math.max(now, this.lastStoredAt);
    this.remember(
      due.map(({ id, fingerprint }, i) => ({ id, fingerprint, offset: this.head + i })),
      storedAt,
    );
    return this.writeRow(joinBytes(due.map(({ record }) => record)), due.length, storedAt);
  }

  /** Remembers what became of ids. Runs inside the caller's transaction. */
  remember(ids: readonly SeenId[], now: number): void {
    this.store.keys.insertIds(this.segmentFor("keys", Math.max(now, this.lastStoredAt)), ids);
  }

  /** Rows from `from` on, the first trimmed to start there: at least one row, then as many as `maxBytes` holds. */
  read(from: number, maxBytes: number): ReadAnswer {
    const runs: LogRun[] = [];
    let bytes = 0;
    const start = Math.max(from, this.earliest);
    for (const row of start < this.head ? this.rows(start) : []) {
      const run = trimRun(row, start);
      if (runs.length > 0 && bytes + run.records.byteLength > maxBytes) break;
      runs.push(run);
      bytes += run.records.byteLength;
    }
    return { runs, earliest: this.earliest, head: this.head };
  }

  /** The records at `offsets` (rising) not below `from`, up to about `maxBytes`. */
  readOffsets(offsets: readonly number[], from: number, maxBytes: number): LogRun[] {
    const runs: LogRun[] = [];
    let bytes = 0;
    let row: LogRun | undefined;
    let spans: ReturnType<typeof recordSpans> = [];
    for (const offset of offsets) {
      if (offset < from || offset >= this.head || bytes > maxBytes) continue;
      if (row === undefined || offset >= row.firstOffset + spans.length) {
        row = this.rows(offset).next().value ?? undefined;
        spans = row ? recordSpans(row.records) : [];
      }
      const span = row && spans[offset - row.firstOffset];
      if (row === undefined || span === undefined) continue;
      const records = row.records.slice(span.start, span.end);
      runs.push({ firstOffset: offset, storedAt: row.storedAt, records });
      bytes += records.byteLength;
    }
    return runs;
  }

  /** Looks for each lane's next records. Walks the log from the least `from`, a bounded part of it a call. */
  readLanes({ lanes, to, limit }: LaneRead): LaneAnswer {
    const wanted = new Map(lanes.map(({ key, from }) => [key, { from, left: limit }]));
    const runs: LogRun[] = [];
    let scannedTo = Math.max(this.earliest, Math.min(...lanes.map(({ from }) => from)));
    let scannedBytes = 0;
    let foundBytes = 0;
    let unsatisfied = wanted.size;
    for (const row of this.rows(scannedTo)) {
      const isEnough = unsatisfied === 0 || foundBytes > limits.readBytes;
      if (scannedTo >= to || scannedBytes > limits.scanBytes || isEnough) break;
      const spans = recordSpans(row.records);
      spans.forEach((span, i) => {
        const offset = row.firstOffset + i;
        const lane = wanted.get(unpackRecord(row.records, span).orderingKey ?? "");
        if (lane === undefined || lane.left === 0 || offset < lane.from || offset >= to) return;
        lane.left -= 1;
        if (lane.left === 0) unsatisfied -= 1;
        foundBytes += span.end - span.start;
        runs.push({
          firstOffset: offset,
          storedAt: row.storedAt,
          records: row.records.slice(span.start, span.end),
        });
      });
      scannedTo = row.firstOffset + spans.length;
      scannedBytes += row.records.byteLength;
    }
    return { runs, scannedTo: Math.min(to, Math.max(scannedTo, this.earliest)) };
  }

  /** Where keyed messages lie, from `from` to `to`, on disk though they may be retired. A bounded part a call. */
  keyedOffsets({ from, to }: { from: number; to: number }): KeyedOffsets {
    const offsets = new Map<string, number[]>();
    let scannedTo = Math.max(from, this.storedFrom);
    let scannedBytes = 0;
    for (const row of this.rows(scannedTo)) {
      if (scannedTo >= to || scannedBytes > limits.scanBytes) break;
      const spans = recordSpans(row.records);
      for (const [i, span] of spans.entries()) {
        const offset = row.firstOffset + i;
        if (offset < from || offset >= to) continue;
        const { orderingKey } = unpackRecord(row.records, span);
        if (orderingKey === undefined) continue;
        const known = offsets.get(orderingKey);
        if (known) known.push(offset);
        else offsets.set(orderingKey, [offset]);
      }
      scannedTo = row.firstOffset + spans.length;
      scannedBytes += row.records.byteLength;
    }
    return { offsets: [...offsets], scannedTo: Math.min(to, scannedTo) };
  }

  /** The offset at which a reader that starts at `startAt` begins. */
  startOffset(startAt: StartAt, partition: number): Result<number> {
    if (startAt.at === "earliest") return ok(this.earliest);
    if (startAt.at === "latest") return ok(this.head);
    if (startAt.at === "time") return ok(this.offsetAt(startAt.time));
    const offset = startAt.offsets[String(partition)] ?? this.head;
    if (offset <= this.head) return ok(Math.max(offset, this.earliest));
    return refuse("invalid-request", `Offset ${offset} lies beyond the head of partition ${partition}.`, {
      field: `startAt.offsets.${partition}`,
      limit: this.head,
    });
  }

  /** Where the log begins and ends, and the first offset stored at `time` or later. */
  locate(time?: number): LogPlace {
    const { earliest, head } = this;
    return { earliest, head, ...(time !== undefined && { atTime: this.offsetAt(time) }) };
  }

  /** The offset of the first message stored at or after `time`; the head when there is none. */
  offsetAt(time: number): number {
    for (const segment of this.of("batches")) {
      if (segment.firstOffset < this.floor) continue;
      const offset = this.store.offsetAt(segment, time);
      if (offset !== undefined) return offset;
    }
    return this.head;
  }

  /** Drops ids past their retention, and retires messages past theirs: from now on nobody is shown them. */
  retire(now: number): void {
    this.drop(droppable(this.dated("keys"), "keys", this.retention.retentionMs, now), now);
    this.floor = Math.max(this.floor, this.pastFrom(now));
  }

  /** Where the messages begin that are not past their retention, as of `now`. */
  pastFrom(now: number): number {
    const past = droppable(this.dated("batches"), "batches", this.retention.retentionMs, now);
    return this.of("batches")[past.length]?.firstOffset ?? this.head;
  }

  /** Drops the segments that end at or before `offset`. */
  dropBelow(offset: number, now: number): void {
    const segments = this.of("batches");
    const gone = segments.filter((_, i) => (segments[i + 1]?.firstOffset ?? this.head) <= offset);
    this.drop(gone, now);
  }

  /** Drops segments that end at or before `offset`, oldest first, as long as `isOver`; never the newest. */
  dropWhile(isOver: () => boolean, offset: number, now: number): void {
    for (;;) {
      const [oldest, next] = this.of("batches");
      if (!oldest || !next || next.firstOffset > offset || !isOver()) return;
      this.drop([oldest], now);
    }
  }

  private drop(gone: readonly Segment[], now: number): void {
    // The log always has a newest segment: it tells where the next offset begins.
    const newest = this.of("batches").at(-1);
    if (newest && gone.includes(newest)) this.open("batches", now);
    for (const segment of gone) this.store.dropSegment(segment);
    this.segments = this.segments.filter((segment) => !gone.includes(segment));
  }

  /** When `retire` has something to do next. */
  nextRetireAt(): number | undefined {
    const dues = (["batches", "keys"] as const).map((kind) => {
      const kept = this.dated(kind).filter(
        ({ segment }) => kind === "keys" || segment.firstOffset >= this.floor,
      );
      return nextDropAt(kept, kind, this.retention.retentionMs);
    });
    const due = Math.min(...dues.filter((at) => at !== undefined));
    return due === Number.POSITIVE_INFINITY ? undefined : due;
  }

  /** Segments with when they were last written: of ids, when the next was opened; the newest is never done. */
  private dated(kind: SegmentKind): Dated[] {
    const segments = this.of(kind);
    return segments.map((segment, i) => ({
      segment,
      lastWrittenAt:
        kind === "keys" ? segments[i + 1]?.openedAt : this.lastWrittenAt(segment, segments[i + 1]),
    }));
  }

  private lastWrittenAt(segment: Segment, next: Segment | undefined): number | undefined {
    if (next === undefined) return segment.firstOffset < this.head ? this.lastStoredAt : undefined;
    const known =
      this.closedAt.get(segment.number) ?? this.store.lastRow(segment)?.storedAt ?? segment.openedAt;
    this.closedAt.set(segment.number, known);
    return known;
  }

  /** Rows that reach past `from`, in order, read one at a time as they are asked for. */
  *rows(from: number): Generator<LogRun> {
    const segments = this.of("batches");
    for (const [i, segment] of segments.entries()) {
      if ((segments[i + 1]?.firstOffset ?? Number.POSITIVE_INFINITY) > from)
        yield* this.store.rows(segment, from);
    }
  }

  private lookUp(batches: AppendCall["batches"]): BatchAnswer[] {
    const ids = batches.map(({ batchId }) => batchId);
    return this.keysNewestFirst().flatMap((segment) => this.store.keys.batchAnswers(segment, ids));
  }

  /** What became of `ids`, as far as it is remembered. */
  seen(ids: readonly string[]): Map<string, SeenId> {
    if (ids.length === 0) return new Map();
    const found = this.keysNewestFirst().flatMap((segment) => this.store.keys.seenIds(segment, ids));
    return new Map([...found, ...this.delays.seen(ids)].map((seen) => [seen.id, seen]));
  }

  private keysNewestFirst(): Segment[] {
    return this.of("keys").reverse();
  }

  private segmentFor(kind: SegmentKind, now: number): Segment {
    const newest = this.of(kind).at(-1);
    return newest === undefined || needsSegment(newest, kind, this.retention, now, this.logBytes)
      ? this.open(kind, now)
      : newest;
  }

  private open(kind: SegmentKind, openedAt: number): Segment {
    const number = (this.of(kind).at(-1)?.number ?? 0) + 1;
    const segment = { kind, number, openedAt, firstOffset: this.head, startBytes: this.logBytes };
    this.store.openSegment(segment);
    this.segments.push(segment);
    return segment;
  }

  private of(kind: SegmentKind): Segment[] {
    return this.segments.filter((segment) => segment.kind === kind);
  }
}

/** Not stored and not remembered: it will come in parts, each where it belongs. */
function notTaken({ batchId, count }: RecordBatch, movedTo: number, head: number): BatchAnswer {
  return { batchId, firstOffset: head, count, exceptions: [], movedTo };
}

/** What an append goes by beside its own log, after a raise. */
export type Beside = Readonly<{
  /** Ids that were published where the partition's keys came from. */
  knownAbove?: readonly SeenId[];
  /** How far producers came there that this partition has not met. */
  producersAbove?: ReadonlyMap<string, number>;
  /** The count by which a batch must be cut, because some of it belongs elsewhere by now. */
  movedTo?(batch: RecordBatch): number | undefined;
}>;

export type AppendedCall = Readonly<{ run: LogRun | undefined; answers: readonly BatchAnswer[] }>;
