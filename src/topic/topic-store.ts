// The SQL of one topic partition: its tables, its own row, and who reads it. What else it holds has a store of its own,
// all of them in the one database. Takes no decisions.

import { type Filter, isAlternate } from "../filter-form";
import { defaultTopicSettings, type TopicSettings } from "../settings";
import { isMigrated, migrate } from "../sql/migrate";
import type { TopicProvision, Wanted } from "../topic-calls";
import { DelayedStore, SCHEDULED_TABLE } from "./delayed-store";
import { DEPARTING_COLUMN, LINEAGE_TABLES, LineageStore } from "./lineage-store";
import type { KnownFilter } from "./match-desk";
import { PRODUCERS_TABLE, ProducerStore } from "./producer-store";
import { PublishKeyStore } from "./publish-key-store";
import { RejectionStore } from "./rejection-store";
import { SegmentStore } from "./segment-store";

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
  [DEPARTING_COLUMN],
  // What each reader wants: null until it was told. The filter last: a row is read up to the column that is wanted.
  [
    "ALTER TABLE subscriptions ADD COLUMN alternate INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE subscriptions ADD COLUMN filter_version INTEGER",
    "ALTER TABLE subscriptions ADD COLUMN filter TEXT",
  ],
];

export type TopicRow = Omit<TopicProvision, "parent"> & Readonly<{ deleted: boolean }>;

export class TopicStore {
  readonly segments: SegmentStore;
  readonly keys: PublishKeyStore;
  readonly lineage: LineageStore;
  readonly delayed: DelayedStore;
  readonly producers: ProducerStore;
  readonly rejections: RejectionStore;
  private readonly sql: SqlStorage;

  constructor(private readonly storage: DurableObjectStorage) {
    this.sql = storage.sql;
    this.segments = new SegmentStore(storage.sql);
    this.keys = new PublishKeyStore(storage.sql);
    this.lineage = new LineageStore(storage.sql);
    this.delayed = new DelayedStore(storage.sql);
    this.producers = new ProducerStore(storage.sql);
    this.rejections = new RejectionStore(storage.sql);
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
    for (const segment of this.segments.list()) this.segments.drop(segment);
    this.sql.exec("DELETE FROM subscriptions");
    this.rejections.clear();
    this.lineage.clear();
    this.producers.clear();
    this.sql.exec("DROP TABLE scheduled");
    this.sql.exec("UPDATE topic SET deleted = 1 WHERE id = 1");
  }

  // ── subscriptions ───────────────────────────────────────────────────────────────────────────────────────

  subscriptions(): { generation: string; startOffset: number }[] {
    return this.sql
      .exec<{ generation: string; startOffset: number }>(
        "SELECT generation, start_offset AS startOffset FROM subscriptions",
      )
      .toArray();
  }

  insertSubscription(
    generation: string,
    startOffset: number,
    { name, wanted }: Readonly<{ name: string | undefined; wanted: Wanted | undefined }>,
  ): void {
    this.sql.exec(
      `INSERT INTO subscriptions (generation, start_offset, name, filter, filter_version, alternate)
       VALUES (?1, ?2, ?3, ?4, ?5, ?6)`,
      ...[generation, startOffset, name ?? null],
      ...[wanted ? JSON.stringify(wanted.filter) : null, wanted?.version ?? null],
      isAlternate(wanted?.filter) ? 1 : 0,
    );
  }

  /** What an attached subscription wants, unless a newer version of that is known. */
  describe(generation: string, { filter, version }: Wanted): void {
    this.sql.exec(
      `UPDATE subscriptions SET filter = ?2, filter_version = ?3, alternate = ?4
       WHERE generation = ?1 AND coalesce(filter_version, 0) < ?3`,
      ...[generation, JSON.stringify(filter), version, isAlternate(filter) ? 1 : 0],
    );
  }

  hasAlternate(): boolean {
    return this.sql.exec("SELECT 1 FROM subscriptions WHERE alternate = 1 LIMIT 1").toArray().length > 0;
  }

  /** What each reader wants; undefined of one that was attached before this was told. */
  filters(): KnownFilter[] {
    return this.sql
      .exec<{ filter: string | null }>("SELECT filter FROM subscriptions")
      .toArray()
      .map(({ filter }) => ({ filter: filter === null ? undefined : (JSON.parse(filter) as Filter | null) }));
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
}
