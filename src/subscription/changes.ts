// What has changed of a subscription since it was last saved, so that saving writes just that.

import type { Dying } from "./delivery";
import type { Ending } from "./outcomes";

/** A dead letter to be kept. `parks`: it holds its lane. */
export type Grave = Readonly<{ dying: Dying; record: Uint8Array | undefined; parks: boolean }>;

/** Messages that retention overtook before they were attempted: `count` of those from `from` to `to`. */
export type NewGap = { from: number; to: number; count: number };

/** What has changed since it was last saved. */
export type Changes = {
  state: boolean;
  /** Other filters, or other offsets that they hold from. */
  filters: boolean;
  gap: NewGap | undefined;
  deliveries: Set<number>;
  lanes: Set<string>;
  buried: Map<number, Grave>;
  unburied: Set<number>;
  /** What left for good, to be kept for the timeline. */
  endings: Ending[];
  /** Dead letters of earlier epochs that were taken out. */
  exhumed: { epoch: number; offset: number; isReadmitted: boolean }[];
};

export function noChanges(): Changes {
  return {
    state: false,
    filters: false,
    gap: undefined,
    deliveries: new Set(),
    lanes: new Set(),
    buried: new Map(),
    unburied: new Set(),
    endings: [],
    exhumed: [],
  };
}

/** One change leaves one gap record: another gap widens it. */
export function noteGap(changes: Changes, { from, to, count }: NewGap): void {
  const { gap } = changes;
  changes.gap = {
    from: Math.min(from, gap?.from ?? from),
    to: Math.max(to, gap?.to ?? to),
    count: count + (gap?.count ?? 0),
  };
}
