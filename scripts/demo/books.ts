// The books of a payments consumer in SQLite: the message ids it remembers, and its entries.

import { DatabaseSync } from "node:sqlite";

export type Payment = Readonly<{ payment: string; cents: number }>;

/** Opens the books at `path`, new or as a killed process left them. */
export function openBooks(path: string) {
  const db = new DatabaseSync(path);
  db.exec("CREATE TABLE IF NOT EXISTS processed_messages (message_id TEXT PRIMARY KEY) STRICT");
  db.exec("CREATE TABLE IF NOT EXISTS entries (payment TEXT NOT NULL, cents INTEGER NOT NULL) STRICT");
  const remember = db.prepare("INSERT INTO processed_messages VALUES (?1) ON CONFLICT DO NOTHING");
  const enter = db.prepare("INSERT INTO entries VALUES (?1, ?2)");
  return {
    begin: () => db.exec("BEGIN IMMEDIATE"),
    commit: () => db.exec("COMMIT"),
    /** Whether the message id is new to these books. */
    remember: (messageId: string) => remember.run(messageId).changes === 1,
    enter: ({ payment, cents }: Payment) => void enter.run(payment, cents),
    /** The payments that have an entry, one line per entry. */
    entries: () =>
      db
        .prepare("SELECT payment FROM entries ORDER BY payment")
        .all()
        .map(({ payment }) => String(payment)),
    close: () => db.close(),
  };
}
