// How much a push subscription may send now: what its endpoint's health allows, and what its rate and its
// concurrency are set to. Each partition has its share of the two, and an endpoint's health of its own. Pure.

import type { Sending } from "../dispatch-calls";
import { limits } from "../limits";
import type { Rate } from "../pace";
import { type Health, stopAfter } from "./endpoint-health";

/** What one dispatch may carry. `alone`: none other may be under way. */
export type Allowance = Readonly<
  | { send: false; until: number }
  | { send: true; alone: boolean; requests: number; dispatches: number; sending: Sending }
>;

export type Asked = Readonly<{
  health: Health;
  push: Readonly<{ rate?: Rate | undefined; maxConcurrency?: number }>;
  /** The partitions that the rate and the concurrency are shared by. */
  partitions: number;
  /** When the pace allows the next request. */
  nextSendAt: number;
  now: number;
}>;

/** What may be sent at `now`, or when to look again. */
export function allowance({ health, push, partitions, nextSendAt, now }: Asked): Allowance {
  if (health.state === "open" && now < health.until) return { send: false, until: health.until };
  const perSecond = Math.min(ratePerSecond(push.rate) / partitions, healthyRate(health));
  const isPaced = perSecond !== Number.POSITIVE_INFINITY;
  if (isPaced && nextSendAt > now + limits.pacedDispatchMs) return { send: false, until: nextSendAt };
  const share = Math.max(1, Math.floor((push.maxConcurrency ?? Number.POSITIVE_INFINITY) / partitions));
  const alone = isPaced || health.state !== "closed";
  const atOnce = Math.min(share, health.state === "ramping" ? Math.ceil(health.perSecond) : share);
  const { dispatches, connections } = split(health.state === "open" ? 1 : atOnce, alone);
  const requests = requestsOf(health, isPaced ? perSecond : undefined);
  const sending = { connections, stopAfter: stopAfter(health, now) };
  if (!isPaced) return { send: true, alone, requests, dispatches, sending };
  return {
    send: true,
    alone,
    requests,
    dispatches,
    sending: { ...sending, pace: { perSecond, nextSendAt } },
  };
}

/** A rate in requests a second; without end when none is set. */
export function ratePerSecond(rate: Rate | undefined): number {
  return rate === undefined ? Number.POSITIVE_INFINITY : (rate.requests * 1000) / rate.perMs;
}

function healthyRate(health: Health): number {
  return health.state === "ramping" ? health.perSecond : Number.POSITIVE_INFINITY;
}

/** A probe is one request; a step of the ramp, those of a second; else as many as its pace sends in a while. */
function requestsOf(health: Health, perSecond: number | undefined): number {
  if (health.state === "open") return 1;
  if (perSecond === undefined) return limits.dispatchMessages;
  const isStep = health.state === "ramping" && health.perSecond < health.ceiling;
  const ms = isStep ? 1000 : limits.pacedDispatchMs;
  return Math.min(limits.dispatchMessages, Math.max(1, Math.floor((perSecond * ms) / 1000)));
}

/** Requests at once as dispatches with connections each; no more than `atOnce` together. */
function split(atOnce: number, alone: boolean): { dispatches: number; connections: number } {
  const needed = Math.ceil(atOnce / limits.dispatchConnections);
  const dispatches = alone ? 1 : Math.min(limits.dispatchesPerSubscription, needed);
  return {
    dispatches,
    connections: Math.min(limits.dispatchConnections, Math.max(1, Math.floor(atOnce / dispatches))),
  };
}
