// A journal: a file of events, one JSON line each, that a killed process leaves as it was. A line is one write, so
// a process that reads its own journal when it starts knows exactly what it has done.

import { openSync, readdirSync, readFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import type { ChaosEvent } from "./chaos-event.ts";

type Unstamped<T> = T extends unknown ? Omit<T, "at"> : never;
/** An event whose moment is now. */
export type NewEvent = Unstamped<ChaosEvent>;
export type Journal = Readonly<{ path: string; write(event: NewEvent): void }>;

const SUFFIX = ".jsonl";

/** Microseconds on the clock of this machine since it was started: the same in all of its processes. */
export function clock(): number {
  return Number(process.hrtime.bigint() / 1_000n);
}

/** Opens the journal of `name`, new or as a killed process left it. */
export function openJournal(dir: string, name: string): Journal {
  const path = join(dir, `${name}${SUFFIX}`);
  const file = openSync(path, "a");
  return { path, write: (event) => void writeSync(file, `${JSON.stringify({ at: clock(), ...event })}\n`) };
}

/** The events of one journal, in the order they were written. */
export function readJournal(path: string): ChaosEvent[] {
  const lines = readFileSync(path, "utf8").split("\n");
  return lines.filter((line) => line !== "").map((line) => JSON.parse(line) as ChaosEvent);
}

/** The events of all journals in `dir`, in the order of their time. */
export function readHistory(dir: string): ChaosEvent[] {
  const paths = readdirSync(dir).filter((name) => name.endsWith(SUFFIX));
  return paths.flatMap((name) => readJournal(join(dir, name))).sort((a, b) => a.at - b.at);
}
