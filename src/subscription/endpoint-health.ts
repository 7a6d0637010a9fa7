// How well an endpoint fares, told from what its requests were answered, and how much it is sent.
//
//             fails often in a row, or asks for a pause
//   closed ────────────────────────────────────────────▶ open ◀──┐ the probe fails: longer
//     ▲                                                    │      │
//     │ caught up, or long enough at the ceiling           │ its time passes: one probe, a real message
//     │                                                    ▼      │
//   ramping ◀────── the probe shows it at work ──── (open, due) ──┘
//     │  ▲└── a clean step: twice the rate ──┘
//     └── fails again ──▶ open
//
// There is no state "a probe is under way": while it is due, as many may be under way as one. So a probe that is
// lost needs no one to tell of it. Every function is pure: the caller brings the time and the jitter.

import type { EndpointSigns } from "../endpoint-signs";
import { limits } from "../limits";

/** Requests a second that showed the endpoint at work, smoothed over a minute, as of `at`. */
export type Throughput = Readonly<{ perSecond: number; at: number }>;
/** Failures in a row, and the deliveries they were of: one message alone never opens the circuit. */
export type Tally = Readonly<{ failing: number; deliveries: readonly number[] }>;

export type Closed = Readonly<{ state: "closed"; tally: Tally; throughput: Throughput }>;
type Troubled = Readonly<{
  /** When it first failed. */
  since: number;
  /** How often in a row it was opened. */
  opens: number;
  reason: string;
  /** Requests a second that the ramp ends at. */
  ceiling: number;
}>;
export type Open = Troubled & Readonly<{ state: "open"; until: number }>;
export type Ramping = Troubled &
  Readonly<{ state: "ramping"; perSecond: number; tally: Tally; atCeilingSince?: number }>;
export type Health = Closed | Open | Ramping;

export type HealthMoment = Readonly<{ now: number; jitter: () => number }>;
/** What a report brings: what is new in its signs; whether its dispatch has ended; whether more is to be sent. */
export type Judged = Readonly<{
  signs: EndpointSigns;
  done: boolean;
  wasClean: boolean;
  isBehind: boolean;
  drainPerSecond?: number;
}>;

const NO_TALLY: Tally = { failing: 0, deliveries: [] };

/** The health of an endpoint of which nothing is known. */
export const newHealth: Closed = { state: "closed", tally: NO_TALLY, throughput: { perSecond: 0, at: 0 } };

/** Takes in what a dispatch told. */
export function judge(health: Health, judged: Judged, moment: HealthMoment): Health {
  const { now } = moment;
  const asked = pauseOf(judged.signs, now);
  if (health.state === "closed") {
    const throughput = flow(health.throughput, judged.signs.worked, now);
    const tally = count(health.tally, judged.signs);
    if (asked === undefined && !isTripped(tally, stopAfter(health, now)))
      return { ...health, tally, throughput };
    const ceiling = judged.drainPerSecond ?? ceilingOf(throughput.perSecond);
    return open({ since: now, opens: 0, reason: "", ceiling }, judged.signs, moment, asked);
  }
  if (health.state === "open") return judgeProbe(health, judged, moment, asked);
  const tally = count(health.tally, judged.signs);
  if (asked !== undefined || isTripped(tally, stopAfter(health, now))) {
    return open(health, judged.signs, moment, asked);
  }
  const isStep = judged.done && judged.wasClean && judged.signs.worked > 0;
  return isStep ? stepUp({ ...health, tally }, judged.isBehind, now) : { ...health, tally };
}

/** How many failures in a row end a dispatch, and open the circuit. */
export function stopAfter(health: Health, now: number): number {
  if (health.state === "open") return now < health.until ? 0 : 1;
  if (health.state === "closed") return limits.tripRequests;
  return Math.min(limits.tripRequests, Math.max(1, Math.ceil(health.perSecond)));
}

/** Whether a failed request counts no attempt: it was the probe, and the endpoint did not look at its message. */
export function sparesAttempts(health: Health): boolean {
  return health.state === "open";
}

/** The operator says that the endpoint is well, or it is another: what was known of it counts no more. */
export function forgiven(health: Health, now: number): Health {
  if (health.state === "closed") return { ...health, tally: NO_TALLY };
  if (health.state === "ramping") return health;
  return { ...health, until: Math.min(health.until, now) };
}

// ── while it is open ─────────────────────────────────────────────────────────────────────────────────

/** Before its time only what was under way when it opened can tell anything: nothing but a longer pause counts. */
function judgeProbe(health: Open, judged: Judged, moment: HealthMoment, asked: number | undefined): Health {
  const { now } = moment;
  const { signs } = judged;
  if (now < health.until) {
    return asked === undefined ? health : { ...health, until: Math.max(health.until, asked) };
  }
  if (asked !== undefined || signs.failing > 0) return open(health, signs, moment, asked);
  if (signs.worked === 0) return health;
  const { since, opens, reason, ceiling } = health;
  const ramping: Ramping = {
    ...{ state: "ramping", since, opens, reason, ceiling, perSecond: 1, tally: NO_TALLY },
  };
  return judged.done ? stepUp(ramping, judged.isBehind, now) : ramping;
}

function open(from: Troubled, signs: EndpointSigns, { now, jitter }: HealthMoment, asked?: number): Open {
  const opens = from.opens + 1;
  const longestMs = Math.min(limits.maxOpenMs, limits.minOpenMs * 2 ** Math.min(opens - 1, 30));
  const until = asked ?? now + Math.ceil((longestMs * (1 + jitter())) / 2);
  const { since, ceiling } = from;
  return { state: "open", since, opens, reason: signs.reason ?? from.reason, ceiling, until };
}

/** Until when the endpoint asked to be left alone, if that is still ahead; never longer than `maxRetryAfterMs`. */
function pauseOf({ pausedUntil }: EndpointSigns, now: number): number | undefined {
  if (pausedUntil === undefined || pausedUntil <= now - limits.minPauseMs) return undefined;
  return Math.min(Math.max(pausedUntil, now + limits.minPauseMs), now + limits.maxRetryAfterMs);
}

// ── while it recovers ────────────────────────────────────────────────────────────────────────────────

/** Twice the rate; at the ceiling, until nothing is behind any more, or for as long as that may last. */
function stepUp(health: Ramping, isBehind: boolean, now: number): Health {
  const heldMs = health.atCeilingSince === undefined ? 0 : now - health.atCeilingSince;
  if (!isBehind || heldMs >= limits.maxRampMs) {
    return { ...newHealth, throughput: { perSecond: health.perSecond, at: now } };
  }
  const perSecond = Math.min(health.perSecond * 2, health.ceiling);
  if (perSecond < health.ceiling) return { ...health, perSecond };
  return { ...health, perSecond, atCeilingSince: health.atCeilingSince ?? now };
}

/** A backlog drains at no more than so many times what the endpoint took before. */
function ceilingOf(perSecond: number): number {
  return Math.max(limits.minDrainPerSecond, Math.round(perSecond * limits.drainShare));
}

// ── counting ─────────────────────────────────────────────────────────────────────────────────────────

function count(tally: Tally, { worked, failing, deliveries }: EndpointSigns): Tally {
  const before = worked > 0 ? NO_TALLY : tally;
  if (failing <= 0) return before;
  const all = new Set([...before.deliveries, ...deliveries]);
  return {
    failing: before.failing + failing,
    deliveries: [...all].slice(0, limits.tripDeliveries),
  };
}

function isTripped({ failing, deliveries }: Tally, after: number): boolean {
  return failing >= after && deliveries.length >= Math.min(limits.tripDeliveries, after);
}

function flow({ perSecond, at }: Throughput, worked: number, now: number): Throughput {
  const kept = Math.exp(-Math.max(0, now - at) / limits.throughputMs);
  return { perSecond: perSecond * kept + (worked * 1000) / limits.throughputMs, at: Math.max(at, now) };
}
