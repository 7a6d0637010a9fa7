// The SQL of seeks: what each was answered, so that one that comes twice moves nothing the second time. Takes no
// decisions.

import type { SeekAnswer } from "../seek-calls";

export class SeekStore {
  constructor(private readonly sql: SqlStorage) {}

  /** What the seek of this id was answered, if it is remembered. By the unique index. */
  answerOf(seekId: string): SeekAnswer | undefined {
    const [row] = this.sql
      .exec<{ answer: string }>("SELECT answer FROM seeks WHERE seek_id = ?1", seekId)
      .toArray();
    return row && (JSON.parse(row.answer) as SeekAnswer);
  }

  /** Remembers a seek, and only the newest `kept` of them. */
  insert(seekId: string, answer: SeekAnswer, kept: number): void {
    this.sql.exec("INSERT INTO seeks VALUES (?1, ?2, ?3)", answer.epoch, seekId, JSON.stringify(answer));
    this.sql.exec("DELETE FROM seeks WHERE epoch <= ?1", answer.epoch - kept);
  }
}
