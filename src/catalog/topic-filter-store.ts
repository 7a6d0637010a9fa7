// What the subscriptions of a topic want of it, as D1 has it: for whoever has to know of all of them at once.

import { and, eq, isNotNull, ne, sql } from "drizzle-orm";
import { type Filter, isAlternate } from "../filter-form";
import { subscriptions } from "./catalog-schema";
import { ask, type CatalogDatabase, openCatalog } from "./d1-store";

export class TopicFilterStore {
  private readonly db: CatalogDatabase;

  constructor(d1: D1Database) {
    this.db = openCatalog(d1);
  }

  /**
   * The filter of each active subscription of a topic's life, but for alternates; null for one that takes everything. By
   * subscriptions_by_name.
   * Throws a CatalogFault while D1 is away.
   */
  async filtersOf(topicGeneration: string): Promise<readonly (Filter | null)[]> {
    const filter = sql<string | null>`json_extract(${subscriptions.settings}, '$.filter')`;
    const active = and(eq(subscriptions.topicGeneration, topicGeneration), eq(subscriptions.state, "active"));
    const rows = await ask(this.db.select({ filter }).from(subscriptions).where(active));
    const filters = rows.map((row) => (row.filter === null ? null : (JSON.parse(row.filter) as Filter)));
    return filters.filter((each) => !isAlternate(each));
  }

  /** Whether a topic's life has an alternate, one that is being made included. By subscriptions_by_name. */
  async hasAlternate(topicGeneration: string): Promise<boolean> {
    const alternate = and(
      eq(subscriptions.topicGeneration, topicGeneration),
      ne(subscriptions.state, "deleting"),
      isNotNull(sql`json_extract(${subscriptions.settings}, '$.filter.unmatched')`),
    );
    const { generation } = subscriptions;
    const found = await ask(this.db.select({ generation }).from(subscriptions).where(alternate).limit(1));
    return found.length > 0;
  }
}
