// An endpoint's health as it is kept: in the state row, and only while it is not closed. What is told more often, how
// many failures in a row there were, is in memory alone.

import type { Health } from "./endpoint-health";

export const healthMigration = ["ALTER TABLE state ADD COLUMN health TEXT"];

export class HealthStore {
  constructor(private readonly sql: SqlStorage) {}

  /** Undefined while the endpoint is well. */
  load(): Health | undefined {
    const [row] = this.sql.exec<{ health: string | null }>("SELECT health FROM state WHERE id = 1").toArray();
    return row?.health ? (JSON.parse(row.health) as Health) : undefined;
  }

  save(health: string | null): void {
    this.sql.exec("UPDATE state SET health = ?1 WHERE id = 1", health);
  }
}
