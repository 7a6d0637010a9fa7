// What one isolate holds of one limit. It spends from a block that the limiter handed it, and asks for another when that
// does not suffice:
//
//   spend ──▶ spent                      the block has it
//         ──▶ refused                    as much was refused before in this window: nothing comes back within one
//         ──▶ ask ──grant──▶ spent | refused | again (the answer is of a window that is over)
//                 ──fail───▶ spent, which was lent | refused | away
//
// Every function is pure: the caller keeps the meter, makes the call, and brings the isolate's time.

import { isQuota, type Policy, windowAt } from "../limit-policy";
import type { Block } from "../limiter-calls";
import { limits } from "../limits";

export type Meter = Readonly<{
  policy: Policy;
  /** When the window ends, by this isolate's clock. */
  until: number;
  /** The window by its end on the limiter's clock; undefined while nothing was handed to it. */
  endsAt: number | undefined;
  /** Units that may be spent without asking. */
  balance: number;
  /** What the limiter had left for everybody when it was last asked. */
  left: number;
  /** What was refused in this window, and so will be again. */
  refusedNeed: number;
  /** Units let through in this window while the limiter was away, and those of them that it does not know of. */
  lent: number;
  owed: number;
  /** The last block, and when it came: one that was spent fast is followed by a larger one. */
  block: number;
  blockAt: number;
  /** While one request asks, others ask for what they need and no more. */
  askingUntil: number;
  /** Until when a limiter that failed is not asked again. */
  awayUntil: number;
}>;

/** What is asked of the limiter, and what the meter held when it was. */
export type Ask = Readonly<{
  units: number;
  need: number;
  want: number;
  owed: number;
  /** Set aside for this request, so that no other spends it meanwhile. */
  reserved: number;
  endsAt: number | undefined;
  at: number;
}>;

export type Spending = Readonly<{ meter: Meter }> &
  (Readonly<{ outcome: "spent" | "refused" | "again" | "away" }> | Readonly<{ outcome: "ask"; ask: Ask }>);

/** How a limit stands, as far as an isolate can tell. `left` is unknown while it has not asked. */
export type Standing = Readonly<{ policy: Policy; left?: number; endsInMs: number; windowMs: number }>;

export function newMeter(policy: Policy, now: number): Meter {
  const never = { block: 0, blockAt: 0, askingUntil: 0, awayUntil: 0 };
  return { policy, ...emptyWindow(policy, now), ...never };
}

/** Spends `units`, of which there may be at most the policy's limit. */
export function spend(meter: Meter, units: number, now: number): Spending {
  const held = turned(meter, now);
  const { balance, owed, endsAt } = held;
  if (balance >= units) return { outcome: "spent", meter: { ...held, balance: balance - units } };
  const need = units - balance;
  if (need >= held.refusedNeed) return { outcome: "refused", meter: held };
  if (now < held.awayUntil) return lend(held, units);
  const ask = { units, need, want: wantOf(held, need, now), owed, reserved: balance, endsAt, at: now };
  const asking = { balance: 0, owed: 0, askingUntil: now + limits.limiterWaitMs };
  return { outcome: "ask", ask, meter: { ...held, ...asking } };
}

/** Takes the block that answers `ask`, and spends from it. */
export function grant(meter: Meter, ask: Ask, block: Block, now: number): Spending {
  const held = turned(meter, now);
  const answered = { askingUntil: 0, awayUntil: 0 };
  if (held.endsAt !== undefined && block.endsAt < held.endsAt) {
    return { outcome: "again", meter: { ...held, ...answered } };
  }
  const isNew = held.endsAt !== undefined && block.endsAt > held.endsAt;
  const inWindow = isNew ? { ...held, ...emptyWindow(held.policy, now), owed: 0 } : held;
  const reserved = ask.endsAt === block.endsAt ? ask.reserved : 0;
  const balance = inWindow.balance + reserved + block.granted;
  const left = Math.min(block.left, inWindow.left);
  // As soon as it was asked the window had at least so long: the answer's own way only shortens it.
  const told = { ...inWindow, ...answered, left, endsAt: block.endsAt, until: ask.at + block.endsInMs };
  const taken = block.granted > 0 ? { ...told, block: block.granted, blockAt: now } : told;
  if (balance >= ask.units) return { outcome: "spent", meter: { ...taken, balance: balance - ask.units } };
  if (block.granted > 0) return { outcome: "again", meter: { ...taken, balance } };
  const refusedNeed = Math.min(inWindow.refusedNeed, ask.need);
  return { outcome: "refused", meter: { ...taken, balance, refusedNeed } };
}

/** Nobody answered `ask`: what it set aside comes back, and for a while the isolate lends itself a bounded number. */
export function fail(meter: Meter, ask: Ask, now: number): Spending {
  const held = turned(meter, now);
  const isSame = held.endsAt === ask.endsAt;
  const balance = held.balance + (isSame ? ask.reserved : 0);
  // It may have counted them: then they count twice, which errs to the safe side.
  const owed = held.owed + (isSame ? ask.owed : 0);
  const away = { askingUntil: 0, awayUntil: now + limits.limiterRetryMs };
  const alone = { ...held, ...away, balance, owed };
  if (balance >= ask.units) return { outcome: "spent", meter: { ...alone, balance: balance - ask.units } };
  return lend(alone, ask.units);
}

/**
 * Gives back what was spent of the window that ends at `endsAt` for something that was refused after all. Nothing goes over
 * into the next window; and what was lent is not given back.
 */
export function giveBack(meter: Meter, units: number, endsAt: number | undefined, now: number): Meter {
  if (endsAt === undefined || meter.endsAt !== endsAt || now >= meter.until) return meter;
  return { ...meter, balance: meter.balance + units };
}

export function standingOf(meter: Meter, now: number): Standing {
  const { policy, endsAt, balance, left, lent, until } = turned(meter, now);
  const { startsAt, endsAt: end } = windowAt(policy.period, now);
  const times = { endsInMs: until - now, windowMs: end - startsAt };
  if (endsAt === undefined && lent === 0) return { policy, ...times };
  return { policy, left: Math.min(policy.limit, Math.max(0, left + balance)), ...times };
}

/** A window in which this isolate has spent nothing yet. */
function emptyWindow(policy: Policy, now: number) {
  const { endsAt: until } = windowAt(policy.period, now);
  const nothing = { balance: 0, lent: 0, owed: 0, refusedNeed: Number.POSITIVE_INFINITY };
  return { until, endsAt: undefined, left: policy.limit, ...nothing };
}

function turned(meter: Meter, now: number): Meter {
  return now < meter.until ? meter : { ...meter, ...emptyWindow(meter.policy, now) };
}

/** Twice the last block, when that lasted only a moment: so an isolate holds at most twice what it has just spent. */
function wantOf({ block, blockAt, askingUntil }: Meter, need: number, now: number): number {
  const isFast = now - blockAt < limits.limiterGrowMs;
  const isAlone = now >= askingUntil;
  return isFast && isAlone ? Math.max(need, 2 * block) : need;
}

/**
 * While nobody counts, an isolate lets through a rate's limit once, and a small share of a quota; no more than was left when
 * the limiter last said so.
 */
function lend(meter: Meter, units: number): Spending {
  const { policy, lent, owed, left, endsAt } = meter;
  if (endsAt !== undefined && units > left) return { outcome: "refused", meter };
  const most = isQuota(policy) ? Math.ceil(policy.limit / limits.limiterLentShare) : policy.limit;
  if (lent + units > most) return { outcome: "away", meter };
  const more = { lent: lent + units, owed: owed + units, left: Math.max(0, left - units) };
  return { outcome: "spent", meter: { ...meter, ...more } };
}
