// How many questions to D1 strangers may cause for names that nobody has: whoever makes names up costs the broker no more than
// that. Windows of this isolate's own, by address and in all. Pure.

import { limits } from "../limits";

export class MissBudget {
  private windowEndsAt = 0;
  private all = 0;
  private readonly byNetwork = new Map<string, number>();

  /** Takes one question for `address`, if that is told. Answers how many milliseconds there is none; 0 when it was taken. */
  take(address: string | null, now: number): number {
    this.turn(now);
    const network = networkOf(address);
    const theirs = this.byNetwork.get(network) ?? 0;
    // A broker that is told no addresses bounds what all of them ask.
    const isSpent = network !== "" && theirs >= limits.unknownKeySetsByAddress;
    if (isSpent || this.all >= limits.unknownKeySets) return this.windowEndsAt - now;
    this.all += 1;
    this.byNetwork.set(network, theirs + 1);
    return 0;
  }

  /** The question that was taken at `takenAt` found something: it counts for nobody. */
  giveBack(address: string | null, takenAt: number): void {
    if (windowEnd(takenAt) !== this.windowEndsAt) return;
    const network = networkOf(address);
    this.all -= 1;
    this.byNetwork.set(network, (this.byNetwork.get(network) ?? 1) - 1);
  }

  private turn(now: number): void {
    if (now < this.windowEndsAt) return;
    this.windowEndsAt = windowEnd(now);
    this.all = 0;
    this.byNetwork.clear();
  }
}

function windowEnd(now: number): number {
  return (Math.floor(now / limits.unknownKeySetsMs) + 1) * limits.unknownKeySetsMs;
}

/** An IPv4 address, or the network of 64 bits that an IPv6 address is in: whoever has one address there has them all. */
function networkOf(address: string | null): string {
  if (!address?.includes(":")) return address ?? "";
  const [head = ""] = address.toLowerCase().split("::");
  return [...head.split(":"), "0", "0", "0", "0"].slice(0, 4).join(":");
}
