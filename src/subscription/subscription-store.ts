// The SQL of one partition of a subscription: one state row (progress, counters, open leases), and rows only
// for what is not as usual: retries, lanes with followers, dead letters. Takes no decisions.

import type { SubscriptionSettings } from "../settings";
import { emptyTable } from "../sql/empty-table";
import { isMigrated, migrate } from "../sql/migrate";
import type { SubscriptionProvision } from "../subscription-calls";
import type { Backlog, Snapshot } from "./backlog";
import type { Changes } from "./changes";
import { type Counters, newCounters } from "./counters";
import { DeadLetterStore } from "./dead-letter-store";
import { doubtMigration } from "./doubt-migration";
import { FilterStore, filterMigration } from "./filter-store";
import { GapStore, gapMigration } from "./gap-store";
import { HealthStore, healthMigration } from "./health-store";
import { LaneStore } from "./lane-store";
import { OutcomeStore, outcomeMigration } from "./outcome-store";
import { SeekStore } from "./seek-store";
import {
  fromStoredLeases,
  type StateRow,
  type StoredLease,
  toDelivery,
  toStoredLeases,
} from "./subscription-rows";
import { WaitingStore } from "./waiting-store";

const MIGRATIONS = [
  [
    `CREATE TABLE subscription (id INTEGER PRIMARY KEY CHECK (id = 1), identity TEXT NOT NULL, settings TEXT NOT NULL,
       version INTEGER NOT NULL, deleted INTEGER NOT NULL) STRICT`,
    `CREATE TABLE state (id INTEGER PRIMARY KEY CHECK (id = 1), known_head INTEGER NOT NULL, counters TEXT NOT NULL,
       leases TEXT NOT NULL) STRICT`,
    `CREATE TABLE waiting (offset INTEGER PRIMARY KEY, ordering_key TEXT, attempts INTEGER NOT NULL,
       available_at INTEGER NOT NULL, last_lease_id TEXT, history TEXT NOT NULL, death TEXT, record BLOB) STRICT`,
    `CREATE TABLE lanes (key TEXT PRIMARY KEY, followers INTEGER NOT NULL, followers_from INTEGER NOT NULL)
       STRICT, WITHOUT ROWID`,
    `CREATE TABLE dead_letters (offset INTEGER PRIMARY KEY, ordering_key TEXT, parks INTEGER NOT NULL,
       died_at INTEGER NOT NULL, reason TEXT NOT NULL, detail TEXT, attempts INTEGER NOT NULL, history TEXT NOT NULL,
       record BLOB) STRICT`,
  ],
  outcomeMigration,
  // Seeking: dead letters by epoch, and what each seek was answered.
  [
    `CREATE TABLE letters_by_epoch (epoch INTEGER NOT NULL, offset INTEGER NOT NULL, ordering_key TEXT,
       parks INTEGER NOT NULL, died_at INTEGER NOT NULL, reason TEXT NOT NULL, detail TEXT, attempts INTEGER NOT NULL,
       history TEXT NOT NULL, record BLOB, PRIMARY KEY (epoch, offset)) STRICT, WITHOUT ROWID`,
    `INSERT INTO letters_by_epoch SELECT 0, offset, ordering_key, parks, died_at, reason, detail, attempts, history,
       record FROM dead_letters`,
    "DROP TABLE dead_letters",
    "ALTER TABLE letters_by_epoch RENAME TO dead_letters",
    "CREATE TABLE seeks (epoch INTEGER PRIMARY KEY, seek_id TEXT NOT NULL UNIQUE, answer TEXT NOT NULL) STRICT",
  ],
  gapMigration,
  // How often each was sent round again. Before the message, as all that is read without it.
  [
    `CREATE TABLE counted_waiting (offset INTEGER PRIMARY KEY, ordering_key TEXT, attempts INTEGER NOT NULL,
       redrives INTEGER NOT NULL, available_at INTEGER NOT NULL, last_lease_id TEXT, history TEXT NOT NULL, death TEXT,
       record BLOB) STRICT`,
    `INSERT INTO counted_waiting SELECT offset, ordering_key, attempts, 0, available_at, last_lease_id, history, death,
       record FROM waiting`,
    "DROP TABLE waiting",
    "ALTER TABLE counted_waiting RENAME TO waiting",
    `CREATE TABLE counted_letters (epoch INTEGER NOT NULL, offset INTEGER NOT NULL, ordering_key TEXT,
       parks INTEGER NOT NULL, died_at INTEGER NOT NULL, reason TEXT NOT NULL, detail TEXT, attempts INTEGER NOT NULL,
       redrives INTEGER NOT NULL, history TEXT NOT NULL, record BLOB, PRIMARY KEY (epoch, offset)) STRICT, WITHOUT ROWID`,
    `INSERT INTO counted_letters SELECT epoch, offset, ordering_key, parks, died_at, reason, detail, attempts, 0, history,
       record FROM dead_letters`,
    "DROP TABLE dead_letters",
    "ALTER TABLE counted_letters RENAME TO dead_letters",
    "CREATE INDEX dead_letters_by_death ON dead_letters (died_at)",
  ],
  filterMigration,
  healthMigration,
  doubtMigration,
];

/** `parentCleared`: its parent has nothing left of its keys. */
export type SubscriptionRow = Omit<SubscriptionProvision, "startOffset"> &
  Readonly<{ deleted: boolean; parentCleared?: true }>;

export class SubscriptionStore {
  readonly waiting: WaitingStore;
  readonly lanes: LaneStore;
  readonly deadLetters: DeadLetterStore;
  readonly filters: FilterStore;
  readonly outcomes: OutcomeStore;
  readonly gaps: GapStore;
  readonly seeks: SeekStore;
  readonly health: HealthStore;
  /** How far the log was known to reach when the state was last saved. */
  savedHead = 0;
  private readonly sql: SqlStorage;

  constructor(private readonly storage: DurableObjectStorage) {
    this.sql = storage.sql;
    this.waiting = new WaitingStore(storage.sql);
    this.lanes = new LaneStore(storage.sql);
    this.deadLetters = new DeadLetterStore(storage.sql);
    this.filters = new FilterStore(storage.sql);
    this.outcomes = new OutcomeStore(storage.sql);
    this.gaps = new GapStore(storage.sql);
    this.seeks = new SeekStore(storage.sql);
    this.health = new HealthStore(storage.sql);
    if (isMigrated(storage)) migrate(storage, MIGRATIONS);
  }

  transaction<T>(change: () => T): T {
    return this.storage.transactionSync(change);
  }

  get bytes(): number {
    return this.sql.databaseSize;
  }

  // ── the subscription itself ────────────────────────────────────────────────────────────────────────

  /** The subscription's own row; undefined when it was never provisioned. */
  subscription(): SubscriptionRow | undefined {
    if (!isMigrated(this.storage)) return undefined;
    const [row] = this.sql
      .exec<{ identity: string; settings: string; version: number; deleted: number }>(
        "SELECT identity, settings, version, deleted FROM subscription WHERE id = 1",
      )
      .toArray();
    if (!row) return undefined;
    const settings = JSON.parse(row.settings) as SubscriptionSettings;
    return { ...JSON.parse(row.identity), settings, version: row.version, deleted: row.deleted === 1 };
  }

  create({ settings, version, startOffset, ...identity }: SubscriptionProvision): void {
    migrate(this.storage, MIGRATIONS);
    this.sql.exec(
      "INSERT INTO subscription VALUES (1, ?1, ?2, ?3, 0)",
      JSON.stringify(identity),
      JSON.stringify(settings),
      version,
    );
    this.sql.exec(
      "INSERT INTO state (id, known_head, counters, leases) VALUES (1, ?1, ?2, '[]')",
      startOffset,
      JSON.stringify(newCounters(startOffset)),
    );
    if (settings.filter) this.filters.replace([{ version, from: startOffset, filter: settings.filter }]);
  }

  configure(settings: SubscriptionSettings, version: number, partitions?: number): void {
    if (partitions !== undefined) this.sharedBy(partitions);
    this.sql.exec(
      "UPDATE subscription SET settings = ?1, version = ?2 WHERE id = 1",
      JSON.stringify(settings),
      version,
    );
  }

  private sharedBy(partitions: number): void {
    this.sql.exec(
      "UPDATE subscription SET identity = json_set(identity, '$.partitions', ?1) WHERE id = 1",
      partitions,
    );
  }

  /** The former partition has nothing left of this one's keys. */
  noteParentCleared(): void {
    this.sql.exec(
      "UPDATE subscription SET identity = json_set(identity, '$.parentCleared', json('true')) WHERE id = 1",
    );
  }

  /** Deletes everything but the subscription's row, which stays as a tombstone, its secrets blanked. */
  bury(): void {
    migrate(this.storage, MIGRATIONS);
    this.sql.exec("INSERT OR IGNORE INTO subscription VALUES (1, '{}', '{}', 0, 1)");
    this.outcomes.bury();
    for (const table of ["state", "waiting", "lanes", "dead_letters", "filters", "seeks", "gaps"])
      this.sql.exec(`DROP TABLE ${table}`);
    this.sql.exec("UPDATE subscription SET deleted = 1, settings = '{}' WHERE id = 1");
  }

  // ── what is in hand ────────────────────────────────────────────────────────────────────────────────

  load(): Snapshot {
    const state = this.sql
      .exec<StateRow>("SELECT known_head, in_doubt, counters, leases, outcomes FROM state WHERE id = 1")
      .one();
    this.outcomes.load(state.outcomes);
    this.savedHead = state.known_head;
    const stored = JSON.parse(state.leases) as StoredLease[];
    const counters: Counters = { ...newCounters(0), ...JSON.parse(state.counters) };
    const { leases, leased } = fromStoredLeases(stored);
    for (const row of this.waiting.load()) leased.set(row.offset, toDelivery(row, leased.get(row.offset)));
    return {
      knownHead: state.known_head,
      isInDoubt: state.in_doubt === 1,
      counters,
      leases,
      deliveries: [...leased.values()],
      lanes: this.lanes.load(),
      parked: this.deadLetters.parked(counters.epoch),
      filters: this.filters.list(),
    };
  }

  /** Writes just what changed, at `now`. */
  save(backlog: Backlog, changes: Changes, now: number): void {
    if (!changes.state) return;
    const { epoch } = backlog.counters;
    for (const [offset, grave] of changes.buried) {
      if (!changes.unburied.has(offset)) this.deadLetters.insert(epoch, offset, grave);
    }
    // A redriven delivery takes its message with it: the log may no longer have it.
    const records = this.deadLetters.take(epoch, changes.unburied);
    for (const { epoch, offset, isReadmitted } of changes.exhumed) {
      const taken = this.deadLetters.take(epoch, [offset]).get(offset);
      if (isReadmitted && taken) records.set(offset, taken);
    }
    this.waiting.save(backlog.deliveries, changes.deliveries, records);
    this.lanes.save(backlog.lanes, changes.lanes);
    this.sql.exec(
      "UPDATE state SET known_head = ?1, in_doubt = ?2, counters = ?3, leases = ?4, outcomes = ?5 WHERE id = 1",
      backlog.knownHead,
      Number(backlog.isInDoubt),
      JSON.stringify(backlog.counters),
      JSON.stringify(toStoredLeases(backlog)),
      this.outcomes.add(changes.endings, now),
    );
    if (changes.gap) this.gaps.add(changes.gap, now);
    if (changes.filters) this.filters.replace(backlog.sieve.versions);
    this.savedHead = backlog.knownHead;
  }

  /** Drops what is in hand and begins an epoch. What follows is read afresh, by load(). */
  beginEpoch(counters: Counters, knownHead: number): void {
    for (const table of ["waiting", "lanes"]) emptyTable(this.sql, table);
    this.outcomes.forgetAll();
    // Their counts are what expired, and that counter begins anew.
    this.gaps.forgetAll();
    this.filters.beginEpoch(counters.startOffset);
    // Its former partition may have been moved back too, and have something left of its keys again.
    this.sql.exec(
      `UPDATE subscription SET identity = json_remove(identity, '$.parentCleared')
       WHERE json_extract(identity, '$.parentCleared') IS NOT NULL`,
    );
    this.sql.exec(
      "UPDATE state SET known_head = ?1, counters = ?2, leases = '[]' WHERE id = 1",
      knownHead,
      JSON.stringify(counters),
    );
  }
}
