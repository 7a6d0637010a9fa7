// Four projects: `node` runs the pure core and the tidy rules under Node; `workers` runs objects, routes and the contract in
// workerd, and `cost` counts there what they cost; `e2e` starts the broker itself. docs/decisions/2026-11-24-test-files-share-a-runtime.md
// says why they are run as they are.
import { cloudflareTest, readD1Migrations } from "@cloudflare/vitest-pool-workers";
import { defineConfig } from "vitest/config";

/** Files that run at once beside the e2e tests, which mostly wait. */
const AT_ONCE = 3;

/** Packages that run in workerd. Each is bundled once; else every file of theirs is fetched alone, for each runtime. */
const BUNDLED = [
  "@cfworker/json-schema",
  "@hono/zod-openapi",
  "croner",
  "drizzle-orm",
  "drizzle-orm/d1",
  "drizzle-orm/sqlite-core",
  "fast-check",
  "hono",
  "hono/router/reg-exp-router",
  "standardwebhooks",
  "tinyqueue",
  "uuid",
  "zod",
];

export default defineConfig(async () => {
  const catalog = await readD1Migrations("./migrations/catalog");
  const ledger = await readD1Migrations("./migrations/ledger");
  const runtime = () =>
    cloudflareTest({
      wrangler: { configPath: "./wrangler.toml" },
      miniflare: {
        bindings: {
          TEST_CATALOG_MIGRATIONS: catalog,
          TEST_LEDGER_MIGRATIONS: ledger,
          ROOT_TOKEN: "test-root-token-0123456789",
          SECRETS_KEY: "test-secrets-key-0123456789abcdef",
          ENVIRONMENT: "local",
          LOG: "off",
        },
      },
    });
  const inWorkerd = {
    setupFiles: ["./test/support/fresh-runtime.ts"],
    deps: { optimizer: { ssr: { enabled: true, include: BUNDLED } } },
    // A shared machine may be slow; what hangs is still found.
    testTimeout: 60_000,
    hookTimeout: 60_000,
    maxWorkers: AT_ONCE,
    sequence: { groupOrder: 1 },
  };
  return {
    test: {
      projects: [
        {
          resolve: {
            alias: {
              "cloudflare:workers": new URL("./test/support/cloudflare-workers.ts", import.meta.url).pathname,
            },
          },
          test: {
            name: "node",
            include: ["test/*.test.ts", "test/domain/**/*.test.ts", "test/simulation/**/*.test.ts"],
          },
        },
        {
          plugins: [runtime()],
          test: {
            ...inWorkerd,
            name: "workers",
            include: ["test/{objects,http,contract,ledger,push,ingress,catalog}/**/*.test.ts"],
            isolate: false,
          },
        },
        {
          plugins: [runtime()],
          // It hooks the platform's own classes: nobody shares its runtime.
          test: { ...inWorkerd, name: "cost", include: ["test/cost/**/*.test.ts"] },
        },
        {
          test: {
            name: "e2e",
            include: ["test/e2e/**/*.test.ts"],
            testTimeout: 120_000,
            // Several brokers may be starting at once.
            hookTimeout: 180_000,
            maxWorkers: AT_ONCE,
            sequence: { groupOrder: 1 },
          },
        },
      ],
    },
  };
});
