// The SQL of producers: how far each has come in this partition. One row each, kept as long as the topic: a producer
// that was forgotten would be told to begin again. Takes no decisions.

import type { ProducerPlace } from "../topic-calls";

/** A migration of the topic's store. */
export const PRODUCERS_TABLE = `CREATE TABLE producers (name TEXT PRIMARY KEY, last_sequence INTEGER NOT NULL,
  last_at INTEGER NOT NULL) STRICT, WITHOUT ROWID`;

export class ProducerStore {
  constructor(private readonly sql: SqlStorage) {}

  /** By primary key. */
  find(name: string): ProducerPlace | undefined {
    return this.sql
      .exec<{ lastSequence: number; lastAt: number }>(
        "SELECT last_sequence AS lastSequence, last_at AS lastAt FROM producers WHERE name = ?1",
        name,
      )
      .toArray()[0];
  }

  /** Counts them all: asked only for one that is new. */
  count(): number {
    return this.sql.exec<{ n: number }>("SELECT count(*) AS n FROM producers").one().n;
  }

  save(name: string, { lastSequence, lastAt }: ProducerPlace): void {
    this.sql.exec("INSERT OR REPLACE INTO producers VALUES (?1, ?2, ?3)", name, lastSequence, lastAt);
  }

  delete(name: string): void {
    this.sql.exec("DELETE FROM producers WHERE name = ?1", name);
  }

  clear(): void {
    this.sql.exec("DELETE FROM producers");
  }
}
