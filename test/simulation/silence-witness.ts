// How silence counts: a deadline that passes for several deliveries of a lease is an attempt of none of them, and each
// comes back in at most half that company; one that passes for a delivery alone is an attempt of that one.

import type { Counts } from "./coverage";
import type { Picture } from "./picture";

export class SilenceWitness {
  /** By offset, with how many its last consumer fell silent, itself included; absent when it ended otherwise. */
  private readonly company = new Map<number, number>();

  constructor(private readonly counts: Counts) {}

  /** Its last attempt ended otherwise, or nothing is known of it. */
  forget(offset: number): void {
    this.company.delete(offset);
  }

  forgetAll(): void {
    this.company.clear();
  }

  /** The deadline of what holds `offset` has passed. `isBehind`: it may have gone back with one before it in its lane. */
  ended(offset: number, isBehind: boolean, before: Picture, after: Picture): void {
    const together = before.backlog.leases.of(offset)?.offsets.size ?? 1;
    const [held, now] = [before.inHand.get(offset), after.inHand.get(offset)];
    const grave = after.dead.get(offset);
    const counted = now && held ? now.attempts - held.attempts : undefined;
    if (together > 1 && ((counted ?? 0) > 0 || (grave && grave.reason !== "expired")))
      throw new Error(`a deadline passed for ${together}, and was counted as an attempt of ${offset}`);
    if (together === 1 && !isBehind && counted !== undefined && counted !== 1)
      throw new Error(`a deadline passed for ${offset} alone, and ${counted} attempts were counted`);
    if (together > 1) this.counts.silencesShared += 1;
    else this.counts.silencesAlone += 1;
    if (isBehind) this.forget(offset);
    else this.company.set(offset, together);
  }

  /** What is handed out together: none in more company than it may be. */
  handedOut(offsets: readonly number[]): void {
    for (const offset of offsets) {
      const together = this.company.get(offset);
      if (together === undefined) continue;
      if (offsets.length > Math.max(1, together / 2))
        throw new Error(`${offset} fell silent among ${together}, and is one of ${offsets.length}`);
      this.counts.companyHalved += 1;
    }
  }
}
