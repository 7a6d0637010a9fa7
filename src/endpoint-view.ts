// How a push subscription's endpoint fares, in the words of the stats and the timeline.

import type { Verification } from "./endpoint-verification";

/** How a push subscription's endpoint fares, as the stats and the timeline show it. Instants are epoch ms. */
export type EndpointView = Readonly<{
  /** `probing`: it is due to be sent one message, or is being sent it. */
  state: "closed" | "open" | "probing" | "ramping" | "unverified";
  /** Since when it is not well, or not verified. */
  since?: number;
  /** Nothing is sent before; of one that is not verified, when it is asked next. */
  until?: number;
  /** How it failed last, or what its last answer lacked. */
  reason?: string;
  /** Requests a second that it is sent at most, while it recovers. */
  perSecond?: number;
}>;

/** An endpoint that is sent nothing until it is verified. */
export function unverifiedView({ since, nextTryAt, reason }: Verification): EndpointView {
  return {
    ...{ state: "unverified", since },
    ...(nextTryAt !== undefined && { until: nextTryAt }),
    ...(reason !== undefined && { reason }),
  };
}
