// Whether the subscription must look at the log, whatever it believes to know of it: beside how far it knows it.

/** Appended to the subscription's migrations. */
export const doubtMigration = [
  // A tombstone has no state: this gives it one again, for the next line.
  `CREATE TABLE IF NOT EXISTS state (id INTEGER PRIMARY KEY CHECK (id = 1), known_head INTEGER NOT NULL,
     counters TEXT NOT NULL, leases TEXT NOT NULL, outcomes BLOB) STRICT`,
  "ALTER TABLE state ADD COLUMN in_doubt INTEGER NOT NULL DEFAULT 0",
];
