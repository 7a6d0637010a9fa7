// Moves a subscription: asks its log where the place lies, then drops what is in hand and begins an epoch there.
// Between the look at what is in hand and the write there is no await: whoever leases or settles is before or after.

import { ok, type Result } from "../errors";
import { limits } from "../limits";
import type { SeekAnswer, SeekCall, SeekPoint } from "../seek-calls";
import type { LogPlace } from "../topic-calls";
import type { Backlog } from "./backlog";
import type { LeaseDesk } from "./lease-desk";
import type { LogReader } from "./log-reader";
import { checkConsent, nextEpoch, planSeek } from "./seek";
import type { SubscriptionRow, SubscriptionStore } from "./subscription-store";

export type SeekParts = Readonly<{
  backlog: Backlog;
  desk: Pick<LeaseDesk, "buryDying">;
  reader: Pick<LogReader, "locate">;
  row: () => SubscriptionRow;
  store: Pick<SubscriptionStore, "beginEpoch" | "seeks">;
  /** Writes in one transaction, and reads what is in memory afresh. */
  beginAnew: (write: () => void) => void;
}>;

export class SeekDesk {
  constructor(private readonly parts: SeekParts) {}

  /** Moves to `to`, or counts what that would do. Refused when the log cannot be asked, or has no such place. */
  async seek(call: SeekCall): Promise<Result<SeekAnswer>> {
    const log = await this.look(call.to);
    return log.ok ? this.move(call, log.value) : log;
  }

  private async look(to: SeekPoint): Promise<Result<LogPlace>> {
    const { backlog, desk, reader } = this.parts;
    for (;;) {
      // Who is dying is dead, and has to be found among the dead letters of its epoch.
      await desk.buryDying();
      const log = await reader.locate(to.at === "time" ? to.time : undefined);
      if (!log.ok || backlog.dying.size === 0) return log;
    }
  }

  private move(call: SeekCall, log: LogPlace): Result<SeekAnswer> {
    const { backlog, row, store, beginAnew } = this.parts;
    const answered = store.seeks.answerOf(call.seekId);
    if (answered) return ok(answered);
    const { partition, settings } = row();
    const plan = planSeek(backlog, call, log, { partition, guarantee: settings.guarantee });
    if (!plan.ok || call.dryRun) return plan;
    const consent = checkConsent(plan.value, call);
    if (!consent.ok) return consent;
    beginAnew(() => {
      const counters = nextEpoch(backlog.counters, plan.value.toOffset, call.reprocess);
      store.beginEpoch(counters, Math.max(backlog.knownHead, log.head));
      store.seeks.insert(call.seekId, plan.value, limits.seeksKept);
    });
    return plan;
  }
}
