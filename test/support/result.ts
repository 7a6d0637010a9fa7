// What a test makes of a Result: its value, or a fault that says why there is none.

import type { BrokerError, Result } from "../../src/errors";

export function value<T>(result: Result<T>): T {
  if (!result.ok) throw new Error(`${result.error.code}: ${result.error.detail}`);
  return result.value;
}

/** The refusal of a Result, or a fault when there is none. */
export function refusalOf(result: Result<unknown>): BrokerError {
  if (result.ok) throw new Error("it was not refused");
  return result.error;
}
