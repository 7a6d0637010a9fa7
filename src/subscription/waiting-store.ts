// The SQL of deliveries that wait or die: a row each, by offset. What is leased has none of its own, but keeps the row
// with which it waited. Takes no decisions.

import type { Delivery } from "./delivery";
import { toRow, type WaitingRow } from "./subscription-rows";

export class WaitingStore {
  /** Offsets that have a row: so that nothing is deleted in vain. */
  private held = new Set<number>();

  constructor(private readonly sql: SqlStorage) {}

  /** All rows, without the messages that they carry. */
  load(): readonly WaitingRow[] {
    const rows = this.sql
      .exec<WaitingRow>(
        "SELECT offset, ordering_key, attempts, redrives, available_at, last_lease_id, history, death FROM waiting",
      )
      .toArray();
    this.held = new Set(rows.map(({ offset }) => offset));
    return rows;
  }

  /** Writes those of `offsets` that wait or die, with the message that they carry, and deletes those that are gone. */
  save(
    deliveries: ReadonlyMap<number, Delivery>,
    offsets: ReadonlySet<number>,
    records: ReadonlyMap<number, ArrayBuffer | null>,
  ): void {
    const gone: number[] = [];
    const rows: WaitingRow[] = [];
    for (const offset of offsets) {
      const delivery = deliveries.get(offset);
      // A lease changes no row: the state row tells who holds it, until it is released or settled.
      if (delivery && delivery.state !== "leased") rows.push(toRow(delivery));
      else if (!delivery && this.held.delete(offset)) gone.push(offset);
    }
    if (gone.length > 0) {
      this.sql.exec(
        "DELETE FROM waiting WHERE offset IN (SELECT value FROM json_each(?1))",
        JSON.stringify(gone),
      );
    }
    if (rows.length === 0) return;
    this.sql.exec(
      `INSERT INTO waiting (offset, ordering_key, attempts, redrives, available_at, last_lease_id, history, death)
       SELECT value->>'offset', value->>'ordering_key', value->>'attempts', value->>'redrives',
         value->>'available_at', value->>'last_lease_id', value->>'history', value->>'death'
       FROM json_each(?1) WHERE true
       ON CONFLICT (offset) DO UPDATE SET attempts = excluded.attempts, redrives = excluded.redrives,
         available_at = excluded.available_at, last_lease_id = excluded.last_lease_id, history = excluded.history, death = excluded.death`,
      JSON.stringify(rows),
    );
    for (const { offset } of rows) {
      this.held.add(offset);
      const record = records.get(offset);
      if (record) this.sql.exec("UPDATE waiting SET record = ?1 WHERE offset = ?2", record, offset);
    }
  }

  /** The offsets that carry their message with them. Walks what waits. */
  carriedOffsets(): ReadonlySet<number> {
    const rows = this.sql.exec<{ offset: number }>("SELECT offset FROM waiting WHERE record IS NOT NULL");
    return new Set(rows.toArray().map(({ offset }) => offset));
  }

  /** The message a redriven delivery carries with it, if it does. By primary key. */
  carriedRecord(offset: number): Uint8Array | undefined {
    if (!this.held.has(offset)) return undefined;
    const [row] = this.sql
      .exec<{ record: ArrayBuffer | null }>("SELECT record FROM waiting WHERE offset = ?1", offset)
      .toArray();
    return row?.record ? new Uint8Array(row.record) : undefined;
  }
}
