// `npm run simulate -- --seeds 1000`: lives through seeds of the simulation (test/simulation), on every core, and
// prints what they met. `--from N` begins elsewhere; `--seed N` lives through one and prints each of its steps;
// `--features raise,relays` gives every world exactly these (test/simulation/plan.ts). Exits 1 when a promise is broken.

import { rm } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { parseArgs } from "node:util";
import { Worker } from "node:worker_threads";
import { bundleWorker, migrationsDir } from "../test/simulation/bundle.ts";

const ALL_STEPS = 1_000_000;
const { values } = parseArgs({
  options: {
    seeds: { type: "string", default: "200" },
    from: { type: "string", default: "1" },
    seed: { type: "string" },
    features: { type: "string" },
    json: { type: "boolean", default: false },
  },
});
const features = values.features?.split(",").filter((feature) => feature !== "");
const isOne = values.seed !== undefined;
const first = Number(values.seed ?? values.from);
const count = isOne ? 1 : Number(values.seeds);
const sum = { seeds: 0, steps: 0, longestQuietMs: 0, counts: {} };

const { dir, path } = await bundleWorker();
try {
  const startedAt = performance.now();
  const threads = Math.min(count, availableParallelism());
  const found = await Promise.all(
    Array.from({ length: threads }, (_, i) => run(first + i, count - i, threads)),
  );
  const broken = found.filter((each) => each !== undefined).sort((a, b) => a.seed - b.seed);
  if (values.json) console.log(JSON.stringify({ ...sum, broken }));
  else print(broken, (performance.now() - startedAt) / 1_000);
  if (broken.length > 0) process.exitCode = 1;
} finally {
  await rm(dir, { recursive: true, force: true });
}

/** Every `stride`th seed in a thread of its own, up to the first that breaks a promise. */
function run(from, seeds, stride) {
  const keepTrace = isOne ? ALL_STEPS : 80;
  const worker = new Worker(path, {
    workerData: { first: from, count: seeds, stride, migrationsDir, keepTrace, features },
  });
  return new Promise((resolve, reject) => {
    worker.on("message", ({ lived, broken }) => {
      if (lived) add(lived);
      if (broken) resolve(broken);
    });
    worker.on("error", reject);
    worker.on("exit", () => resolve(undefined));
  });
}

function add({ seed, steps, hash, quietMs, counts }) {
  sum.seeds += 1;
  sum.steps += steps;
  sum.longestQuietMs = Math.max(sum.longestQuietMs, quietMs);
  for (const [name, met] of Object.entries(counts)) sum.counts[name] = (sum.counts[name] ?? 0) + met;
  if (isOne) console.log(`seed ${seed}: ${steps} steps, trace ${hash}`);
  else if (!values.json && sum.seeds % 100 === 0) console.log(`${sum.seeds} seeds, ${sum.steps} steps`);
}

function print(broken, seconds) {
  const again = features ? ` --features ${features.join(",")}` : "";
  for (const { seed, steps, why, trace } of broken) {
    console.log(`${trace.join("\n")}\n\nSeed ${seed} broke a promise at step ${steps}: ${why}`);
    console.log(`Again, with every step: npm run simulate -- --seed ${seed}${again}\n`);
  }
  const perSecond = Math.round(sum.steps / seconds);
  console.log(`${sum.seeds} seeds, ${sum.steps} steps in ${seconds.toFixed(0)} s (${perSecond}/s).`);
  console.log(
    `Longest from the end of the faults to rest: ${sum.longestQuietMs / 1_000} s of virtual time.\n`,
  );
  for (const [name, met] of Object.entries(sum.counts))
    console.log(`${name.padEnd(24)}${String(met).padStart(10)}`);
  if (broken.length === 0) console.log("\nNo promise was broken.");
}
