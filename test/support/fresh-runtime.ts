// Before each file of the workers project: nothing of the file before is left. Files share a runtime, because making one and
// loading the Worker into it takes longer than most files run; what they could tell each other is undone here. Objects and
// databases are empty, their alarms gone, and what was put in place of a function, of time or of a timeout is taken away.

import { applyD1Migrations, type D1Migration, reset } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { vi } from "vitest";

const migrated = env as unknown as {
  CATALOG: D1Database;
  LEDGER: D1Database;
  TEST_CATALOG_MIGRATIONS: D1Migration[];
  TEST_LEDGER_MIGRATIONS: D1Migration[];
};

vi.useRealTimers();
vi.restoreAllMocks();
vi.resetConfig();
await reset();
await applyD1Migrations(migrated.CATALOG, migrated.TEST_CATALOG_MIGRATIONS);
await applyD1Migrations(migrated.LEDGER, migrated.TEST_LEDGER_MIGRATIONS);
