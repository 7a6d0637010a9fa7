// The SQL of a partition's place among raises: where its own keys came from, and where it was cut when keys left it. Few
// rows, written once. Takes no decisions.

import type { Cut } from "../raise";

/** The partition's parent, and when its keys left that one, as soon as it is known. */
export type Parent = Readonly<{ partition: number; cutAt: number | null }>;

/** A migration of the topic's store. */
export const LINEAGE_TABLES = [
  `CREATE TABLE parent (id INTEGER PRIMARY KEY CHECK (id = 1), partition INTEGER NOT NULL, cut_at INTEGER) STRICT`,
  `CREATE TABLE cuts (partitions INTEGER PRIMARY KEY, log_end INTEGER NOT NULL, cut_at INTEGER NOT NULL) STRICT`,
];

/** A later migration: whether delayed messages are still to be handed to where their keys went. */
export const DEPARTING_COLUMN = "ALTER TABLE cuts ADD COLUMN departing INTEGER NOT NULL DEFAULT 0";

export class LineageStore {
  constructor(private readonly sql: SqlStorage) {}

  parent(): Parent | undefined {
    return this.sql
      .exec<{ partition: number; cutAt: number | null }>(
        "SELECT partition, cut_at AS cutAt FROM parent WHERE id = 1",
      )
      .toArray()[0];
  }

  insertParent(partition: number): void {
    this.sql.exec("INSERT INTO parent VALUES (1, ?1, NULL)", partition);
  }

  noteParentCut(cutAt: number): void {
    this.sql.exec("UPDATE parent SET cut_at = ?1 WHERE id = 1", cutAt);
  }

  /** All cuts, by rising count. By primary key. */
  cuts(): Cut[] {
    return this.sql
      .exec<{ partitions: number; offset: number; cutAt: number }>(
        "SELECT partitions, log_end AS offset, cut_at AS cutAt FROM cuts ORDER BY partitions",
      )
      .toArray();
  }

  insertCut({ partitions, offset, cutAt }: Cut, departing: boolean): void {
    this.sql.exec("INSERT INTO cuts VALUES (?1, ?2, ?3, ?4)", partitions, offset, cutAt, departing ? 1 : 0);
  }

  /** The cut whose delayed messages are still to be handed over; undefined when there is none. */
  departing(): number | undefined {
    return this.sql
      .exec<{ partitions: number }>(
        "SELECT partitions FROM cuts WHERE departing = 1 ORDER BY partitions LIMIT 1",
      )
      .toArray()[0]?.partitions;
  }

  noteDeparted(partitions: number): void {
    this.sql.exec("UPDATE cuts SET departing = 0 WHERE partitions = ?1", partitions);
  }

  clear(): void {
    this.sql.exec("DELETE FROM parent");
    this.sql.exec("DELETE FROM cuts");
  }
}
