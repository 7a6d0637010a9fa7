// A consumer with a database of its own: the message id goes into the transaction that holds the effect, so that the
// two cannot part. Its effects are rows; they join the journals when the run is over.

import { DatabaseSync } from "node:sqlite";
import { consume, entry } from "./chaos-consumer.ts";
import { clock } from "./chaos-journal.ts";

const db = new DatabaseSync(process.env.BOOKS ?? ":memory:");
db.exec("PRAGMA busy_timeout = 5000");
db.exec("CREATE TABLE IF NOT EXISTS processed_messages (message_id TEXT PRIMARY KEY) STRICT");
db.exec("CREATE TABLE IF NOT EXISTS effects (event TEXT NOT NULL) STRICT");
const remember = db.prepare("INSERT INTO processed_messages VALUES (?1) ON CONFLICT DO NOTHING");
const enter = db.prepare("INSERT INTO effects VALUES (?1)");

await consume(async (message) => {
  db.exec("BEGIN IMMEDIATE");
  const isNew = remember.run(message.id).changes === 1;
  if (isNew) enter.run(JSON.stringify({ at: clock(), type: "effect", ...entry(message) }));
  db.exec("COMMIT");
  return true;
});
