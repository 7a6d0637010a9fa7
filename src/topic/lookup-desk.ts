// Answers who looks something up in a partition: rows and records of its log (log-reads.ts), a message (message-finder.ts),
// what was refused, and how much it holds. Nothing is changed by it, and each answer is bounded.

import { limits } from "../limits";
import type {
  FindCall,
  Finding,
  KeyedOffsets,
  LaneAnswer,
  LaneRead,
  LogPlace,
  OffsetsAnswer,
  OffsetsRead,
  ReadAnswer,
  ReadCall,
  Rejection,
  TopicStats,
} from "../topic-calls";
import * as reads from "./log-reads";
import { findMessage } from "./message-finder";
import type { Notifier } from "./notifier";
import type { SegmentedLog } from "./segmented-log";
import type { TopicLog } from "./topic-log";
import type { TopicStore } from "./topic-store";

export type LookupParts = Readonly<{
  store: TopicStore;
  stored: SegmentedLog;
  log: TopicLog;
  notifier: Notifier;
  partition: number;
}>;

export class LookupDesk {
  constructor(private readonly parts: LookupParts) {}

  // ── the log ────────────────────────────────────────────────────────────────────────────────────────

  /** Rows from `from` on, up to `maxBytes` and to what one read may hold. */
  read({ from, maxBytes }: ReadCall): ReadAnswer {
    return reads.read(this.parts.stored, from, Math.min(maxBytes, limits.readBytes));
  }

  /** The records at `offsets` that are still retained, or with `retired` still on disk. */
  readOffsets({ offsets, retired = false }: OffsetsRead): OffsetsAnswer {
    const { stored } = this.parts;
    const earliest = retired ? stored.storedFrom : stored.earliest;
    return { runs: reads.readOffsets(stored, offsets, earliest, limits.readBytes), earliest };
  }

  /** The next records of lanes. */
  readLanes(call: LaneRead): LaneAnswer {
    return reads.readLanes(this.parts.stored, call);
  }

  /** Where the log begins and ends, and the first offset stored at `time` or later. */
  locate(time?: number): LogPlace {
    return reads.locate(this.parts.stored, time);
  }

  /** Where keyed messages lie, also retired ones. */
  keyedOffsets(call: { from: number; to: number }): KeyedOffsets {
    return reads.keyedOffsets(this.parts.stored, call);
  }

  // ── messages, and what was refused ─────────────────────────────────────────────────────────────────

  /** One message by its id or its place, and what was refused under its id. */
  find(call: FindCall): Finding {
    const { store, log } = this.parts;
    const rejections = "id" in call ? store.rejections.of(call.id, limits.rejectionsKept) : [];
    return { ...findMessage(log, call), rejections, head: log.head };
  }

  /** What was refused, past the id `after`. */
  rejections({ after, limit }: { after: string | null; limit: number }): readonly Rejection[] {
    return this.parts.store.rejections.page(Number(after ?? 0), limit);
  }

  // ── counts ─────────────────────────────────────────────────────────────────────────────────────────

  stats(): TopicStats {
    const { store, stored, log, notifier, partition } = this.parts;
    return {
      partition,
      earliest: stored.earliest,
      head: stored.head,
      bytes: store.bytes,
      messageBytes: stored.bytes,
      subscriptions: notifier.readers.size,
      rejections: store.rejections.count(),
      scheduled: log.delays.count,
    };
  }
}
