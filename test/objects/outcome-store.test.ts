// Outcomes on an object's own SQL: they ride in the state row, become rows, and are dropped a segment at a time.

import { runInDurableObject } from "cloudflare:test";
import { expect, test } from "vitest";
import { OutcomeStore, outcomeMigration } from "../../src/subscription/outcome-store";
import { bindings } from "../support/objects";

const bounds = { rowBytes: 60, rowsPerSegment: 3, segments: 2 };
const STATE = `CREATE TABLE state (id INTEGER PRIMARY KEY CHECK (id = 1), known_head INTEGER NOT NULL,
  counters TEXT NOT NULL, leases TEXT NOT NULL) STRICT`;

/** The SQL of an object that is nobody's. */
function withSql(work: (sql: SqlStorage) => void): Promise<void> {
  const stub = bindings.SUBSCRIPTION.getByName(`bare-${crypto.randomUUID()}`) as unknown as DurableObjectStub;
  return runInDurableObject(stub, (_, { storage }) => work(storage.sql));
}

function migrated(sql: SqlStorage): OutcomeStore {
  for (const statement of outcomeMigration) sql.exec(statement);
  const store = new OutcomeStore(sql, bounds);
  store.load(null);
  return store;
}

/** Every other offset, one a change, so that nothing packs into runs. */
function settle(store: OutcomeStore, offsets: number): Uint8Array {
  let recent: Uint8Array = new Uint8Array();
  for (let offset = 0; offset < offsets; offset++) {
    recent = store.add([{ how: "acked", first: offset * 2, count: 1, attempts: 1 }], 1_000_000 + offset);
  }
  return recent;
}

test("outcomes ride in the state row until they fill a row of their own", async () => {
  await withSql((sql) => {
    const store = migrated(sql);
    expect(settle(store, 3).byteLength).toBeGreaterThan(0);
    expect(sql.exec("SELECT * FROM outcome_segments").toArray()).toEqual([]);
    expect(store.of(4)).toEqual([
      { at: 1_000_002, how: "acked", attempts: 1, runs: [{ first: 4, count: 1 }] },
    ]);
    expect(store.of(5)).toEqual([]);
    expect(settle(store, 5).byteLength).toBeLessThan(60);
    expect(sql.exec<{ n: number }>("SELECT count(*) AS n FROM outcomes_1").one().n).toBe(1);
  });
});

test("a restart finds all of them, in rows and in the state row", async () => {
  await withSql((sql) => {
    const recent = settle(migrated(sql), 20);
    const again = new OutcomeStore(sql, bounds);
    again.load(recent.slice().buffer as ArrayBuffer);
    for (let offset = 0; offset < 20; offset++) {
      expect(again.of(offset * 2)).toMatchObject([{ at: 1_000_000 + offset }]);
    }
    expect(again.keptFrom()).toBe(0);
  });
});

test("past the bound the oldest segment goes, and it is known from where on all are kept", async () => {
  await withSql((sql) => {
    const store = migrated(sql);
    settle(store, 100);
    expect(sql.exec("SELECT number FROM outcome_segments").toArray()).toHaveLength(2);
    const from = store.keptFrom();
    expect(from).toBeGreaterThan(100);
    expect(store.of(0)).toEqual([]);
    for (let offset = Math.ceil(from / 2); offset < 100; offset++) {
      expect(store.of(offset * 2), `offset ${offset * 2}`).toHaveLength(1);
    }
  });
});

test("a new epoch forgets them all, and keeps what it ends itself", async () => {
  await withSql((sql) => {
    const store = migrated(sql);
    sql.exec("INSERT INTO state VALUES (1, 0, '{}', '[]', ?1)", settle(store, 100));
    store.forgetAll();
    expect(sql.exec("SELECT outcomes FROM state").one()).toEqual({ outcomes: null });
    expect([...store.between(0, Number.MAX_SAFE_INTEGER)]).toEqual([]);
    expect(store.keptFrom()).toBe(0);
    settle(store, 100);
    expect(store.of(198)).toHaveLength(1);
  });
});

test("a subscription from before there were outcomes says from where on it knows", async () => {
  await withSql((sql) => {
    sql.exec(STATE);
    sql.exec(`INSERT INTO state VALUES (1, 9, '{"startOffset":2,"nextOffset":7}', '[]')`);
    expect(migrated(sql).keptFrom()).toBe(7);
  });
});

test("a tombstone from before there were outcomes migrates too", async () => {
  await withSql((sql) => {
    const store = migrated(sql);
    expect(store.keptFrom()).toBe(0);
    store.bury();
  });
});
