// The SQL of rejections: messages that were refused after their publisher had its 202, kept to be inspected.

import type { Rejection } from "../topic-calls";

export class RejectionStore {
  constructor(private readonly sql: SqlStorage) {}

  /** Keeps a rejection, and only the newest `kept` of them. */
  insert(messageId: string, rejectedAt: number, error: string, kept: number): void {
    this.sql.exec(
      "INSERT INTO rejections (message_id, rejected_at, error) VALUES (?1, ?2, ?3)",
      messageId,
      rejectedAt,
      error,
    );
    this.sql.exec("DELETE FROM rejections WHERE number <= (SELECT max(number) FROM rejections) - ?1", kept);
  }

  page(after: number, limit: number): Rejection[] {
    return this.sql
      .exec<{ number: number; message_id: string; rejected_at: number; error: string }>(
        "SELECT number, message_id, rejected_at, error FROM rejections WHERE number > ?1 ORDER BY number LIMIT ?2",
        after,
        limit,
      )
      .toArray()
      .map((row) => ({
        id: String(row.number),
        messageId: row.message_id,
        rejectedAt: row.rejected_at,
        error: JSON.parse(row.error),
      }));
  }

  /** What was refused under one id, newest last. Walks them all: there are few. */
  of(messageId: string, limit: number): Rejection[] {
    return this.page(0, limit).filter((rejection) => rejection.messageId === messageId);
  }

  count(): number {
    return this.sql.exec<{ n: number }>("SELECT count(*) AS n FROM rejections").one().n;
  }

  clear(): void {
    this.sql.exec("DELETE FROM rejections");
  }
}
