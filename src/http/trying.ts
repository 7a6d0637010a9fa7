// A write that is tried a few times: what failed on the way is sent again, with the same ids, so nothing is written twice.

import { type BrokerError, ok, type Result, refuse } from "../errors";
import { limits } from "../limits";
import type { Broker } from "./broker";

/** Tries `write` a few times. `isFinal` knows the faults that another try would only make worse. */
export async function trying<T>(
  { runtime, log }: Broker,
  write: () => Promise<T>,
  isFinal: (fault: unknown) => BrokerError | undefined,
): Promise<Result<T>> {
  for (let tries = 1; ; tries++) {
    try {
      return ok(await write());
    } catch (fault) {
      const error = isFinal(fault);
      if (error) return { ok: false, error };
      if (log) console.warn(JSON.stringify({ at: "publish", tries, fault: String(fault) }));
      if (tries === limits.appendTries) return away();
      const waitMs = runtime.random() * limits.appendRetryMs * tries;
      await new Promise((wake) => setTimeout(wake, waitMs));
    }
  }
}

function away(): Result<never> {
  return refuse("unavailable", "The message could not be written; publish it again.", {
    retryAfterMs: limits.catalogRetryMs,
  });
}
