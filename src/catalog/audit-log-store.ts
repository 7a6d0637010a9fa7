// The table `audit_log` of D1 `CATALOG`: who changed what. A change of D1 is noted in the batch that makes it. What
// changes objects is noted before they are called, and its outcome after: no change goes without a note.

import { and, desc, eq, getTableColumns, gte, lt, lte, or, sql } from "drizzle-orm";
import { limits } from "../limits";
import type { Runtime } from "../runtime";
import type { AuditDetails, AuditNote } from "./audit-details";
import { auditLog } from "./catalog-schema";
import { ask, asParameters, type CatalogDatabase, openCatalog } from "./d1-store";

export type AuditRecord = typeof auditLog.$inferSelect;

export type AuditQuery = Readonly<{
  /** Records with lower numbers than this. */
  before?: number | undefined;
  limit: number;
  /** A resource and what is below it. */
  resource?: string | undefined;
  /** A token's id, `root` or `broker`. */
  actor?: string | undefined;
  since?: number | undefined;
  until?: number | undefined;
}>;

export class AuditLogStore {
  private readonly db: CatalogDatabase;

  constructor(
    d1: D1Database,
    private readonly runtime: Runtime,
  ) {
    this.db = openCatalog(d1);
  }

  /** Notes a change that is about to be made, and answers its number. Throws a CatalogFault while D1 is away. */
  async begin(note: AuditNote): Promise<number> {
    const row = rowOf(note, this.runtime.now(), "begun");
    const inserted = await ask(this.db.insert(auditLog).values(row).returning({ number: auditLog.number }));
    return inserted[0]?.number ?? 0;
  }

  /** Writes down what became of it: `done`, or the code of its refusal. */
  async end(number: number, outcome: string, details: AuditDetails): Promise<void> {
    const ended = this.db.update(auditLog).set({ outcome, details });
    await ask(ended.where(eq(auditLog.number, number)));
  }

  /** Records that match, newest first. By the primary key, or by the index of what is asked for. */
  async list({ before, limit, resource, actor, since, until }: AuditQuery): Promise<readonly AuditRecord[]> {
    const matching = and(
      before === undefined ? undefined : lt(auditLog.number, before),
      resource === undefined ? undefined : atOrBelow(resource),
      actor === undefined ? undefined : eq(auditLog.actor, actor),
      since === undefined ? undefined : gte(auditLog.at, since),
      until === undefined ? undefined : lte(auditLog.at, until),
    );
    const page = this.db.select().from(auditLog).where(matching);
    return ask(page.orderBy(desc(auditLog.number)).limit(limit));
  }

  /**
   * Removes what is too old, and the oldest past the cap: a bounded number of records, and says how many. By
   * audit_log_by_time and by the primary key.
   */
  async purge(): Promise<number> {
    const old = lt(auditLog.at, this.runtime.now() - limits.auditKeptMs);
    const newest = sql`(SELECT max(${auditLog.number}) FROM ${auditLog})`;
    const beyond = sql`${auditLog.number} <= ${newest} - ${limits.auditRecords}`;
    const deletions = [old, beyond].map((which) => {
      const some = this.db.select({ number: auditLog.number }).from(auditLog).where(which);
      const doomed = sql`${auditLog.number} IN (${some.limit(limits.auditPurgedAtOnce)})`;
      return this.db.delete(auditLog).where(doomed).returning({ number: auditLog.number });
    });
    const [first, ...others] = deletions;
    if (!first) return 0;
    return (await ask(this.db.batch([first, ...others]))).flat().length;
  }
}

/**
 * To stand right behind a write in a D1 batch: notes the change if that write made one. SQLite's changes() counts the
 * rows of the statement before.
 */
export function noteIfChanged(db: CatalogDatabase, note: AuditNote, now: number) {
  const row = { number: sql`NULL`, ...rowOf(note, now, "done") };
  return db.insert(auditLog).select(sql`SELECT ${asParameters(auditLog, row)} WHERE changes() > 0`);
}

function rowOf({ by, action, resource, details }: AuditNote, at: number, outcome: string) {
  const of = { actor: by.id, actorName: by.name, requestId: by.requestId };
  return { at, ...of, action, resource, outcome, details };
}

/** What is below a resource begins with its name and a slash, and '0' comes right after '/'. */
function atOrBelow(resource: string) {
  const { resource: column } = getTableColumns(auditLog);
  return or(eq(column, resource), and(gte(column, `${resource}/`), lt(column, `${resource}0`)));
}
