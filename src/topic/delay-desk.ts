// What becomes of delayed messages: they are released into the log when they are due, or cancelled, or moved, until
// then. Every method runs inside the caller's transaction, so that a message is in one place only.

import { ok, type Result, refuse } from "../errors";
import { limits } from "../limits";
import type { LogRun } from "../topic-calls";
import type { TopicLog } from "./topic-log";

export class DelayDesk {
  constructor(
    private readonly log: TopicLog,
    private readonly lineage: Readonly<{ departing: number | undefined }>,
  ) {}

  /** When the first is to be released; undefined when nothing is delayed, or some of it departs first. */
  get nextDueAt(): number | undefined {
    return this.lineage.departing === undefined ? this.log.delays.nextDueAt : undefined;
  }

  /** Whether something is due. */
  isDue(now: number): boolean {
    return (this.nextDueAt ?? Number.POSITIVE_INFINITY) <= now;
  }

  /** Gives their offsets to messages that are due, in order: one row of them. There may be more. */
  release(now: number): LogRun | undefined {
    const due = this.log.delays.takeDue(now);
    return due.length === 0 ? undefined : this.log.appendReleased(due, now);
  }

  /** Takes a message back. That it was cancelled is remembered, so that a retry of its publish does not revive it. */
  cancel(id: string, now: number): Result<null> {
    const waiting = this.log.delays.find(id);
    if (waiting && this.lineage.departing !== undefined) return onItsWay();
    if (waiting) {
      this.log.delays.remove(waiting);
      this.log.remember([{ id, fingerprint: waiting.fingerprint, cancelled: true }], now);
      return ok(null);
    }
    const refused = this.refusal(id);
    return refused.error.code === "already-cancelled" ? ok(null) : refused;
  }

  /** Moves a message to another instant. */
  reschedule(id: string, deliverAt: number): Result<{ scheduledFor: number }> {
    const waiting = this.log.delays.find(id);
    if (!waiting) return this.refusal(id);
    if (this.lineage.departing !== undefined) return onItsWay();
    if (waiting.deliverAt !== deliverAt) this.log.delays.move(waiting, deliverAt);
    return ok({ scheduledFor: deliverAt });
  }

  private refusal(id: string) {
    const seen = this.log.seen([id]).get(id);
    if (seen === undefined) {
      return refuse("message-not-found", "No message of this id is delayed, or is known to have been.", {
        field: "id",
      });
    }
    if ("cancelled" in seen)
      return refuse("already-cancelled", "The message was cancelled.", { field: "id" });
    return refuse("already-released", "The message has its offset: it is on its way to its readers.", {
      field: "id",
    });
  }
}

/** Another partition may have it already: changed here, it would be delivered there as it was. */
function onItsWay() {
  return refuse(
    "unavailable",
    "The topic is given more partitions, and the message one of them; try again.",
    {
      retryAfterMs: limits.catalogRetryMs,
    },
  );
}
