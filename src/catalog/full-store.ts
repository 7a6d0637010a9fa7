// Partitions that refuse for space, as the catalog tells http: each until an instant. It ends by itself, so nobody has
// to take it back when there is room again.

import { and, eq, sql } from "drizzle-orm";
import { limits } from "../limits";
import type { Runtime } from "../runtime";
import type { TopicEntry } from "./catalog-entry";
import { topics } from "./catalog-schema";
import { ask, type CatalogDatabase, openCatalog } from "./d1-store";

export class FullStore {
  private readonly db: CatalogDatabase;

  constructor(
    d1: D1Database,
    private readonly runtime: Runtime,
  ) {
    this.db = openCatalog(d1);
  }

  /**
   * Notes that a partition is full; written again only when what is noted ends soon. Throws a CatalogFault while D1 is
   * away. By the primary key.
   */
  async note(generation: string, partition: number): Promise<void> {
    const now = this.runtime.now();
    const path = `$."${partition}"`;
    const fullUntil = sql`json_set(coalesce(${topics.fullUntil}, '{}'), ${path}, ${now + limits.topicFullForMs})`;
    const endsSoon = sql`coalesce(json_extract(${topics.fullUntil}, ${path}), 0) < ${now + limits.topicFullAgainMs}`;
    const due = and(eq(topics.generation, generation), endsSoon);
    await ask(this.db.update(topics).set({ fullUntil }).where(due));
  }
}

/** For how long, in milliseconds, a partition says that it is full; 0 when it does not. */
export function fullForMs({ fullUntil }: TopicEntry, partition: number, now: number): number {
  return Math.max(0, (fullUntil?.[partition] ?? 0) - now);
}
