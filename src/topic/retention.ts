// How long a topic keeps messages and ids. Both lie in segments, tables that are dropped whole, because
// dropping writes no rows. A message therefore outlives its retention by at most one segment's length.

import { limits } from "../limits";
import type { TopicSettings } from "../settings";

export type SegmentKind = "batches" | "keys";
export type Retention = Pick<TopicSettings, "retentionMs" | "retentionBytes">;

/** One segment: a table of its own. It ends where the next one of its kind was opened. */
export type Segment = Readonly<{
  number: number;
  kind: SegmentKind;
  openedAt: number;
  firstOffset: number;
  /** How many bytes of messages the log had taken when it was opened; absent before bytes were counted. */
  startBytes?: number;
}>;

/** How long messages, or ids, are kept, in milliseconds. Ids outlive every redelivery of a Cloudflare Queue. */
export function keptMs(kind: SegmentKind, retentionMs: number): number {
  return kind === "batches" ? retentionMs : Math.max(retentionMs, limits.minKeyRetentionMs);
}

function segmentMs(kind: SegmentKind, retentionMs: number): number {
  const parts = kind === "batches" ? limits.segmentsPerRetention : limits.keySegmentsPerRetention;
  return Math.ceil(keptMs(kind, retentionMs) / parts);
}

/** Whether what is written now belongs in a new segment. `logBytes`: what the log has taken so far. */
export function needsSegment(
  newest: Segment | undefined,
  kind: SegmentKind,
  { retentionMs, retentionBytes }: Retention,
  now: number,
  logBytes: number,
): boolean {
  if (newest === undefined || now - newest.openedAt >= segmentMs(kind, retentionMs)) return true;
  if (kind === "keys") return false;
  const isFull =
    logBytes - (newest.startBytes ?? 0) >= Math.ceil(retentionBytes / limits.byteSegmentsPerRetention);
  return newest.startBytes === undefined || isFull;
}

/** A segment and when its newest row was written; undefined while more may be written or it is empty. */
export type Dated = Readonly<{ segment: Segment; lastWrittenAt: number | undefined }>;

/** The segments of one kind whose every row is past its retention: those of messages are retired first. */
export function droppable(
  segments: readonly Dated[],
  kind: SegmentKind,
  retentionMs: number,
  now: number,
): Segment[] {
  return segments
    .filter(
      ({ lastWrittenAt = Number.POSITIVE_INFINITY }) => lastWrittenAt + keptMs(kind, retentionMs) <= now,
    )
    .map(({ segment }) => segment);
}

/** When the first of these segments can be dropped, if any can. */
export function nextDropAt(
  segments: readonly Dated[],
  kind: SegmentKind,
  retentionMs: number,
): number | undefined {
  const oldest = segments.find(({ lastWrittenAt }) => lastWrittenAt !== undefined);
  return oldest?.lastWrittenAt === undefined ? undefined : oldest.lastWrittenAt + keptMs(kind, retentionMs);
}
