// The rows of a partition's log on disk, in segments: where it begins and ends, a row more, its rows in order, and what is
// past its time. It holds in memory only what the store can tell again. What is written beside the rows, the publish
// keys, lies in segments of its own, which are opened and dropped here too.

import type { LogRun } from "../topic-calls";
import {
  type Dated,
  droppable,
  needsSegment,
  nextDropAt,
  type Retention,
  type Segment,
  type SegmentKind,
} from "./retention";
import type { SegmentStore } from "./segment-store";

export class SegmentedLog {
  /** The offset that the next message takes. */
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
    private readonly store: SegmentStore,
    private readonly retention: Retention,
  ) {
    this.segments = store.list();
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

  // ── writing ────────────────────────────────────────────────────────────────────────────────────────

  /** When what is written `now` is stored: never before the row before it. */
  private storedAt(now: number): number {
    return Math.max(now, this.lastStoredAt);
  }

  /** Appends `count` records as one row. Runs inside the caller's transaction. */
  writeRow(records: Uint8Array, count: number, now: number): LogRun {
    const storedAt = this.storedAt(now);
    const run = { firstOffset: this.head, storedAt, records };
    const segment = this.segmentFor("batches", storedAt);
    this.logBytes += records.byteLength;
    this.store.insertRow(segment, run, count, this.logBytes);
    this.head += count;
    this.lastStoredAt = storedAt;
    return run;
  }

  /** The segment that publish keys of `now` belong in. Runs inside the caller's transaction. */
  keysFor(now: number): Segment {
    return this.segmentFor("keys", this.storedAt(now));
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
    this.store.open(segment);
    this.segments.push(segment);
    return segment;
  }

  // ── reading ────────────────────────────────────────────────────────────────────────────────────────

  /** Rows that reach past `from`, in order, read one at a time as they are asked for. */
  *rows(from: number): Generator<LogRun> {
    const segments = this.of("batches");
    for (const [i, segment] of segments.entries()) {
      if ((segments[i + 1]?.firstOffset ?? Number.POSITIVE_INFINITY) > from)
        yield* this.store.rows(segment, from);
    }
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

  keysNewestFirst(): Segment[] {
    return this.of("keys").reverse();
  }

  // ── removing ───────────────────────────────────────────────────────────────────────────────────────

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
    for (const segment of gone) this.store.drop(segment);
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

  private of(kind: SegmentKind): Segment[] {
    return this.segments.filter((segment) => segment.kind === kind);
  }
}
