// The counters of the conservation law: what became of every offset that was taken from the log in one epoch.

/** All of one epoch, but for the last line. A seek begins another. */
export type Counters = {
  startOffset: number;
  nextOffset: number;
  settled: number;
  filtered: number;
  expired: number;
  dead: number;
  purged: number;
  moved: number;
  /** Dead letters of earlier epochs that were redriven into this one. */
  readmitted: number;
} & { epoch: number; replay: number; formerDead: number };

export function newCounters(startOffset: number): Counters {
  const zero = { settled: 0, filtered: 0, expired: 0, dead: 0, purged: 0, moved: 0, readmitted: 0 };
  return { startOffset, nextOffset: startOffset, ...zero, epoch: 0, replay: 0, formerDead: 0 };
}
