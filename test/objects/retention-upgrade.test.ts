// A topic that was written before bytes were counted goes on: its messages are read, and what comes is counted.

import { evictDurableObject, runInDurableObject } from "cloudflare:test";
import { expect, test } from "vitest";
import { objectName } from "../../src/object-name";
import { packRecords } from "../../src/record-batch";
import type { TopicCalls } from "../../src/topic-calls";
import { bindings, message, recordBatch, value } from "../support/objects";

const FIRST_RELEASE = [
  "CREATE TABLE migrations (number INTEGER PRIMARY KEY) STRICT",
  "INSERT INTO migrations VALUES (1)",
  `CREATE TABLE topic (id INTEGER PRIMARY KEY CHECK (id = 1), topic TEXT NOT NULL, generation TEXT NOT NULL,
     partition INTEGER NOT NULL, settings TEXT NOT NULL, version INTEGER NOT NULL, deleted INTEGER NOT NULL) STRICT`,
  `CREATE TABLE segments (kind TEXT NOT NULL, number INTEGER NOT NULL, opened_at INTEGER NOT NULL,
     first_offset INTEGER NOT NULL, PRIMARY KEY (kind, number)) STRICT, WITHOUT ROWID`,
  `CREATE TABLE subscriptions (generation TEXT PRIMARY KEY, start_offset INTEGER NOT NULL) STRICT, WITHOUT ROWID`,
  `CREATE TABLE rejections (number INTEGER PRIMARY KEY, message_id TEXT NOT NULL, rejected_at INTEGER NOT NULL,
     error TEXT NOT NULL) STRICT`,
  `CREATE TABLE batches_1 (first_offset INTEGER PRIMARY KEY, count INTEGER NOT NULL, stored_at INTEGER NOT NULL,
     records BLOB NOT NULL) STRICT`,
  "CREATE TABLE keys_1 (key TEXT PRIMARY KEY, answer TEXT NOT NULL) STRICT, WITHOUT ROWID",
];

test("a topic of the first release is read and written on, and counts its bytes from then on", async () => {
  const generation = crypto.randomUUID();
  const topic = bindings.TOPIC.getByName(objectName(generation, 0)) as TopicCalls & DurableObjectStub;
  await runInDurableObject(topic, (_, { storage: { sql } }) => {
    for (const statement of FIRST_RELEASE) sql.exec(statement);
    const settings = JSON.stringify({ retentionMs: 80_000, keepHeaders: [] });
    sql.exec("INSERT INTO topic VALUES (1, 'orders', ?1, 0, ?2, 1, 0)", generation, settings);
    for (const kind of ["batches", "keys"])
      sql.exec("INSERT INTO segments VALUES (?1, 1, ?2, 0)", kind, Date.now());
    const records = packRecords([message("old")]);
    sql.exec("INSERT INTO batches_1 VALUES (0, 1, ?1, ?2)", Date.now(), records);
  });
  await evictDurableObject(topic);
  expect(value(await topic.stats())).toMatchObject({ head: 1, messageBytes: 0 });
  const batch = recordBatch(generation, [message("new")]);
  value(await topic.append({ batches: [batch] }));
  await evictDurableObject(topic);
  expect(value(await topic.stats())).toMatchObject({
    ...{ earliest: 0, head: 2, messageBytes: batch.records.byteLength },
  });
  expect(value(await topic.read({ from: 0, maxBytes: 10_000 })).runs).toHaveLength(2);
});
