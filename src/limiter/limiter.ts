// What a limiter decides: how much of a window's allowance goes to whoever asks. The allowance is leased in blocks, as
// Doorman leases capacity and Envoy's rate limit quota service assigns it, so that a busy isolate asks once per block.
// Nothing that was handed out comes back before its window ends: what is handed out in one window never exceeds the limit,
// whatever became of those who hold it.

import { type Policy, type Window, windowAt } from "../limit-policy";
import type { Block, Left, TakeCall } from "../limiter-calls";
import { limits } from "../limits";

/** What was handed out in a window. */
type Tally = Window & Readonly<{ taken: number }>;
type Answered = Readonly<{ askId: string; block: Omit<Block, "endsInMs"> }>;

export type LimiterState = Readonly<{
  /** The latest instant that was seen: windows never begin again, whatever the clock says. */
  seenAt: number;
  /** By policy and period: what is asked for under another limit of the same period is the same tally. */
  tallies: Readonly<Record<string, Tally>>;
  /** The last answers, newest first: a call that arrives twice counts once. */
  answered: readonly Answered[];
}>;

export const idle: LimiterState = { seenAt: 0, tallies: {}, answered: [] };

/** `mustSave`: the change has to outlive the object's memory. */
export type Taken = Readonly<{ state: LimiterState; block: Block; mustSave: boolean }>;

/** Answers one call. */
export function take(state: LimiterState, call: TakeCall, now: number): Taken {
  const before = state.answered.find(({ askId }) => askId === call.askId);
  if (before) return { state, block: blockAt(before.block, now), mustSave: false };
  const seenAt = Math.max(state.seenAt, now);
  const key = keyOf(call.policy);
  const tally = tallyOf(state, call.policy, seenAt);
  const owing = tally.taken + call.owed;
  const granted = blockSize(call, call.policy.limit - owing);
  const taken = owing + granted;
  const free = call.policy.limit - taken;
  const over = free < 0 && { over: -free };
  const block = { granted, left: Math.max(0, free), endsAt: tally.endsAt, ...over };
  const answered = [{ askId: call.askId, block }, ...state.answered].slice(0, limits.limiterAnswersKept);
  const tallies = { ...openTallies(state, seenAt), [key]: { ...tally, taken } };
  return {
    state: { seenAt, tallies, answered },
    block: blockAt(block, now),
    mustSave: taken > tally.taken && isKept(call.policy),
  };
}

/** How limits stand. */
export function look(state: LimiterState, policies: readonly Policy[], now: number): readonly Left[] {
  const seenAt = Math.max(state.seenAt, now);
  return policies.map((policy) => {
    const { taken, endsAt } = tallyOf(state, policy, seenAt);
    return { left: Math.max(0, policy.limit - taken), endsAt };
  });
}

/** When everything that is counted here is over; 0 when nothing is. */
export function overAt({ tallies }: LimiterState): number {
  return Math.max(0, ...Object.values(tallies).map(({ endsAt }) => endsAt));
}

/**
 * What is needed or nothing; more, if it is wanted, only while that is a small share of what is free: no isolate keeps
 * the others waiting with what it may never spend.
 */
function blockSize({ need, want }: TakeCall, free: number): number {
  if (need > free) return 0;
  return Math.max(need, Math.min(want, Math.floor(free / limits.limiterShare)));
}

/** A second is over before an object that is gone is back, so its tally lives in memory. */
function isKept({ period }: Policy): boolean {
  return period !== "perSecond";
}

function tallyOf({ tallies }: LimiterState, policy: Policy, now: number): Tally {
  const held = tallies[keyOf(policy)];
  return held && held.endsAt > now ? held : { ...windowAt(policy.period, now), taken: 0 };
}

function openTallies({ tallies }: LimiterState, now: number): Readonly<Record<string, Tally>> {
  return Object.fromEntries(Object.entries(tallies).filter(([, { endsAt }]) => endsAt > now));
}

function keyOf({ name, period }: Policy): string {
  return `${name} ${period}`;
}

function blockAt(block: Answered["block"], now: number): Block {
  return { ...block, endsInMs: Math.max(0, block.endsAt - now) };
}
