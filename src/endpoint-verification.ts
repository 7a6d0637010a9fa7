// Whether an endpoint has said that it wants what it would be sent. Until it has, nothing of a topic goes there: what is
// published waits in the log, and no attempt is counted.
//
//   unverified ──granted──▶ verified ──another URL, or another way──▶ unverified
//      │   ▲
//      │   └─ tried again, later and later
//      └─ a day without a grant ──▶ given up ──POST …/verify──▶ unverified
//
// It is kept with the subscription's settings, so that every partition learns of it as of any other change. Pure.

import { limits } from "./limits";
import type { Rate } from "./pace";

/** The OPTIONS handshake of CloudEvents' HTTP webhooks, or a signed POST whose answer must repeat a challenge. */
export const VERIFICATION_WAYS = ["handshake", "challenge"] as const;
export type VerificationWay = (typeof VERIFICATION_WAYS)[number];
/** What a subscription may ask for, and a broker for all that do not say. */
export const VERIFICATION_CHOICES = [...VERIFICATION_WAYS, "none"] as const;
export type VerificationChoice = (typeof VERIFICATION_CHOICES)[number];

/** How an endpoint is verified, and how far that has come. Instants are epoch ms. */
export type Verification = Readonly<{
  by: VerificationWay;
  /** The origin of the broker's URLs: who asks, and where an answer may come later. */
  base: string;
  /** When its present URL was set. */
  since: number;
  /** When the present round of tries began. */
  askedAt: number;
  tries: number;
  /** Absent once it is verified, or given up. */
  nextTryAt?: number;
  triedAt?: number;
  /** Why the last try was no grant. Never what the endpoint said. */
  reason?: string;
  verifiedAt?: number;
  /** Requests a minute that it allows at most; absent when it sets no limit. */
  allowedPerMinute?: number;
}>;

export type Grant = Readonly<
  { granted: true; allowedPerMinute?: number } | { granted: false; reason: string }
>;

/** Of push settings, what verification goes by. */
export type Verifiable = Readonly<{ url: string; verification?: Verification }>;

/** The verification of an endpoint that nobody has asked yet. The first try gives its settings time to be everywhere. */
export function newVerification(by: VerificationWay, base: string, now: number): Verification {
  return { by, base, since: now, askedAt: now, tries: 0, nextTryAt: now + limits.verifyAfterMs };
}

/** Whether nothing may be sent. Without a verification nobody asks for one. */
export function isUnverified(push: Partial<Verifiable> | undefined): boolean {
  return push?.verification !== undefined && push.verification.verifiedAt === undefined;
}

/** What a repeated PUT keeps: how far the same URL has come in the same way. */
export function keepVerification<V extends Verifiable>(held: Verifiable, wanted: V): V {
  const isSame = held.url === wanted.url && held.verification?.by === wanted.verification?.by;
  return isSame && held.verification ? { ...wanted, verification: held.verification } : wanted;
}

/** Whether `held` is still what was asked about when it was `asked`. */
export function isSameAsk(held: Verifiable, asked: Verifiable): boolean {
  return held.url === asked.url && held.verification?.since === asked.verification?.since;
}

/** The verification after a try. What was granted meanwhile, by callback, no failure takes back. */
export function noteTry(held: Verification, grant: Grant, now: number): Verification {
  if (held.verifiedAt !== undefined) return held;
  const { by, base, since, askedAt } = held;
  const tried = { by, base, since, askedAt, tries: held.tries + 1, triedAt: now };
  if (!grant.granted) {
    const nextTryAt = nextTry(askedAt, now);
    return { ...tried, reason: grant.reason, ...(nextTryAt !== undefined && { nextTryAt }) };
  }
  const { allowedPerMinute } = grant;
  return { ...tried, verifiedAt: now, ...(allowedPerMinute !== undefined && { allowedPerMinute }) };
}

/** A new round of tries, which somebody asked for. */
export function askedAnew(held: Verification, now: number): Verification {
  return held.verifiedAt === undefined ? { ...held, askedAt: now } : held;
}

/** As long again as it has been tried, within bounds; undefined when that was long enough. */
function nextTry(askedAt: number, now: number): number | undefined {
  const triedForMs = now - askedAt;
  if (triedForMs >= limits.verifyForMs) return undefined;
  return now + Math.min(limits.maxVerifyAgainMs, Math.max(limits.minVerifyAgainMs, triedForMs));
}

export type VerificationState = "unverified" | "verified" | "given-up";

export function stateOf({ verifiedAt, nextTryAt }: Verification): VerificationState {
  if (verifiedAt !== undefined) return "verified";
  return nextTryAt === undefined ? "given-up" : "unverified";
}

/** The rate that requests keep to: what the subscription sets or what the endpoint allows, whichever is less. */
export function effectiveRate(
  push: Readonly<{ rate?: Rate; verification?: Verification }>,
): Rate | undefined {
  const { rate, verification } = push;
  if (verification?.allowedPerMinute === undefined) return rate;
  const allowed = { requests: verification.allowedPerMinute, perMs: MINUTE_MS };
  return rate && rate.requests / rate.perMs <= allowed.requests / allowed.perMs ? rate : allowed;
}

const MINUTE_MS = 60_000;
const WHOLE_NUMBER = /^[1-9]\d{0,14}$/;

/** What `WebHook-Allowed-Rate` says: requests a minute, `any` for `*`, or undefined when it cannot be understood. */
export function readAllowedRate(text: string): number | "any" | undefined {
  const said = text.trim();
  if (said === "*") return "any";
  return WHOLE_NUMBER.test(said) ? Math.min(Number(said), limits.rateRequests) : undefined;
}
