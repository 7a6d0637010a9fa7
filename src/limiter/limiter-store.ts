// The SQL of a limiter: one row with all that it counts, written once for each block. Takes no decisions.

import { isMigrated, migrate } from "../sql/migrate";
import type { LimiterState } from "./limiter";

const MIGRATIONS = [
  ["CREATE TABLE limiter (id INTEGER PRIMARY KEY CHECK (id = 1), state TEXT NOT NULL) STRICT"],
];

export class LimiterStore {
  private isReady: boolean;

  constructor(private readonly storage: DurableObjectStorage) {
    this.isReady = isMigrated(storage);
    if (this.isReady) migrate(storage, MIGRATIONS);
  }

  /** Undefined when it never saved anything. */
  load(): LimiterState | undefined {
    if (!this.isReady) return undefined;
    const [row] = this.storage.sql
      .exec<{ state: string }>("SELECT state FROM limiter WHERE id = 1")
      .toArray();
    return row && (JSON.parse(row.state) as LimiterState);
  }

  save(state: LimiterState): void {
    if (!this.isReady) migrate(this.storage, MIGRATIONS);
    this.isReady = true;
    this.storage.sql.exec(
      "INSERT INTO limiter VALUES (1, ?1) ON CONFLICT (id) DO UPDATE SET state = excluded.state",
      JSON.stringify(state),
    );
  }

  /** Removes everything: an object that holds nothing is none. */
  async clear(): Promise<void> {
    this.isReady = false;
    await this.storage.deleteAll();
  }
}
