// A dispatch under way: what it was given, what of its lease is still to be sent and what became of the rest. Sending
// (sending.ts) and reporting (reporting.ts) both move it on.

import type { Begin, DispatchCall, Sending } from "../dispatch-calls";
import { type EndpointSigns, NO_SIGNS } from "../endpoint-signs";
import type { Result } from "../errors";
import type { LedgerStore } from "../ledger/ledger-store";
import { limits } from "../limits";
import type { Pace } from "../pace";
import type { ReplyTo, Said } from "../reply-calls";
import type { PushSettings } from "../settings";
import type { DispatchOutcome, ReportAnswer, ReportCall } from "../subscription-calls";
import { ClaimsStore } from "./claims-store";
import type { Item, Plan } from "./dispatch-plan";
import * as plans from "./dispatch-plan";
import type { Wire } from "./webhook";

/** What a dispatch needs of the world. */
export type Dispatching = Wire &
  Readonly<{
    begin: Begin;
    local: boolean;
    /** What secrets are opened with, the newest first. */
    secretsKeys: readonly string[];
    /** Hosts that lead to this broker: nothing is sent there. */
    ownHosts?: readonly string[];
    ledger: LedgerStore;
    sleep(ms: number): Promise<void>;
    report(call: ReportCall): Promise<Result<ReportAnswer>>;
    /** Writes the reply to a request where its asker waits. */
    reply(to: ReplyTo, said: Said): Promise<Result<unknown>>;
    /** How long the topic keeps messages; undefined when that cannot be told now. Only for effectively-once. */
    topicRetentionMs(): Promise<number | undefined>;
    /** The endpoint answered 410 Gone. */
    endpointGone(): void;
    log(line: Readonly<Record<string, unknown>>): void;
  }>;

export type Run = {
  readonly call: DispatchCall;
  readonly deps: Dispatching;
  readonly push: PushSettings;
  /** At-most-once: settled before it was handed out. */
  readonly settled: boolean;
  /** Only for effectively-once. */
  readonly claims: ClaimsStore | undefined;
  readonly startedAt: number;
  readonly sending: Sending;
  plan: Plan;
  /** What the answers so far tell about the endpoint. */
  signs: EndpointSigns;
  pace: Pace | undefined;
  readonly counts: Record<DispatchOutcome["result"], number>;
  /** As far as reports were answered, the lease is ours until then. */
  leaseEndsAt: number;
  /** Why nothing more is sent. */
  stopped?: string;
  leaseLost: boolean;
  gone: boolean;
};

const AT_FULL_SPEED: Sending = {
  connections: limits.dispatchConnections,
  stopAfter: limits.tripRequests,
};

/** A dispatch that begins: everything of its lease is to be sent, and nothing is. */
export function beginRun(call: DispatchCall, deps: Dispatching): Run {
  const { push, guarantee } = call.settings;
  if (push === undefined) throw new Error("a pull subscription has no endpoint to dispatch to");
  const { runtime, ledger } = deps;
  const { sending = AT_FULL_SPEED } = call;
  const settled = call.lease.settled === true;
  const isClaimed = guarantee === "effectively-once" && !settled;
  return {
    call,
    deps,
    push,
    settled,
    claims: isClaimed ? new ClaimsStore(ledger, call, runtime) : undefined,
    startedAt: runtime.now(),
    sending,
    signs: NO_SIGNS,
    pace: sending.pace,
    plan: plans.planOf(plans.leasedItems(call.lease), { holdsLanes: !settled }),
    counts: { delivered: 0, failed: 0, unsent: 0, "handed-over": 0 },
    leaseEndsAt: call.lease.deadlineAt,
    leaseLost: false,
    gone: false,
  };
}

export function giveBack(run: Run, items: readonly Item[], delayMs: number, reason: string): void {
  advance(run, plans.giveBack(run.plan, items, delayMs, reason));
}

/** Takes the next plan; what it says about deliveries is counted, and noted for the ledger. */
export function advance(run: Run, next: Plan): void {
  const fresh = next.outcomes.slice(run.plan.outcomes.length);
  for (const { result } of fresh) run.counts[result]++;
  run.claims?.note(fresh);
  run.plan = next;
}
