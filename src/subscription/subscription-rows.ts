// How what a subscription has in hand is written as rows, and read from them.

import type { AttemptNote, DeadLetter, DeadLetterReason } from "../subscription-calls";
import type { Backlog } from "./backlog";
import { type Death, type Delivery, firstLease, type Leased } from "./delivery";
import type { Lease } from "./lease-book";

/** A dead letter with what its lane needs to know. */
export type BuriedRow = DeadLetter & Readonly<{ orderingKey?: string }>;

/** What the state row holds. */
export type StateRow = {
  known_head: number;
  in_doubt: number;
  counters: string;
  leases: string;
  outcomes: ArrayBuffer | null;
};

export type WaitingRow = {
  offset: number;
  ordering_key: string | null;
  attempts: number;
  redrives: number;
  available_at: number;
  last_lease_id: string | null;
  history: string;
  death: string | null;
};
export type DeadRow = {
  epoch: number;
  offset: number;
  ordering_key: string | null;
  died_at: number;
  reason: DeadLetterReason;
  detail: string | null;
  attempts: number;
  redrives: number;
  history: string;
  record: ArrayBuffer | null;
};
/** A run of leased offsets as stored: first, count, ordering key. */
type StoredRun = [first: number, count: number, key?: string];
export type StoredLease = { id: string; deadlineAt: number; runs: StoredRun[] };

export function toRow(delivery: Exclude<Delivery, Leased>): WaitingRow {
  return {
    offset: delivery.offset,
    ordering_key: delivery.orderingKey ?? null,
    attempts: delivery.attempts,
    redrives: delivery.redrives ?? 0,
    available_at: delivery.state === "waiting" ? delivery.availableAt : 0,
    last_lease_id: delivery.state === "waiting" ? (delivery.lastLeaseId ?? null) : null,
    history: JSON.stringify(delivery.history),
    death: delivery.state === "dying" ? JSON.stringify(delivery.death) : null,
  };
}

export function toDelivery(row: WaitingRow, leased: Delivery | undefined): Delivery {
  const common = {
    offset: row.offset,
    attempts: row.attempts,
    history: JSON.parse(row.history) as AttemptNote[],
    ...(row.ordering_key !== null && { orderingKey: row.ordering_key }),
    ...(row.redrives > 0 && { redrives: row.redrives }),
  };
  if (leased?.state === "leased") return { ...common, state: "leased", leaseId: leased.leaseId };
  if (row.death !== null) return { ...common, state: "dying", death: JSON.parse(row.death) as Death };
  const last = row.last_lease_id === null ? {} : { lastLeaseId: row.last_lease_id };
  return { ...common, state: "waiting", availableAt: row.available_at, ...last };
}

export function toDeadLetter(row: DeadRow): BuriedRow {
  return {
    epoch: row.epoch,
    offset: row.offset,
    diedAt: row.died_at,
    reason: row.reason,
    attempts: row.attempts,
    redrives: row.redrives,
    history: JSON.parse(row.history) as AttemptNote[],
    ...(row.ordering_key !== null && { orderingKey: row.ordering_key }),
    ...(row.detail !== null && { detail: row.detail }),
    ...(row.record !== null && { record: new Uint8Array(row.record) }),
  };
}

export function toStoredLeases(backlog: Backlog): StoredLease[] {
  return [...backlog.leases].map(({ id, deadlineAt, offsets }) => {
    const runs: StoredRun[] = [];
    for (const offset of [...offsets].sort((a, b) => a - b)) {
      const key = backlog.deliveries.get(offset)?.orderingKey;
      const last = runs.at(-1);
      if (last && last[0] + last[1] === offset && last[2] === key) last[1] += 1;
      else runs.push(key === undefined ? [offset, 1] : [offset, 1, key]);
    }
    return { id, deadlineAt, runs };
  });
}

export function fromStoredLeases(stored: readonly StoredLease[]) {
  const leased = new Map<number, Delivery>();
  const leases: Lease[] = stored.map(({ id, deadlineAt, runs }) => {
    const offsets = new Set<number>();
    for (const [first, count, key] of runs) {
      for (let offset = first; offset < first + count; offset++) {
        offsets.add(offset);
        leased.set(offset, firstLease(offset, key, id));
      }
    }
    return { id, deadlineAt, offsets };
  });
  return { leases, leased };
}
