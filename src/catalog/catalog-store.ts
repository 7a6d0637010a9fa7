// What exists, read through the isolate's cache, and listed straight from D1. Only active entries are visible;
// the writes are in entry-store.ts, and what the sweep asks in sweep-store.ts.

import { waitUntil } from "cloudflare:workers";
import { and, asc, eq, gt } from "drizzle-orm";
import { ok, type Result, refuse } from "../errors";
import type { Runtime } from "../runtime";
import { forgetTopic, subscriptionKey } from "./catalog-cache";
import type { SubscriptionEntry, TopicEntry, TopicKind } from "./catalog-entry";
import { strandedBatches, subscriptions, topics } from "./catalog-schema";
import {
  ask,
  type Background,
  CachedReads,
  type CatalogDatabase,
  cacheOf,
  matchesOne,
  openCatalog,
} from "./d1-store";
import { EntryStore, toEntry } from "./entry-store";
import { SweepStore } from "./sweep-store";
import { TokenStore } from "./token-store";

export type { EntryState, SubscriptionEntry, Token, TopicEntry, TopicKind } from "./catalog-entry";
export { CatalogFault } from "./d1-store";

/** A page of a list: what comes after the name `after`. */
export type Page = Readonly<{ after?: string | null | undefined; limit: number }>;

export type TopicListing = Page &
  Readonly<{
    kind?: TopicKind | undefined;
    /** Names, or beginnings of names followed by `*`; all names when absent. */
    patterns?: readonly string[] | undefined;
  }>;

export class CatalogStore {
  /** Tokens, and who holds them. */
  readonly tokens: TokenStore;
  /** What the lifecycle writes. */
  readonly entries: EntryStore;
  /** What the sweep takes on, and how far it is. */
  readonly sweep: SweepStore;
  private readonly db: CatalogDatabase;
  private readonly reads: CachedReads;

  constructor(d1: D1Database, runtime: Runtime, background: Background = waitUntil) {
    this.db = openCatalog(d1);
    this.reads = new CachedReads(cacheOf(d1), runtime, background);
    this.tokens = new TokenStore(d1, runtime, background);
    this.entries = new EntryStore(d1, runtime);
    this.sweep = new SweepStore(d1, runtime);
  }

  /** The active topic of a name. By topics_by_name. */
  async topic(name: string): Promise<Result<TopicEntry>> {
    // The query is built only when it is asked: most publishes find the topic in the cache.
    const found = await this.reads.get(this.reads.cache.topics, name, async () => {
      const active = and(eq(topics.name, name), eq(topics.state, "active"));
      const row = await ask(this.db.select().from(topics).where(active).get());
      return row && toEntry(row);
    });
    if (!found.ok) return found;
    return found.value ? ok(found.value) : refuse("topic-not-found", `There is no topic "${name}".`);
  }

  /** The active subscription of a name, of this life of its topic. By subscriptions_by_name. */
  async subscription(topic: TopicEntry, name: string): Promise<Result<SubscriptionEntry>> {
    const key = subscriptionKey(topic.name, topic.generation, name);
    const found = await this.reads.get(this.reads.cache.subscriptions, key, async () => {
      const active = and(
        eq(subscriptions.topicGeneration, topic.generation),
        eq(subscriptions.name, name),
        eq(subscriptions.state, "active"),
      );
      const row = await ask(this.db.select().from(subscriptions).where(active).get());
      return row && toEntry(row);
    });
    if (!found.ok) return found;
    if (found.value) return ok(found.value);
    return refuse("subscription-not-found", `Topic "${topic.name}" has no subscription "${name}".`);
  }

  /** Forgets a topic and its subscriptions: after `gone`, and after a write. The next read asks D1. */
  forget(name: string): void {
    forgetTopic(this.reads.cache, name);
  }

  /** Active topics, queues or both, whose names match, by name. Throws a CatalogFault while D1 is away. */
  async listTopics({ kind, after, limit, patterns }: TopicListing): Promise<readonly TopicEntry[]> {
    const listed = and(
      gt(topics.name, after ?? ""),
      eq(topics.state, "active"),
      kind && eq(topics.kind, kind),
      matchesOne(topics.name, patterns),
    );
    const rows = await ask(
      this.db.select().from(topics).where(listed).orderBy(asc(topics.name)).limit(limit),
    );
    return rows.map(toEntry);
  }

  /** Active subscriptions of a topic, by name. Throws a CatalogFault while D1 is away. */
  async listSubscriptions(topic: TopicEntry, { after, limit }: Page): Promise<readonly SubscriptionEntry[]> {
    const listed = and(
      eq(subscriptions.topicGeneration, topic.generation),
      gt(subscriptions.name, after ?? ""),
      eq(subscriptions.state, "active"),
    );
    const rows = await ask(
      this.db.select().from(subscriptions).where(listed).orderBy(asc(subscriptions.name)).limit(limit),
    );
    return rows.map(toEntry);
  }

  /** How many there are of each, for the metrics. */
  async counts(): Promise<Readonly<{ topics: number; subscriptions: number; stranded: number }>> {
    const [topicCount, subscriptionCount, stranded] = await Promise.all([
      ask(this.db.$count(topics, eq(topics.state, "active"))),
      ask(this.db.$count(subscriptions, eq(subscriptions.state, "active"))),
      ask(this.db.$count(strandedBatches)),
    ]);
    return { topics: topicCount, subscriptions: subscriptionCount, stranded };
  }
}
