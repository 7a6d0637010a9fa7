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
  /** How long the window lasts for sure, by this isolate's clock. */
  until: number;
  /** The window by its end on the limiter's clock; undefined while nothing was handed to it. */
  endsAt: number | undefined;
  /** Units that may be spent without asking. */
  balance: number;
  /** What the limiter had left for everybody when it was last asked, without what was lent since. */
  left: number;
  /** What was refused in this window, and so will be again. */
  refusedNeed: number;
  /** The window's end by this isolate's own calendar: what it lends itself counts for that one, whoever answers when. */
  ownUntil: number;
  /** Units let through in that window while the limiter was away, and those of them that it does not know of. */
  lent: number;
  owed: number;
  /** What it does know of, and has no room for: blocks under way were cut before, and pay that first. */
  beyond: number;
  /** Until when an ask is under way that says what is owed: the others do not. */
  tellingUntil: number;
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
  ownUntil: number;
  at: number;
}>;

export type Spending = Readonly<{ meter: Meter }> &
  (Readonly<{ outcome: "spent" | "refused" | "again" | "away" }> | Readonly<{ outcome: "ask"; ask: Ask }>);

/** How a limit stands, as far as an isolate can tell. `left` is unknown while it has not asked. */
export type Standing = Readonly<{ policy: Policy; left?: number; endsInMs: number; windowMs: number }>;

export function newMeter(policy: Policy, now: number): Meter {
  const never = { block: 0, blockAt: 0, askingUntil: 0, awayUntil: 0 };
  const own = ownWindow(policy, now);
  return { policy, ...own, ...unheard(policy, own), ...never };
}

/** Spends `units`, of which there may be at most the policy's limit. */
export function spend(meter: Meter, units: number, now: number): Spending {
  const held = turned(meter, now);
  const { balance, endsAt, ownUntil } = held;
  if (balance >= units) return { outcome: "spent", meter: { ...held, balance: balance - units } };
  const need = units - balance;
  if (need >= held.refusedNeed) return { outcome: "refused", meter: held };
  if (now < held.awayUntil) return lend(held, units);
  const owed = now < held.tellingUntil ? 0 : held.owed;
  const want = wantOf(held, need, now);
  const ask = { units, need, want, owed, reserved: balance, endsAt, ownUntil, at: now };
  const telling = owed > 0 && { tellingUntil: now + limits.limiterTries * limits.limiterWaitMs };
  const asking = { balance: 0, askingUntil: now + limits.limiterWaitMs, ...telling };
  return { outcome: "ask", ask, meter: { ...held, ...asking } };
}

/** Takes the block that answers `ask`, and spends from it, once what the isolate lent itself meanwhile is paid. */
export function grant(meter: Meter, ask: Ask, block: Block, now: number): Spending {
  const held = told({ ...turned(meter, now), awayUntil: 0 }, ask, { owed: ask.owed, over: block.over });
  // As soon as it was asked the window had at least so long: the answer's own way only shortens it.
  const least = ask.at + block.endsInMs;
  const until = held.endsAt === block.endsAt ? Math.max(held.until, least) : least;
  const isOld = held.endsAt !== undefined && block.endsAt < held.endsAt;
  if (isOld || now >= until) return { outcome: "again", meter: held };
  const isNew = held.endsAt !== undefined && block.endsAt > held.endsAt;
  const inWindow = isNew ? { ...held, ...unheard(held.policy, held), owed: 0, beyond: 0 } : held;
  const reserved = ask.endsAt === block.endsAt ? ask.reserved : 0;
  const had = inWindow.balance + reserved + block.granted;
  // The limiter cut a block and knew nothing yet of a loan: were both spent, there would pass more than it has.
  const paid = Math.min(had, inWindow.owed);
  const paidBeyond = Math.min(had - paid, inWindow.beyond);
  const balance = had - paid - paidBeyond;
  const left = Math.min(block.left, inWindow.left);
  const owing = { owed: inWindow.owed - paid, beyond: inWindow.beyond - paidBeyond };
  const heard = { ...inWindow, ...owing, left, endsAt: block.endsAt, until };
  const taken = block.granted > 0 ? { ...heard, block: block.granted, blockAt: now } : heard;
  if (balance >= ask.units) return { outcome: "spent", meter: { ...taken, balance: balance - ask.units } };
  if (block.granted > 0) return { outcome: "again", meter: { ...taken, balance } };
  const refusedNeed = Math.min(inWindow.refusedNeed, ask.need);
  return { outcome: "refused", meter: { ...taken, balance, refusedNeed } };
}

/** Nobody answered `ask`: what it set aside comes back, and for a while the isolate lends itself a bounded number. */
export function fail(meter: Meter, ask: Ask, now: number): Spending {
  // The limiter may have counted what was owed: then it counts twice, which errs to the safe side.
  const held = told({ ...turned(meter, now), awayUntil: now + limits.limiterRetryMs }, ask, { owed: 0 });
  const isSame = held.endsAt === ask.endsAt && now < held.until;
  const balance = held.balance + (isSame ? ask.reserved : 0);
  if (balance >= ask.units) return { outcome: "spent", meter: { ...held, balance: balance - ask.units } };
  return lend({ ...held, balance }, ask.units);
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
  const held = turned(meter, now);
  const { policy, endsAt, balance, left, lent } = held;
  const { startsAt, endsAt: end } = windowAt(policy.period, now);
  const times = { endsInMs: endOf(held, now) - now, windowMs: end - startsAt };
  if (endsAt === undefined && lent === 0) return { policy, ...times };
  return { policy, left: Math.min(policy.limit, Math.max(0, left + balance)), ...times };
}

/** When the window ends of a meter that was turned, as far as this isolate can tell. */
export function endOf({ until, ownUntil }: Meter, now: number): number {
  return now < until ? until : ownUntil;
}

/** A window, by the isolate's own calendar, in which it lent itself nothing yet. */
function ownWindow(policy: Policy, now: number) {
  return { ownUntil: windowAt(policy.period, now).endsAt, lent: 0, owed: 0, beyond: 0, tellingUntil: 0 };
}

/** A window of which the limiter has said nothing yet. */
function unheard({ limit }: Policy, { ownUntil, lent }: Pick<Meter, "ownUntil" | "lent">) {
  const refusedNeed = Number.POSITIVE_INFINITY;
  return { until: ownUntil, endsAt: undefined, balance: 0, left: Math.max(0, limit - lent), refusedNeed };
}

function turned(meter: Meter, now: number): Meter {
  const own = now < meter.ownUntil ? meter : { ...meter, ...ownWindow(meter.policy, now) };
  if (now < own.until) return own;
  // An answer that was slow told the end too early. What is held may be of no use; what is known of the window is.
  return { ...own, ...(own.endsAt === own.ownUntil ? { balance: 0 } : unheard(own.policy, own)) };
}

/** An ask ended: the limiter knows of `owed` units by it, unless they were of another window, and is `over` its limit. */
function told(held: Meter, ask: Ask, { owed, over = 0 }: { owed: number; over?: number | undefined }): Meter {
  const ended = { ...held, askingUntil: 0 };
  if (ask.owed === 0 || ask.ownUntil !== held.ownUntil) return ended;
  const beyond = held.beyond + Math.min(owed, over);
  return { ...ended, tellingUntil: 0, owed: Math.max(0, held.owed - owed), beyond };
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
