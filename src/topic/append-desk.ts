// Whether an append finds room: what all subscriptions have settled makes way for it, and if that is not enough, it is
// refused with whom it waits for. What finds room is written.

import { ok, type Refused, type Result, refuse } from "../errors";
import { limits } from "../limits";
import type { AppendCall } from "../topic-calls";
import type { LineageDesk } from "./lineage-desk";
import type { RetentionDesk } from "./retention-desk";
import type { SegmentedLog } from "./segmented-log";
import type { AppendedCall, Beside, TopicLog } from "./topic-log";
import type { TopicRow, TopicStore } from "./topic-store";

export type AppendParts = Readonly<{
  topic: TopicRow;
  store: TopicStore;
  stored: SegmentedLog;
  log: TopicLog;
  lineage: LineageDesk;
  retention: RetentionDesk;
  now(): number;
  write<T>(decide: () => T): T;
}>;

export class AppendDesk {
  constructor(private readonly parts: AppendParts) {}

  /** Whether the log, or the object, takes more bytes than it may. */
  isOver(): boolean {
    const { stored, topic, store } = this.parts;
    return stored.bytes >= topic.settings.retentionBytes || store.bytes > limits.topicBytes;
  }

  /** Appends in one transaction. Refused as `topic-full`, except what was answered before: it gets that answer again. */
  append(call: AppendCall, above: Omit<Beside, "movedTo">): Result<AppendedCall> {
    const { retention, lineage, log, now, write } = this.parts;
    const isOver = () => this.isOver();
    if (isOver()) retention.makeRoom(isOver, now());
    // What has left this partition needs no room in it.
    const leaves = () => call.batches.every((batch) => lineage.movedTo(batch) !== undefined);
    if (isOver() && !leaves()) {
      const answers = log.answeredBefore(call);
      return answers ? ok({ run: undefined, answers }) : this.full();
    }
    return ok(write(() => log.append(call, now(), { ...above, movedTo: (batch) => lineage.movedTo(batch) })));
  }

  private full(): Refused {
    const { retention, store, topic } = this.parts;
    const detail = retention.whyFull((generation) => store.subscriptionName(generation) ?? generation);
    const limit = Math.min(topic.settings.retentionBytes, limits.topicBytes);
    const more = { field: "retentionBytes", limit, retryAfterMs: limits.topicFullRetryMs };
    return refuse("topic-full", detail, more);
  }
}
