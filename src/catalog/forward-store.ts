// Who forwards to whom, as D1 has it.

import { and, eq, inArray, isNotNull, ne, sql } from "drizzle-orm";
import { subscriptions, topics } from "./catalog-schema";
import { ask, type CatalogDatabase, openCatalog } from "./d1-store";
import { mayGoOn, walkFrom, walkOn } from "./forward-walk";

/** Names in one statement: D1 takes 100 parameters. */
const NAMES_AT_ONCE = 90;

export class ForwardStore {
  private readonly db: CatalogDatabase;

  constructor(d1: D1Database) {
    this.db = openCatalog(d1);
  }

  /** Whether what is published to `from` comes to `to`, along forwards that exist. Throws a CatalogFault while D1 is away. */
  async leads(from: string, to: string): Promise<boolean> {
    let walk = walkFrom(from);
    while (mayGoOn(walk) && !walk.met.has(to)) walk = walkOn(walk, await this.targetsOf(walk.edge));
    return walk.met.has(to);
  }

  /** By topics_by_name and subscriptions_by_name. */
  private async targetsOf(names: readonly string[]): Promise<readonly string[]> {
    const target = sql<string>`json_extract(${subscriptions.settings}, '$.forward.topic')`;
    const found: string[] = [];
    for (let first = 0; first < names.length; first += NAMES_AT_ONCE) {
      const isOne = and(
        inArray(topics.name, names.slice(first, first + NAMES_AT_ONCE)),
        ne(subscriptions.state, "deleting"),
        isNotNull(target),
      );
      const ofTopics = eq(subscriptions.topicGeneration, topics.generation);
      const asked = this.db.selectDistinct({ target }).from(topics);
      const rows = await ask(asked.innerJoin(subscriptions, ofTopics).where(isOne));
      found.push(...rows.map((row) => row.target));
    }
    return found;
  }
}
