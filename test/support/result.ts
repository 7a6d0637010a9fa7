// What a test makes of a Result: its value, or a fault that says why there is none.

import type { Result } from "../../src/errors";

export function value<T>(result: Result<T>): T {
  if (!result.ok) throw new Error(`${result.error.code}: ${result.error.detail}`);
  return result.value;
}
