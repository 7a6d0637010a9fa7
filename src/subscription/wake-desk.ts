// Wakes a subscription: when there is news of its log, when its alarm rings, and when somebody says so, for news and alarms
// may be lost.

import { ok, type Result } from "../errors";
import { limits } from "../limits";
import type { Runtime } from "../runtime";
import type { NotifyCall } from "../subscription-calls";
import { type SubscriptionMemory, sendAll } from "./subscription-memory";

export class WakeDesk {
  constructor(
    private readonly memory: SubscriptionMemory,
    private readonly runtime: () => Runtime,
  ) {}

  /** Takes news of the log: whoever waits for some is woken, and what can be sent is sent. */
  notify({ head, runs }: NotifyCall): Promise<Result<{ informedTo: number }>> {
    return this.memory.whenLive(async (state) => {
      state.reader.informedTo(head);
      state.buffer.append(runs);
      this.memory.waiters.wakeAll();
      await sendAll(state);
      this.memory.rememberUnread(state, head);
      return ok({ informedTo: head });
    });
  }

  /** Has it look at everything anew. */
  wake(): Promise<Result<null>> {
    return this.memory.whenLive((state) => {
      // While it was paused, or if a notify was lost, there may be more in the log than it knows.
      state.reader.doubt();
      this.memory.saveFiltered(state);
      this.memory.arm(state);
      this.memory.goOn(state);
      return ok(null);
    });
  }

  /** Does what is due, and arms the alarm for what is due next. */
  alarm(): void {
    this.memory.alarmRang();
    const state = this.memory.loaded;
    if (!state) return;
    // Before anything arms the alarm anew: what has begun is not due any more.
    state.verifier.askWhenDue();
    let notBefore = 0;
    try {
      state.settles.endOverdue();
    } catch (fault) {
      console.error(JSON.stringify({ at: "subscription.alarm", fault: String(fault) }));
      notBefore = this.runtime().now() + limits.lookAgainMs;
    }
    // A fault had memory read afresh, and what failed now would fail again at once.
    if (!this.memory.loaded) return;
    this.memory.arm(this.memory.loaded, notBefore);
    this.memory.goOn(this.memory.loaded);
  }
}
