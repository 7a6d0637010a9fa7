// The simulation has teeth: each deliberate bug in the source is found within a few seeds.
import { rm } from "node:fs/promises";
import { Worker } from "node:worker_threads";
import { describe, expect, test } from "vitest";
import { readText } from "../support/source-tree";
import { AREA_MUTANTS } from "./area-mutants";
import { applyEdit, bundleWorker, migrationsDir } from "./bundle";
import { MUTANTS, type Mutant } from "./mutants";
import { ROUTING_MUTANTS } from "./routing-mutants";
import type { WorkerReport, WorkerTask } from "./simulation-worker";

const ALL = [...MUTANTS, ...AREA_MUTANTS, ...ROUTING_MUTANTS];
/** The first that breaks a promise ends the hunt: nearly all are found in the first few. */
const SEEDS = 100;

type Found = Extract<WorkerReport, { broken: unknown }>["broken"];

/** Lives through seeds with the mutant's source, up to the first that breaks a promise. */
async function hunt({ edits, features = [] }: Mutant): Promise<Found | undefined> {
  const { dir, path } = await bundleWorker(edits);
  const workerData: WorkerTask = { first: 1, count: SEEDS, stride: 1, migrationsDir, keepTrace: 1, features };
  const worker = new Worker(path, { workerData });
  try {
    return await new Promise((resolve, reject) => {
      worker.on("message", (report: WorkerReport) => {
        if ("broken" in report) resolve(report.broken);
        if ("done" in report) resolve(undefined);
      });
      // A fault that nobody catches is a bug found, too.
      worker.on("error", (fault) => resolve({ seed: 0, steps: 0, why: `it crashed: ${fault}`, trace: [] }));
      worker.on("exit", () => reject(new Error("the worker ended without a word")));
    });
  } finally {
    await worker.terminate();
    await rm(dir, { recursive: true, force: true });
  }
}

describe("the simulation finds", { concurrent: true }, () => {
  for (const mutant of ALL) {
    test(mutant.name, { timeout: 240_000 }, async () => {
      const found = await hunt(mutant);
      console.info(`${mutant.name}: seed ${found?.seed}, step ${found?.steps}: ${found?.why.split("\n")[0]}`);
      expect(found, `no promise was broken in ${SEEDS} seeds`).toBeDefined();
    });
  }
});

test("every mutant's snippets are in the source exactly once", () => {
  for (const edit of ALL.flatMap(({ edits }) => edits))
    expect(() => applyEdit(readText(edit.file), edit)).not.toThrow();
});

test("a mutant whose snippet is gone is an error", () => {
  const edit = { file: "src/x.ts", find: "a", put: "b" };
  expect(() => applyEdit("aa", edit)).toThrow("src/x.ts has 2 times: a");
  expect(() => applyEdit("c", edit)).toThrow("src/x.ts has 0 times: a");
});
