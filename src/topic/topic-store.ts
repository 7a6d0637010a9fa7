// The SQL of one topic partition: its tables, its own row, and who reads it. What else it holds has a store of its own,
// all of them in the one database. Takes no decisions.

import { defaultTopicSettings, type TopicSettings } from "../settings";
import { isMigrated, migrate } from "../sql/migrate";
import type { TopicProvision } from "../topic-calls";
import { DelayedStore, SCHEDULED_TABLE } from "./delayed-store";
import { DEPARTING_COLUMN, LINEAGE_TABLES, LineageStore } from "./lineage-store";
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
}
