// The counters of the conservation law: what became of every offset that was taken from the log in one epoch.

import type { EpochCounters } from "../subscription-calls";

/** As the stats show them, and counted on. A seek begins others. */
export type Counters = { -readonly [Term in keyof EpochCounters]: number };

export function newCounters(startOffset: number): Counters {
  const zero = { settled: 0, filtered: 0, expired: 0, dead: 0, purged: 0, moved: 0, readmitted: 0 };
  return { startOffset, nextOffset: startOffset, ...zero, epoch: 0, replay: 0, formerDead: 0 };
}
