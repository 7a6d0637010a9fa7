// The SQL of gap records: where retention overtook the subscription, and how many messages were lost to it there.
// Few are kept: past that the two oldest become one, so that the sum of their counts never changes. Takes no decisions.

import { limits } from "../limits";
import type { Gap } from "../subscription-calls";

type GapRow = { number: number; from_offset: number; to_offset: number; count: number; at: number };

/** Appended to the subscription's migrations. */
export const gapMigration = [
  `CREATE TABLE gaps (number INTEGER PRIMARY KEY, from_offset INTEGER NOT NULL,
     to_offset INTEGER NOT NULL, count INTEGER NOT NULL, at INTEGER NOT NULL) STRICT`,
];

export class GapStore {
  constructor(private readonly sql: SqlStorage) {}

  add({ from, to, count }: Omit<Gap, "at">, at: number): void {
    const values = "(from_offset, to_offset, count, at) VALUES (?1, ?2, ?3, ?4)";
    this.sql.exec(`INSERT INTO gaps ${values}`, from, to, count, at);
    const [oldest, next, ...rest] = this.rows();
    if (!oldest || !next || rest.length + 2 <= limits.gapsKept) return;
    this.sql.exec("DELETE FROM gaps WHERE number = ?1", oldest.number);
    this.sql.exec(
      "UPDATE gaps SET from_offset = ?1, to_offset = ?2, count = ?3 WHERE number = ?4",
      Math.min(oldest.from_offset, next.from_offset),
      Math.max(oldest.to_offset, next.to_offset),
      oldest.count + next.count,
      next.number,
    );
  }

  /** All of them, oldest first. */
  list(): Gap[] {
    return this.rows().map((row) => ({
      ...{ from: row.from_offset, to: row.to_offset },
      ...{ count: row.count, at: row.at },
    }));
  }

  /** A new epoch begins. */
  forgetAll(): void {
    this.sql.exec("DELETE FROM gaps");
  }

  private rows(): GapRow[] {
    return this.sql
      .exec<GapRow>("SELECT number, from_offset, to_offset, count, at FROM gaps ORDER BY number")
      .toArray();
  }
}
