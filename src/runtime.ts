// Time, chance and ids: the only file that reads a clock. Everything else is handed a Runtime, so that
// a test or a simulation can hand it another.

import { v7 as uuidv7 } from "uuid";

export type Runtime = Readonly<{
  /** The present instant, in epoch milliseconds. */
  now(): number;
  /** A number in [0, 1). */
  random(): number;
  /** A fresh UUIDv7 (RFC 9562): unique, and rising with time. */
  newId(): string;
}>;

export const systemRuntime: Runtime = {
  now: () => Date.now(),
  random: () => Math.random(),
  newId: () => uuidv7(),
};
