// How long the ledger remembers a push claim: past the last moment at which its message can be handed out again.

import { limits } from "../limits";
import type { SubscriptionSettings } from "../settings";

/**
 * In milliseconds from the claim. A message is handed out as long as the topic has it, which removal may lag behind
 * by a segment; and a dead letter that is redriven brings its own, for another run of attempts. A retention that is
 * not known counts as the longest.
 */
export function claimRetentionMs(
  { retry, ackDeadlineMs }: Pick<SubscriptionSettings, "retry" | "ackDeadlineMs">,
  topicRetentionMs: number | undefined,
): number {
  const keptMs = topicRetentionMs ?? limits.maxRetentionMs;
  const laggedMs = keptMs + Math.ceil(keptMs / limits.segmentsPerRetention);
  const retriedMs = retry.maxAttempts * (retry.maxDelayMs + ackDeadlineMs);
  const neededMs = laggedMs + retriedMs;
  return Math.min(Math.max(limits.ledgerRetentionMs, neededMs), limits.maxLedgerRetentionMs);
}
