// The SQL of a subscription's filters: one row for each version that offsets still in the log were judged by. Written
// when a filter changes, never for a message. Takes no decisions.

import type { Filter } from "../filter-form";
import type { FilterVersion } from "./sieve";

/** Appended to the subscription's migrations. */
export const filterMigration = [
  "CREATE TABLE filters (from_offset INTEGER PRIMARY KEY, version INTEGER NOT NULL, filter TEXT) STRICT",
];

export class FilterStore {
  constructor(private readonly sql: SqlStorage) {}

  /** All versions, by rising offsets. */
  list(): FilterVersion[] {
    return this.sql
      .exec<{ from: number; version: number; filter: string | null }>(
        'SELECT from_offset AS "from", version, filter FROM filters ORDER BY from_offset',
      )
      .toArray()
      .map((row) => ({ ...row, filter: row.filter === null ? null : (JSON.parse(row.filter) as Filter) }));
  }

  /** Puts these in the place of all that there are. */
  replace(versions: readonly FilterVersion[]): void {
    this.sql.exec("DELETE FROM filters");
    for (const { from, version, filter } of versions) {
      this.sql.exec(
        "INSERT INTO filters VALUES (?1, ?2, ?3)",
        from,
        version,
        filter === null ? null : JSON.stringify(filter),
      );
    }
  }

  /** An epoch begins at `startOffset`: everything in it is judged by the filter that holds now. */
  beginEpoch(startOffset: number): void {
    const newest = this.list().at(-1);
    if (newest) this.replace(newest.filter ? [{ ...newest, from: startOffset }] : []);
  }
}
