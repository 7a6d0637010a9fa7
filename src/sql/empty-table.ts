// Emptying a table without writing a row: it is dropped and made anew, as it is at this moment, with its indexes.

/** Empties `table`, however many rows it has. Runs inside the caller's transaction. */
export function emptyTable(sql: SqlStorage, table: string): void {
  const made = sql
    .exec<{ sql: string }>(
      "SELECT sql FROM sqlite_schema WHERE tbl_name = ?1 AND sql IS NOT NULL ORDER BY type DESC",
      table,
    )
    .toArray();
  sql.exec(`DROP TABLE ${table}`);
  for (const statement of made) sql.exec(statement.sql);
}
