// How a dispatch reports to its subscription: every few seconds while it sends, which extends its lease, and at its end. Under
// effectively-once the ledger has each outcome before the subscription hears of it.

import { limits } from "../limits";
import type { DispatchOutcome, ReportCall } from "../report-calls";
import { receiverLeaseId } from "../subscription-calls";
import type { EndedEarly } from "./claims-store";
import * as plans from "./dispatch-plan";
import type { Course } from "./dispatch-run";

const LOST = new Set<string>(["lease-lost", "gone"]);

/** Reports while `sending` goes on, often enough that the lease never ends meanwhile. */
export async function reportWhile(run: Course, sending: Promise<void>): Promise<void> {
  const everyMs = Math.min(limits.reportEveryMs, run.call.settings.ackDeadlineMs / 3);
  let ended = false;
  const ending = sending.finally(() => {
    ended = true;
  });
  while (!ended) {
    await Promise.race([ending, run.deps.sleep(everyMs)]);
    if (!ended && !run.leaseLost) await reportSoFar(run);
  }
  await ending;
}

async function reportSoFar(run: Course): Promise<void> {
  const { ackDeadlineMs } = run.call.settings;
  const { outcomes } = run.plan;
  const askedAt = run.deps.runtime.now();
  // Nothing is reported as delivered before the ledger has it as completed. The lease is extended either way.
  const isWritten = await writeClaims(run, 1);
  const told = isWritten ? outcomes : [];
  const answer = await report(run, { outcomes: told, extendMs: ackDeadlineMs, done: false });
  if (!answer) return;
  run.leaseEndsAt = askedAt + ackDeadlineMs;
  run.plan = plans.reported(run.plan, told.length);
  await keepHandedOver(run, told, 1);
}

/**
 * The last report goes out even if the ledger stays away: what an endpoint has acknowledged is better settled
 * here, with its claim left to end, than sent again. It also goes out when the lease was lost: the subscription
 * honours a late success that nobody overtook.
 */
export async function reportLast(run: Course): Promise<void> {
  await writeClaims(run, limits.reportTries);
  const { outcomes } = run.plan;
  await report(run, { outcomes, done: true });
  await keepHandedOver(run, outcomes, limits.reportTries);
}

/**
 * Keeps the claims of what the subscription now knows to be handed over. A receiver that ended one sooner told a
 * subscription that did not know of it yet: it is told again here.
 */
async function keepHandedOver(run: Course, told: readonly DispatchOutcome[], tries: number): Promise<void> {
  const { claims, deps } = run;
  if (claims === undefined) return;
  const offsets = new Set(told.map(({ offset }) => offset));
  const ended = (await trying(run, tries, () => claims.keepHandedOver(offsets))) ?? [];
  const now = deps.runtime.now();
  for (const [fence, early] of Map.groupBy(ended, (each) => each.fence)) {
    const outcomes = early.map((each) => outcomeOfReceiver(each, now));
    const call = { leaseId: receiverLeaseId(fence), outcomes, done: false };
    await trying(run, limits.reportTries, () => deps.report(call));
  }
}

function outcomeOfReceiver({ offset, state }: EndedEarly, at: number): DispatchOutcome {
  if (state === "completed") return { offset, result: "delivered", status: 202 };
  return { offset, result: "failed", note: { at, status: 202, error: "failed by its receiver" } };
}

/** Writes to the ledger what was noted. Answers whether all of it is written. */
async function writeClaims(run: Course, tries: number): Promise<boolean> {
  const { claims } = run;
  if (claims === undefined) return true;
  const written = await trying(run, tries, async () => {
    await claims.flush();
    return true;
  });
  return written ?? false;
}

/** Answers whether the subscription took the report. When it says that the lease is lost, nothing more is sent. */
async function report(run: Course, what: Omit<ReportCall, "leaseId">): Promise<boolean> {
  const nextSendAt = run.pace?.nextSendAt;
  const signs = { ...run.signs, ...(nextSendAt !== undefined && { nextSendAt }) };
  const gone = run.gone && { endpointGone: true };
  const { lease, version } = run.call;
  const by = version !== undefined && { version };
  const call = { leaseId: lease.leaseId, ...what, signs, ...by, ...gone };
  const answer = await trying(run, limits.reportTries, async () => {
    const taken = await run.deps.report(call);
    if (taken.ok || LOST.has(taken.error.code)) return taken;
    throw new Error(taken.error.detail);
  });
  if (answer?.ok && answer.value) run.stopped ??= answer.value.stop;
  if (answer === undefined || answer.ok) return answer !== undefined;
  run.leaseLost = true;
  run.stopped ??= "the lease was lost";
  return false;
}

/** Repeats what faults, a few times and with jitter. Undefined when it faulted every time. */
export async function trying<T>(
  run: Course,
  tries: number,
  attempt: () => Promise<T>,
): Promise<T | undefined> {
  const { runtime, sleep } = run.deps;
  for (let tried = 1; ; tried++) {
    try {
      return await attempt();
    } catch {
      if (tried >= tries) return undefined;
      await sleep(runtime.random() * limits.reportRetryMs * tried);
    }
  }
}
