// What an ordering key is promised: one delivery of its lane at a time, in order, also across a raise of the partitions.

import type { LogWitness } from "./log-witness";
import type { Picture } from "./picture";

/** How the messages of a partition stand, by evidence. */
export type Standing = Readonly<{
  partition: number;
  log: LogWitness;
  /** Whether what comes after it in its lane need not wait for it. */
  isPast(offset: number, at: number, after?: Picture): boolean;
  wasRedriven(offset: number): boolean;
}>;

export type Handed = Readonly<{
  key: string;
  offset: number;
  /** All that was handed out with it. */
  inLease: readonly number[];
  at: number;
}>;

/** Nothing of a lane is leased while something before it waits, unless that was redriven past its turn. */
export function checkLanes({ inHand }: Picture, wasRedriven: (offset: number) => boolean): void {
  const blocked = new Map<string, number>();
  for (const [offset, { state, key }] of [...inHand].sort(([a], [b]) => a - b)) {
    if (key === undefined) continue;
    const before = blocked.get(key);
    if (state !== "leased" && !wasRedriven(offset)) blocked.set(key, offset);
    if (state === "leased" && before !== undefined)
      throw new Error(`${offset} of lane ${key} is leased while ${before} before it waits`);
  }
}

/** In a lane, whatever stands before is at its end, or comes before it in the same lease. */
export function checkLane(own: Standing, { key, offset, inLease, at }: Handed, after: Picture): void {
  const log = own.log.log(own.partition);
  for (let earlier = after.counters.startOffset; earlier < offset; earlier++) {
    if (log[earlier]?.key !== key || inLease.includes(earlier)) continue;
    if (!own.isPast(earlier, at, after)) throw new Error(`${offset} of lane ${key} overtook ${earlier}`);
  }
  for (const [other, held] of after.inHand) {
    const isOther = held.key === key && held.state === "leased" && !inLease.includes(other);
    if (isOther) throw new Error(`lane ${key} has two leases: of ${offset} and of ${other}`);
  }
}

/** Since a raise: whatever the key has left in the partitions that it was in before is at its end. */
export function checkFormer(above: readonly Standing[], { key, offset, at }: Handed): void {
  for (const former of above) {
    for (const [earlier, logged] of former.log.log(former.partition).entries()) {
      if (logged.key !== key || former.wasRedriven(earlier) || former.isPast(earlier, at)) continue;
      throw new Error(`${offset} of lane ${key} overtook ${earlier} in partition ${former.partition}`);
    }
  }
}
