// What every consumer may rely on, checked from outside: a witness that sees what is published, handed out and
// settled, and complains when a promise is broken.

import { unpackRecords } from "../../src/record-batch";
import type { LeaseAnswer, SettleStatus } from "../../src/subscription-calls";

type Fate = "open" | "acked" | "dead" | "purged";
type Held = { leaseId: string; deadlineAt: number };

export class Witness {
  readonly fates = new Map<number, Fate>();
  readonly keys = new Map<number, string | undefined>();
  private readonly held = new Map<number, Held>();
  readonly seen = { handedOut: 0, acked: 0, lateAcks: 0, redelivered: 0, dead: 0, lost: 0 };

  published(offset: number, key: string | undefined): void {
    this.fates.set(offset, "open");
    this.keys.set(offset, key);
  }

  /** A lease was handed out, whether or not its answer reached the consumer. */
  handedOut(lease: LeaseAnswer, now: number): void {
    const messages = unpackRecords(lease.records);
    if (messages.length !== lease.deliveries.length)
      throw new Error("records and deliveries differ in number");
    const inLease = new Set<number>();
    for (const [i, { offset, attempt }] of lease.deliveries.entries()) {
      const key = messages[i]?.orderingKey;
      if (key !== this.keys.get(offset)) throw new Error(`offset ${offset} came with another message`);
      const fate = this.fates.get(offset);
      if (fate !== "open") throw new Error(`offset ${offset} was handed out though it is ${fate}`);
      const held = this.held.get(offset);
      if (held && held.deadlineAt > now) throw new Error(`offset ${offset} has two live leases`);
      if (key !== undefined) this.checkLane(offset, key, inLease, now);
      if (attempt > 1) this.seen.redelivered += 1;
      inLease.add(offset);
      this.held.set(offset, { leaseId: lease.leaseId, deadlineAt: lease.deadlineAt });
      this.seen.handedOut += 1;
    }
  }

  /** In a lane, whatever stands before must be settled, or come before it in the same lease. */
  private checkLane(offset: number, key: string, inLease: ReadonlySet<number>, _now: number): void {
    for (const [earlier, fate] of this.fates) {
      if (earlier >= offset || this.keys.get(earlier) !== key || inLease.has(earlier)) continue;
      if (fate === "open" || fate === "dead") {
        throw new Error(`offset ${offset} of lane ${key} overtook ${earlier}, which is ${fate}`);
      }
    }
  }

  acked(offset: number, status: SettleStatus, now: number): void {
    if (status === "lease-lost") {
      this.seen.lost += 1;
      return;
    }
    const held = this.held.get(offset);
    if (held === undefined || held.deadlineAt <= now) this.seen.lateAcks += 1;
    if (this.fates.get(offset) !== "open") throw new Error(`offset ${offset} was settled twice`);
    this.fates.set(offset, "acked");
    this.held.delete(offset);
    this.seen.acked += 1;
  }

  /** Time has passed: a deadline that ends takes with it the later ones of its lane, extended or not. */
  deadlinesPassed(now: number): void {
    for (const [offset, { leaseId, deadlineAt }] of [...this.held]) {
      if (deadlineAt <= now) this.endFrom(offset, leaseId);
    }
  }

  /** A delivery failed: its lease ends, and with it those of the later ones of its lane in the same lease. */
  failed(offset: number, leaseId: string, status: SettleStatus): void {
    if (status === "lease-lost") return;
    this.endFrom(offset, leaseId);
    if (status === "dead") this.died(offset);
  }

  private endFrom(offset: number, leaseId: string): void {
    const key = this.keys.get(offset);
    for (const [later, held] of this.held) {
      if (held.leaseId !== leaseId) continue;
      if (later === offset || (key !== undefined && this.keys.get(later) === key && later > offset)) {
        this.held.delete(later);
      }
    }
  }

  died(offset: number): void {
    if (this.fates.get(offset) === "dead") return;
    if (this.fates.get(offset) !== "open") throw new Error(`offset ${offset} died after it was settled`);
    this.fates.set(offset, "dead");
    this.held.delete(offset);
    this.seen.dead += 1;
  }

  givenBack(leaseId: string): void {
    for (const [offset, held] of this.held) if (held.leaseId === leaseId) this.held.delete(offset);
  }

  redriven(offset: number): void {
    this.fates.set(offset, "open");
  }

  purged(offset: number): void {
    this.fates.set(offset, "purged");
  }

  extended(offset: number, deadlineAt: number): void {
    const held = this.held.get(offset);
    if (held) held.deadlineAt = deadlineAt;
  }

  count(fate: Fate): number {
    return [...this.fates.values()].filter((other) => other === fate).length;
  }
}
