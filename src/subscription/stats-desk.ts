// Shows how a subscription fares: its sums, and the attempts that failed. The dying are buried first, so that what is shown
// holds.

import type { AttemptsAnswer, AttemptsCall } from "../attempt-calls";
import { ok, type Result } from "../errors";
import type { Runtime } from "../runtime";
import type { SubscriptionStats } from "../subscription-calls";
import { findAttempts } from "./failed-attempts";
import { statsOf } from "./stats";
import type { SubscriptionMemory } from "./subscription-memory";
import type { SubscriptionStore } from "./subscription-store";

export class StatsDesk {
  constructor(
    private readonly memory: SubscriptionMemory,
    private readonly store: Pick<SubscriptionStore, "deadLetters" | "gaps">,
    private readonly runtime: () => Runtime,
  ) {}

  /** The sums of the conservation law, and what is in its way. */
  stats(): Promise<Result<SubscriptionStats>> {
    return this.memory.whenLive(async (state) => {
      const { desk, backlog, endpoint, reader, row } = state;
      await desk.buryDying();
      this.memory.saveFiltered(state);
      const head = await reader.askHead();
      const shown = {
        ...{ partition: row.partition, paused: row.settings.paused, head },
        gaps: this.store.gaps.list(),
        endpoint:
          row.settings.type === "pull" ? undefined : endpoint.view(this.runtime().now(), row.settings.push),
        oldestDeathAt: this.store.deadLetters.oldestDeathAt(),
      };
      return ok(statsOf(backlog, shown));
    });
  }

  /** The failed attempts of what is in hand, and of the dead letters of this epoch. */
  attempts(call: AttemptsCall): Promise<Result<AttemptsAnswer>> {
    return this.memory.whenLive(async ({ backlog, desk }) => {
      await desk.buryDying();
      const letters = this.store.deadLetters.failedAfter(backlog.counters.epoch, call);
      return ok(findAttempts(backlog.deliveries.values(), letters, call));
    });
  }
}
