// What the sweep asks of the catalog: which entries to finish, repair or seal anew, whose turn it is to be poked, and what
// keeps its line moving.

import { and, asc, eq, exists, gte, lte, ne, or, type SQL, sql } from "drizzle-orm";
import type { Runtime } from "../runtime";
import type { Entry, SubscriptionEntry } from "./catalog-entry";
import { subscriptions, sweepCursor, topics, unsettled } from "./catalog-schema";
import { ask, type CatalogDatabase, openCatalog } from "./d1-store";
import { isLife, type Row, tableOf, toEntry } from "./entry-store";
import type { Place } from "./rotation";

export class SweepStore {
  private readonly db: CatalogDatabase;

  constructor(
    d1: D1Database,
    private readonly runtime: Runtime,
  ) {
    this.db = openCatalog(d1);
  }

  /** Entries to finish or repair that nobody tried since `before`, longest ago first. By the partial indexes. */
  async unsettled(before: number, limit: number): Promise<readonly Entry[]> {
    const due = (table: typeof topics | typeof subscriptions, more?: SQL) =>
      this.db
        .select()
        .from(table)
        .where(and(sql`(${unsettled})`, lte(table.triedAt, before), more))
        .orderBy(asc(table.triedAt))
        .limit(limit);
    // A queue's subscription is created by its topic: alone, it would find a topic that is not there yet.
    const visible = this.db
      .select({ generation: topics.generation })
      .from(topics)
      .where(and(eq(topics.generation, subscriptions.topicGeneration), eq(topics.state, "active")));
    const ready = or(ne(subscriptions.state, "creating"), exists(visible));
    const [below, above] = await Promise.all([ask(due(subscriptions, ready)), ask(due(topics))]);
    const rows: Row[] = [...below, ...above];
    return rows
      .sort((a, b) => a.triedAt - b.triedAt)
      .slice(0, limit)
      .map(toEntry);
  }

  /**
   * Active subscriptions with a secret that is plain or sealed under one of these keys, the one tried longest ago first.
   * By no index: only while SECRETS_KEY is exchanged.
   */
  async sealedUnder(keyIds: readonly string[], limit: number): Promise<readonly SubscriptionEntry[]> {
    const { settings, state, triedAt } = subscriptions;
    const old = keyIds.map((id) => sql`instr(${settings}, ${`"s1.${id}.`}) > 0`);
    const plain = [
      sql`json_array_length(${settings}, '$.push.secrets') > 0`,
      sql`json_extract(${settings}, '$.push.headers') <> '{}'`,
    ];
    const due = and(eq(state, "active"), or(...old, ...plain));
    const rows = await ask(
      this.db.select().from(subscriptions).where(due).orderBy(asc(triedAt)).limit(limit),
    );
    return rows.map(toEntry);
  }

  /** Sends an entry to the end of the sweep's line, so that one that keeps failing holds up no other. */
  async noteTried(entry: Entry): Promise<void> {
    const set = { triedAt: this.runtime.now() };
    await ask(this.db.update(tableOf(entry)).set(set).where(isLife(entry)));
  }

  /** Active lives from `place` on, in the order of their generations. By the primary key. */
  async activeFrom(
    place: Place,
    limit: number,
  ): Promise<readonly { generation: string; partitions: number }[]> {
    const table = place.noun === "topic" ? topics : subscriptions;
    return ask(
      this.db
        .select({ generation: table.generation, partitions: table.partitions })
        .from(table)
        .where(and(gte(table.generation, place.generation), eq(table.state, "active")))
        .orderBy(asc(table.generation))
        .limit(limit),
    );
  }

  async sweepPlace(): Promise<Place | undefined> {
    return ask(this.db.select().from(sweepCursor).get());
  }

  async saveSweepPlace(place: Place): Promise<void> {
    const row = { noun: place.noun, generation: place.generation, partition: place.partition };
    const insert = this.db.insert(sweepCursor).values({ id: 1, ...row });
    await ask(insert.onConflictDoUpdate({ target: sweepCursor.id, set: row }));
  }
}
