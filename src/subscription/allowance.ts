// How much a push subscription may send now: what its endpoint's health allows, and what its rate and its concurrency are
// set to. Each partition has an endpoint's health of its own. Of what is set for all, a dispatch asks for its part of what
// is shared while it sends; of the rest each partition has an equal part. Pure.

import type { Sending, Shared } from "../dispatch-calls";
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
  push: Readonly<{ rate?: Rate | undefined; maxConcurrency?: number; drainPerSecond?: number }>;
  /** The partitions that the rate and the concurrency are for. */
  partitions: number;
  /** Requests a second that the last dispatch made; absent when nothing is shared. */
  shared?: Readonly<{ perSecond: number }>;
  /** When the pace allows the next request. */
  nextSendAt: number;
  now: number;
}>;

/** What may be sent at `now`, or when to look again. */
export function allowance(asked: Asked): Allowance {
  const { health, push, partitions, nextSendAt, now } = asked;
  if (health.state === "open" && now < health.until) return { send: false, until: health.until };
  const shared = sharedOf(asked);
  const part = ratePerSecond(push.rate) / (asked.shared ? 1 : partitions);
  const perSecond = Math.min(part, healthyRate(health));
  const isPaced = perSecond !== Number.POSITIVE_INFINITY;
  if (isPaced && nextSendAt > now + limits.pacedDispatchMs) return { send: false, until: nextSendAt };
  const most = push.maxConcurrency ?? Number.POSITIVE_INFINITY;
  const share = asked.shared ? most : equalPart(most, partitions);
  const alone = isPaced || health.state !== "closed";
  const atOnce = Math.min(share, health.state === "ramping" ? Math.ceil(health.perSecond) : share);
  const { dispatches, connections } = split(health.state === "open" ? 1 : atOnce, alone);
  const requests = requestsOf(health, Math.min(perSecond, likely(asked, shared)));
  const sending = { connections, stopAfter: stopAfter(health, now), ...(shared && { shared }) };
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

/** One for each partition at the least. */
function equalPart(maxConcurrency: number, partitions: number): number {
  return Math.max(1, Math.floor(maxConcurrency / partitions));
}

/** That of which a dispatch asks for its part. */
function sharedOf({ health, push, partitions, shared }: Asked): Shared | undefined {
  if (shared === undefined) return undefined;
  const max = push.maxConcurrency;
  const slots = max !== undefined && { slots: { max, own: equalPart(max, partitions) } };
  const rate = ratePerSecond(push.rate);
  const drain = health.state === "ramping" ? push.drainPerSecond : undefined;
  const paces = {
    ...(rate !== Number.POSITIVE_INFINITY && { rate }),
    ...(drain !== undefined && { drain }),
  };
  if (!slots && Object.keys(paces).length === 0) return undefined;
  return { partitions, paces, ...slots, isBehind: false };
}

/** What a dispatch that shares will probably send a second: an equal part at the least, and twice what the last one did. */
function likely(asked: Asked, shared: Shared | undefined): number {
  if (shared === undefined || asked.shared === undefined) return Number.POSITIVE_INFINITY;
  const paces = Object.values(shared.paces).map((pace) => pace / shared.partitions);
  const least = paces.length > 0 ? Math.min(...paces) : limits.dispatchConnections;
  return Math.max(least, 2 * asked.shared.perSecond);
}

function healthyRate(health: Health): number {
  return health.state === "ramping" ? health.perSecond : Number.POSITIVE_INFINITY;
}

/** A probe is one request; a step of the ramp, those of a second; else as many as its pace sends in a while. */
function requestsOf(health: Health, perSecond: number): number {
  if (health.state === "open") return 1;
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
