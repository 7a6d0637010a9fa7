// The handshake of CloudEvents' HTTP webhooks (section 4, Abuse Protection): an OPTIONS request asks whether the endpoint
// wants events from this broker, and the answer's headers say so, and at which rate.

import { type Grant, readAllowedRate } from "../endpoint-verification";
import type { Rate } from "../pace";
import type { HeaderList } from "./webhook-headers";

/** On every request to an endpoint that has granted it. */
export const REQUEST_ORIGIN = "webhook-request-origin";
const MINUTE_MS = 60_000;

export type Handshake = Readonly<{
  /** The host that asks. */
  host: string;
  /** Requests a minute that are asked for; undefined when there is no telling. */
  perMinute?: number;
  /** Where it may be granted later. */
  callback?: string;
}>;

/** A handshake by the broker at `base` for an endpoint that is sent to at `rate`. */
export function handshakeOf(base: string, rate: Rate | undefined, callback: string | undefined): Handshake {
  const perMinute = rate && Math.max(1, Math.floor((rate.requests * MINUTE_MS) / rate.perMs));
  return {
    host: hostOf(base),
    ...(perMinute !== undefined && { perMinute }),
    ...(callback !== undefined && { callback }),
  };
}

/** The host that requests say they come from. */
export function hostOf(base: string): string {
  return new URL(base).hostname;
}

/** The request's headers: nothing of the endpoint's own is among them, and nothing secret but the callback. */
export function handshakeHeaders({ host, perMinute, callback }: Handshake): HeaderList {
  return {
    "user-agent": "Pennypost",
    [REQUEST_ORIGIN]: host,
    ...(perMinute !== undefined && { "webhook-request-rate": String(perMinute) }),
    ...(callback !== undefined && { "webhook-request-callback": callback }),
  };
}

/**
 * What an answer grants. The status alone is no consent: sites answer OPTIONS for other reasons. A rate must be answered
 * when one was asked for.
 */
export function readHandshake(
  { status, headers }: Readonly<{ status: number; headers: Pick<Headers, "get"> }>,
  { host, perMinute }: Handshake,
): Grant {
  if (status < 200 || status >= 300) return refused(`it answered OPTIONS with ${status}`);
  const origin = headers.get("webhook-allowed-origin")?.trim();
  if (origin === undefined) return refused("its answer to OPTIONS has no WebHook-Allowed-Origin");
  if (origin !== "*" && origin.toLowerCase() !== host.toLowerCase()) {
    return refused(`its WebHook-Allowed-Origin is neither * nor ${host}`);
  }
  const said = headers.get("webhook-allowed-rate");
  if (said === null) {
    return perMinute === undefined
      ? { granted: true }
      : refused("its answer to OPTIONS has no WebHook-Allowed-Rate");
  }
  const rate = readAllowedRate(said);
  if (rate === undefined) return refused("its WebHook-Allowed-Rate is neither * nor a whole number above 0");
  return rate === "any" ? { granted: true } : { granted: true, allowedPerMinute: rate };
}

function refused(reason: string): Grant {
  return { granted: false, reason };
}
