// The calls to a limiter: the object that counts for one token or topic, and hands its allowance out in blocks.

import type { Result } from "./errors";
import type { Policy } from "./limit-policy";

/** What an isolate asks for. The same `askId` again gets the same block, and counts once. */
export type TakeCall = Readonly<{
  askId: string;
  policy: Policy;
  /** Units that it cannot do without, and what it would like to have for the next moments. */
  need: number;
  want: number;
  /** Units that it let through while the limiter was away. They count, also beyond the limit. */
  owed: number;
}>;

/** Units that whoever asked may spend until the window ends: none, or at least what was needed. */
export type Block = Readonly<{
  granted: number;
  /** What was left for everybody when the block was cut. */
  left: number;
  /** How many more than the limit are handed out and owed. Absent: none, as from a limiter of before. */
  over?: number;
  /** When the window ends: by the limiter's clock, which names the window, and from the answer on. */
  endsAt: number;
  endsInMs: number;
}>;

/** How a limit stands: what was not handed out in the present window. */
export type Left = Readonly<{ left: number; endsAt: number }>;

export interface LimiterCalls {
  take(call: TakeCall): Promise<Result<Block>>;
  /** Reads only: a limiter that counts nothing yet is not brought to life. */
  look(call: Readonly<{ policies: readonly Policy[] }>): Promise<Result<readonly Left[]>>;
}
