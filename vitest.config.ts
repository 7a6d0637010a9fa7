// Two projects: `node` runs the pure core and the tidy rules under Node; `workers` runs objects, routes
// and the contract in workerd. `e2e` starts the broker itself.
import { cloudflareTest, readD1Migrations } from "@cloudflare/vitest-pool-workers";
import { defineConfig } from "vitest/config";

export default defineConfig(async () => {
  const catalog = await readD1Migrations("./migrations/catalog");
  const ledger = await readD1Migrations("./migrations/ledger");
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
          plugins: [
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
            }),
          ],
          test: {
            name: "workers",
            include: ["test/{objects,http,contract,ledger,push,ingress,catalog,cost}/**/*.test.ts"],
            setupFiles: ["./test/support/migrate.ts"],
            // A shared machine may be slow; what hangs is still found.
            testTimeout: 60_000,
          },
        },
        {
          test: {
            name: "e2e",
            include: ["test/e2e/**/*.test.ts"],
            testTimeout: 120_000,
            // Three brokers may be starting at once.
            hookTimeout: 180_000,
            // Each has a broker of its own, and one mostly waits: two at a time, after all else.
            maxWorkers: 2,
            sequence: { groupOrder: 1 },
          },
        },
      ],
    },
  };
});
