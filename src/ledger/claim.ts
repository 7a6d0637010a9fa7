// A claim is a leased right to process one message id. A bare "insert, then work" would lose the message when
// the work crashes; a claim's lease ends, and then another claimant may take it.
//
//   (absent) ──claim──▶ claimed ──complete──▶ completed        stays so, and answers its result
//                        ▲    │
//                        │    ├──fail────▶ failed     the work was tried: the attempt counts
//                        │    ├──release─▶ released   the work was not begun: no attempt counted
//                        │    └──lease ends           nobody knows
//                        └── claimed anew, under a higher fence
//
// The fence decides every settle: whoever was overtaken has lost. A completion that comes late, after the lease
// ended or after a fail, is honoured as long as nobody claimed since: it saves the work from being done twice.

export type ClaimState = "claimed" | "completed" | "failed" | "released";

/** A row of `processed_messages`, as far as decisions look at it. */
export type Claim = Readonly<{
  messageId: string;
  state: ClaimState;
  fence: number;
  claimant: string;
  leaseUntil: number;
  fingerprint: string | null;
  result: string | null;
  attempts: number;
  /** Until then it is remembered, whatever becomes of it. */
  retainUntil: number;
}>;

export type ClaimAnswer = Readonly<
  { messageId: string } & (
    | { state: "claimed"; fence: number; leaseUntil: number; attempts: number; retainUntil: number }
    | { state: "completed"; result: string | null }
    | { state: "in-progress"; leaseUntil: number }
    /** The same id was claimed for other content. */
    | { state: "reused" }
  )
>;

/** The namespace of a push subscription's partition, another one for each replay of its log. */
export function pushNamespace(generation: string, partition: number, replay = 0): string {
  return `push:${generation}:${partition}${replay > 0 ? `:${replay}` : ""}`;
}

/** What a push claim is for. An id may stand at two offsets, under two ordering keys: then it is two messages. */
export function pushClaimId({ offset, messageId }: Readonly<{ offset: number; messageId: string }>): string {
  return `${offset}:${messageId}`;
}

export type PushClaim = Readonly<{ partition: number; offset: number; replay: number; fence: number }>;

/** What a receiver completes a push claim by: opaque to it, as an ack id is to a consumer. */
export function pushClaimText({ partition, offset, replay, fence }: PushClaim): string {
  return `${partition}.${offset}.${replay}.${fence}`;
}

/** The namespace of a ledger that consumers use over HTTP. */
export function ledgerNamespace(ledger: string): string {
  return `ledger:${ledger}`;
}

/**
 * What a claimant is told about `row`, read in the same transaction after its claim was tried: a claim in its
 * name is its own, whether it was granted just now or before.
 */
export function claimAnswer(
  row: Claim,
  asked: Readonly<{ claimant: string; fingerprint?: string }>,
): ClaimAnswer {
  const { messageId, fence, leaseUntil, attempts, retainUntil } = row;
  if (isOtherContent(row.fingerprint, asked.fingerprint)) return { messageId, state: "reused" };
  if (row.state === "completed") return { messageId, state: "completed", result: row.result };
  if (row.claimant === asked.claimant) {
    return { messageId, state: "claimed", fence, leaseUntil, attempts, retainUntil };
  }
  return { messageId, state: "in-progress", leaseUntil };
}

/** A fingerprint that is absent on either side says nothing. */
function isOtherContent(stored: string | null, asked: string | undefined): boolean {
  return stored !== null && asked !== undefined && stored !== asked;
}
