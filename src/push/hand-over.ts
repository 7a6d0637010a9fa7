// A receiver that cannot finish within the request answers 202, and completes over HTTP (clause 14): the request
// told it what completes its claim. Only under effectively-once; without a claim a 202 is a 2xx like any other.

import { limits } from "../limits";

/** In a request: what completes it. In a batch each message has its `claim` in the body. */
export const CLAIM = "pennypost-claim";
/** In a request: the fence of its claim. A receiver that remembers the highest can refuse a lower one. */
export const CLAIM_FENCE = "pennypost-claim-fence";
/** In a request: how long a 202 keeps the claim. In a 202: how long the receiver wants it kept instead. */
export const CLAIM_LEASE_MS = "pennypost-claim-lease-ms";

/** The claims of what a request carries, by offset. */
export type Claims = ReadonlyMap<number, Readonly<{ claim: string; fence: number }>>;
export type HandOver = Readonly<{ leaseMs: number; claims: Claims }>;

/** How long a 202 keeps the claim, by its header: within the bounds of a claim's lease. */
export function handOverMs(header: string | null): number {
  if (header === null || !/^\d{1,12}$/.test(header.trim())) return limits.handOverMs;
  return Math.min(Math.max(Number(header), limits.minClaimLeaseMs), limits.maxClaimLeaseMs);
}
