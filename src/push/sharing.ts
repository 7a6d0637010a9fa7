// How a dispatch comes by its share of what the partitions of its subscription may send together: it asks when it has a request
// to send and nothing left to send it by. While it is not answered it sends nothing, for a few seconds at most.

import type { ShareAnswer } from "../capacity-calls";
import { limits } from "../limits";
import { paced, pacedInTime, paceWaitMs } from "../pace";
import type { Run, ShareAsk } from "./dispatch-run";
import { alonePerSecond, answered, asksOf, heldBack, spend, unanswered } from "./paced-share";

const LATER = "its share of the rate comes later";

/** When no request may begin yet: the wait until one may, or until that is known. */
export function waitForTurn(run: Run): Promise<void> | undefined {
  if (run.plan.pending.length === 0) return undefined;
  const { pace, share, deps } = run;
  const now = deps.runtime.now();
  const waitMs = pace ? paceWaitMs(pace, now) : 0;
  if (waitMs > 0) return deps.sleep(Math.ceil(waitMs));
  if (share === undefined) return undefined;
  if (run.asking) return run.asking;
  const held = heldBack(share, now);
  if (held === 0) return undefined;
  if (held === "ask") {
    run.asking = askForShare(run).finally(() => {
      run.asking = undefined;
    });
    return run.asking;
  }
  return held > limits.pacedDispatchMs ? endUntil(run, now + held) : deps.sleep(Math.ceil(held));
}

/** A request begins now. What is counted besides need not be far apart after one that was late. */
export function noteBegun(run: Run): void {
  const now = run.deps.runtime.now();
  const alone = run.share ? alonePerSecond(run.share) : Number.POSITIVE_INFINITY;
  const isCounted = run.share !== undefined && alone === Number.POSITIVE_INFINITY;
  run.share &&= spend(run.share, now);
  if (run.pace === undefined) return;
  const { perSecond } = run.pace;
  const pace = { ...run.pace, perSecond: Math.min(perSecond, alone) };
  const { nextSendAt } = isCounted ? pacedInTime(pace, now) : paced(pace, now);
  run.pace = { perSecond, nextSendAt };
}

/** The subscription waits for it, and not a dispatch with its lease. */
async function endUntil(run: Run, nextSendAt: number): Promise<void> {
  run.stopped ??= LATER;
  run.pace &&= { ...run.pace, nextSendAt: Math.max(run.pace.nextSendAt, nextSendAt) };
}

async function askForShare(run: Run): Promise<void> {
  const { deps, share, plan, push } = run;
  if (share === undefined) return;
  const askedAt = deps.runtime.now();
  const requests = Math.ceil(plan.pending.length / push.batchMaxMessages);
  const paces = asksOf(share, requests, askedAt);
  const answer = await askCapacity(run, { paces });
  const now = deps.runtime.now();
  run.share = answer
    ? answered(share, answer.paces, askedAt, now)
    : unanswered(share, deps.runtime.random() * limits.shareRetryMs, askedAt, now);
}

/** Undefined when the capacity does not answer in time. */
export async function askCapacity({ deps }: Run, ask: ShareAsk): Promise<ShareAnswer | undefined> {
  const late = deps.sleep(limits.shareWaitMs).then(() => undefined);
  const answer = await Promise.race([deps.share(ask), late]).catch(() => undefined);
  return answer?.ok ? answer.value : undefined;
}
