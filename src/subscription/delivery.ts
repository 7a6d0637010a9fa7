// A delivery is one message on its way to one subscription.
//
//   (in the log) ──lease──▶ leased ──ack──▶ gone
//                  ▲           │
//               waiting ◀──────┤ nack, or the ack deadline passes
//                  ▲           └─ attempts spent ──▶ dying ──bury──▶ dead
//                  └───────────────────redrive─────────────────────────┘
//
// A dying delivery is dead in all but one thing: its message is still to be read from the log, to be kept
// with it. A delivery that was never handed out has no state at all: it lies in the log, past the next offset.
// Every function is pure: the caller brings the time and the jitter, and stores what comes back.

import type { OnExhausted, RetryPolicy } from "../settings";
import type { AttemptNote, DeadLetterReason } from "../subscription-calls";
import { noteAttempt, retryDelayMs } from "./retry";

type Common = Readonly<{
  offset: number;
  orderingKey?: string;
  /** Attempts that ended without success. */
  attempts: number;
  history: readonly AttemptNote[];
  /** How often it was sent round again as a dead letter; absent while it never was. */
  redrives?: number;
}>;
export type Waiting = Common &
  Readonly<{
    state: "waiting";
    availableAt: number;
    lastLeaseId?: string;
    /** Why it was given back unsent, to be told while it waits. In memory alone: the next dispatch finds out anew. */
    reason?: string;
  }>;
export type Leased = Common & Readonly<{ state: "leased"; leaseId: string }>;
export type Death = Readonly<{ diedAt: number; reason: DeadLetterReason; detail?: string }>;
export type Dying = Common & Readonly<{ state: "dying"; death: Death }>;
export type Delivery = Waiting | Leased | Dying;

/** One attempt's end: its note, and what the consumer or endpoint asked for. */
export type Failure = Readonly<{
  note: AttemptNote;
  /** Instead of the policy's backoff. */
  delayMs?: number;
  /** Straight to dead letters, whatever attempts are left: `rejected`, or for the reason that is said. */
  deadLetter?: boolean | DeadLetterReason;
}>;

/** A delivery handed out for the first time. */
export function firstLease(offset: number, orderingKey: string | undefined, leaseId: string): Leased {
  const common = { offset, attempts: 0, history: [] };
  return { ...common, ...(orderingKey !== undefined && { orderingKey }), state: "leased", leaseId };
}

/** Hands a waiting delivery out again. From now on only `leaseId` settles it. */
export function lease(waiting: Waiting, leaseId: string): Leased {
  return { ...common(waiting), state: "leased", leaseId };
}

/**
 * Whether an ack under `leaseId` may settle. Once the message is leased again, a late ack must not settle the
 * other consumer's lease. A late ack that nobody overtook is welcome: it saves a duplicate.
 */
export function mayAck(delivery: Delivery | undefined, leaseId: string): boolean {
  if (delivery?.state === "leased") return delivery.leaseId === leaseId;
  return delivery?.state === "waiting" && delivery.lastLeaseId === leaseId;
}

/** Ends an attempt that did not succeed: by nack, by a failed push, or because its ack deadline passed. */
export function release(
  leased: Leased,
  failure: Failure,
  policy: RetryPolicy,
  onExhausted: OnExhausted,
  { now, jitter }: { now: number; jitter: number },
): Waiting | Dying {
  const attempts = leased.attempts + 1;
  const ended = { ...common(leased), attempts, history: noteAttempt(leased.history, failure.note) };
  const spent = attempts >= policy.maxAttempts && onExhausted !== "block";
  if (failure.deadLetter || spent) {
    const said = failure.deadLetter === true ? "rejected" : failure.deadLetter;
    const reason = said || "attempts-spent";
    const detail = failure.note.error;
    return {
      ...ended,
      state: "dying",
      death: { diedAt: now, reason, ...(detail !== undefined && { detail }) },
    };
  }
  const availableAt = now + (failure.delayMs ?? retryDelayMs(policy, attempts, jitter));
  return { ...ended, state: "waiting", availableAt, lastLeaseId: leased.leaseId };
}

/**
 * Ends a lease of several whose holder fell silent. Which of them silenced it nobody knows: it counts as an attempt of
 * none, and is noted with each.
 */
export function suspect(leased: Leased, note: AttemptNote, availableAt: number): Waiting {
  const history = noteAttempt(leased.history, note);
  return {
    ...common({ ...leased, history }),
    state: "waiting",
    availableAt,
    lastLeaseId: leased.leaseId,
  };
}

/**
 * How many may be leased together with this one among them: half of those with which its holder fell silent. So one that
 * silences every consumer stands alone before it has cost any other an attempt.
 */
export function mostTogether({ history }: Pick<Common, "history">): number {
  const together = history.at(-1)?.together;
  return together === undefined ? Number.POSITIVE_INFINITY : Math.max(1, Math.floor(together / 2));
}

/** Gives a delivery back that was not attempted: no attempt is counted. */
export function giveBack(leased: Leased, availableAt: number): Waiting {
  return { ...common(leased), state: "waiting", availableAt, lastLeaseId: leased.leaseId };
}

/** Gives back what could not be sent, and why. */
export function holdBack(leased: Leased, availableAt: number, reason: string): Waiting {
  return { ...giveBack(leased, availableAt), reason };
}

/** Sends a dead letter round again from `availableAt` on, with all its attempts before it and its history kept. */
export function redrive(dead: Omit<Common, "attempts">, availableAt: number): Waiting {
  const redrives = (dead.redrives ?? 0) + 1;
  return { ...common({ ...dead, attempts: 0, redrives }), state: "waiting", availableAt };
}

function common({ offset, orderingKey, attempts, history, redrives = 0 }: Common): Common {
  return {
    ...{ offset, attempts, history },
    ...(orderingKey !== undefined && { orderingKey }),
    ...(redrives > 0 && { redrives }),
  };
}
