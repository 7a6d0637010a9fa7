// What a subscription's pace and its requests at once promise of all its partitions together, as its endpoint sees it. The
// bounds are those that the decision about shares states, and no tighter: whoever cannot reach the capacity goes on by an
// equal part, beside what that gave, and is not counted.

import { limits } from "../../src/limits";
import type { ShareAsk } from "../../src/push/dispatch-run";
import type { Counts } from "./coverage";
import type { Request } from "./endpoints";

type Begun = Readonly<{ at: number; perSecond: number; partitions: number }>;
type UnderWay = Readonly<{ at: number; max: number }>;
/** When a dispatch was last answered, or began. */
type Heard = { paces: number; slots: number };

type Shared = Readonly<{
  /** When each life of its capacity began. */
  lives: number[];
  /** The newest requests that a pace was for. */
  begun: Begun[];
  underWay: Map<Request, UnderWay>;
}>;

/** Older requests are in no window that is looked at. */
const WINDOW_MS = 60_000;

export class PaceWitness {
  private readonly shared = new Map<string, Shared>();
  private readonly heard = new Map<string, Heard>();

  constructor(private readonly counts: Counts) {}

  capacityBegan(generation: string, now: number): void {
    this.counts.capacityLives += 1;
    this.of(generation).lives.push(now);
  }

  dispatchBegan(leaseId: string, now: number): void {
    this.heard.set(leaseId, { paces: now, slots: now });
  }

  /** The capacity answered an ask of `askedAt`. */
  answered(leaseId: string, { paces, slots }: ShareAsk, askedAt: number, now: number): void {
    const heard = this.heard.get(leaseId);
    // Of what comes later the dispatch knows nothing.
    if (!heard || now - askedAt > limits.shareWaitMs) return;
    if (Object.keys(paces).length > 0) heard.paces = now;
    if (slots) heard.slots = now;
  }

  /** A request leaves for its endpoint. */
  begins(request: Request, now: number): void {
    const { call } = request;
    const shared = call.sending?.shared;
    const heard = this.heard.get(call.lease.leaseId);
    if (!shared || !heard) return;
    const { partitions, paces, slots } = shared;
    if (paces.rate !== undefined) {
      this.counts.pacedRequests += 1;
      // Under effectively-once a request may still wait for its claim when its turn has come.
      const isCounted = call.settings.guarantee === "at-least-once" && !isAlone(heard.paces, now);
      if (isCounted) this.checkPace(call.generation, { at: now, perSecond: paces.rate, partitions });
    }
    if (slots !== undefined && !isAlone(heard.slots, now)) {
      this.of(call.generation).underWay.set(request, { at: now, max: slots.max });
      this.checkSlots(call.generation);
    }
  }

  ended(request: Request): void {
    this.of(request.call.generation).underWay.delete(request);
  }

  /**
   * In any window that ends now: what the pace makes in it, and of a round at each of its ends as much as a round has; of
   * each partition one request that is late at a round's end, and one for each life of the capacity, which begins anew
   * beside a round of the one before.
   */
  private checkPace(generation: string, latest: Begun): void {
    const { begun, lives } = this.of(generation);
    begun.push(latest);
    while ((begun[0]?.at ?? latest.at) < latest.at - WINDOW_MS) begun.shift();
    let [perSecond, partitions, count] = [0, 0, 0];
    for (const each of begun.toReversed()) {
      count += 1;
      perSecond = Math.max(perSecond, each.perSecond);
      partitions = Math.max(partitions, each.partitions);
      const round = Math.max(1, Math.ceil((perSecond * limits.shareRoundMs) / 1000));
      const roundMs = (round * 1000) / perSecond;
      const born = lives.filter((at) => at >= each.at - roundMs).length;
      const ms = latest.at - each.at;
      const most = Math.ceil((perSecond * ms) / 1000) + 2 * round + partitions * (1 + born);
      if (count > most)
        throw new Error(`${count} requests in ${ms} ms at ${perSecond} a second: no more than ${most}`);
    }
  }

  /**
   * What was given by the present life of the capacity, which knows what it gave. It gives none anew in its first second,
   * and what a life before gave ends within that.
   */
  private checkSlots(generation: string): void {
    const { underWay, lives } = this.of(generation);
    for (const request of underWay.keys()) if (!request.owner.alive) underWay.delete(request);
    const since = (lives.at(-1) ?? 0) + limits.slotsMs;
    const given = [...underWay.values()].filter(({ at }) => at > since);
    const most = Math.max(0, ...given.map(({ max }) => max));
    this.counts.slotsShared += given.length > 1 ? 1 : 0;
    if (given.length > most) throw new Error(`${given.length} requests under way at once, of ${most}`);
  }

  private of(generation: string): Shared {
    const known = this.shared.get(generation) ?? { lives: [], begun: [], underWay: new Map() };
    this.shared.set(generation, known);
    return known;
  }
}

/** Nobody has answered for so long that it goes on by what is its own. */
function isAlone(heardAt: number, now: number): boolean {
  return now - heardAt >= limits.shareLostMs;
}
