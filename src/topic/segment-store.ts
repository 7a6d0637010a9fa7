// The SQL of the log's segments: tables named by number, so that retention drops a table and writes no row. Of rows that
// hold messages it reads a page at a time. What is in a segment of keys is publish-key-store.ts's.

import { limits } from "../limits";
import { fitting } from "../sql/page";
import type { LogRun } from "../topic-calls";
import type { Segment, SegmentKind } from "./retention";

type BatchRow = { first_offset: number; stored_at: number; records: ArrayBuffer };
type SegmentRow = {
  kind: SegmentKind;
  number: number;
  opened_at: number;
  first_offset: number;
  start_bytes: number | null;
};
/** Where a segment ends: the offset after it, when it was last written, and what the log had taken by then. */
export type SegmentEnd = Readonly<{ end: number; storedAt: number; logBytes: number }>;

export class SegmentStore {
  constructor(private readonly sql: SqlStorage) {}

  /** All segments, oldest first. */
  list(): Segment[] {
    return this.sql
      .exec<SegmentRow>(
        "SELECT kind, number, opened_at, first_offset, start_bytes FROM segments ORDER BY number",
      )
      .toArray()
      .map((row) => ({
        kind: row.kind,
        number: row.number,
        openedAt: row.opened_at,
        firstOffset: row.first_offset,
        ...(row.start_bytes !== null && { startBytes: row.start_bytes }),
      }));
  }

  open({ kind, number, openedAt, firstOffset, startBytes }: Segment): void {
    const columns =
      kind === "batches"
        ? `(first_offset INTEGER PRIMARY KEY, count INTEGER NOT NULL, stored_at INTEGER NOT NULL,
           log_bytes INTEGER NOT NULL, records BLOB NOT NULL) STRICT`
        : "(key TEXT PRIMARY KEY, answer TEXT NOT NULL) STRICT, WITHOUT ROWID";
    this.sql.exec(`CREATE TABLE ${kind}_${number} ${columns}`);
    this.sql.exec(
      "INSERT INTO segments (kind, number, opened_at, first_offset, start_bytes) VALUES (?1, ?2, ?3, ?4, ?5)",
      kind,
      number,
      openedAt,
      firstOffset,
      startBytes ?? null,
    );
  }

  drop({ kind, number }: Segment): void {
    this.sql.exec(`DROP TABLE ${kind}_${number}`);
    this.sql.exec("DELETE FROM segments WHERE kind = ?1 AND number = ?2", kind, number);
  }

  // ── the log ────────────────────────────────────────────────────────────────────────────────────────

  /** `logBytes` is what the log has taken with this row: how much it holds is then known from two rows. */
  insertRow({ number }: Segment, run: LogRun, count: number, logBytes: number): void {
    this.sql.exec(
      `INSERT INTO batches_${number} (first_offset, count, stored_at, log_bytes, records)
       VALUES (?1, ?2, ?3, ?4, ?5)`,
      run.firstOffset,
      count,
      run.storedAt,
      logBytes,
      run.records,
    );
  }

  /** Where a segment ends; undefined when it is empty. One of before bytes were counted has none. */
  lastRow({ number, startBytes }: Segment): SegmentEnd | undefined {
    const logBytes = startBytes === undefined ? "0" : "log_bytes";
    return this.sql
      .exec<SegmentEnd>(
        `SELECT first_offset + count AS end, stored_at AS storedAt, ${logBytes} AS logBytes FROM batches_${number}
         ORDER BY first_offset DESC LIMIT 1`,
      )
      .toArray()[0];
  }

  /**
   * Rows of a segment that reach past `from`, in order, read a page at a time as they are asked for. By primary key.
   * No cursor is left open, whenever the reader stops: one that is locks every table against being dropped.
   */
  *rows(segment: Segment, from: number): Generator<LogRun> {
    let page = [this.rowAt(segment, from)].flatMap((row) => row ?? []);
    let next = from;
    for (;;) {
      yield* page.map(toRun);
      next = (page.at(-1)?.first_offset ?? next - 1) + 1;
      page = this.page(segment, next);
      if (page.length === 0) return;
    }
  }

  /** The row that `offset` lies in, if the segment has it. By primary key. */
  private rowAt({ number }: Segment, offset: number): BatchRow | undefined {
    const [row] = this.sql
      .exec<BatchRow>(
        `SELECT first_offset, stored_at, records FROM batches_${number}
         WHERE first_offset <= ?1 ORDER BY first_offset DESC LIMIT 1`,
        offset,
      )
      .toArray();
    return row;
  }

  /** The rows that begin at or after `from`, up to a page of bytes but at least one: their sizes are read first. */
  private page({ number }: Segment, from: number): BatchRow[] {
    const sizes = this.sql
      .exec<{ first_offset: number; bytes: number }>(
        `SELECT first_offset, length(records) AS bytes FROM batches_${number}
         WHERE first_offset >= ?1 ORDER BY first_offset LIMIT ?2`,
        from,
        limits.pageRows,
      )
      .toArray();
    const last = fitting(sizes, limits.pageBytes).at(-1);
    if (!last) return [];
    return this.sql
      .exec<BatchRow>(
        `SELECT first_offset, stored_at, records FROM batches_${number}
         WHERE first_offset BETWEEN ?1 AND ?2 ORDER BY first_offset`,
        from,
        last.first_offset,
      )
      .toArray();
  }

  /** The offset of the first row stored at or after `time`. Walks the segment. */
  offsetAt({ number }: Segment, time: number): number | undefined {
    return this.sql
      .exec<{ first_offset: number }>(
        `SELECT first_offset FROM batches_${number} WHERE stored_at >= ?1 ORDER BY first_offset LIMIT 1`,
        time,
      )
      .toArray()[0]?.first_offset;
  }
}

function toRun(row: BatchRow): LogRun {
  return { firstOffset: row.first_offset, storedAt: row.stored_at, records: new Uint8Array(row.records) };
}
