// The writes of the control plane, and the uncached reads that go with them. Each write is one statement or one
// D1 batch, guarded by the state it expects: of two that race, one finds nothing left to change.

import { and, eq, inArray, lt, ne, type SQL, sql } from "drizzle-orm";
import { limits } from "../limits";
import type { Runtime } from "../runtime";
import {
  type AuditNote,
  type AuditSubject,
  BROKER,
  noteOfSettings,
  resourceOf,
  shownFields,
} from "./audit-details";
import { noteIfChanged } from "./audit-log-store";
import {
  type Entry,
  type EntryState,
  isTopic,
  type SubscriptionEntry,
  type TopicEntry,
} from "./catalog-entry";
import { subscriptions, topics } from "./catalog-schema";
import { ask, asParameters, type CatalogDatabase, openCatalog } from "./d1-store";

/** A row of either table. */
export type Row = typeof topics.$inferSelect | typeof subscriptions.$inferSelect;
type EntryOf<R extends Row> = R extends typeof topics.$inferSelect ? TopicEntry : SubscriptionEntry;

export class EntryStore {
  private readonly db: CatalogDatabase;

  constructor(
    d1: D1Database,
    private readonly runtime: Runtime,
  ) {
    this.db = openCatalog(d1);
  }

  // ── reads, in whatever state ───────────────────────────────────────────────────────────────────────

  /** By topics_by_name. */
  async findTopic(name: string): Promise<TopicEntry | undefined> {
    const row = await ask(this.db.select().from(topics).where(eq(topics.name, name)).get());
    return row && toEntry(row);
  }

  /** By subscriptions_by_name. */
  async findSubscription(topicGeneration: string, name: string): Promise<SubscriptionEntry | undefined> {
    const named = and(eq(subscriptions.topicGeneration, topicGeneration), eq(subscriptions.name, name));
    const row = await ask(this.db.select().from(subscriptions).where(named).get());
    return row && toEntry(row);
  }

  /** The same life of the same name, as it is now. By the primary key. */
  async refind<E extends Entry>(entry: E): Promise<E | undefined> {
    const table = tableOf(entry);
    const row = await ask(this.db.select().from(table).where(isLife(entry)).get());
    return row && sameSort<E>(row);
  }

  /** An active subscription by its generation. By the primary key. */
  async activeSubscription(generation: string): Promise<SubscriptionEntry | undefined> {
    const isIt = and(eq(subscriptions.generation, generation), eq(subscriptions.state, "active"));
    const row = await ask(this.db.select().from(subscriptions).where(isIt).get());
    return row && toEntry(row);
  }

  /** Subscriptions of a topic's life. By subscriptions_by_name. */
  async subscriptionsOf(
    topic: Pick<TopicEntry, "generation">,
    limit: number,
  ): Promise<readonly SubscriptionEntry[]> {
    const ofTopic = eq(subscriptions.topicGeneration, topic.generation);
    const rows = await ask(this.db.select().from(subscriptions).where(ofTopic).limit(limit));
    return rows.map(toEntry);
  }

  async countSubscriptions(topic: TopicEntry): Promise<number> {
    return ask(this.db.$count(subscriptions, eq(subscriptions.topicGeneration, topic.generation)));
  }

  // ── a life: creating, active, deleting, gone ───────────────────────────────────────────────────────

  /** Takes a topic's name, and for a queue its subscription's, in one batch. False when the name is taken. */
  async insertTopic(entry: TopicEntry, subscription?: SubscriptionEntry, by = BROKER): Promise<boolean> {
    const insert = this.db.insert(topics).values(newRow(entry)).onConflictDoNothing();
    const topic = insert.returning({ generation: topics.generation });
    const details = shownFields({
      ...{ partitions: entry.partitions, ...entry.settings },
      ...subscription?.settings,
    });
    const note = this.note({ by, resource: resourceOf(entry), action: "create", details });
    const below = subscription ? [this.subscriptionInsert(subscription)] : [];
    const [inserted] = await ask(this.db.batch([topic, note, ...below]));
    return inserted.length > 0;
  }

  /** Takes a subscription's name. False when it is taken, the topic is going, gone or being raised, or it has too many. */
  async insertSubscription(entry: SubscriptionEntry, by = BROKER): Promise<boolean> {
    const details = shownFields({ startAt: entry.startAt, ...entry.settings });
    const note = this.note({ by, resource: resourceOf(entry), action: "create", details });
    const [inserted] = await ask(this.db.batch([this.subscriptionInsert(entry), note]));
    return inserted.length > 0;
  }

  // One statement: no subscription slips in once its topic is `deleting`, or with fewer partitions than it is raised to.
  private subscriptionInsert(entry: SubscriptionEntry) {
    const held = sql`(SELECT count(*) FROM ${subscriptions} WHERE ${subscriptions.topicGeneration} = ${entry.topicGeneration})`;
    const row = sql`SELECT ${asParameters(subscriptions, newRow(entry))} FROM ${topics}
      WHERE ${topics.generation} = ${entry.topicGeneration} AND ${topics.state} <> 'deleting'
      AND ${topics.partitions} = ${entry.partitions} AND ${topics.raisingTo} IS NULL
      AND ${held} < ${limits.subscriptionsPerTopic}`;
    const insert = this.db.insert(subscriptions).select(row).onConflictDoNothing();
    return insert.returning({ generation: subscriptions.generation });
  }

  /** Ends `creating`: all objects have the settings of this version. Undefined when another got there first. */
  async activate<E extends Entry>(entry: E): Promise<E | undefined> {
    const table = tableOf(entry);
    const now = this.runtime.now();
    const set = { state: "active" as const, configuredVersion: entry.version, updatedAt: now };
    const created = and(isLife(entry), eq(table.state, "creating"));
    const [row] = await ask(this.db.update(table).set(set).where(created).returning());
    return row && sameSort<E>(row);
  }

  /** New settings for an active entry of exactly this version. Undefined when another was faster. */
  async changeSettings<E extends Entry>(
    entry: E,
    settings: E["settings"],
    subject: AuditSubject = { by: BROKER, resource: resourceOf(entry) },
  ): Promise<E | undefined> {
    const table = tableOf(entry);
    const now = this.runtime.now();
    const set = { settings, version: entry.version + 1, updatedAt: now, triedAt: now };
    const unchanged = and(isLife(entry), eq(table.state, "active"), eq(table.version, entry.version));
    const update = this.db.update(table).set(set).where(unchanged).returning();
    const note = this.note(noteOfSettings(subject, entry.settings, settings));
    const [[row]] = await ask(this.db.batch([update, note]));
    return row && sameSort<E>(row);
  }

  /** Notes that all objects have the settings of the entry's version, or newer. */
  async noteConfigured(entry: Entry): Promise<void> {
    const table = tableOf(entry);
    const older = and(isLife(entry), lt(table.configuredVersion, entry.version));
    await ask(this.db.update(table).set({ configuredVersion: entry.version }).where(older));
  }

  /**
   * Hides the entry, and with a topic its subscriptions, in one batch: from here on it can only go. False when it
   * is in none of the states `from`.
   */
  async markDeleting(
    entry: Entry,
    from: readonly EntryState[] = ["creating", "active"],
    subject: AuditSubject = { by: BROKER, resource: resourceOf(entry) },
  ): Promise<boolean> {
    const now = this.runtime.now();
    const set = { state: "deleting" as const, updatedAt: now, triedAt: now };
    const table = tableOf(entry);
    const markable = and(isLife(entry), inArray(table.state, [...from]));
    const mark = this.db.update(table).set(set).where(markable).returning({ generation: table.generation });
    const note = this.note({ ...subject, action: "delete", details: {} });
    if (!isTopic(entry)) return (await ask(this.db.batch([mark, note])))[0].length > 0;
    const hidden = this.db
      .select({ generation: topics.generation })
      .from(topics)
      .where(and(isLife(entry), eq(topics.state, "deleting")));
    const below = and(inArray(subscriptions.topicGeneration, hidden), ne(subscriptions.state, "deleting"));
    const markBelow = this.db.update(subscriptions).set(set).where(below);
    const [marked] = await ask(this.db.batch([mark, note, markBelow]));
    return marked.length > 0;
  }

  /** Frees the name. Only once every object of the entry is removed. */
  async remove(entry: Entry): Promise<void> {
    const table = tableOf(entry);
    await ask(this.db.delete(table).where(and(isLife(entry), eq(table.state, "deleting"))));
  }

  /** Stands right behind the write that it tells of. */
  private note(note: AuditNote) {
    return noteIfChanged(this.db, note, this.runtime.now());
  }
}

/** A row as the rest of the broker knows it. */
export function toEntry<R extends Row>(row: R): EntryOf<R> {
  const { configuredVersion: _, triedAt: __, ...entry } = row;
  return entry as unknown as EntryOf<R>;
}

// Both tables share the columns of a life, and drizzle types a statement by its table.
export function tableOf(entry: Entry): typeof topics | typeof subscriptions {
  return isTopic(entry) ? topics : subscriptions;
}

function sameSort<E extends Entry>(row: Row): E {
  return toEntry(row) as unknown as E;
}

/** Whether a row is this life of its name. By the primary key. */
export function isLife(entry: Entry): SQL {
  return eq(tableOf(entry).generation, entry.generation);
}

function newRow<E extends Entry>(entry: E) {
  return { raisingTo: null, ...entry, configuredVersion: 0, triedAt: entry.createdAt };
}
