// Keeps the order of ordering keys across a raise. A partition that a raise made asks its parent which keys still have
// something unsettled there, and hands out none of those; its own children ask it the same.

import { limits } from "../limits";
import { type Cut, cutFor, leftFor } from "../raise";
import type { PendingKeys, SubscriptionCalls } from "../subscription-calls";
import type { TopicCalls } from "../topic-calls";
import type { Backlog } from "./backlog";
import type { LogReader } from "./log-reader";
import type { RecordBuffer } from "./record-buffer";

export type ParentParts = Readonly<{
  backlog: Backlog;
  buffer: RecordBuffer;
  reader: LogReader;
  partition: number;
  /** The subscription's partition that this one's keys were in; undefined when there is none. */
  parent: Pick<SubscriptionCalls, "pendingKeys"> | undefined;
  topic: Pick<TopicCalls, "cuts">;
  now(): number;
  isLive(): boolean;
  /** The parent has nothing left of this partition's keys: remembered, and never asked again. */
  opened(): void;
}>;

export class ParentDesk {
  private cuts: readonly Cut[] = [];
  private asking: Promise<void> | undefined;

  constructor(private readonly parts: ParentParts) {}

  /** Whether there is something here that may have to wait. */
  get isAwaiting(): boolean {
    const { backlog } = this.parts;
    if (backlog.gate.isOpen) return false;
    return backlog.lanes.size > 0 || backlog.counters.nextOffset < backlog.knownHead;
  }

  /** Asks the parent, when it is time to. Callers share one question. */
  async ask(): Promise<void> {
    const { backlog, now } = this.parts;
    if (!this.isAwaiting || now() < backlog.gate.askAt) return;
    this.asking ??= this.askNow().finally(() => {
      this.asking = undefined;
    });
    await this.asking;
  }

  private async askNow(): Promise<void> {
    const { backlog, isLive, now, opened } = this.parts;
    const pending = await this.pendingAbove(this.parts.partition);
    if (!isLive()) return;
    this.learn(pending, now());
    if (backlog.gate.isOpen) opened();
  }

  /** Takes in which keys wait for the former partition: lanes that no longer do are ready. */
  private learn(pending: PendingKeys, now: number): void {
    const { backlog } = this.parts;
    const { gate, lanes } = backlog;
    const held = [...lanes.values()].filter(({ key }) => gate.holds(key));
    gate.learn(pending, now);
    for (const lane of held) if (!gate.holds(lane.key)) backlog.touch(lane);
  }

  /** Answers a child: which of its keys still have something unsettled here, or above. */
  async pendingFor(child: number): Promise<PendingKeys> {
    const { backlog, buffer } = this.parts;
    const cut = await this.cutFor(child);
    if (!cut || !(await this.holdsUpTo(cut.offset))) return "all";
    const above = backlog.gate.isOpen ? [] : await this.pendingAbove(child);
    if (above === "all") return "all";
    const keys = new Set(above);
    for (const key of backlog.lanes.keys()) if (leftFor(key, cut, child)) keys.add(key);
    for (let offset = backlog.counters.nextOffset; offset < cut.offset; offset++) {
      const key = buffer.get(offset)?.orderingKey;
      if (key !== undefined && leftFor(key, cut, child)) keys.add(key);
    }
    return keys.size > limits.pendingKeys ? "all" : [...keys];
  }

  /** Whether all below `cut` was taken from the log or is in memory: only then is every key known. */
  private async holdsUpTo(cut: number): Promise<boolean> {
    const { buffer, reader } = this.parts;
    while (buffer.end < cut && !buffer.isFull) if (!(await reader.readAhead())) break;
    return buffer.end >= cut;
  }

  private async pendingAbove(child: number): Promise<PendingKeys> {
    const answer = await this.parts.parent?.pendingKeys({ partition: child }).catch(() => undefined);
    return answer?.ok ? answer.value.pending : "all";
  }

  /** A cut never changes: it is asked for once. */
  private async cutFor(child: number): Promise<Cut | undefined> {
    const { partition, topic } = this.parts;
    const known = cutFor(this.cuts, partition, child);
    if (known) return known;
    const answer = await topic.cuts().catch(() => undefined);
    if (answer?.ok) this.cuts = answer.value;
    return cutFor(this.cuts, partition, child);
  }
}
