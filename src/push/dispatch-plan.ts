// What a dispatch may send next, and what has become of the rest. Messages of one ordering key form a lane: one
// request at a time, in order. A parcel is what one request carries.
//
//   pending ──takeParcel──▶ in a request ──settleParcel──▶ delivered | failed | handed over | unsent (behind one)
//      ├────────────────────────── giveBack ─────────────▶ unsent, with all behind it in its lane
//      └────────────────────────── skipDone ─────────────▶ delivered before, by an earlier dispatch
//
// Every function is pure: it takes a plan and answers the next one.

import type { Message } from "../message";
import { unpackRecords } from "../record-batch";
import type { DispatchOutcome } from "../report-calls";
import type { AttemptNote, LeaseAnswer } from "../subscription-calls";
import type { HandOver } from "./hand-over";

/** One leased delivery with its message. */
export type Item = Readonly<{ offset: number; attempt: number; message: Message }>;

export type Plan = Readonly<{
  /** Not sent yet, in the order of the lease. */
  pending: readonly Item[];
  /** Ordering keys with a request under way. */
  busy: ReadonlySet<string>;
  /** Whether what is not done holds up its lane. Not under at-most-once: it never comes again. */
  holdsLanes: boolean;
  /** What has become of deliveries and is not reported yet, in the order it happened. */
  outcomes: readonly DispatchOutcome[];
}>;

/** For each message id that a batch endpoint named as failed, its reason. */
export type Failures = ReadonlyMap<string, string>;

/** What an endpoint answered to a request; without a body when that was larger than is kept. */
export type PushedReply = Readonly<{ contentType: string; body: Uint8Array; tooLarge?: true }>;

type Acknowledgement = Readonly<{
  status: number;
  at: number;
  latencyMs: number;
  failures: Failures;
  reply?: PushedReply;
}>;

/**
 * How one request was answered. `failures` are messages that a 2xx did not acknowledge; `handOver` is there when
 * the others are taken on and not yet done.
 */
export type WebhookAnswer = Readonly<
  | ({ delivered: true; handOver?: HandOver } & Acknowledgement)
  | { delivered: false; note: AttemptNote; retryAfterMs?: number; gone: boolean }
>;

const BEHIND = "behind a failed delivery of its ordering key";
const BEHIND_HANDED_OVER = "behind a delivery of its ordering key that its receiver has not completed";

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
export function planOf(items: readonly Item[], { holdsLanes } = { holdsLanes: true }): Plan {
  return { pending: items, busy: new Set(), holdsLanes, outcomes: [] };
}

/**
 * The next parcel: up to `max` messages whose lanes are free, the first leased first. It is empty when nothing can
 * be sent until a request under way has ended. A parcel may hold a run of one lane, in order.
 */
export function takeParcel(plan: Plan, max: number): Readonly<{ parcel: readonly Item[]; plan: Plan }> {
  const parcel: Item[] = [];
  const pending: Item[] = [];
  const passed = new Set(plan.busy);
  for (const item of plan.pending) {
    const { orderingKey } = item.message;
    const isFree = orderingKey === undefined || !passed.has(orderingKey);
    if (isFree && parcel.length < max) {
      parcel.push(item);
    } else {
      pending.push(item);
      if (orderingKey !== undefined) passed.add(orderingKey);
    }
  }
  return { parcel, plan: { ...plan, pending, busy: new Set([...plan.busy, ...lanesOf(parcel)]) } };
}

/**
 * Ends a parcel. In each lane the first failure gives back all after it, also what was sent beside it: nothing
 * may overtake it, and only its attempt counts.
 */
export function settleParcel(plan: Plan, parcel: readonly Item[], answer: WebhookAnswer): Plan {
  return settleItems(plan, parcel, (item) => {
    if (!answer.delivered || !isAcknowledged(item, answer)) return failure(item, answer);
    return handing(item, answer) ?? { offset: item.offset, result: "delivered", status: answer.status };
  });
}

/** The plan without `items` among what is to be sent: they are on their way. */
export function takeThese(plan: Plan, items: readonly Item[]): Plan {
  const taken = new Set(items);
  return { ...plan, pending: plan.pending.filter((item) => !taken.has(item)) };
}

/** Ends what was sent together, each as `judge` says; behind the first of a lane that is not done, all goes back. */
export function settleItems(
  plan: Plan,
  parcel: readonly Item[],
  judge: (item: Item) => DispatchOutcome,
): Plan {
  const outcomes: DispatchOutcome[] = [];
  const failed: Item[] = [];
  const handedOver: Item[] = [];
  const broken = new Set<string>();
  for (const item of parcel) {
    const { orderingKey } = item.message;
    if (orderingKey !== undefined && broken.has(orderingKey)) {
      outcomes.push(behind(item, BEHIND));
      continue;
    }
    const outcome = judge(item);
    outcomes.push(outcome);
    if (outcome.result === "handed-over") handedOver.push(item);
    if (outcome.result !== "failed") continue;
    failed.push(item);
    if (plan.holdsLanes && orderingKey !== undefined) broken.add(orderingKey);
  }
  const ended = lanesOf(parcel);
  const busy = new Set([...plan.busy].filter((key) => !ended.has(key)));
  const settled = breakLanes({ ...plan, busy, outcomes: [...plan.outcomes, ...outcomes] }, failed, BEHIND);
  return breakLanes(settled, handedOver, BEHIND_HANDED_OVER);
}

/** Whether the answer says of this message that it was processed. */
export function isAcknowledged({ message }: Item, answer: WebhookAnswer): boolean {
  return answer.delivered && !answer.failures.has(message.id);
}

/** Gives items back unsent, wherever they were, and what is behind them in their lanes. */
export function giveBack(plan: Plan, items: readonly Item[], delayMs: number, reason: string): Plan {
  const given = new Set(items);
  const outcomes = items.map(({ offset }) => ({ offset, result: "unsent" as const, delayMs, reason }));
  const left = { ...plan, pending: plan.pending.filter((item) => !given.has(item)) };
  return breakLanes({ ...left, outcomes: [...plan.outcomes, ...outcomes] }, items, BEHIND);
}

/** Settles a pending item that an earlier dispatch has delivered: it is not sent again. */
export function skipDone(plan: Plan, done: Item): Plan {
  const pending = plan.pending.filter((item) => item !== done);
  return { ...plan, pending, outcomes: [...plan.outcomes, { offset: done.offset, result: "delivered" }] };
}

/** Forgets the first `count` outcomes: they were reported. */
export function reported(plan: Plan, count: number): Plan {
  return { ...plan, outcomes: plan.outcomes.slice(count) };
}

/** Gives back whatever is behind `items` in their lanes. */
function breakLanes(plan: Plan, items: readonly Item[], reason: string): Plan {
  const broken = plan.holdsLanes ? lanesOf(items) : new Set<string>();
  if (broken.size === 0) return plan;
  const isBehind = ({ message }: Item) =>
    message.orderingKey !== undefined && broken.has(message.orderingKey);
  return {
    ...plan,
    pending: plan.pending.filter((item) => !isBehind(item)),
    outcomes: [...plan.outcomes, ...plan.pending.filter(isBehind).map((item) => behind(item, reason))],
  };
}

function behind({ offset }: Item, reason: string): DispatchOutcome {
  return { offset, result: "unsent", delayMs: 0, reason };
}

/** The outcome of what was handed over to its receiver; undefined when it was done, or has no claim to complete. */
function handing({ offset }: Item, answer: WebhookAnswer): DispatchOutcome | undefined {
  if (!answer.delivered || answer.handOver === undefined) return undefined;
  const { leaseMs, claims } = answer.handOver;
  const fence = claims.get(offset)?.fence;
  return fence === undefined ? undefined : { offset, result: "handed-over", fence, leaseMs };
}

function failure({ offset, message }: Item, answer: WebhookAnswer): DispatchOutcome {
  if (!answer.delivered) {
    const { note, retryAfterMs } = answer;
    return { offset, result: "failed", note, ...(retryAfterMs !== undefined && { retryAfterMs }) };
  }
  const { at, status, latencyMs, failures } = answer;
  const error = failures.get(message.id);
  return { offset, result: "failed", note: { at, status, latencyMs, ...(error !== undefined && { error }) } };
}

function lanesOf(items: readonly Item[]): Set<string> {
  const lanes = new Set<string>();
  for (const { message } of items) if (message.orderingKey !== undefined) lanes.add(message.orderingKey);
  return lanes;
}
