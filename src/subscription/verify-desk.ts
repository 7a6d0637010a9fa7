// Has the endpoint of a push subscription verified: when its settings say that it is time, or when somebody asks. Only the
// first partition does; the others learn of it by their settings. The asking is the dispatcher's, outside the alarm.

import { asOwn, type Result, refuse } from "../errors";
import { limits } from "../limits";
import type { Runtime } from "../runtime";
import type { VerifyCall, VerifyCalls } from "../verify-calls";
import type { SubscriptionRow } from "./subscription-store";

export type VerifyParts = Readonly<{
  dispatcher: VerifyCalls;
  runtime: () => Runtime;
  row: () => SubscriptionRow;
  /** Nothing is asked by itself before: a try is under way, or has just been. Outlives what is in memory otherwise. */
  asking: { until: number };
  waitUntil: (work: Promise<void>) => void;
  /** A try has ended: there may be another to be armed for. */
  asked: () => void;
}>;

export class VerifyDesk {
  private underway: Promise<Result<null>> | undefined;

  constructor(private readonly parts: VerifyParts) {}

  /** When the endpoint is to be asked by itself; undefined when it is not. */
  dueAt(): number | undefined {
    const { row, asking } = this.parts;
    const { partition, settings } = row();
    const nextTryAt = partition === 0 ? settings.push?.verification?.nextTryAt : undefined;
    return nextTryAt === undefined ? undefined : Math.max(nextTryAt, asking.until);
  }

  /** Begins a try if one is due, and does not wait for it. */
  askWhenDue(): void {
    const due = this.dueAt();
    if (due === undefined || due > this.parts.runtime().now()) return;
    this.parts.waitUntil(this.ask({}).then(() => undefined));
  }

  /** Has the endpoint asked; whoever comes while it is being asked is told what comes of that. Never throws. */
  ask(call: Pick<VerifyCall, "by">): Promise<Result<null>> {
    this.underway ??= this.askOnce(call).finally(() => {
      this.underway = undefined;
      // What was learned has come by the settings: only one that has not heard is still due, and soon tries again.
      this.parts.asking.until = this.parts.runtime().now() + limits.lookAgainMs;
      this.parts.asked();
    });
    return this.underway;
  }

  private async askOnce(call: Pick<VerifyCall, "by">): Promise<Result<null>> {
    const { dispatcher, row, asking, runtime } = this.parts;
    const { generation, subscription } = row();
    // Should this object restart meanwhile, the alarm that is armed for then tries again.
    asking.until = runtime().now() + limits.verifyFlightMs;
    try {
      return asOwn(await dispatcher.verify({ generation, ...call }));
    } catch (fault) {
      console.error(JSON.stringify({ at: "subscription.verify", subscription, fault: String(fault) }));
      return refuse("unavailable", "The endpoint could not be asked; try again.", {
        retryAfterMs: limits.lookAgainMs,
      });
    }
  }
}
