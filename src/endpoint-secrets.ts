// The secrets of a push endpoint: the keys that sign its requests, and what it is shown to let them in.
//
//   (none) ──offered──▶ newest ──rotated──▶ overlapping until expiresAt ──▶ (gone)
//
// While keys overlap a request carries one signature of each, newest first. Every function is pure: keys are made, and
// sealed, by whoever calls.

import { ok, type Result, refuse } from "./errors";
import { limits } from "./limits";

/** Standard Webhooks: `v1` is HMAC-SHA256 under a shared secret, `v1a` is ed25519 under a key pair. */
export type SignatureScheme = "v1" | "v1a";

/** Sealed as it is stored (src/sealing.ts); plain on its way there, or from before secrets were sealed. */
export type Secret = Readonly<{ sealed: string }> | Readonly<{ plain: string }>;

export type SigningKey = Readonly<{
  scheme: SignatureScheme;
  /** `whsec_…` or `whsk_…`. */
  secret: Secret;
  /** `whpk_…`, of v1a only. */
  publicKey?: string;
  /** Until when it signs beside newer ones; the newest of a scheme has none. */
  expiresAt?: number;
}>;

/** How a request shows the endpoint who sends it. `secret` is the token, the password or the client's secret. */
export type EndpointAuth = Readonly<
  { secret: Secret } & (
    | { type: "bearer" }
    | { type: "basic"; username: string }
    | {
        type: "oauth2";
        tokenUrl: string;
        clientId: string;
        /** Whether the token request carries the client's credentials in its header or in its body. */
        clientAuthentication: "header" | "body";
        scope?: string;
        audience?: string;
      }
  )
>;

/** What signs the requests of an endpoint, as its settings hold it. */
export type Signing = Readonly<{
  /** Plain `v1` secrets: one that was just given, or those of before secrets were sealed. */
  secrets: readonly string[];
  /** What requests are signed with; `v1` when it is absent. */
  signatures?: readonly SignatureScheme[];
  /** Newest first. */
  signingKeys?: readonly SigningKey[];
}>;

export function schemesOf({ signatures }: Signing): readonly SignatureScheme[] {
  return signatures ?? ["v1"];
}

/** All keys, newest first. */
export function keysOf({ secrets, signingKeys = [] }: Signing): readonly SigningKey[] {
  return [...secrets.map((plain) => ({ scheme: "v1" as const, secret: { plain } })), ...signingKeys];
}

/** The keys that sign at `now`, newest first: one signature each. A key of a scheme that is not asked for rests. */
export function signingAt(signing: Signing, now: number): readonly SigningKey[] {
  const schemes = schemesOf(signing);
  return keysOf(signing).filter(
    ({ scheme, expiresAt = Infinity }) => schemes.includes(scheme) && now < expiresAt,
  );
}

/** The newest key of a scheme. */
export function newestOf(signing: Signing, scheme: SignatureScheme): SigningKey | undefined {
  return keysOf(signing).find((key) => key.scheme === scheme);
}

/** What a repeated PUT keeps: secrets are never returned, so one that names none keeps those that are held. */
export function keepKeys<S extends Signing>(held: Signing, wanted: S): S {
  const { signingKeys } = held;
  const secrets = wanted.secrets.length > 0 ? wanted.secrets : held.secrets;
  return { ...wanted, secrets, ...(signingKeys && { signingKeys }) };
}

/**
 * Each scheme that is asked for and has no key takes the one that is offered. What is held wins: of two first PUTs at
 * one moment one makes the secret, and the other does not show a secret that signs nothing.
 */
export function takeOffered<S extends Signing>(signing: S, offered: readonly SigningKey[]): S {
  const taken = schemesOf(signing).flatMap((scheme) => {
    if (newestOf(signing, scheme)) return [];
    return offered.find((key) => key.scheme === scheme) ?? [];
  });
  if (taken.length === 0) return signing;
  return { ...signing, signingKeys: [...taken, ...(signing.signingKeys ?? [])] };
}

/** Puts `given` before the held keys: it replaces those of its scheme, unless it is the newest of them already. */
export function takeGiven(held: readonly SigningKey[], given: readonly SigningKey[]): readonly SigningKey[] {
  const [first] = given;
  if (first === undefined) return held;
  const newest = held.find(({ scheme }) => scheme === first.scheme);
  if (newest && sameSecret(newest.secret, first.secret)) return held;
  return [...given, ...held.filter(({ scheme }) => scheme !== first.scheme)];
}

/**
 * Begins to sign with `fresh`; what signed until now goes on for `overlapMs`, and no longer than it was to before.
 * Refused when a scheme would have more than limits.signingKeys: dropping the oldest would break who still holds it.
 */
export function rotate<S extends Signing>(
  signing: S,
  fresh: readonly SigningKey[],
  { now, overlapMs }: { now: number; overlapMs: number },
): Result<S> {
  const old = signingAt(signing, now)
    .map((key) => ({ ...key, expiresAt: Math.min(key.expiresAt ?? Infinity, now + overlapMs) }))
    .filter(({ expiresAt }) => expiresAt > now);
  const used = fresh.filter(({ scheme }) => schemesOf(signing).includes(scheme));
  const signingKeys = [...used, ...old];
  const crowded = schemesOf(signing).some(
    (scheme) => signingKeys.filter((key) => key.scheme === scheme).length > limits.signingKeys,
  );
  if (!crowded) return ok({ ...signing, secrets: [], signingKeys });
  return refuse("conflict", "Too many secrets overlap: wait for one to end, or expire the old ones.", {
    limit: limits.signingKeys,
  });
}

/** Only the newest key of each scheme is left. */
export function expireOld<S extends Signing>(signing: S): S {
  const keys = keysOf(signing);
  const isNewest = ({ scheme }: SigningKey, index: number) =>
    keys.findIndex((key) => key.scheme === scheme) === index;
  return { ...signing, secrets: [], signingKeys: keys.filter(isNewest) };
}

function sameSecret(one: Secret, other: Secret): boolean {
  return JSON.stringify(one) === JSON.stringify(other);
}
