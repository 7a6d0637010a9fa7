// The call to the dispatcher: a leased batch, to be carried to its endpoint.

import type { SubscriptionSettings } from "./settings";
import type { LeaseAnswer } from "./subscription-calls";

export type DispatchCall = Readonly<{
  topic: string;
  subscription: string;
  /** The subscription's generation: with `partition`, the object to report to. */
  generation: string;
  partition: number;
  /** Which processing of the log this is: completed work of another replay does not count. */
  replay: number;
  settings: SubscriptionSettings;
  lease: LeaseAnswer;
}>;

export interface DispatchCalls {
  /** Carries a leased batch to its endpoint and reports how it fared. Never throws for an endpoint's fault. */
  deliver(call: DispatchCall): Promise<void>;
}
