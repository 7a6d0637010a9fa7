// The call to the dispatcher that has an endpoint verified.

import type { Result } from "./errors";

/** Which subscription's endpoint is to be asked whether it wants what it would be sent. */
export type VerifyCall = Readonly<{
  generation: string;
  /** Who had it asked; absent when the subscription did by itself. */
  by?: Readonly<{ id: string; name: string; requestId: string }>;
}>;

export interface VerifyCalls {
  /** Asks an endpoint that is not verified, once, and has the catalog write down what it said. */
  verify(call: VerifyCall): Promise<Result<null>>;
}
