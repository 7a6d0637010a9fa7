// The SQL of outcomes. The newest ride along in the state row, which every change writes anyway; once they are large
// enough they become one row. Rows lie in segments, tables that are dropped whole. Takes no decisions.

import { limits } from "../limits";
import {
  appendOutcomes,
  covers,
  type Ending,
  gather,
  type Outcome,
  spanOf,
  unpackOutcomes,
} from "./outcomes";

/** Appended to the subscription's migrations. */
export const outcomeMigration = [
  // Where a subscription was deleted before, its tombstone has no state: this gives it one again, for the next line.
  `CREATE TABLE IF NOT EXISTS state (id INTEGER PRIMARY KEY CHECK (id = 1), known_head INTEGER NOT NULL,
     counters TEXT NOT NULL, leases TEXT NOT NULL) STRICT`,
  "ALTER TABLE state ADD COLUMN outcomes BLOB",
  "CREATE TABLE outcome_segments (number INTEGER PRIMARY KEY) STRICT",
  "CREATE TABLE outcomes_kept (id INTEGER PRIMARY KEY CHECK (id = 1), kept_from INTEGER NOT NULL) STRICT",
  // How deliveries ended before there were outcomes, nobody knows.
  "INSERT INTO outcomes_kept SELECT 1, counters->>'nextOffset' FROM state",
];

const NONE = new Uint8Array();

/** How much is kept: a test has less of it. */
export type OutcomeBounds = Readonly<{ rowBytes: number; rowsPerSegment: number; segments: number }>;
const BOUNDS: OutcomeBounds = {
  rowBytes: limits.outcomeRowBytes,
  rowsPerSegment: limits.outcomeRowsPerSegment,
  segments: limits.outcomeSegments,
};

export class OutcomeStore {
  /** Those that ride in the state row. */
  private recent: Uint8Array = NONE;
  private segments: number[] = [];
  private rowsInNewest = 0;

  constructor(
    private readonly sql: SqlStorage,
    private readonly bounds: OutcomeBounds = BOUNDS,
  ) {}

  /** Starts from what is stored; `recent` is what the state row carries. */
  load(recent: ArrayBuffer | null): void {
    this.recent = recent ? new Uint8Array(recent) : NONE;
    this.segments = this.sql
      .exec<{ number: number }>("SELECT number FROM outcome_segments ORDER BY number")
      .toArray()
      .map(({ number }) => number);
    const newest = this.segments.at(-1);
    this.rowsInNewest = newest === undefined ? 0 : this.rowCount(newest);
  }

  /** Keeps what a change ended at `at`. Answers what the state row is to carry from now on. */
  add(endings: readonly Ending[], at: number): Uint8Array {
    if (endings.length > 0) this.recent = appendOutcomes(this.recent, gather(endings, at));
    if (this.recent.byteLength >= this.bounds.rowBytes) this.spill();
    return this.recent;
  }

  /** A new epoch begins: how deliveries of the old one ended is no longer told. */
  forgetAll(): void {
    for (const number of this.segments) this.dropSegment(number);
    this.sql.exec("DELETE FROM outcomes_kept");
    this.sql.exec("UPDATE state SET outcomes = NULL WHERE id = 1");
    this.segments = [];
    this.rowsInNewest = 0;
    this.recent = NONE;
  }

  /** Drops every table: the subscription is deleted. The lists of them stay, empty. */
  bury(): void {
    this.load(null);
    this.forgetAll();
  }

  /** From this offset on all outcomes are kept; some of those before it are too. */
  keptFrom(): number {
    const [row] = this.sql.exec<{ from: number }>('SELECT kept_from AS "from" FROM outcomes_kept').toArray();
    return row?.from ?? 0;
  }

  /** How the delivery of `offset` ended: once, unless the law is broken. The newest first. */
  of(offset: number): Outcome[] {
    return [...this.between(offset, offset)].filter((outcome) => covers(outcome, offset)).reverse();
  }

  /** All outcomes of rows that reach into the offsets `first` to `last`. Walks the rows, oldest first. */
  *between(first: number, last: number): Generator<Outcome> {
    for (const number of this.segments) {
      const cursor = this.sql.exec<{ packed: ArrayBuffer }>(
        `SELECT packed FROM outcomes_${number} WHERE first_offset <= ?1 AND last_offset >= ?2 ORDER BY number`,
        last,
        first,
      );
      for (const { packed } of cursor) yield* unpackOutcomes(new Uint8Array(packed));
    }
    yield* unpackOutcomes(this.recent);
  }

  private spill(): void {
    const span = spanOf(this.recent);
    if (!span) return;
    this.sql.exec(
      `INSERT INTO outcomes_${this.openSegment()} (first_offset, last_offset, packed) VALUES (?1, ?2, ?3)`,
      span.first,
      span.last,
      this.recent,
    );
    this.rowsInNewest += 1;
    this.recent = NONE;
  }

  /** The segment that is written to: the newest, or a new one once that is full. */
  private openSegment(): number {
    const newest = this.segments.at(-1);
    if (newest !== undefined && this.rowsInNewest < this.bounds.rowsPerSegment) return newest;
    const number = (newest ?? 0) + 1;
    // The offsets stand before the outcomes: a walk over them reads no more than the row's beginning.
    this.sql.exec(`CREATE TABLE outcomes_${number} (number INTEGER PRIMARY KEY, first_offset INTEGER NOT NULL,
      last_offset INTEGER NOT NULL, packed BLOB NOT NULL) STRICT`);
    this.sql.exec("INSERT INTO outcome_segments VALUES (?1)", number);
    this.segments.push(number);
    this.rowsInNewest = 0;
    while (this.segments.length > this.bounds.segments) this.dropOldest();
    return number;
  }

  private dropOldest(): void {
    const oldest = this.segments.shift();
    if (oldest === undefined) return;
    const { last } = this.sql
      .exec<{ last: number }>(`SELECT coalesce(max(last_offset), 0) AS last FROM outcomes_${oldest}`)
      .one();
    this.sql.exec("INSERT OR REPLACE INTO outcomes_kept VALUES (1, ?1)", Math.max(this.keptFrom(), last + 1));
    this.dropSegment(oldest);
  }

  private dropSegment(number: number): void {
    this.sql.exec(`DROP TABLE outcomes_${number}`);
    this.sql.exec("DELETE FROM outcome_segments WHERE number = ?1", number);
  }

  private rowCount(number: number): number {
    return this.sql.exec<{ n: number }>(`SELECT count(*) AS n FROM outcomes_${number}`).one().n;
  }
}
