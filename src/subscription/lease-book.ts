// Which leases are open, and which of them holds a delivery. Every delivery is held by one lease at most.

import type { Delivery } from "./delivery";

/** Deliveries leased together until one deadline. Extending a part of a lease splits it; its id stays. */
export type Lease = { readonly id: string; deadlineAt: number; readonly offsets: Set<number> };

export class LeaseBook {
  private readonly leases: Set<Lease>;
  private readonly holders = new Map<number, Lease>();

  constructor(leases: readonly Lease[]) {
    this.leases = new Set(leases);
    for (const lease of leases) for (const offset of lease.offsets) this.holders.set(offset, lease);
  }

  /** How many leases are open. */
  get size(): number {
    return this.leases.size;
  }

  [Symbol.iterator](): Iterator<Lease> {
    return this.leases.values();
  }

  /** How many deliveries are leased. */
  get leasedCount(): number {
    return this.holders.size;
  }

  leasedOffsets(): Iterable<number> {
    return this.holders.keys();
  }

  /** The lease that holds a delivery. */
  of(offset: number): Lease | undefined {
    return this.holders.get(offset);
  }

  /** Opens a lease over deliveries that were just put as leased. */
  open(id: string, deadlineAt: number, leased: readonly Delivery[]): void {
    const lease = { id, deadlineAt, offsets: new Set(leased.map(({ offset }) => offset)) };
    this.leases.add(lease);
    for (const { offset } of leased) this.holders.set(offset, lease);
  }

  /** Puts a delivery under the open lease of this id and deadline, or opens it. */
  join(id: string, deadlineAt: number, leased: Delivery): void {
    const held = [...this.leases].find((lease) => lease.id === id && lease.deadlineAt === deadlineAt);
    if (held) {
      held.offsets.add(leased.offset);
      this.holders.set(leased.offset, held);
    } else {
      this.open(id, deadlineAt, [leased]);
    }
  }

  /** Moves the deadline of some leased deliveries; those left behind keep theirs. */
  moveDeadline(offsets: readonly number[], deadlineAt: number): void {
    const moved = new Map<Lease, number[]>();
    for (const offset of offsets) {
      const lease = this.holders.get(offset);
      if (lease) moved.set(lease, [...(moved.get(lease) ?? []), offset]);
    }
    for (const [lease, part] of moved) {
      if (part.length === lease.offsets.size) lease.deadlineAt = deadlineAt;
      else this.split(lease, part, deadlineAt);
    }
  }

  private split(lease: Lease, part: readonly number[], deadlineAt: number): void {
    const split = { id: lease.id, deadlineAt, offsets: new Set(part) };
    this.leases.add(split);
    for (const offset of part) {
      lease.offsets.delete(offset);
      this.holders.set(offset, split);
    }
  }

  /** A delivery is leased no more. */
  release(offset: number): void {
    const lease = this.holders.get(offset);
    if (!lease) return;
    this.holders.delete(offset);
    lease.offsets.delete(offset);
    if (lease.offsets.size === 0) this.leases.delete(lease);
  }
}
