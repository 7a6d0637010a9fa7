// How a push subscription's endpoint fares, in the words of the stats and the timeline.

/** How a push subscription's endpoint fares, as the stats and the timeline show it. Instants are epoch ms. */
export type EndpointView = Readonly<{
  /** `probing`: it is due to be sent one message, or is being sent it. */
  state: "closed" | "open" | "probing" | "ramping";
  /** Since when it is not well. */
  since?: number;
  /** Nothing is sent before. */
  until?: number;
  /** How it failed last. */
  reason?: string;
  /** Requests a second that it is sent at most, while it recovers. */
  perSecond?: number;
}>;
