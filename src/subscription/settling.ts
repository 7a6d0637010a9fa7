// How leases end by whoever holds them: by ack, by nack, by a dispatcher's report. Every settle is
// fenced by its lease: only the newest settles. When a delivery of a lane fails, those after it in its lease
// go back with it, un-attempted, so that the lane stays in order.

import { limits } from "../limits";
import type { DispatchOutcome, ReportCall } from "../report-calls";
import type { SubscriptionSettings } from "../settings";
import { type LeaseRef, type NackCall, receiverLeaseId, type SettleStatus } from "../subscription-calls";
import type { How } from "../timeline-calls";
import type { Backlog } from "./backlog";
import {
  type Delivery,
  type Failure,
  giveBack,
  holdBack,
  type Leased,
  lease as leaseAgain,
  mayAck,
  release,
} from "./delivery";
import { retryDelayMs } from "./retry";
import { dieIfTooLate } from "./time-to-live";

/** The instant and the chance of one change. `jitter` answers a fresh number in [0, 1) each time. */
export type Moment = Readonly<{ now: number; jitter: () => number }>;

/** Settles each delivery as done, unless its lease was lost. */
export function ack(backlog: Backlog, refs: readonly LeaseRef[]): SettleStatus[] {
  return refs.map(({ offset, leaseId }) => {
    const delivery = backlog.deliveries.get(offset);
    if (!delivery || !mayAck(delivery, leaseId)) return "lease-lost";
    settle(backlog, delivery, { how: "acked" });
    return "acked";
  });
}

/** At-most-once: what was just leased counts as settled, before anybody is handed it. */
export function settleAtOnce(backlog: Backlog, leased: readonly Leased[]): void {
  for (const delivery of leased) settle(backlog, delivery, { how: "handed-out" });
}

/** Gives each delivery back: an attempt that failed. Said twice, it counts once. */
export function nack(
  backlog: Backlog,
  { refs, delayMs, deadLetter, reason }: NackCall,
  settings: SubscriptionSettings,
  moment: Moment,
): SettleStatus[] {
  const note = { at: moment.now, error: reason ?? "nacked" };
  const failure = { note, ...(delayMs !== undefined && { delayMs }), ...(deadLetter && { deadLetter }) };
  // The last of a lane first: what the failure of an earlier one gives back un-attempted is nacked by then.
  const statuses = new Map<LeaseRef, SettleStatus>();
  for (const ref of [...refs].sort((a, b) => b.offset - a.offset)) {
    const delivery = backlog.deliveries.get(ref.offset);
    if (delivery?.state === "leased" && delivery.leaseId === ref.leaseId) {
      statuses.set(ref, fail(backlog, delivery, failure, settings, moment));
    } else {
      const repeated = delivery?.state === "waiting" && delivery.lastLeaseId === ref.leaseId;
      statuses.set(ref, repeated ? "released" : "lease-lost");
    }
  }
  return refs.map((ref) => statuses.get(ref) ?? "lease-lost");
}

/** Moves the ack deadline of each delivery that is still leased by its ref. */
export function extend(backlog: Backlog, refs: readonly LeaseRef[], deadlineAt: number): SettleStatus[] {
  const live = refs.map(({ offset, leaseId }) => {
    const delivery = backlog.deliveries.get(offset);
    return delivery?.state === "leased" && delivery.leaseId === leaseId;
  });
  backlog.moveDeadline(
    refs.filter((_, i) => live[i]).map(({ offset }) => offset),
    deadlineAt,
  );
  return live.map((isLive) => (isLive ? "extended" : "lease-lost"));
}

/** Takes a dispatcher's report. Answers whether the lease still holds anything. */
export function report(
  backlog: Backlog,
  call: ReportCall,
  settings: SubscriptionSettings,
  moment: Moment,
  isSpared: (status: number | undefined) => boolean = () => false,
): boolean {
  for (const outcome of sharingReasons(call.outcomes).sort((a, b) => b.offset - a.offset)) {
    applyOutcome(backlog, call.leaseId, outcome, settings, moment, isSpared);
  }
  const left = leasedBy(backlog, call.leaseId);
  if (call.done) for (const delivery of left) backlog.put(giveBack(delivery, moment.now));
  else if (call.extendMs !== undefined) {
    backlog.moveDeadline(
      left.map(({ offset }) => offset),
      moment.now + call.extendMs,
    );
  }
  return left.length > 0;
}

/** Equal reasons are one text in memory: 100,000 deliveries may wait for the same. */
function sharingReasons(outcomes: readonly DispatchOutcome[]): DispatchOutcome[] {
  const texts = new Map<string, string>();
  return outcomes.map((outcome) => {
    if (outcome.result !== "unsent") return outcome;
    const reason = texts.get(outcome.reason) ?? outcome.reason.slice(0, limits.reasonLength);
    texts.set(outcome.reason, reason);
    return { ...outcome, reason };
  });
}

function applyOutcome(
  backlog: Backlog,
  leaseId: string,
  outcome: DispatchOutcome,
  settings: SubscriptionSettings,
  moment: Moment,
  isSpared: (status: number | undefined) => boolean,
): void {
  const delivery = backlog.deliveries.get(outcome.offset);
  if (outcome.result === "delivered") {
    if (delivery && mayAck(delivery, leaseId)) settle(backlog, delivery, deliveredBy(outcome));
    return;
  }
  if (delivery?.state !== "leased" || delivery.leaseId !== leaseId) return;
  if (outcome.result === "unsent") {
    giveBackAfter(backlog, delivery, moment.now);
    const { delayMs, reason } = outcome;
    // What may go again at once waits for nothing that could be told.
    if (delayMs === 0) backlog.put(giveBack(delivery, moment.now));
    else backlog.put(holdBack(delivery, moment.now + delayMs, reason));
    return;
  }
  if (outcome.result === "handed-over") {
    handOver(backlog, delivery, outcome, moment.now);
    return;
  }
  if (isSpared(outcome.note.status)) {
    const policyMs = retryDelayMs(settings.retry, delivery.attempts, moment.jitter());
    giveBackAfter(backlog, delivery, moment.now);
    backlog.put(giveBack(delivery, moment.now + (outcome.retryAfterMs ?? policyMs)));
    return;
  }
  const { note, retryAfterMs, deadLetter } = outcome;
  const delay = retryAfterMs === undefined ? {} : { delayMs: retryAfterMs };
  fail(backlog, delivery, { note, ...delay, ...(deadLetter && { deadLetter }) }, settings, moment);
}

/** Moves a delivery from the dispatcher's lease to its receiver's, which ends by itself unless it is settled before. */
function handOver(
  backlog: Backlog,
  delivery: Leased,
  { fence, leaseMs }: Readonly<{ fence: number; leaseMs: number }>,
  now: number,
): void {
  const [leaseId, deadlineAt] = [receiverLeaseId(fence), now + leaseMs];
  const given = giveBack(delivery, now);
  backlog.put(given);
  const handed = leaseAgain(given, leaseId);
  backlog.put(handed);
  // Those of one dispatch have one fence and one deadline, and so one lease.
  backlog.leases.join(leaseId, deadlineAt, handed);
}

/** The deliveries that a lease still holds, in order. */
export function leasedBy(backlog: Backlog, leaseId: string): Leased[] {
  return [...backlog.leases]
    .filter(({ id }) => id === leaseId)
    .flatMap(({ offsets }) => [...offsets])
    .sort((a, b) => a - b)
    .map((offset) => backlog.deliveries.get(offset))
    .filter((delivery) => delivery?.state === "leased");
}

type Settled = Readonly<{ how: How; status?: number }>;

/** An endpoint's answer has a status; what the ledger had as completed was not sent, and has none. */
function deliveredBy({ status }: Extract<DispatchOutcome, { result: "delivered" }>): Settled {
  return status === undefined ? { how: "already-completed" } : { how: "delivered", status };
}

function settle(backlog: Backlog, { offset, state, attempts }: Delivery, { how, ...more }: Settled): void {
  backlog.remove(offset);
  // A late ack ends no further attempt: the deadline has ended it.
  backlog.end(how, offset, { attempts: state === "leased" ? attempts + 1 : Math.max(attempts, 1), ...more });
}

/** An attempt of a delivery has failed: it waits for the next, or dies. */
export function fail(
  backlog: Backlog,
  delivery: Leased,
  failure: Failure,
  settings: SubscriptionSettings,
  { now, jitter }: Moment,
): SettleStatus {
  giveBackAfter(backlog, delivery, now);
  const released = release(delivery, failure, settings.retry, settings.onExhausted, {
    now,
    jitter: jitter(),
  });
  const ended = dieIfTooLate(released, backlog.expiries.get(delivery.offset), now);
  backlog.put(ended);
  return ended.state === "dying" ? "dead" : "released";
}

/** Gives back, un-attempted, what stands after `delivery` in its lane and its lease. */
export function giveBackAfter(backlog: Backlog, delivery: Leased, now: number): void {
  if (delivery.orderingKey === undefined) return;
  for (const later of leasedBy(backlog, delivery.leaseId)) {
    if (later.orderingKey !== delivery.orderingKey || later.offset <= delivery.offset) continue;
    backlog.put(giveBack(later, now));
  }
}
