// By what a consumer was let in whose socket stays open, and the call that asks whether it would be let in today.

import type { Result } from "./errors";

/**
 * A token by the SHA-256 of its text, in lower-case hex; behind a ticket, the token that made it, by its id. `until` is when
 * it ends, in epoch milliseconds; absent when it never does by itself. The root token has none.
 */
export type Admission = Readonly<{ by: "hash" | "id"; token: string; until?: number }>;

/** The admission by a token that ends at `expiresAt`, in epoch milliseconds; null: never by itself. */
export function admissionOf(by: Admission["by"], token: string, expiresAt: number | null): Admission {
  return { by, token, ...(expiresAt !== null && { until: expiresAt }) };
}

export interface AdmissionCalls {
  /** The admission as it stands now. Refused as `unauthenticated` when it has ended, as `unavailable` when nobody can tell. */
  admitted(call: Admission): Promise<Result<Admission>>;
}
