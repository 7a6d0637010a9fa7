// How long a topic keeps messages and ids. Both lie in segments, tables that are dropped whole, because
// dropping writes no rows. A message therefore outlives its retention by at most one segment's length.

import { limits } from "../limits";

export type SegmentKind = "batches" | "keys";

/** One segment: a table of its own. It ends where the next one of its kind was opened. */
export type Segment = Readonly<{ number: number; kind: SegmentKind; openedAt: number; firstOffset: number }>;

/** How long messages, or ids, are kept, in milliseconds. Ids outlive every redelivery of a Cloudflare Queue. */
export function keptMs(kind: SegmentKind, retentionMs: number): number {
  return kind === "batches" ? retentionMs : Math.max(retentionMs, limits.minKeyRetentionMs);
}

function segmentMs(kind: SegmentKind, retentionMs: number): number {
  const parts = kind === "batches" ? limits.segmentsPerRetention : limits.keySegmentsPerRetention;
  return Math.ceil(keptMs(kind, retentionMs) / parts);
}

/** Whether what is written now belongs in a new segment. */
export function needsSegment(
  newest: Segment | undefined,
  kind: SegmentKind,
  retentionMs: number,
  now: number,
): boolean {
  return newest === undefined || now - newest.openedAt >= segmentMs(kind, retentionMs);
}

/** The segments of one kind (oldest first) whose every row is past its retention. The newest is never among them. */
export function droppable(
  segments: readonly Segment[],
  kind: SegmentKind,
  retentionMs: number,
  now: number,
): Segment[] {
  return segments.filter((_, i) => {
    const next = segments[i + 1];
    return next !== undefined && next.openedAt + keptMs(kind, retentionMs) <= now;
  });
}

/** When the oldest segment of one kind can be dropped, if it is not the only one. */
export function nextDropAt(
  segments: readonly Segment[],
  kind: SegmentKind,
  retentionMs: number,
): number | undefined {
  const [oldest, next] = segments;
  if (oldest === undefined) return undefined;
  return (next?.openedAt ?? oldest.openedAt + segmentMs(kind, retentionMs)) + keptMs(kind, retentionMs);
}
