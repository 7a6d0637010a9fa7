// The SQL of delayed messages: one row each, with its record, from its publish until it takes its offset or is
// cancelled. Kept in the order in which they are due. Takes no decisions.

import type { DelayedMessage, DelayedPlace } from "../topic-calls";
import type { Delayed } from "./delayed";

/** The number keeps the order of publishing among messages that are due at one instant. */
export const SCHEDULED_TABLE = `CREATE TABLE scheduled (deliver_at INTEGER NOT NULL, number INTEGER NOT NULL,
  id TEXT NOT NULL UNIQUE, fingerprint TEXT NOT NULL, record BLOB NOT NULL, PRIMARY KEY (deliver_at, number))
  STRICT, WITHOUT ROWID`;

/** A delayed message without its record. */
export type DelayedHead = Omit<Delayed, "record">;
type HeadRow = { id: string; deliver_at: number; number: number; fingerprint: string };
type Row = HeadRow & { record: ArrayBuffer };

const BEFORE_ALL: DelayedPlace = { deliverAt: -1, number: -1 };

export class DelayedStore {
  constructor(private readonly sql: SqlStorage) {}

  insert({ deliverAt, number, id, fingerprint, record }: Delayed): void {
    this.sql.exec(
      "INSERT INTO scheduled VALUES (?1, ?2, ?3, ?4, ?5)",
      deliverAt,
      number,
      id,
      fingerprint,
      record,
    );
  }

  /** When the first is due. By primary key. */
  earliest(): number | undefined {
    return this.sql
      .exec<{ at: number }>("SELECT deliver_at AS at FROM scheduled ORDER BY deliver_at, number LIMIT 1")
      .toArray()[0]?.at;
  }

  /** How many there are, and the highest number. Walks the index of ids, which holds the numbers too. */
  totals(): { count: number; lastNumber: number } {
    return this.sql
      .exec<{ count: number; lastNumber: number }>(
        "SELECT count(*) AS count, coalesce(max(number), 0) AS lastNumber FROM scheduled",
      )
      .one();
  }

  /** Those of `ids` that wait. By the index of ids. */
  heads(ids: readonly string[]): DelayedHead[] {
    return this.sql
      .exec<HeadRow>(
        `SELECT waits.id, deliver_at, number, fingerprint FROM json_each(?1) AS asked
         CROSS JOIN scheduled AS waits ON waits.id = asked.value`,
        JSON.stringify(ids),
      )
      .toArray()
      .map(toHead);
  }

  /** The sizes of the records of the first `limit` that are past `after` and due by `dueBy`. By primary key. */
  sizes(after: DelayedPlace | null, dueBy: number, limit: number): { bytes: number }[] {
    const { deliverAt, number } = after ?? BEFORE_ALL;
    return this.sql
      .exec<{ bytes: number }>(
        `SELECT length(record) AS bytes FROM scheduled
         WHERE (deliver_at, number) > (?1, ?2) AND deliver_at <= ?3 ORDER BY deliver_at, number LIMIT ?4`,
        deliverAt,
        number,
        dueBy,
        limit,
      )
      .toArray();
  }

  /** The first `limit` past `after`, with their records. By primary key. */
  page(after: DelayedPlace | null, limit: number): (Delayed & DelayedMessage)[] {
    const { deliverAt, number } = after ?? BEFORE_ALL;
    return this.sql
      .exec<Row>(
        `SELECT id, deliver_at, number, fingerprint, record FROM scheduled
         WHERE (deliver_at, number) > (?1, ?2) ORDER BY deliver_at, number LIMIT ?3`,
        deliverAt,
        number,
        limit,
      )
      .toArray()
      .map((row) => ({ ...toHead(row), record: new Uint8Array(row.record) }));
  }

  /** Removes everything up to a place, that included. By primary key. */
  deleteUpTo({ deliverAt, number }: DelayedPlace): void {
    this.sql.exec("DELETE FROM scheduled WHERE (deliver_at, number) <= (?1, ?2)", deliverAt, number);
  }

  delete({ deliverAt, number }: DelayedPlace): void {
    this.sql.exec("DELETE FROM scheduled WHERE deliver_at = ?1 AND number = ?2", deliverAt, number);
  }

  record({ deliverAt, number }: DelayedPlace): Uint8Array {
    const { record } = this.sql
      .exec<{ record: ArrayBuffer }>(
        "SELECT record FROM scheduled WHERE deliver_at = ?1 AND number = ?2",
        deliverAt,
        number,
      )
      .one();
    return new Uint8Array(record);
  }

  move({ deliverAt, number }: DelayedPlace, to: number, record: Uint8Array): void {
    this.sql.exec(
      "UPDATE scheduled SET deliver_at = ?3, record = ?4 WHERE deliver_at = ?1 AND number = ?2",
      deliverAt,
      number,
      to,
      record,
    );
  }
}

function toHead(row: HeadRow): DelayedHead {
  return { id: row.id, deliverAt: row.deliver_at, number: row.number, fingerprint: row.fingerprint };
}
