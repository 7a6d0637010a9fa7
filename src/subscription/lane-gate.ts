// Which ordering keys must wait because of a raise: what came before in their former partition is not settled there yet.
// A partition that no raise made has a gate that is always open. Pure: the caller asks the parent and brings the answer.

import { limits } from "../limits";
import type { PendingKeys } from "../subscription-calls";

export class LaneGate {
  private pending: ReadonlySet<string> | "all" | "none";
  /** When the parent is to be asked again, in epoch milliseconds. */
  askAt = 0;
  private afterMs: number = limits.minAskParentMs;

  /** Closed until the parent was asked; open for ever when there is none. */
  constructor(isOpen: boolean) {
    this.pending = isOpen ? "none" : "all";
  }

  get isOpen(): boolean {
    return this.pending === "none";
  }

  holds(key: string): boolean {
    if (this.pending === "none") return false;
    return this.pending === "all" || this.pending.has(key);
  }

  /** How long to wait, in milliseconds, before it is worth to look again. */
  waitMs(now: number): number {
    return this.isOpen ? Number.POSITIVE_INFINITY : Math.max(limits.minAskParentMs, this.askAt - now);
  }

  /** Takes the parent's answer; none pending opens the gate for ever. While nothing changes it is asked less often. */
  learn(pending: PendingKeys, now: number): void {
    const before = this.size;
    this.pending = pending === "all" ? "all" : pending.length === 0 ? "none" : new Set(pending);
    const isBetter = this.size < before;
    this.afterMs = isBetter ? limits.minAskParentMs : Math.min(limits.maxAskParentMs, this.afterMs * 2);
    this.askAt = now + this.afterMs;
  }

  private get size(): number {
    if (this.pending === "none") return 0;
    return this.pending === "all" ? Number.POSITIVE_INFINITY : this.pending.size;
  }
}
