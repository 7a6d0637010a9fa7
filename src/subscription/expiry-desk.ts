// Answers the topic when retention overtakes: the followers of lanes go, with what was never read, then what waits, with
// its message. Leases are let end: the topic is told until when. Everything may be said twice.

import { limits } from "../limits";
import type { Runtime } from "../runtime";
import type { ExpireAnswer } from "../subscription-calls";
import type { TopicCalls } from "../topic-calls";
import type { Backlog } from "./backlog";
import {
  type Carried,
  type FoundFollowers,
  isGivenBack,
  killWaiting,
  leasedUntil,
  neededFrom,
  passBelow,
} from "./expiry";
import { forgetFiltersBelow, saveFiltered } from "./filtering";
import { findFollowers } from "./follower-search";
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
    const { backlog, topic } = this.parts;
    const found = await findFollowers(topic, backlog, before);
    const now = this.parts.runtime().now();
    if (!this.parts.isLive() || !found) return { done: false, againAt: now };
    const carried = this.parts.waiting.carriedOffsets();
    const isAll = this.overtake(before, found, carried, now);
    await this.parts.desk.buryDying();
    if (!isAll || !this.parts.isLive()) return { done: false, againAt: now };
    // A lease may have ended meanwhile: what it held is to die with its message, before the log lets go of that.
    if (isGivenBack(backlog, before, carried)) return { done: false, againAt: now };
    const againAt = leasedUntil(backlog, before, carried);
    return againAt === undefined ? { done: true } : { done: false, againAt };
  }

  /** The lowest offset that is still needed of the log. */
  settledTo(): number {
    return neededFrom(this.parts.backlog, this.parts.waiting.carriedOffsets());
  }

  /** Answers whether there was no more than one call may do. */
  private overtake(before: number, found: FoundFollowers, carried: Carried, now: number): boolean {
    const { backlog, buffer, change } = this.parts;
    const from = backlog.counters.nextOffset;
    const max = limits.expiriesPerCall;
    const isAll = change(() => {
      saveFiltered(backlog);
      const isPassed = passBelow(backlog, before, found);
      if (isPassed) forgetFiltersBelow(backlog, before);
      return killWaiting(backlog, carried, { before, now, max }) < max && isPassed;
    });
    if (backlog.counters.nextOffset < before) return false;
    if (buffer.end < before) buffer.restartAt(before);
    else for (let offset = from; offset < before; offset++) buffer.forget(offset);
    return isAll;
  }
}
