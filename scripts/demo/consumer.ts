// The frame of every consumer process of the demo: it pulls, hands each message over, and speaks to its parent
// in lines of JSON. Told where (HOLD_AT), it stops dead at a step, so that its parent can kill it right there.

import { writeSync } from "node:fs";
import type { Address } from "../../test/support/broker.ts";
import { type Pulled, type PullOptions, pull } from "../../test/support/client.ts";

/** What a consumer tells its parent. */
export type Line = Readonly<
  { ready: true } | { held: string; id: string } | { done: readonly string[] } | { note: string; id: string }
>;

const STDOUT = 1;
const { BROKER_URL = "", BROKER_TOKEN = "", SUBSCRIPTION = "", HOLD_AT = "" } = process.env;
const [holdStep, holdVisit = "1"] = HOLD_AT.split(":");
let visits = 0;

export const broker: Address = { url: BROKER_URL, token: BROKER_TOKEN };
/** The path of what it consumes. */
export const subscription = SUBSCRIPTION;

/** Tells the parent, at once: a line that was told survives a kill. */
export function tell(line: Line): void {
  writeSync(STDOUT, `${JSON.stringify(line)}\n`);
}

/** Marks a step. Where HOLD_AT names it (`step` or `step:visit`), the process never leaves it again. */
export function reach(step: string, id: string): void {
  if (step !== holdStep) return;
  visits += 1;
  if (visits !== Number(holdVisit)) return;
  tell({ held: step, id });
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
}

/** Pulls for ever, and hands over what came. */
export async function consume(
  options: PullOptions,
  handle: (messages: readonly Pulled[]) => Promise<void>,
): Promise<never> {
  tell({ ready: true });
  while (true) {
    const messages = await pull(broker, subscription, { waitMs: 5_000, ...options });
    if (messages.length > 0) await handle(messages);
  }
}
