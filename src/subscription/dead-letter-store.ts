// The SQL of dead letters: each with its message, so that it outlives the retention of its topic, and with the epoch
// in which it died, so that it outlives a seek. Takes no decisions.

import { fitting } from "../sql/page";
import type { Grave } from "./backlog";
import { type BuriedRow, type DeadRow, toDeadLetter } from "./subscription-rows";

export class DeadLetterStore {
  constructor(private readonly sql: SqlStorage) {}

  /** Those of an epoch that hold their lane. Walks them all: asked once, when the subscription is loaded. */
  parked(epoch: number): { key: string; offset: number }[] {
    return this.sql
      .exec<{ key: string; offset: number }>(
        `SELECT ordering_key AS key, offset FROM dead_letters
         WHERE epoch = ?1 AND parks = 1 AND ordering_key IS NOT NULL`,
        epoch,
      )
      .toArray();
  }

  insert(epoch: number, offset: number, { dying, record, parks }: Grave): void {
    this.sql.exec(
      "INSERT OR REPLACE INTO dead_letters VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
      epoch,
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
  take(epoch: number, offsets: Iterable<number>): Map<number, ArrayBuffer | null> {
    const records = new Map<number, ArrayBuffer | null>();
    for (const offset of offsets) {
      const [row] = this.sql
        .exec<{ record: ArrayBuffer | null }>(
          "DELETE FROM dead_letters WHERE epoch = ?1 AND offset = ?2 RETURNING record",
          epoch,
          offset,
        )
        .toArray();
      records.set(offset, row?.record ?? null);
    }
    return records;
  }

  /** Dead letters past `after` of `epoch`, by primary key, up to `maxBytes` of messages but at least one. */
  page(epoch: number, after: number, limit: number, maxBytes: number): BuriedRow[] {
    // Their sizes first: a cursor that is left half-read locks every table against being dropped.
    const sizes = this.sql
      .exec<{ bytes: number }>(
        `SELECT coalesce(length(record), 0) AS bytes FROM dead_letters
         WHERE (epoch, offset) > (?1, ?2) ORDER BY epoch, offset LIMIT ?3`,
        epoch,
        after,
        limit,
      )
      .toArray();
    return this.sql
      .exec<DeadRow>(
        `SELECT epoch, offset, ordering_key, died_at, reason, detail, attempts, history, record FROM dead_letters
         WHERE (epoch, offset) > (?1, ?2) ORDER BY epoch, offset LIMIT ?3`,
        epoch,
        after,
        fitting(sizes, maxBytes).length,
      )
      .toArray()
      .map(toDeadLetter);
  }

  /** The offsets of an epoch's dead from `first` to `last`, rising. By primary key. */
  *offsets(epoch: number, first: number, last: number): Generator<number> {
    const cursor = this.sql.exec<{ offset: number }>(
      "SELECT offset FROM dead_letters WHERE epoch = ?1 AND offset BETWEEN ?2 AND ?3 ORDER BY offset",
      epoch,
      first,
      last,
    );
    for (const { offset } of cursor) yield offset;
  }

  /** Those of an epoch's `offsets` that are dead, or the oldest `limit` of all: without their messages. */
  chosen(selection: { offsets: readonly number[]; epoch?: number } | { limit: number }): BuriedRow[] {
    const columns = "epoch, offset, ordering_key, died_at, reason, detail, attempts, history, NULL AS record";
    const cursor =
      "offsets" in selection
        ? this.sql.exec<DeadRow>(
            `SELECT ${columns} FROM dead_letters
             WHERE epoch = ?1 AND offset IN (SELECT value FROM json_each(?2)) ORDER BY offset`,
            selection.epoch ?? 0,
            JSON.stringify(selection.offsets),
          )
        : this.sql.exec<DeadRow>(
            `SELECT ${columns} FROM dead_letters ORDER BY epoch, offset LIMIT ?1`,
            selection.limit,
          );
    return cursor.toArray().map(toDeadLetter);
  }
}
