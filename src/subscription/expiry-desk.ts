// Answers the topic when retention overtakes: first what was never read, then what waits, with its message, then the
// followers of lanes. Leases are let end: the topic is told until when. Everything may be said twice.

import { limits } from "../limits";
import type { Runtime } from "../runtime";
import type { ExpireAnswer } from "../subscription-calls";
import type { TopicCalls } from "../topic-calls";
import type { Backlog } from "./backlog";
import {
  type Carried,
  isGivenBack,
  killWaiting,
  leasedUntil,
  loseFollowers,
  neededFrom,
  skipUnread,
  unknownFrom,
} from "./expiry";
import { forgetFiltersBelow, saveFiltered } from "./filtering";
import type { LeaseDesk } from "./lease-desk";
import type { RecordBuffer } from "./record-buffer";

export type ExpiryParts = Readonly<{
  backlog: Backlog;
  buffer: RecordBuffer;
  desk: LeaseDesk;
  topic: TopicCalls;
  waiting: Readonly<{ carriedOffsets(): Carried }>;
  runtime: () => Runtime;
  change: <T>(decide: () => T) => T;
  /** False once the subscription was removed or read afresh. */
  isLive: () => boolean;
}>;

export class ExpiryDesk {
  constructor(private readonly parts: ExpiryParts) {}

  /** Lets go of everything below `before`, as far as one call may: the answer says what is left. */
  async expire(before: number): Promise<ExpireAnswer> {
    const now = this.parts.runtime().now();
    const carried = this.parts.waiting.carriedOffsets();
    const more = this.overtake(before, carried, now);
    await this.parts.desk.buryDying();
    const counted = !more && (await this.countFollowers(before));
    if (!counted || !this.parts.isLive()) return { done: false, againAt: now };
    // A lease may have ended meanwhile: what it held is to die with its message, before the log lets go of that.
    if (isGivenBack(this.parts.backlog, before, carried)) return { done: false, againAt: now };
    const againAt = leasedUntil(this.parts.backlog, before, carried);
    return againAt === undefined ? { done: true } : { done: false, againAt };
  }

  /** The lowest offset that is still needed of the log. */
  settledTo(): number {
    return neededFrom(this.parts.backlog, this.parts.waiting.carriedOffsets());
  }

  private overtake(before: number, carried: Carried, now: number): boolean {
    const { backlog, buffer, change } = this.parts;
    const from = backlog.counters.nextOffset;
    const max = limits.expiriesPerCall;
    const killed = change(() => {
      saveFiltered(backlog);
      forgetFiltersBelow(backlog, before);
      skipUnread(backlog, before);
      return killWaiting(backlog, carried, { before, now, max });
    });
    if (buffer.end < before) buffer.restartAt(before);
    else for (let offset = from; offset < before; offset++) buffer.forget(offset);
    return killed === max;
  }

  /** Counts the followers that are lost, looking for them in the log if need be. False when that takes another call. */
  private async countFollowers(before: number): Promise<boolean> {
    const { backlog, change, topic } = this.parts;
    const found = new Map<string, number[]>();
    if (!this.parts.isLive()) return false;
    let from = unknownFrom(backlog, before);
    for (let reads = 0; from !== undefined && from < before; reads++) {
      if (reads === limits.expiryReads) return false;
      const answer = await topic.keyedOffsets({ from, to: before });
      if (!answer.ok || !this.parts.isLive()) return false;
      for (const [key, offsets] of answer.value.offsets) {
        found.set(key, [...(found.get(key) ?? []), ...offsets]);
      }
      if (answer.value.scannedTo <= from) break;
      from = answer.value.scannedTo;
    }
    change(() => loseFollowers(backlog, before, found));
    return true;
  }
}
