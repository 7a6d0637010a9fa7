// One dispatch: sends a lease's messages, a few requests at once, and reports to the subscription how each fared.
//
//   claim (effectively-once) ─▶ send, parcel by parcel ─▶ write to the ledger ─▶ report
//                                   └── every few seconds: write, report, extend the lease ──┘
//
// At-most-once has no lease and no report: all of it is settled before it comes here, so all of it is sent, once.

import type { DispatchCall } from "../dispatch-calls";
import { checkEndpointUrl } from "../endpoint-url";
import type { Result } from "../errors";
import type { LedgerStore } from "../ledger/ledger-store";
import { limits } from "../limits";
import type { PushSettings } from "../settings";
import { type DispatchOutcome, type ReportCall, receiverLeaseId } from "../subscription-calls";
import { claimRetentionMs } from "./claim-retention";
import { ClaimsStore, type EndedEarly } from "./claims-store";
import type { Item, Plan } from "./dispatch-plan";
import * as plans from "./dispatch-plan";
import { importSecrets } from "./signature";
import { type Endpoint, sendWebhook, type Wire } from "./webhook";

const EXPIRED = "the message has expired";

/** What a dispatch needs of the world. */
export type Dispatching = Wire &
  Readonly<{
    local: boolean;
    ledger: LedgerStore;
    sleep(ms: number): Promise<void>;
    report(call: ReportCall): Promise<Result<null>>;
    /** How long the topic keeps messages; undefined when that cannot be told now. Only for effectively-once. */
    topicRetentionMs(): Promise<number | undefined>;
    /** The endpoint answered 410 Gone. */
    endpointGone(): void;
    log(line: Readonly<Record<string, unknown>>): void;
  }>;

type Run = {
  readonly call: DispatchCall;
  readonly deps: Dispatching;
  readonly push: PushSettings;
  /** At-most-once: settled before it was handed out. */
  readonly settled: boolean;
  /** Only for effectively-once. */
  readonly claims: ClaimsStore | undefined;
  readonly startedAt: number;
  plan: Plan;
  readonly counts: Record<DispatchOutcome["result"], number>;
  /** As far as reports were answered, the lease is ours until then. */
  leaseEndsAt: number;
  /** Why nothing more is sent. */
  stopped?: string;
  leaseLost: boolean;
  gone: boolean;
};

/** One dispatch, from the lease to its last report. */
export async function dispatch(call: DispatchCall, deps: Dispatching): Promise<void> {
  const { push, guarantee } = call.settings;
  if (push === undefined) throw new Error("a pull subscription has no endpoint to dispatch to");
  const { runtime, ledger } = deps;
  const settled = call.lease.settled === true;
  const isClaimed = guarantee === "effectively-once" && !settled;
  const run: Run = {
    call,
    deps,
    push,
    settled,
    claims: isClaimed ? new ClaimsStore(ledger, call, runtime) : undefined,
    startedAt: runtime.now(),
    plan: plans.planOf(plans.leasedItems(call.lease), { holdsLanes: !settled }),
    counts: { delivered: 0, failed: 0, unsent: 0, "handed-over": 0 },
    leaseEndsAt: call.lease.deadlineAt,
    leaseLost: false,
    gone: false,
  };
  try {
    await (settled ? sendAll(run) : reportWhile(run, sendAll(run)));
  } finally {
    giveBack(run, run.plan.pending, 0, run.stopped ?? "the dispatch ran out of time");
    if (!settled || run.gone) await reportLast(run);
    logRun(run);
  }
}

// ── sending ──────────────────────────────────────────────────────────────────────────────────────────

async function sendAll(run: Run): Promise<void> {
  const endpoint = await openEndpoint(run);
  if (endpoint === undefined) return;
  await claimAll(run);
  const flights = new Set<Promise<void>>();
  for (;;) {
    while (flights.size < limits.dispatchConnections && mayStart(run)) {
      giveBackExpired(run);
      const { parcel, plan } = plans.takeParcel(run.plan, run.push.batchMaxMessages);
      if (parcel.length === 0) break;
      run.plan = plan;
      const flight = carry(run, endpoint, parcel).finally(() => flights.delete(flight));
      flights.add(flight);
    }
    if (flights.size === 0) return;
    await Promise.race(flights);
  }
}

/** No request starts after the dispatch's time, or once the lease may be another's. What is settled, nobody else sends. */
function mayStart({ stopped, settled, deps, startedAt, leaseEndsAt }: Run): boolean {
  if (settled) return stopped === undefined;
  const now = deps.runtime.now();
  return stopped === undefined && now < startedAt + limits.dispatchMs && now < leaseEndsAt;
}

/** Settings that cannot work fail every delivery, with the reason in its note for the operator to see. */
async function openEndpoint(run: Run): Promise<Endpoint | undefined> {
  const { call, deps, push } = run;
  const refusal = checkEndpointUrl(push.url, { local: deps.local });
  const keys = refusal ? undefined : await importSecrets(push.secrets).catch(() => undefined);
  if (keys) {
    const { topic, subscription, partition } = call;
    return {
      origin: { topic, subscription, partition },
      push,
      keys,
      minRetryMs: call.settings.retry.minDelayMs,
    };
  }
  const error = refusal?.detail ?? "a signing secret of the subscription is not base64";
  const { parcel, plan } = plans.takeParcel(run.plan, run.plan.pending.length);
  advance(
    run,
    plans.settleParcel(plan, parcel, {
      delivered: false,
      note: { at: deps.runtime.now(), error },
      gone: false,
    }),
  );
  return undefined;
}

/** Under effectively-once only what the ledger grants is left to be sent. */
async function claimAll(run: Run): Promise<void> {
  const { claims, deps } = run;
  if (claims === undefined) return;
  const items = run.plan.pending;
  const topicRetentionMs = await deps.topicRetentionMs().catch(() => undefined);
  const retentionMs = claimRetentionMs(run.call.settings, topicRetentionMs);
  const answers = await claims.claim(items, retentionMs).catch(() => undefined);
  if (answers === undefined) return giveBack(run, items, limits.ledgerAwayMs, "the ledger is away");
  for (const [index, item] of items.entries()) {
    const answer = answers[index];
    if (answer?.state === "claimed" || !run.plan.pending.includes(item)) continue;
    if (answer?.state === "completed") {
      // Only a row that was read as completed settles a delivery unsent.
      advance(run, plans.skipDone(run.plan, item));
    } else {
      const waitMs =
        answer?.state === "in-progress" ? answer.leaseUntil - deps.runtime.now() : limits.ledgerAwayMs;
      giveBack(run, [item], Math.max(waitMs, 0), "another dispatch is processing it");
    }
  }
}

async function carry(run: Run, endpoint: Endpoint, parcel: readonly Item[]): Promise<void> {
  const { claims, deps } = run;
  const held = claims === undefined || (await claims.hold(parcel).catch(() => undefined));
  if (!held) {
    if (held === undefined) run.stopped ??= "the ledger is away";
    return giveBack(run, parcel, limits.ledgerAwayMs, "its claim in the ledger could not be held");
  }
  // The ledger took its time: the parcel goes back, and what of it has not expired is handed out again.
  const isLate = claims !== undefined && expiredAmong(run, parcel).length > 0;
  if (isLate) return giveBack(run, parcel, limits.expiredAgainMs, EXPIRED);
  const answer = await sendWebhook(deps, endpoint, parcel, claims?.claimsOf(parcel));
  // Before the outcomes, which give back what is behind a failure in its lane: acknowledged, it settles unsent then.
  const acknowledged = parcel.filter((item) => plans.isAcknowledged(item, answer));
  if (answer.delivered && answer.handOver) claims?.handOver(acknowledged, answer.handOver.leaseMs);
  else claims?.complete(acknowledged);
  advance(run, plans.settleParcel(run.plan, parcel, answer));
  if (answer.delivered || !answer.gone || run.gone) return;
  run.gone = true;
  run.stopped ??= "the endpoint is gone";
  deps.endpointGone();
}

/** What has expired is not sent. It goes back to its subscription, which says what becomes of it. */
function giveBackExpired(run: Run): void {
  const expired = expiredAmong(run, run.plan.pending);
  if (expired.length > 0) giveBack(run, expired, limits.expiredAgainMs, EXPIRED);
}

function expiredAmong({ deps }: Run, items: readonly Item[]): readonly Item[] {
  const now = deps.runtime.now();
  return items.filter(({ message: { expiresAt } }) => expiresAt !== undefined && expiresAt <= now);
}

function giveBack(run: Run, items: readonly Item[], delayMs: number, reason: string): void {
  advance(run, plans.giveBack(run.plan, items, delayMs, reason));
}

/** Takes the next plan; what it says about deliveries is counted, and noted for the ledger. */
function advance(run: Run, next: Plan): void {
  const fresh = next.outcomes.slice(run.plan.outcomes.length);
  for (const { result } of fresh) run.counts[result]++;
  run.claims?.note(fresh);
  run.plan = next;
}

// ── reporting ────────────────────────────────────────────────────────────────────────────────────────

/** Reports while `sending` goes on, often enough that the lease never ends meanwhile. */
async function reportWhile(run: Run, sending: Promise<void>): Promise<void> {
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

async function reportSoFar(run: Run): Promise<void> {
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
async function reportLast(run: Run): Promise<void> {
  await writeClaims(run, limits.reportTries);
  const { outcomes } = run.plan;
  await report(run, { outcomes, done: true });
  await keepHandedOver(run, outcomes, limits.reportTries);
}

/**
 * Keeps the claims of what the subscription now knows to be handed over. A receiver that ended one sooner told a
 * subscription that did not know of it yet: it is told again here.
 */
async function keepHandedOver(run: Run, told: readonly DispatchOutcome[], tries: number): Promise<void> {
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
async function writeClaims(run: Run, tries: number): Promise<boolean> {
  const { claims } = run;
  if (claims === undefined) return true;
  const written = await trying(run, tries, async () => {
    await claims.flush();
    return true;
  });
  return written ?? false;
}

/** Answers whether the subscription took the report. When it says that the lease is lost, nothing more is sent. */
async function report(run: Run, what: Omit<ReportCall, "leaseId">): Promise<boolean> {
  const call = { leaseId: run.call.lease.leaseId, ...what, ...(run.gone && { endpointGone: true }) };
  const answer = await trying(run, limits.reportTries, async () => {
    const taken = await run.deps.report(call);
    if (taken.ok || LOST.has(taken.error.code)) return taken;
    throw new Error(taken.error.detail);
  });
  if (answer === undefined || answer.ok) return answer !== undefined;
  run.leaseLost = true;
  run.stopped ??= "the lease was lost";
  return false;
}

const LOST = new Set<string>(["lease-lost", "gone"]);

/** Repeats what faults, a few times and with jitter. Undefined when it faulted every time. */
async function trying<T>(run: Run, tries: number, attempt: () => Promise<T>): Promise<T | undefined> {
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
