// The real modules under a seeded simulation of the platform: crashes and evictions at any await, a network that loses,
// delays and doubles, alarms and Cloudflare Queues at their worst, endpoints that fail in every way. After each step
// every invariant holds; when the faults stop, every message comes to its end. A failure names its seed:
// `npm run simulate -- --seed N` lives through it again and prints every step.
import { expect, test } from "vitest";
import { migrationsDir } from "./bundle";
import { MUST_MEET } from "./coverage";
import { live, liveAll } from "./run";

/** Lived through by CI: about 80,000 steps. */
const SEEDS = 80;

test("no promise is broken, whatever befalls, and every message comes to its end", async () => {
  const { steps, counts, longestQuietMs } = await liveAll(1, SEEDS, { migrationsDir });
  console.info(`simulated ${steps} steps`, JSON.stringify({ longestQuietMs, ...counts }));
  expect(steps).toBeGreaterThanOrEqual(10_000);
  const missed = MUST_MEET.filter((name) => counts[name] === 0);
  expect(missed, "dangers that no seed met").toEqual([]);
}, 300_000);

test("one seed is one run", { timeout: 60_000 }, async () => {
  const [first, second] = [await live(11, { migrationsDir }), await live(11, { migrationsDir })];
  expect(second).toEqual(first);
  const other = await live(12, { migrationsDir });
  expect(other.hash).not.toBe(first.hash);
});
