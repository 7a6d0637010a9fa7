// Whose turn it is among the priorities of a topic: the highest that waits, but one pull in ten begins with the lowest.
// The count is that of the partition at which a pull over several priorities begins, one of the highest priority. It is
// counted whether or not anything is there to lease: a pull that finds nothing kept nobody waiting.

import { limits } from "../limits";

export class PriorityTurns {
  private readonly told = new Map<string, boolean>();
  private count: number | undefined;

  /** `random` in [0, 1) says where the count begins: whoever pulls so seldom that it is forgotten in between meets every turn too. */
  constructor(private readonly random: () => number) {}

  /** Whether the pull of this lease id begins with the lowest. Asked twice, it is told the same and counts once. */
  isLowest(leaseId: string): boolean {
    const told = this.told.get(leaseId);
    if (told !== undefined) return told;
    const place = this.count ?? Math.floor(this.random() * limits.pullsPerLowest);
    this.count = (place + 1) % limits.pullsPerLowest;
    return this.remember(leaseId, this.count === 0);
  }

  private remember(leaseId: string, isLowest: boolean): boolean {
    this.told.set(leaseId, isLowest);
    const [oldest] = this.told.keys();
    if (this.told.size > limits.turnsTold && oldest !== undefined) this.told.delete(oldest);
    return isLowest;
  }
}
