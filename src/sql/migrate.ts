// Numbered migrations of an object's own SQL. Each store lists its migrations, append-only; the number of
// the last one applied is kept in the object.

/** Whether this object was ever migrated. Reads only: asking brings no object to life. */
export function isMigrated(storage: DurableObjectStorage): boolean {
  return storage.sql.exec("SELECT 1 FROM sqlite_schema WHERE name = 'migrations'").toArray().length > 0;
}

/** Applies the migrations that are missing, all or none. A migration is a list of single statements. */
export function migrate(storage: DurableObjectStorage, migrations: readonly (readonly string[])[]): void {
  storage.transactionSync(() => {
    storage.sql.exec("CREATE TABLE IF NOT EXISTS migrations (number INTEGER PRIMARY KEY) STRICT");
    const row = storage.sql
      .exec<{ last: number }>("SELECT coalesce(max(number), 0) AS last FROM migrations")
      .one();
    migrations.slice(row.last).forEach((statements, i) => {
      for (const statement of statements) storage.sql.exec(statement);
      storage.sql.exec("INSERT INTO migrations (number) VALUES (?1)", row.last + i + 1);
    });
  });
}
