// Applies the D1 migrations before each file of the workers project.
import { applyD1Migrations, type D1Migration } from "cloudflare:test";
import { env } from "cloudflare:workers";

const migrated = env as unknown as {
  CATALOG: D1Database;
  LEDGER: D1Database;
  TEST_CATALOG_MIGRATIONS: D1Migration[];
  TEST_LEDGER_MIGRATIONS: D1Migration[];
};

await applyD1Migrations(migrated.CATALOG, migrated.TEST_CATALOG_MIGRATIONS);
await applyD1Migrations(migrated.LEDGER, migrated.TEST_LEDGER_MIGRATIONS);
