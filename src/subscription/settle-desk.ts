// Settles what is leased, as consumers and dispatchers ask for it, and ends the leases whose deadline has passed.

import { ok, type Result, refuse } from "../errors";
import { limits } from "../limits";
import type { ReportAnswer, ReportCall } from "../report-calls";
import type { Runtime } from "../runtime";
import type { SubscriptionSettings } from "../settings";
import type { LeaseRef, NackCall, SettleStatus } from "../subscription-calls";
import type { Backlog } from "./backlog";
import type { EndpointDesk } from "./endpoint-desk";
import type { LogReader } from "./log-reader";
import { expireLeases } from "./overdue";
import { ack, extend, type Moment, nack, report } from "./settling";
import type { SubscriptionRow } from "./subscription-store";

export type SettleParts = Readonly<{
  backlog: Backlog;
  reader: Pick<LogReader, "isBehind">;
  endpoint: EndpointDesk;
  runtime: () => Runtime;
  settings: () => SubscriptionSettings;
  row: () => SubscriptionRow;
  /** Pauses at once, whatever the catalog says so far. */
  pause: (reason: string) => void;
  /** Decides, saves and arms in one go. */
  change: <T>(decide: () => T) => T;
}>;

export class SettleDesk {
  constructor(private readonly parts: SettleParts) {}

  ack(refs: readonly LeaseRef[]): Result<readonly SettleStatus[]> {
    const { backlog, change } = this.parts;
    return ok(change(() => ack(backlog, refs)));
  }

  nack(call: NackCall): Result<readonly SettleStatus[]> {
    const { backlog, change, settings } = this.parts;
    return ok(change(() => nack(backlog, call, settings(), this.moment())));
  }

  extend(refs: readonly LeaseRef[], deadlineAt: number): Result<readonly SettleStatus[]> {
    const { backlog, change } = this.parts;
    return ok(change(() => extend(backlog, refs, deadlineAt)));
  }

  /** Takes a dispatcher's report. Refused when its lease holds nothing any more and it wants to go on. */
  report(call: ReportCall): Result<ReportAnswer> {
    const { backlog, change, endpoint, pause, row, settings } = this.parts;
    const moment = this.moment();
    const held = change(() => {
      const held = report(backlog, call, settings(), moment, endpoint.spares());
      // What went by former settings may have led elsewhere: its answers tell nothing of where these lead.
      if (call.version === undefined || call.version === row().version) {
        endpoint.judge(call, row(), this.isBehind(moment.now), moment);
        // It is gone for good. The catalog is told by the dispatcher; here it holds at once.
        if (call.endpointGone) pause(settings().forward ? "target-gone" : "endpoint-gone");
      }
      return held;
    });
    const stop = call.done ? undefined : endpoint.stop(moment.now);
    if (held && stop !== undefined) return ok({ stop });
    return held || call.done ? ok(null) : refuse("lease-lost", "The lease holds nothing any more.");
  }

  /** Gives back whatever these leases hold, no attempt counted. */
  giveBack(leaseIds: readonly string[]): void {
    const { backlog, change, settings } = this.parts;
    change(() => {
      for (const leaseId of leaseIds) {
        report(backlog, { leaseId, outcomes: [], done: true }, settings(), this.moment());
      }
    });
  }

  /** Ends the leases whose deadline has passed, as many as one alarm may. */
  endOverdue(): void {
    const { backlog, change, settings } = this.parts;
    change(() => expireLeases(backlog, settings(), this.moment(), limits.expiriesPerAlarm));
  }

  /** Whether there is more to send. */
  private isBehind(now: number): boolean {
    const { backlog, reader } = this.parts;
    const next = backlog.ready.peek();
    const isUnread = backlog.knownHead > backlog.counters.nextOffset;
    return isUnread || reader.isBehind || (next !== undefined && next.at <= now);
  }

  private moment(): Moment {
    const { runtime } = this.parts;
    return { now: runtime().now(), jitter: () => runtime().random() };
  }
}
