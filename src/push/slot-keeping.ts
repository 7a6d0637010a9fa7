// How a dispatch keeps its slots: while it sends it asks for them again and again, and says how many of its requests are under
// way; when it has ended it says so.

import { limits } from "../limits";
import type { Run } from "./dispatch-run";
import { goOnAlone, slotsAt, takeGiven } from "./held-slots";
import { askCapacity } from "./sharing";

const AWAY = "nobody divides what its partitions share";

/** Keeps slots while `sending` goes on; without any that are shared it only waits for that. */
export async function keepSlots(run: Run, sending: Promise<void>): Promise<void> {
  const { slots, deps } = run;
  if (slots === undefined) return sending;
  let ended = false;
  const over = sending
    .catch(() => undefined)
    .finally(() => {
      ended = true;
    });
  while (!ended) {
    const againAt = await askForSlots(run);
    const waitMs = Math.max(limits.shareAgainMs, againAt - deps.runtime.now());
    if (!ended) await Promise.race([over, deps.sleep(waitMs)]);
  }
  await askCapacity(run, { paces: {}, ended: run.call.lease.leaseId });
  await sending;
}

/** Answers when to ask again. */
async function askForSlots(run: Run): Promise<number> {
  const { slots, deps, plan, push, sending, underWay, call } = run;
  if (slots === undefined) return Number.POSITIVE_INFINITY;
  const askedAt = deps.runtime.now();
  const parcels = Math.ceil(plan.pending.length / push.batchMaxMessages);
  slots.asks += 1;
  const ask = {
    ...{
      dispatch: call.lease.leaseId,
      nth: slots.asks,
      max: slots.max,
      underWay,
      held: slotsAt(slots, askedAt),
    },
    want: Math.min(sending.connections, underWay + parcels),
    // Asked to authorize itself anew, it makes the request a second time.
    lastsMs: 2 * push.timeoutMs + limits.tokenTimeoutMs,
  };
  const answer = await askCapacity(run, { paces: {}, slots: ask });
  const now = deps.runtime.now();
  if (answer?.slots) return takeGiven(slots, answer.slots, askedAt, now);
  if (!goOnAlone(slots, now)) run.stopped ??= AWAY;
  return now + deps.runtime.random() * limits.shareRetryMs;
}
