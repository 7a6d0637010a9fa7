// The SQL of dead letters: each with its message, so that it outlives the retention of its topic, and with the epoch
// in which it died, so that it outlives a seek. Takes no decisions.

import type { AttemptNote } from "../attempt";
import type { AttemptsCall, FailedDelivery } from "../attempt-calls";
import type { DeadLetterSelection, LetterAt } from "../dead-letter-calls";
import { limits } from "../limits";
import { fitting } from "../sql/page";
import type { Grave } from "./changes";
import { type BuriedRow, type DeadRow, toDeadLetter } from "./subscription-rows";

export type Sought = Omit<Extract<DeadLetterSelection, { all: true }>, "all">;
export type Looked = Readonly<{ places: readonly LetterAt[]; next?: LetterAt }>;

const BEFORE_ALL: LetterAt = { epoch: 0, offset: -1 };
const COLUMNS = "epoch, offset, ordering_key, died_at, reason, detail, attempts, redrives, history";

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
      "INSERT OR REPLACE INTO dead_letters VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
      epoch,
      offset,
      dying.orderingKey ?? null,
      parks ? 1 : 0,
      dying.death.diedAt,
      dying.death.reason,
      dying.death.detail ?? null,
      dying.attempts,
      dying.redrives ?? 0,
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

  /** Up to a page and one of those past an offset that have a matching attempt, without their messages. By primary key. */
  failedAfter(
    epoch: number,
    { after, limit, since, status, result, offset }: AttemptsCall,
  ): FailedDelivery[] {
    return this.sql
      .exec<{ offset: number; attempts: number; history: string }>(
        `SELECT offset, attempts, history FROM dead_letters
         WHERE epoch = ?1 AND offset > ?2 AND offset >= ?3 AND offset <= ?4 AND EXISTS (
           SELECT 1 FROM json_each(history) AS note
           WHERE note.value->>'at' >= ?5 AND (?6 IS NULL OR note.value->>'status' = ?6)
           AND (?7 IS NULL OR ?7 = CASE WHEN note.value->>'status' IS NOT NULL THEN 'answered'
             WHEN note.value->>'latencyMs' IS NOT NULL THEN 'no-answer'
             WHEN note.value->>'together' IS NOT NULL THEN 'deadline' ELSE 'given-back' END))
         ORDER BY offset LIMIT ?8`,
        epoch,
        after,
        offset ?? 0,
        offset ?? Number.MAX_SAFE_INTEGER,
        since ?? 0,
        status ?? null,
        result ?? null,
        limit + 1,
      )
      .toArray()
      .map((row) => ({ ...row, state: "dead", history: JSON.parse(row.history) as AttemptNote[] }));
  }

  /**
   * The places of those that match past `after`: up to `limit` of them, and up to `maxBytes` of messages but at least
   * one. Looks at a bounded number; `next` is how far, when there may be more. By primary key.
   */
  look({ after = BEFORE_ALL, limit, where = {} }: Sought, maxBytes: number): Looked {
    const rows = Object.keys(where).length === 0 ? limit + 1 : limits.deadLettersScanned;
    const { epoch = after.epoch } = where;
    const from = epoch > after.epoch ? { epoch, offset: -1 } : after;
    // Sizes and not rows: of a message that does not match nothing is read.
    const looked = this.sql
      .exec<{ epoch: number; offset: number; matches: number | null; bytes: number }>(
        `SELECT epoch, offset, (?4 IS NULL OR reason = ?4) AND (?5 IS NULL OR ordering_key = ?5)
           AND (?6 IS NULL OR died_at >= ?6) AND (?7 IS NULL OR died_at < ?7) AS matches,
           coalesce(length(record), 0) AS bytes
         FROM dead_letters WHERE (epoch, offset) > (?1, ?2) ORDER BY epoch, offset LIMIT ?3`,
        from.epoch,
        from.offset,
        rows,
        where.reason ?? null,
        where.orderingKey ?? null,
        where.diedAfter ?? null,
        where.diedBefore ?? null,
      )
      .toArray();
    const places: LetterAt[] = [];
    let next = from;
    let bytes = 0;
    for (const { epoch, offset, ...row } of looked) {
      if (where.epoch !== undefined && epoch > where.epoch) return { places };
      if (row.matches === 1) {
        bytes += row.bytes;
        if (places.length === limit || (places.length > 0 && bytes > maxBytes)) return { places, next };
        places.push({ epoch, offset });
      }
      next = { epoch, offset };
    }
    return looked.length === rows ? { places, next } : { places };
  }

  /** The first of `places` whose messages take up to `maxBytes`; one that is not there takes nothing. */
  fit(places: readonly LetterAt[], maxBytes: number): Looked {
    const rising = [...places].sort((a, b) => a.epoch - b.epoch || a.offset - b.offset);
    if (maxBytes === Number.POSITIVE_INFINITY) return { places: rising };
    const sizes = this.sql
      .exec<{ place: number; bytes: number }>(
        `SELECT place.key AS place, coalesce(length(record), 0) AS bytes
         FROM json_each(?1) AS place CROSS JOIN dead_letters AS dead
         ON dead.epoch = place.value->>0 AND dead.offset = place.value->>1 ORDER BY place.key`,
        JSON.stringify(rising.map(({ epoch, offset }) => [epoch, offset])),
      )
      .toArray();
    const beyond = sizes[fitting(sizes, maxBytes).length];
    const next = beyond && rising[beyond.place - 1];
    return next ? { places: rising.slice(0, beyond.place), next } : { places: rising };
  }

  /** Those at `places`, with their messages. */
  read(places: readonly LetterAt[]): BuriedRow[] {
    return this.at(places, "record");
  }

  /** Those at `places`, without their messages. */
  readHeads(places: readonly LetterAt[]): BuriedRow[] {
    return this.at(places, "NULL AS record");
  }

  private at(places: readonly LetterAt[], record: string): BuriedRow[] {
    return this.sql
      .exec<DeadRow>(
        `SELECT ${COLUMNS}, ${record} FROM json_each(?1) AS place CROSS JOIN dead_letters AS dead
         ON dead.epoch = place.value->>0 AND dead.offset = place.value->>1 ORDER BY epoch, offset`,
        JSON.stringify(places.map(({ epoch, offset }) => [epoch, offset])),
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

  /** Those of an epoch's `offsets` that are dead, without their messages. By primary key. */
  chosen({ offsets, epoch = 0 }: { offsets: readonly number[]; epoch?: number }): BuriedRow[] {
    return this.readHeads(offsets.map((offset) => ({ epoch, offset })));
  }

  /** When the oldest of all died. By the index on it. */
  oldestDeathAt(): number | undefined {
    const { at } = this.sql.exec<{ at: number | null }>("SELECT min(died_at) AS at FROM dead_letters").one();
    return at ?? undefined;
  }
}
