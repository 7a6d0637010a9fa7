// The SQL of one topic partition. Batches and publish keys lie in segments: tables named by number, so that
// retention drops a table and writes no row. Takes no decisions.

import { limits } from "../limits";
import { defaultTopicSettings, type TopicSettings } from "../settings";
import { isMigrated, migrate } from "../sql/migrate";
import { fitting } from "../sql/page";
import type { LogRun, Rejection, TopicProvision } from "../topic-calls";
import { DelayedStore, SCHEDULED_TABLE } from "./delayed-store";
import { LINEAGE_TABLES, LineageStore } from "./lineage-store";
import { PRODUCERS_TABLE, ProducerStore } from "./producer-store";
import { PublishKeyStore } from "./publish-key-store";
import type { Segment, SegmentKind } from "./retention";

const MIGRATIONS = [
  [
    `CREATE TABLE topic (id INTEGER PRIMARY KEY CHECK (id = 1), topic TEXT NOT NULL, generation TEXT NOT NULL,
       partition INTEGER NOT NULL, settings TEXT NOT NULL, version INTEGER NOT NULL, deleted INTEGER NOT NULL) STRICT`,
    `CREATE TABLE segments (kind TEXT NOT NULL, number INTEGER NOT NULL, opened_at INTEGER NOT NULL,
       first_offset INTEGER NOT NULL, PRIMARY KEY (kind, number)) STRICT, WITHOUT ROWID`,
    `CREATE TABLE subscriptions (generation TEXT PRIMARY KEY, start_offset INTEGER NOT NULL) STRICT, WITHOUT ROWID`,
    `CREATE TABLE rejections (number INTEGER PRIMARY KEY, message_id TEXT NOT NULL, rejected_at INTEGER NOT NULL,
       error TEXT NOT NULL) STRICT`,
  ],
  ["ALTER TABLE segments ADD COLUMN start_bytes INTEGER", "ALTER TABLE subscriptions ADD COLUMN name TEXT"],
  LINEAGE_TABLES,
  [SCHEDULED_TABLE],
  [PRODUCERS_TABLE],
];

export type TopicRow = Omit<TopicProvision, "parent"> & Readonly<{ deleted: boolean }>;
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

export class TopicStore {
  readonly keys: PublishKeyStore;
  readonly lineage: LineageStore;
  readonly delayed: DelayedStore;
  readonly producers: ProducerStore;
  private readonly sql: SqlStorage;

  constructor(private readonly storage: DurableObjectStorage) {
    this.sql = storage.sql;
    this.keys = new PublishKeyStore(storage.sql);
    this.lineage = new LineageStore(storage.sql);
    this.delayed = new DelayedStore(storage.sql);
    this.producers = new ProducerStore(storage.sql);
    if (isMigrated(storage)) migrate(storage, MIGRATIONS);
  }

  /** All writes of `change` become durable together, or none do. */
  transaction<T>(change: () => T): T {
    return this.storage.transactionSync(change);
  }

  get bytes(): number {
    return this.sql.databaseSize;
  }

  // ── the topic itself ───────────────────────────────────────────────────────────────────────────────

  /** The topic's own row; undefined when it was never provisioned. */
  topic(): TopicRow | undefined {
    if (!isMigrated(this.storage)) return undefined;
    const [row] = this.sql
      .exec<{
        topic: string;
        generation: string;
        partition: number;
        settings: string;
        version: number;
        deleted: number;
      }>("SELECT topic, generation, partition, settings, version, deleted FROM topic WHERE id = 1")
      .toArray();
    if (!row) return undefined;
    const settings = { ...defaultTopicSettings, ...(JSON.parse(row.settings) as Partial<TopicSettings>) };
    return { ...row, settings, deleted: row.deleted === 1 };
  }

  create({ topic, generation, partition, settings, version, parent }: TopicProvision): void {
    migrate(this.storage, MIGRATIONS);
    this.sql.exec(
      "INSERT INTO topic VALUES (1, ?1, ?2, ?3, ?4, ?5, 0)",
      topic,
      generation,
      partition,
      JSON.stringify(settings),
      version,
    );
    if (parent !== undefined) this.lineage.insertParent(parent);
  }

  configure(settings: TopicSettings, version: number): void {
    this.sql.exec(
      "UPDATE topic SET settings = ?1, version = ?2 WHERE id = 1",
      JSON.stringify(settings),
      version,
    );
  }

  /** Drops everything but the topic's row, which stays as a tombstone. */
  bury(): void {
    migrate(this.storage, MIGRATIONS);
    this.sql.exec("INSERT OR IGNORE INTO topic VALUES (1, '', '', 0, '{}', 0, 1)");
    for (const segment of this.segments()) this.dropSegment(segment);
    this.sql.exec("DELETE FROM subscriptions");
    this.sql.exec("DELETE FROM rejections");
    this.lineage.clear();
    this.producers.clear();
    this.sql.exec("DROP TABLE scheduled");
    this.sql.exec("UPDATE topic SET deleted = 1 WHERE id = 1");
  }

  // ── segments ───────────────────────────────────────────────────────────────────────────────────────

  /** All segments, oldest first. */
  segments(): Segment[] {
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

  openSegment({ kind, number, openedAt, firstOffset, startBytes }: Segment): void {
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

  dropSegment({ kind, number }: Segment): void {
    this.sql.exec(`DROP TABLE ${kind}_${number}`);
    this.sql.exec("DELETE FROM segments WHERE kind = ?1 AND number = ?2", kind, number);
  }

  // ── the log ────────────────────────────────────────────────────────────────────────────────────────

  /** `logBytes` is what the log has taken with this row: how much it holds is then known from two rows. */
  insertBatch({ number }: Segment, run: LogRun, count: number, logBytes: number): void {
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

  // ── subscriptions and rejections ───────────────────────────────────────────────────────────────────

  subscriptions(): { generation: string; startOffset: number }[] {
    return this.sql
      .exec<{ generation: string; startOffset: number }>(
        "SELECT generation, start_offset AS startOffset FROM subscriptions",
      )
      .toArray();
  }

  insertSubscription(generation: string, startOffset: number, name: string | undefined): void {
    this.sql.exec(
      "INSERT INTO subscriptions (generation, start_offset, name) VALUES (?1, ?2, ?3)",
      generation,
      startOffset,
      name ?? null,
    );
  }

  /** A subscription's name; undefined when it was attached before names were told. */
  subscriptionName(generation: string): string | undefined {
    const [row] = this.sql
      .exec<{ name: string | null }>("SELECT name FROM subscriptions WHERE generation = ?1", generation)
      .toArray();
    return row?.name ?? undefined;
  }

  deleteSubscription(generation: string): void {
    this.sql.exec("DELETE FROM subscriptions WHERE generation = ?1", generation);
  }

  /** Keeps a rejection, and only the newest `kept` of them. */
  insertRejection(messageId: string, rejectedAt: number, error: string, kept: number): void {
    this.sql.exec(
      "INSERT INTO rejections (message_id, rejected_at, error) VALUES (?1, ?2, ?3)",
      messageId,
      rejectedAt,
      error,
    );
    this.sql.exec("DELETE FROM rejections WHERE number <= (SELECT max(number) FROM rejections) - ?1", kept);
  }

  rejections(after: number, limit: number): Rejection[] {
    return this.sql
      .exec<{ number: number; message_id: string; rejected_at: number; error: string }>(
        "SELECT number, message_id, rejected_at, error FROM rejections WHERE number > ?1 ORDER BY number LIMIT ?2",
        after,
        limit,
      )
      .toArray()
      .map((row) => ({
        id: String(row.number),
        messageId: row.message_id,
        rejectedAt: row.rejected_at,
        error: JSON.parse(row.error),
      }));
  }

  /** What was refused under one id, newest last. Walks them all: there are few. */
  rejectionsOf(messageId: string, limit: number): Rejection[] {
    return this.rejections(0, limit).filter((rejection) => rejection.messageId === messageId);
  }

  rejectionCount(): number {
    return this.sql.exec<{ n: number }>("SELECT count(*) AS n FROM rejections").one().n;
  }
}

function toRun(row: BatchRow): LogRun {
  return { firstOffset: row.first_offset, storedAt: row.stored_at, records: new Uint8Array(row.records) };
}
