// What a dispatch reports to the subscription's object of the lease that it carries out, and what it is answered.

import type { AttemptNote, DeadLetterReason } from "./attempt";
import type { EndpointSigns } from "./endpoint-signs";

/** How the dispatcher fared with one delivery. */
export type DispatchOutcome = Readonly<
  { offset: number } /** `status` is absent when it was not sent: the ledger had it as completed. */ & (
    | { result: "delivered"; status?: number }
    /** An attempt that failed: counted, retried after the policy's backoff or `retryAfterMs`; or, with `deadLetter`, never. */
    | { result: "failed"; note: AttemptNote; retryAfterMs?: number; deadLetter?: DeadLetterReason }
    /** Not sent: given back, no attempt counted, available again after `delayMs`. */
    | { result: "unsent"; delayMs: number; reason: string }
    /** The receiver has it for `leaseMs` from now on, and settles it by its claim's fence. */
    | { result: "handed-over"; fence: number; leaseMs: number }
  )
>;

export type ReportCall = Readonly<{
  leaseId: string;
  outcomes: readonly DispatchOutcome[];
  /** Move the deadline of what is left to now + this. */
  extendMs?: number;
  /** The dispatch has ended: what it does not mention is given back, no attempt counted. */
  done: boolean;
  /** The endpoint answered 410, or the target topic was deleted: stop sending. */
  endpointGone?: boolean;
  /** Of the settings that the dispatch went by, which may lead elsewhere by now. Not said by older dispatchers. */
  version?: number;
  /** What the dispatch's answers so far tell about its endpoint. */
  signs?: EndpointSigns;
}>;

/** `stop`: why the dispatch is to send nothing more. */
export type ReportAnswer = Readonly<{ stop: string }> | null;
