// The SQL of publish keys: what a topic has seen, and what it answered. One row for each record batch, one more for
// each client id, in segments of their own that retention drops whole. Takes no decisions.

import type { BatchAnswer } from "../topic-calls";
import type { SeenId } from "./log";
import type { Segment } from "./retention";

/** In place of an offset. */
const CANCELLED = "cancelled";

export class PublishKeyStore {
  constructor(private readonly sql: SqlStorage) {}

  batchAnswers({ number }: Segment, batchIds: readonly string[]): BatchAnswer[] {
    return this.find(number, batchIds.map(batchKey)).map(({ answer }) => JSON.parse(answer) as BatchAnswer);
  }

  seenIds({ number }: Segment, ids: readonly string[]): SeenId[] {
    return this.find(number, ids.map(idKey)).map(({ key, answer }) => {
      const split = answer.indexOf(" ");
      const place = answer.slice(0, split);
      const known = { id: key.slice(2), fingerprint: answer.slice(split + 1) };
      return place === CANCELLED ? { ...known, cancelled: true } : { ...known, offset: Number(place) };
    });
  }

  insertAnswer({ number }: Segment, answer: BatchAnswer): void {
    this.sql.exec(
      `INSERT INTO keys_${number} VALUES (?1, ?2)`,
      batchKey(answer.batchId),
      JSON.stringify(answer),
    );
  }

  /** Those that wait have no key yet: they are known by their own row, however long that is. */
  insertIds({ number }: Segment, ids: readonly SeenId[]): void {
    const rows = ids.flatMap((seen) => {
      if ("scheduledFor" in seen) return [];
      const place = "offset" in seen ? seen.offset : CANCELLED;
      return [[idKey(seen.id), `${place} ${seen.fingerprint}`]];
    });
    if (rows.length === 0) return;
    this.sql.exec(
      `INSERT INTO keys_${number} SELECT value->>0, value->>1 FROM json_each(?1)`,
      JSON.stringify(rows),
    );
  }

  private find(number: number, keys: readonly string[]): { key: string; answer: string }[] {
    return this.sql
      .exec<{ key: string; answer: string }>(
        `SELECT known.key, answer FROM json_each(?1) AS asked CROSS JOIN keys_${number} AS known ON known.key = asked.value`,
        JSON.stringify(keys),
      )
      .toArray();
  }
}

function batchKey(batchId: string): string {
  return `b:${batchId}`;
}

function idKey(id: string): string {
  return `m:${id}`;
}
