// What a dispatch may send next. Messages of one ordering key form a lane: one request at a time, in order.
//
//   pending ──takeParcel──▶ in a request ──settleParcel──▶ delivered | failed | behind
//      └──────────── breakLanes: given back behind what was not delivered ───────┘
//
// Every function is pure: it takes a plan and answers the next one.

import type { LeaseAnswer } from "../calls";
import type { Message } from "../message";
import { unpackRecords } from "../record-batch";

/** One leased delivery with its message. */
export type Item = Readonly<{ offset: number; attempt: number; message: Message }>;

export type Plan = Readonly<{
  /** Not sent yet, in the order of their offsets. */
  pending: readonly Item[];
  /** Ordering keys with a request under way. */
  busy: ReadonlySet<string>;
}>;

export type Settled = Readonly<{
  plan: Plan;
  delivered: readonly Item[];
  failed: readonly Item[];
  /** Given back, because an earlier message of their lane was not delivered. */
  behind: readonly Item[];
}>;

/** The leased deliveries with their messages. */
export function leasedItems({ deliveries, records }: LeaseAnswer): readonly Item[] {
  const messages = unpackRecords(records);
  return deliveries.map(({ offset, attempt }, index) => {
    const message = messages[index];
    if (message === undefined) throw new Error(`the lease has no record for offset ${offset}`);
    return { offset, attempt, message };
  });
}

/** A plan to send `items`. */
export function planOf(items: readonly Item[]): Plan {
  return { pending: items, busy: new Set() };
}

/**
 * The next parcel: up to `max` messages whose lanes are free, the oldest first. It is empty when nothing can be
 * sent until a request under way has ended. A parcel may hold a run of one lane, in order.
 */
export function takeParcel(plan: Plan, max: number): Readonly<{ parcel: readonly Item[]; plan: Plan }> {
  const parcel: Item[] = [];
  const rest: Item[] = [];
  const skipped = new Set(plan.busy);
  for (const item of plan.pending) {
    const { orderingKey } = item.message;
    const isFree = orderingKey === undefined || !skipped.has(orderingKey);
    if (isFree && parcel.length < max) {
      parcel.push(item);
    } else {
      rest.push(item);
      if (orderingKey !== undefined) skipped.add(orderingKey);
    }
  }
  return { parcel, plan: { pending: rest, busy: new Set([...plan.busy, ...lanesOf(parcel)]) } };
}

/**
 * Ends a parcel. In each lane the first failure gives back all after it: sent beside it or not, they must not
 * overtake it.
 */
export function settleParcel(
  plan: Plan,
  parcel: readonly Item[],
  failedOffsets: ReadonlySet<number>,
): Settled {
  const delivered: Item[] = [];
  const failed: Item[] = [];
  const behind: Item[] = [];
  const broken = new Set<string>();
  for (const item of parcel) {
    const { orderingKey } = item.message;
    if (orderingKey !== undefined && broken.has(orderingKey)) behind.push(item);
    else if (!failedOffsets.has(item.offset)) delivered.push(item);
    else {
      failed.push(item);
      if (orderingKey !== undefined) broken.add(orderingKey);
    }
  }
  const freed = lanesOf(parcel);
  const left = breakLanes(
    { ...plan, busy: new Set([...plan.busy].filter((key) => !freed.has(key))) },
    failed,
  );
  return { plan: left.plan, delivered, failed, behind: [...behind, ...left.behind] };
}

/** Takes out of the plan whatever is behind `items` in their lanes. */
export function breakLanes(
  plan: Plan,
  items: readonly Item[],
): Readonly<{ plan: Plan; behind: readonly Item[] }> {
  const broken = lanesOf(items);
  const isBehind = ({ message }: Item) =>
    message.orderingKey !== undefined && broken.has(message.orderingKey);
  return {
    plan: { ...plan, pending: plan.pending.filter((item) => !isBehind(item)) },
    behind: plan.pending.filter(isBehind),
  };
}

function lanesOf(items: readonly Item[]): Set<string> {
  const lanes = new Set<string>();
  for (const { message } of items) if (message.orderingKey !== undefined) lanes.add(message.orderingKey);
  return lanes;
}
