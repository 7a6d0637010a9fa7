// What the answers of one dispatch tell about its endpoint, as against its messages: whether it is at work, how many
// requests in a row it failed, and whether it asked to be left alone. The dispatcher counts, the subscription judges.

import { limits } from "./limits";

/** Counted over a whole dispatch, so that what is told twice says the same. */
export type EndpointSigns = Readonly<{
  /** Requests that showed the endpoint at work: a 2xx, or a refusal that speaks of the message. */
  worked: number;
  /** Requests that it failed, in all. */
  ailed: number;
  /** Requests that it failed since the last that showed it at work. */
  failing: number;
  /** Deliveries of those, the first few. */
  deliveries: readonly number[];
  /** Until when it asked to be left alone. */
  pausedUntil?: number;
  /** How it failed last. */
  reason?: string;
  /** When the pace of the dispatch allows the next request. */
  nextSendAt?: number;
}>;

/** One request as it ended: no `status` when there was no answer. */
export type RequestEnd = Readonly<{
  /** The first delivery that it carried. */
  offset: number;
  delivered: boolean;
  status?: number;
  error?: string;
  /** What its `Retry-After` asked for, within bounds; absent when it asked for nothing. */
  retryAfterMs?: number;
}>;

export const NO_SIGNS: EndpointSigns = { worked: 0, ailed: 0, failing: 0, deliveries: [] };

/** Refusals that say nothing of the message: not let in, not there, not now. Redirects and 5xx are such too. */
const OF_THE_ENDPOINT = new Set([401, 403, 404, 405, 407, 408, 421, 425, 429]);
/** The endpoint did not look at the message at all. */
const AWAY = new Set([408, 429, 502, 503, 504]);
const PAUSING = new Set([429, 503]);
const GONE = 410;

/** Whether an answer that is no 2xx speaks of the endpoint. Any other shows it at work on a message that it refuses. */
export function speaksOfEndpoint(status: number | undefined): boolean {
  return status === undefined || isRedirect(status) || status >= 500 || OF_THE_ENDPOINT.has(status);
}

/** Whether the endpoint did not look at the message: then this was no fault of the message's. */
export function isAway(status: number | undefined): boolean {
  return status === undefined || AWAY.has(status);
}

/** The signs with one more request. A 410 tells of neither: it ends the subscription's sending by itself. */
export function noteRequest(signs: EndpointSigns, end: RequestEnd, now: number): EndpointSigns {
  const { status, delivered, offset } = end;
  if (!delivered && status === GONE) return signs;
  if (delivered || !speaksOfEndpoint(status)) {
    return { ...signs, worked: signs.worked + 1, failing: 0, deliveries: [] };
  }
  const deliveries = [...new Set([...signs.deliveries, offset])].slice(0, limits.tripDeliveries);
  const asksFor = PAUSING.has(status ?? 0) ? end.retryAfterMs : undefined;
  const pausedUntil = Math.max(signs.pausedUntil ?? 0, asksFor === undefined ? 0 : now + asksFor);
  return {
    ...signs,
    ...{ ailed: signs.ailed + 1, failing: signs.failing + 1, deliveries },
    ...(pausedUntil > 0 && { pausedUntil }),
    reason: reasonOf(end),
  };
}

/** What of `signs` is new since `seen`, an earlier report of the same dispatch. */
export function signsSince(seen: EndpointSigns, signs: EndpointSigns): EndpointSigns {
  const hasWorked = signs.worked > seen.worked;
  return {
    ...signs,
    worked: signs.worked - seen.worked,
    ailed: signs.ailed - seen.ailed,
    failing: hasWorked ? signs.failing : signs.failing - seen.failing,
  };
}

function isRedirect(status: number): boolean {
  return status >= 300 && status < 400;
}

function reasonOf({ status, error }: RequestEnd): string {
  const words = error ?? "no answer";
  return (status === undefined ? words : `${status}: ${words}`).slice(0, limits.healthReasonLength);
}
