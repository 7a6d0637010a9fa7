// A worker thread that lives through seeds and reports each, until one breaks a promise.

import { parentPort, workerData } from "node:worker_threads";
import type { Counts } from "./coverage";
import type { Feature } from "./plan";
import { BrokenPromise, live } from "./run";

export type WorkerTask = Readonly<{
  first: number;
  count: number;
  /** Seeds between two of this worker. */
  stride: number;
  migrationsDir: string;
  keepTrace: number;
  /** Of every world; drawn unless they are said. */
  features?: readonly Feature[];
}>;

export type WorkerReport =
  | Readonly<{ lived: { seed: number; steps: number; hash: string; counts: Counts; quietMs: number } }>
  | Readonly<{ broken: { seed: number; steps: number; why: string; trace: readonly string[] } }>
  | Readonly<{ done: true }>;

const { first, count, stride, migrationsDir, keepTrace, features } = workerData as WorkerTask;

function report(what: WorkerReport): void {
  parentPort?.postMessage(what);
}

async function liveThem(): Promise<void> {
  for (let seed = first; seed < first + count; seed += stride) {
    try {
      report({ lived: await live(seed, { migrationsDir, keepTrace, features }) });
    } catch (fault) {
      if (!(fault instanceof BrokenPromise)) throw fault;
      const { steps, why, trace } = fault;
      report({ broken: { seed, steps, why, trace } });
      return;
    }
  }
  report({ done: true });
}

await liveThem();
