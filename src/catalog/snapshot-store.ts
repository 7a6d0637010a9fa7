// Snapshots: where a subscription stood at an instant, partition by partition, kept by name so that it can be
// moved back there. A snapshot holds no message back from retention.

import { and, asc, eq, gt, sql } from "drizzle-orm";
import { ok, type Result, refuse } from "../errors";
import { limits } from "../limits";
import type { Runtime } from "../runtime";
import { snapshots, subscriptions } from "./catalog-schema";
import type { Page, SubscriptionEntry } from "./catalog-store";
import { ask, asParameters, type CatalogDatabase, openCatalog } from "./d1-store";

export type Snapshot = Readonly<{
  name: string;
  /** By partition: the lowest offset that was not settled. */
  offsets: Readonly<Record<string, number>>;
  createdAt: number;
}>;

const { name, offsets, createdAt } = snapshots;
const shown = { name, offsets, createdAt };

export class SnapshotStore {
  private readonly db: CatalogDatabase;

  constructor(
    d1: D1Database,
    private readonly runtime: Runtime,
  ) {
    this.db = openCatalog(d1);
  }

  /** The snapshot of a name. By the primary key. Throws a CatalogFault while D1 is away. */
  async find(subscription: SubscriptionEntry, name: string): Promise<Result<Snapshot>> {
    const row = await ask(this.db.select(shown).from(snapshots).where(isNamed(subscription, name)).get());
    return row ? ok(row) : notFound(name);
  }

  /** Snapshots of a subscription, by name. By the primary key. */
  async list({ generation }: SubscriptionEntry, { after, limit }: Page): Promise<readonly Snapshot[]> {
    const listed = and(eq(snapshots.subscription, generation), gt(snapshots.name, after ?? ""));
    const page = this.db.select(shown).from(snapshots).where(listed);
    return ask(page.orderBy(asc(snapshots.name)).limit(limit));
  }

  /** Keeps a position under a name that is free; false when it is not. Refused when there are too many. */
  async insert(
    subscription: SubscriptionEntry,
    name: string,
    offsets: Snapshot["offsets"],
  ): Promise<Result<boolean>> {
    const { generation } = subscription;
    const row = { subscription: generation, name, offsets, createdAt: this.runtime.now() };
    // One statement: it finds its subscription there, and nobody passes the cap between count and insert.
    const held = sql`(SELECT count(*) FROM ${snapshots} WHERE ${snapshots.subscription} = ${generation})`;
    const values = sql`SELECT ${asParameters(snapshots, row)} FROM ${subscriptions}
      WHERE ${subscriptions.generation} = ${generation} AND ${held} < ${limits.snapshotsPerSubscription}`;
    const insert = this.db.insert(snapshots).select(values).onConflictDoNothing();
    const inserted = await ask(insert.returning({ name: snapshots.name }));
    if (inserted.length > 0) return ok(true);
    if ((await this.find(subscription, name)).ok) return ok(false);
    const count = await ask(this.db.$count(snapshots, eq(snapshots.subscription, generation)));
    if (count < limits.snapshotsPerSubscription) return refuse("gone", "The subscription was deleted.");
    return refuse("conflict", `A subscription has at most ${limits.snapshotsPerSubscription} snapshots.`, {
      limit: limits.snapshotsPerSubscription,
    });
  }

  /** Forgets a snapshot. Idempotent: an absent one is forgotten. */
  async delete(subscription: SubscriptionEntry, name: string): Promise<void> {
    await ask(this.db.delete(snapshots).where(isNamed(subscription, name)));
  }
}

function isNamed({ generation }: SubscriptionEntry, name: string) {
  return and(eq(snapshots.subscription, generation), eq(snapshots.name, name));
}

function notFound(name: string) {
  return refuse("snapshot-not-found", `The subscription has no snapshot "${name}".`);
}
