// The SQL of raises: a topic's number of partitions on its way to a larger one. The row says where to before an object
// is touched, and has the new number only when every object is there. Each write is guarded by the state it expects.

import { and, eq, exists, isNotNull, isNull, ne, notExists, sql } from "drizzle-orm";
import type { Runtime } from "../runtime";
import { BROKER, changedFields, resourceOf } from "./audit-details";
import { noteIfChanged } from "./audit-log-store";
import type { SubscriptionEntry, TopicEntry } from "./catalog-entry";
import { subscriptions, topics } from "./catalog-schema";
import { ask, type CatalogDatabase, openCatalog } from "./d1-store";
import { toEntry } from "./entry-store";

export class RaiseStore {
  private readonly db: CatalogDatabase;

  constructor(
    d1: D1Database,
    private readonly runtime: Runtime,
  ) {
    this.db = openCatalog(d1);
  }

  /**
   * Notes on an active topic of exactly this version, and on its subscriptions, that it is to have `partitions`, and with
   * them `priorities` if these are what is new. The version rises, so that the sweep takes it on. False when another was
   * faster.
   */
  async begin(
    topic: TopicEntry,
    { partitions, priorities }: Readonly<{ partitions: number; priorities?: readonly number[] | undefined }>,
    by = BROKER,
  ): Promise<boolean> {
    const now = this.runtime.now();
    const settings = priorities && { settings: { ...topic.settings, priorities } };
    const version = topic.version + 1;
    const set = { raisingTo: partitions, version, updatedAt: now, triedAt: now, ...settings };
    const unchanged = and(
      ...[eq(topics.generation, topic.generation), eq(topics.state, "active"), isNull(topics.raisingTo)],
      ...[eq(topics.version, topic.version), eq(topics.partitions, topic.partitions)],
    );
    const mark = this.db.update(topics).set(set).where(unchanged).returning({ version: topics.version });
    const marked = this.db
      .select({ generation: topics.generation })
      .from(topics)
      .where(and(eq(topics.generation, topic.generation), eq(topics.raisingTo, partitions)));
    const below = and(
      ...[eq(subscriptions.topicGeneration, topic.generation), ne(subscriptions.state, "deleting")],
      ...[eq(subscriptions.partitions, topic.partitions), exists(marked)],
    );
    const markBelow = this.db.update(subscriptions).set({ raisingTo: partitions }).where(below);
    const details = {
      partitions: { from: topic.partitions, to: partitions },
      ...(settings && changedFields(topic.settings, settings.settings)),
    };
    const note = { by, resource: resourceOf(topic), action: "raise", details };
    const [rows] = await ask(this.db.batch([mark, noteIfChanged(this.db, note, now), markBelow]));
    return rows.length > 0;
  }

  /** Subscriptions of the topic that do not have their new partitions yet. By subscriptions_by_name. */
  async subscriptionsBehind(topic: TopicEntry, limit: number): Promise<readonly SubscriptionEntry[]> {
    const rows = await ask(this.db.select().from(subscriptions).where(behind(topic)).limit(limit));
    return rows.map(toEntry);
  }

  /** All objects of the subscription are there. Undefined when it is being deleted, or another got there first. */
  async endSubscription({
    generation,
    raisingTo,
  }: SubscriptionEntry): Promise<SubscriptionEntry | undefined> {
    const set = { partitions: sql`${subscriptions.raisingTo}`, raisingTo: null };
    const raising = and(
      ...[eq(subscriptions.generation, generation), ne(subscriptions.state, "deleting")],
      eq(subscriptions.raisingTo, raisingTo ?? 0),
    );
    const [row] = await ask(this.db.update(subscriptions).set(set).where(raising).returning());
    return row && toEntry(row);
  }

  /** Makes the new number of partitions visible. Undefined when a subscription is behind, or the topic has moved on. */
  async endTopic(topic: TopicEntry): Promise<TopicEntry | undefined> {
    const set = { partitions: sql`${topics.raisingTo}`, raisingTo: null, updatedAt: this.runtime.now() };
    const left = this.db.select({ name: subscriptions.name }).from(subscriptions).where(behind(topic));
    const raising = and(
      ...[eq(topics.generation, topic.generation), eq(topics.state, "active")],
      ...[eq(topics.raisingTo, topic.raisingTo ?? 0), notExists(left)],
    );
    const [row] = await ask(this.db.update(topics).set(set).where(raising).returning());
    return row && toEntry(row);
  }
}

function behind({ generation }: TopicEntry) {
  return and(
    ...[eq(subscriptions.topicGeneration, generation), ne(subscriptions.state, "deleting")],
    isNotNull(subscriptions.raisingTo),
  );
}
