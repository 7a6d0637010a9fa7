// One dispatch: sends a lease's messages, a few requests at once, and reports to the subscription how each fared.
//
//   begin ─▶ claim (effectively-once) ─▶ send, parcel by parcel ─▶ write to the ledger ─▶ report
//                                             └── every few seconds: write, report, extend the lease ──┘
//
// At-most-once has no lease and no report: all of it is settled before it comes here, so all of it is sent, once.

import type { DispatchCall } from "../dispatch-calls";
import { beginRun, type Dispatching, giveBack, type Run } from "./dispatch-run";
import { reportLast, reportWhile } from "./reporting";
import { sendAll } from "./sending";
import { keepSlots } from "./slot-keeping";

/**
 * One dispatch, from the lease to its last report. Of a call that arrived twice the second dispatch does nothing: it would
 * send beside the first, settle by the same lease, and, with no lease or under the same claims, send all of it again.
 */
export async function dispatch(call: DispatchCall, deps: Dispatching): Promise<void> {
  if (!(await deps.begin())) return;
  const run = beginRun(call, deps);
  const { settled } = run;
  try {
    await (settled ? sendAll(run) : reportWhile(run, keepSlots(run, sendAll(run))));
  } finally {
    giveBack(run, run.plan.pending, 0, run.stopped ?? "the dispatch ran out of time");
    if (!settled || run.gone || isWatched(run)) await reportLast(run);
    logRun(run);
  }
}

/** Whether the subscription waits for what the endpoint's answers tell, or should know. */
function isWatched({ sending, signs }: Run): boolean {
  return signs.ailed > 0 || sending.pace !== undefined || sending.stopAfter === 1;
}

/**
 * One wide line for each dispatch. Nothing of the endpoint but its answers' counts: a URL may hold a secret. Under
 * at-most-once also which offsets are lost: nothing else will tell.
 */
function logRun({ call, deps, settled, plan, counts, startedAt, stopped }: Run): void {
  const { topic, subscription, partition, lease } = call;
  const lost = plan.outcomes.filter(({ result }) => settled && result !== "delivered");
  deps.log({
    event: "dispatch",
    topic,
    subscription,
    partition,
    leaseId: lease.leaseId,
    count: lease.deliveries.length,
    ...{ delivered: counts.delivered, failed: counts.failed, unsent: counts.unsent },
    ...(counts["handed-over"] > 0 && { handedOver: counts["handed-over"] }),
    ...(lost.length > 0 && { lost: lost.map(({ offset }) => offset) }),
    ms: deps.runtime.now() - startedAt,
    ...(stopped !== undefined && { stopped }),
  });
}
