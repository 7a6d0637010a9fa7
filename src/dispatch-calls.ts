// The call to the dispatcher: a leased batch, to be carried to its endpoint.

import type { PaceName } from "./capacity-calls";
import type { Pace } from "./pace";
import type { SubscriptionSettings } from "./settings";
import type { LeaseAnswer } from "./subscription-calls";

/** What the partitions of a subscription share: the dispatch asks the capacity for its own part. */
export type Shared = Readonly<{
  partitions: number;
  /** Requests a second of all partitions together. */
  paces: Readonly<Partial<Record<PaceName, number>>>;
  /** Requests under way at once of all partitions together, and of this dispatch while nobody divides them. */
  slots?: Readonly<{ max: number; own: number }>;
  /** There is more to send than this dispatch carries. */
  isBehind: boolean;
}>;

/** How a dispatch may send. */
export type Sending = Readonly<{
  /** Requests at once. */
  connections: number;
  /** So many requests in a row that the endpoint fails end the dispatch: what is left goes back unsent. */
  stopAfter: number;
  /** Absent when nothing but the endpoint's answers holds it back. */
  pace?: Pace;
  /** Absent when nothing is shared. */
  shared?: Shared;
}>;

export type DispatchCall = Readonly<{
  topic: string;
  subscription: string;
  /** The subscription's generation: with `partition`, the object to report to. */
  generation: string;
  partition: number;
  /** Which processing of the log this is: completed work of another replay does not count. */
  replay: number;
  settings: SubscriptionSettings;
  /** Of these settings; comes back with each report. */
  version?: number;
  lease: LeaseAnswer;
  /** As fast as one dispatch can, unless it is said. */
  sending?: Sending;
}>;

/** Asks whoever made a call whether to go on with it. True the first time, and never again. */
export type Begin = () => Promise<boolean>;

export interface DispatchCalls {
  /**
   * Carries a leased batch to its endpoint and reports how it fared. Never throws for an endpoint's fault. `begin` is
   * made for this call alone: however often that arrives, one dispatch sends.
   */
  deliver(call: DispatchCall, begin: Begin): Promise<void>;
}
