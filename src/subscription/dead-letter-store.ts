// The SQL of dead letters: each with its message, so that it outlives the retention of its topic. Takes no decisions.

import type { Grave } from "./backlog";
import { type BuriedRow, type DeadRow, toDeadLetter } from "./subscription-rows";

export class DeadLetterStore {
  constructor(private readonly sql: SqlStorage) {}

  /** The dead letters that hold their lane. Walks them all: asked once, when the subscription is loaded. */
  parked(): { key: string; offset: number }[] {
    return this.sql
      .exec<{ key: string; offset: number }>(
        "SELECT ordering_key AS key, offset FROM dead_letters WHERE parks = 1 AND ordering_key IS NOT NULL",
      )
      .toArray();
  }

  insert(offset: number, { dying, record, parks }: Grave): void {
    this.sql.exec(
      "INSERT OR REPLACE INTO dead_letters VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
      offset,
      dying.orderingKey ?? null,
      parks ? 1 : 0,
      dying.death.diedAt,
      dying.death.reason,
      dying.death.detail ?? null,
      dying.attempts,
      JSON.stringify(dying.history),
      record ?? null,
    );
  }

  /** Takes dead letters out. Answers the messages that they held. */
  take(offsets: ReadonlySet<number>): Map<number, ArrayBuffer | null> {
    const records = new Map<number, ArrayBuffer | null>();
    for (const offset of offsets) {
      const [row] = this.sql
        .exec<{ record: ArrayBuffer | null }>("SELECT record FROM dead_letters WHERE offset = ?1", offset)
        .toArray();
      records.set(offset, row?.record ?? null);
      this.sql.exec("DELETE FROM dead_letters WHERE offset = ?1", offset);
    }
    return records;
  }

  /** Dead letters past `after`, by primary key, up to `maxBytes` of messages but at least one. */
  page(after: number, limit: number, maxBytes: number): BuriedRow[] {
    const letters: BuriedRow[] = [];
    let bytes = 0;
    const cursor = this.sql.exec<DeadRow>(
      `SELECT offset, ordering_key, died_at, reason, detail, attempts, history, record FROM dead_letters
       WHERE offset > ?1 ORDER BY offset LIMIT ?2`,
      after,
      limit,
    );
    for (const row of cursor) {
      bytes += row.record?.byteLength ?? 0;
      if (letters.length > 0 && bytes > maxBytes) break;
      letters.push(toDeadLetter(row));
    }
    return letters;
  }

  /** The offsets of the dead from `first` to `last`, rising. By primary key. */
  *offsets(first: number, last: number): Generator<number> {
    const cursor = this.sql.exec<{ offset: number }>(
      "SELECT offset FROM dead_letters WHERE offset BETWEEN ?1 AND ?2 ORDER BY offset",
      first,
      last,
    );
    for (const { offset } of cursor) yield offset;
  }

  /** Those of `offsets` that are dead, or the oldest `limit`: without their messages. */
  chosen(selection: { offsets: readonly number[] } | { limit: number }): BuriedRow[] {
    const columns = "offset, ordering_key, died_at, reason, detail, attempts, history, NULL AS record";
    const cursor =
      "offsets" in selection
        ? this.sql.exec<DeadRow>(
            `SELECT ${columns} FROM dead_letters WHERE offset IN (SELECT value FROM json_each(?1)) ORDER BY offset`,
            JSON.stringify(selection.offsets),
          )
        : this.sql.exec<DeadRow>(
            `SELECT ${columns} FROM dead_letters ORDER BY offset LIMIT ?1`,
            selection.limit,
          );
    return cursor.toArray().map(toDeadLetter);
  }
}
