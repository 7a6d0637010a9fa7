// The contract's tests against a broker by its URL: `npm run contract`. They run under Node, and know of the broker
// what the environment says (test/support/contract-by-url.ts).
import { defineConfig } from "vitest/config";
import { contractReport } from "../support/contract-report";

export default defineConfig({
  test: {
    name: "contract",
    include: ["test/contract/**/*.test.ts"],
    reporters: ["default", contractReport()],
    // Names that are in use by nobody else are made and deleted again.
    hookTimeout: 60_000,
    // A receiver at a port that was named can be there once.
    fileParallelism: process.env.PENNYPOST_RECEIVER_PORT === undefined,
    maxWorkers: 4,
  },
});
