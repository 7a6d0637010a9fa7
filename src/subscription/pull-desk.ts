// Serves those who pull: leases for them, or tells them that there is something to lease, and waits for it as long as
// they will.

import { ok, type Result, refuse } from "../errors";
import type { Runtime } from "../runtime";
import type { SubscriptionSettings } from "../settings";
import type { LeaseAnswer, LeaseCall } from "../subscription-calls";
import type { Backlog } from "./backlog";
import type { LeaseDesk } from "./lease-desk";
import type { LogReader } from "./log-reader";
import type { LongPoll } from "./long-poll";
import type { ParentDesk } from "./parent-desk";
import { PriorityTurns } from "./priority-turns";
import { canLease } from "./readiness";
import type { RecordBuffer } from "./record-buffer";
import { stillThere } from "./stale-state";

export type PullParts = Readonly<{
  backlog: Backlog;
  buffer: RecordBuffer;
  reader: LogReader;
  parents: ParentDesk;
  desk: LeaseDesk;
  polls: LongPoll;
  runtime: () => Runtime;
  settings: () => SubscriptionSettings;
}>;

export class PullDesk {
  private readonly turns: PriorityTurns;

  constructor(private readonly parts: PullParts) {
    this.turns = new PriorityTurns(() => parts.runtime().random());
  }

  /** Leases, waiting until the instant `until` for something to lease. */
  async pull(call: LeaseCall, until: number): Promise<Result<LeaseAnswer>> {
    const { desk, polls, settings } = this.parts;
    if (settings().type !== "pull")
      return refuse("not-pull", "This subscription sends by itself: nothing is pulled from it.");
    if (call.takesTurn && this.turns.isLowest(call.leaseId)) return ok(lowestFirst(call));
    const ackDeadlineMs = call.ackDeadlineMs ?? settings().ackDeadlineMs;
    const lease = await polls.until(until, async (isFirst) => {
      const lease = await desk.lease({ ...call, ackDeadlineMs }, isFirst);
      return { answer: lease, isEnough: lease.deliveries.length > 0 };
    });
    return ok(stillThere(lease));
  }

  /** Waits until the instant `until` for something to lease, and leases nothing. */
  async ready(until: number): Promise<Result<{ ready: boolean }>> {
    const { backlog, buffer, desk, parents, polls, reader, runtime, settings } = this.parts;
    const answer = await polls.until(until, async (isFirst) => {
      if (isFirst) await reader.readAhead();
      await parents.ask();
      await desk.sift();
      const ready = !settings().paused && canLease(backlog, buffer, runtime().now());
      return { answer: { ready }, isEnough: ready };
    });
    return ok(stillThere(answer));
  }
}

function lowestFirst({ leaseId }: LeaseCall): LeaseAnswer {
  return { leaseId, deadlineAt: 0, lowestFirst: true, deliveries: [], records: new Uint8Array() };
}
