// A capacity: a Durable Object that divides among the partitions of one subscription what its endpoint may be sent. It knows
// no settings: whoever asks says how much there is. It lives in memory alone, and calls nobody: what it gave ends by itself.

import { DurableObject } from "cloudflare:workers";
import {
  type CapacityCalls,
  PACES,
  type PaceName,
  type PaceShare,
  type ShareAnswer,
  type ShareCall,
} from "../capacity-calls";
import type { Env } from "../env";
import { ok, type Result } from "../errors";
import { type Runtime, systemRuntime } from "../runtime";
import { noRounds, type PaceRounds, takeShare } from "./pace-rounds";
import { freeSlots, noSlots, type Slots, takeSlots } from "./slots";

export class CapacityObject extends DurableObject<Env> implements CapacityCalls {
  runtime: Runtime = systemRuntime;
  private readonly rounds: Record<PaceName, PaceRounds> = { rate: noRounds, drain: noRounds };

  private slots: Slots = noSlots;

  async share({ partition, priority, paces, ...call }: ShareCall): Promise<Result<ShareAnswer>> {
    const now = this.runtime.now();
    const shares: Partial<Record<PaceName, PaceShare>> = {};
    for (const pace of PACES) {
      const asked = paces[pace];
      if (asked === undefined) continue;
      const { rounds, share } = takeShare(this.rounds[pace], { by: partition, priority, ...asked }, now);
      this.rounds[pace] = rounds;
      shares[pace] = share;
    }
    if (call.ended !== undefined) this.slots = freeSlots(this.slots, call.ended);
    if (call.slots === undefined) return ok({ paces: shares });
    const taken = takeSlots(this.slots, { priority, ...call.slots }, now);
    this.slots = taken.slots;
    return ok({ paces: shares, slots: taken.share });
  }
}
