// A dispatch under way: what it was given, what of its lease is still to be sent and what became of the rest. Sending
// (sending.ts), forwarding (forward.ts) and reporting (reporting.ts) move it on.

import type { ShareAnswer, ShareCall } from "../capacity-calls";
import type { Begin, DispatchCall, Sending } from "../dispatch-calls";
import { type EndpointSigns, NO_SIGNS } from "../endpoint-signs";
import type { Result } from "../errors";
import type { LedgerStore } from "../ledger/ledger-store";
import { limits } from "../limits";
import type { Pace } from "../pace";
import type { ReplyTo, Said } from "../reply-calls";
import type { DispatchOutcome, ReportAnswer, ReportCall } from "../report-calls";
import type { PushSettings } from "../settings";
import { ClaimsStore } from "./claims-store";
import type { Item, Plan } from "./dispatch-plan";
import * as plans from "./dispatch-plan";
import { type HeldSlots, newSlots } from "./held-slots";
import { newShare, type PacedShare } from "./paced-share";
import type { Wire } from "./webhook";

/** What any course of a lease needs of the world, wherever it leads. */
export type Carrying = Readonly<{
  runtime: Wire["runtime"];
  begin: Begin;
  sleep(ms: number): Promise<void>;
  report(call: ReportCall): Promise<Result<ReportAnswer>>;
  log(line: Readonly<Record<string, unknown>>): void;
}>;

/** What a dispatch asks its subscription's capacity for. */
export type ShareAsk = Omit<ShareCall, "partition" | "priority">;

/** What a dispatch to an endpoint needs of the world. */
export type Dispatching = Wire &
  Carrying &
  Readonly<{
    local: boolean;
    /** What secrets are opened with, the newest first. */
    secretsKeys: readonly string[];
    /** Hosts that lead to this broker: nothing is sent there. */
    ownHosts?: readonly string[];
    ledger: LedgerStore;
    /** Writes the reply to a request where its asker waits. */
    reply(to: ReplyTo, said: Said): Promise<Result<unknown>>;
    /** How long the topic keeps messages; undefined when that cannot be told now. Only for effectively-once. */
    topicRetentionMs(): Promise<number | undefined>;
    /** Asks for its partition's share of what is set for all partitions together. */
    share(asked: ShareAsk): Promise<Result<ShareAnswer>>;
    /** The endpoint answered 410 Gone. */
    endpointGone(): void;
  }>;

/** A lease on its way, and how far it has come. */
export type Course = {
  readonly call: DispatchCall;
  readonly deps: Carrying;
  /** Only for effectively-once push. */
  readonly claims: ClaimsStore | undefined;
  readonly startedAt: number;
  plan: Plan;
  /** What the answers so far tell about where it leads. */
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

/** A course to an endpoint. */
export type Run = Course & {
  readonly deps: Dispatching;
  readonly push: PushSettings;
  /** At-most-once: settled before it was handed out. */
  readonly settled: boolean;
  readonly sending: Sending;
  /** Undefined when it shares no pace; `asking` while it asks. */
  share: PacedShare | undefined;
  asking?: Promise<void> | undefined;
  /** Undefined when its requests at once are its own affair. */
  readonly slots: HeldSlots | undefined;
  /** Requests under way. */
  underWay: number;
};

const AT_FULL_SPEED: Sending = {
  connections: limits.dispatchConnections,
  stopAfter: limits.tripRequests,
};

/** A course that begins: everything of its lease is to be sent, and nothing is. */
export function beginCourse<D extends Carrying>(call: DispatchCall, deps: D): Course & { readonly deps: D } {
  const holdsLanes = call.lease.settled !== true;
  return {
    call,
    deps,
    claims: undefined,
    startedAt: deps.runtime.now(),
    signs: NO_SIGNS,
    pace: call.sending?.pace,
    plan: plans.planOf(plans.leasedItems(call.lease), { holdsLanes }),
    counts: { delivered: 0, failed: 0, unsent: 0, "handed-over": 0 },
    leaseEndsAt: call.lease.deadlineAt,
    leaseLost: false,
    gone: false,
  };
}

/** A dispatch to an endpoint that begins. */
export function beginRun(call: DispatchCall, deps: Dispatching): Run {
  const { push, guarantee } = call.settings;
  if (push === undefined) throw new Error("a pull subscription has no endpoint to dispatch to");
  const { sending = AT_FULL_SPEED } = call;
  const settled = call.lease.settled === true;
  const isClaimed = guarantee === "effectively-once" && !settled;
  const claims = isClaimed ? new ClaimsStore(deps.ledger, call, deps.runtime) : undefined;
  const share = newShare(sending.shared);
  const slots = newSlots(sending.shared, deps.runtime.now());
  const course = beginCourse(call, deps);
  return { ...course, push, settled, claims, sending, share, slots, underWay: 0 };
}

export function giveBack(run: Course, items: readonly Item[], delayMs: number, reason: string): void {
  advance(run, plans.giveBack(run.plan, items, delayMs, reason));
}

/** Takes the next plan; what it says about deliveries is counted, and noted for the ledger. */
export function advance(run: Course, next: Plan): void {
  const fresh = next.outcomes.slice(run.plan.outcomes.length);
  for (const { result } of fresh) run.counts[result]++;
  run.claims?.note(fresh);
  run.plan = next;
}
