// Hands out leases: reads from the log what a lease needs, cuts it, and buries who is out of attempts. Between
// the look at what is in hand and the write there is no await, so two leases never take the same offset.

import { limits } from "../limits";
import { joinBytes } from "../record-batch";
import type { Runtime } from "../runtime";
import type { SubscriptionSettings } from "../settings";
import type { LeaseAnswer } from "../subscription-calls";
import type { Backlog } from "./backlog";
import { bury } from "./burying";
import { loseFollower } from "./expiry";
import { passFiltered } from "./filtering";
import { cutLease } from "./leasing";
import type { LogReader } from "./log-reader";
import type { ParentDesk } from "./parent-desk";
import { findMissing } from "./readiness";
import type { RecordBuffer } from "./record-buffer";
import { leasedBy, settleAtOnce } from "./settling";

export type Wanted = Readonly<{
  leaseId: string;
  max: number;
  maxBytes: number;
  ackDeadlineMs: number;
  logFirst?: boolean;
}>;

/** What the desk works on, and how it changes it. */
export type DeskParts = Readonly<{
  backlog: Backlog;
  buffer: RecordBuffer;
  reader: LogReader;
  parents: ParentDesk;
  runtime: () => Runtime;
  settings: () => SubscriptionSettings;
  /** Decides, saves and arms in one go. */
  change: <T>(decide: () => T) => T;
  /** False once the subscription was removed or read afresh: then nothing here may be changed any more. */
  isLive: () => boolean;
}>;

export class LeaseDesk {
  /** Leases that were handed out, whatever became of them since. In memory only: a restart forgets them. */
  private readonly handedOut = new Set<string>();
  /** The last look came to its end among messages that the filter leaves out: there is more to look at. */
  hasMore = false;

  constructor(private readonly parts: DeskParts) {}

  /**
   * Leases what is there, reading the log for what is missing. `ask` reads the log even when the subscription
   * believes to know its head: whoever was just answered by a publish finds that message.
   */
  async lease(wanted: Wanted, ask: boolean): Promise<LeaseAnswer> {
    const { backlog, reader } = this.parts;
    const { filtered } = backlog.counters;
    this.hasMore = false;
    for (let reads = 0; reads < limits.leaseReads && this.parts.isLive(); reads++) {
      await this.buryDying();
      await this.parts.parents.ask();
      if (await this.readFirst(wanted.max, reads)) continue;
      if (!this.parts.isLive()) break;
      // After the last await: of a call and its repeat, both of which had to read, the first cuts.
      if (leasedBy(backlog, wanted.leaseId).length > 0) return this.leaseAgain(wanted.leaseId);
      // Of a call that comes again when its lease has ended, nobody reads the answer: other deliveries would reach nobody.
      if (this.handedOut.has(wanted.leaseId)) break;
      const before = passedBy(backlog);
      const lease = this.cut(wanted);
      if (lease.deliveries.length > 0) return lease;
      // What had expired or was filtered is out of the way: something may come after it.
      if (passedBy(backlog) > before || backlog.sieve.isSpent) continue;
      const mayRead = reader.isBehind || (ask && reads === 0);
      if (!mayRead || !(await reader.readAhead())) return lease;
    }
    this.hasMore = backlog.counters.filtered > filtered;
    return this.answer(wanted.leaseId, 0, [], []);
  }

  /** Passes what the filter leaves out of what comes next, reading on while there is nothing else; leases nothing. */
  async sift(): Promise<void> {
    const { backlog, buffer, reader, settings } = this.parts;
    const { filtered } = backlog.counters;
    this.hasMore = false;
    if (backlog.sieve.isOpen) return;
    for (let reads = 0; reads < limits.leaseReads; reads++) {
      if (!this.parts.isLive() || settings().paused || backlog.isStalled) return;
      this.parts.change(() => passFiltered(backlog, buffer));
      if (backlog.sieve.isSpent) continue;
      if (backlog.counters.nextOffset < buffer.end) return;
      if (!reader.isBehind || !(await reader.readAhead())) return;
    }
    this.hasMore = backlog.counters.filtered > filtered;
  }

  /** Reads what a cut would lack: deliveries that are due, and the log when none of it is held. */
  private async readFirst(max: number, reads: number): Promise<boolean> {
    const { backlog, buffer, reader } = this.parts;
    // Half of the reads at most: the other half is for the log, and to hand out what did arrive.
    if (reads > limits.leaseReads / 2 || (reads > 0 && buffer.isFull)) return false;
    const missing = findMissing(backlog, buffer, { now: this.parts.runtime().now(), max });
    if (missing) {
      const lost = await reader.readMissing(missing);
      if (lost.length > 0) this.lose(lost);
      return true;
    }
    const holdsNothing = buffer.end === backlog.counters.nextOffset;
    return holdsNothing && reader.isBehind && (await reader.readAhead());
  }

  /** Synchronous from the look at the backlog to the write: two leases never take the same offset. */
  private cut({ leaseId, max, maxBytes, ackDeadlineMs, logFirst = false }: Wanted): LeaseAnswer {
    const { backlog, buffer } = this.parts;
    const settings = this.parts.settings();
    const now = this.parts.runtime().now();
    const deadlineAt = now + ackDeadlineMs;
    const room = settings.maxInFlight - backlog.leasedCount;
    const canOpen = !settings.paused && backlog.leases.size < limits.openLeases;
    if (!canOpen || room <= 0) return this.answer(leaseId, deadlineAt, [], []);
    const isSettled = settings.guarantee === "at-most-once";
    const { leased, records } = this.parts.change(() => {
      const cut = cutLease(backlog, buffer, {
        leaseId,
        now,
        deadlineAt,
        max: Math.min(max, room),
        maxBytes,
        logFirst,
      });
      if (isSettled) settleAtOnce(backlog, cut.leased);
      return cut;
    });
    const { nextOffset } = backlog.counters;
    if (buffer.isHalfFull) for (const { offset } of leased) buffer.release(offset, nextOffset);
    const answer = this.answer(leaseId, deadlineAt, leased, records);
    if (leased.length === 0) return answer;
    this.rememberHandedOut(leaseId);
    return isSettled ? { ...answer, settled: true } : answer;
  }

  private rememberHandedOut(leaseId: string): void {
    this.handedOut.add(leaseId);
    const [oldest] = this.handedOut;
    if (this.handedOut.size > limits.handedOutLeases && oldest !== undefined) this.handedOut.delete(oldest);
  }

  private answer(
    leaseId: string,
    deadlineAt: number,
    leased: readonly { offset: number; attempts: number }[],
    records: readonly Uint8Array[],
  ): LeaseAnswer {
    const deliveries = leased.map(({ offset, attempts }) => ({ offset, attempt: attempts + 1 }));
    return { leaseId, deadlineAt, deliveries, records: joinBytes(records) };
  }

  /** The same lease again, for a caller that lost the first answer. */
  private async leaseAgain(leaseId: string): Promise<LeaseAnswer> {
    const { backlog, buffer, reader } = this.parts;
    const offsets = leasedBy(backlog, leaseId).map(({ offset }) => offset);
    await reader.hold(offsets, { retired: true });
    const held = leasedBy(backlog, leaseId).filter(({ offset }) => buffer.get(offset));
    const first = held[0] && backlog.leases.of(held[0].offset);
    const records = held.flatMap(({ offset }) => buffer.get(offset)?.record ?? []);
    return this.answer(leaseId, first?.deadlineAt ?? 0, held, records);
  }

  /** Buries those out of attempts whose message is not in memory: it is read first, to be kept with them. */
  async buryDying(): Promise<void> {
    const { backlog, reader } = this.parts;
    while (backlog.dying.size > 0 && this.parts.isLive()) {
      const offsets = [...backlog.dying].sort((a, b) => a - b).slice(0, limits.buriedPerRead);
      const lost = await reader.hold(offsets, { retired: true });
      this.parts.change(() => {
        for (const offset of lost) this.bury(offset);
      });
    }
  }

  buryThoseInMemory(): void {
    const { backlog, buffer } = this.parts;
    for (const offset of [...backlog.dying]) if (buffer.get(offset)) this.bury(offset);
  }

  private bury(offset: number): void {
    const { backlog, buffer } = this.parts;
    const dying = backlog.deliveries.get(offset);
    if (dying?.state !== "dying") return;
    const parks = dying.orderingKey !== undefined && this.parts.settings().onExhausted === "park";
    const { reason } = dying.death;
    bury(backlog, dying, buffer.get(offset)?.record.slice(), parks && reason !== "expired");
  }

  /** Deliveries whose message retention overtook. What waited dies, and says so; followers count as expired. */
  private lose(offsets: readonly number[]): void {
    const { backlog } = this.parts;
    const death = { diedAt: this.parts.runtime().now(), reason: "expired" as const };
    this.parts.change(() => {
      for (const offset of offsets) {
        const delivery = backlog.deliveries.get(offset);
        if (delivery?.state === "waiting") backlog.put({ ...delivery, state: "dying", death });
        else loseFollower(backlog, offset);
      }
    });
  }
}

/** What left without being handed out, or died. */
function passedBy({ counters: { expired, dead, filtered } }: Backlog): number {
  return expired + dead + filtered;
}
