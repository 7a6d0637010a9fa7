// What is asked of a log: its rows in order, records by their offsets, a lane's next records, and where a place lies. Each
// reads a bounded part of it.

import { ok, type Result, refuse } from "../errors";
import { limits } from "../limits";
import { recordSpans, unpackRecord } from "../record-batch";
import type { StartAt } from "../settings";
import type { KeyedOffsets, LaneAnswer, LaneRead, LogPlace, LogRun, ReadAnswer } from "../topic-calls";
import { trimRun } from "./log";
import type { SegmentedLog } from "./segmented-log";

/** Rows from `from` on, the first trimmed to start there: at least one row, then as many as `maxBytes` holds. */
export function read(log: SegmentedLog, from: number, maxBytes: number): ReadAnswer {
  const runs: LogRun[] = [];
  let bytes = 0;
  const start = Math.max(from, log.earliest);
  for (const row of start < log.head ? log.rows(start) : []) {
    const run = trimRun(row, start);
    if (runs.length > 0 && bytes + run.records.byteLength > maxBytes) break;
    runs.push(run);
    bytes += run.records.byteLength;
  }
  return { runs, earliest: log.earliest, head: log.head };
}

/** The records at `offsets` (rising) not below `from`, up to about `maxBytes`. */
export function readOffsets(
  log: SegmentedLog,
  offsets: readonly number[],
  from: number,
  maxBytes: number,
): LogRun[] {
  const runs: LogRun[] = [];
  let bytes = 0;
  let row: LogRun | undefined;
  let spans: ReturnType<typeof recordSpans> = [];
  for (const offset of offsets) {
    if (offset < from || offset >= log.head || bytes > maxBytes) continue;
    if (row === undefined || offset >= row.firstOffset + spans.length) {
      row = log.rows(offset).next().value ?? undefined;
      spans = row ? recordSpans(row.records) : [];
    }
    const span = row && spans[offset - row.firstOffset];
    if (row === undefined || span === undefined) continue;
    const records = row.records.slice(span.start, span.end);
    runs.push({ firstOffset: offset, storedAt: row.storedAt, records });
    bytes += records.byteLength;
  }
  return runs;
}

/** Looks for each lane's next records. Walks the log from the least `from`, a bounded part of it a call. */
export function readLanes(log: SegmentedLog, { lanes, to, limit }: LaneRead): LaneAnswer {
  const wanted = new Map(lanes.map(({ key, from }) => [key, { from, left: limit }]));
  const runs: LogRun[] = [];
  let scannedTo = Math.max(log.earliest, Math.min(...lanes.map(({ from }) => from)));
  let scannedBytes = 0;
  let foundBytes = 0;
  let unsatisfied = wanted.size;
  for (const row of log.rows(scannedTo)) {
    const isEnough = unsatisfied === 0 || foundBytes > limits.readBytes;
    if (scannedTo >= to || scannedBytes > limits.scanBytes || isEnough) break;
    const spans = recordSpans(row.records);
    spans.forEach((span, i) => {
      const offset = row.firstOffset + i;
      const lane = wanted.get(unpackRecord(row.records, span).orderingKey ?? "");
      if (lane === undefined || lane.left === 0 || offset < lane.from || offset >= to) return;
      lane.left -= 1;
      if (lane.left === 0) unsatisfied -= 1;
      foundBytes += span.end - span.start;
      runs.push({
        firstOffset: offset,
        storedAt: row.storedAt,
        records: row.records.slice(span.start, span.end),
      });
    });
    scannedTo = row.firstOffset + spans.length;
    scannedBytes += row.records.byteLength;
  }
  return { runs, scannedTo: Math.min(to, Math.max(scannedTo, log.earliest)) };
}

/** Where keyed messages lie, from `from` to `to`, on disk though they may be retired. A bounded part a call. */
export function keyedOffsets(log: SegmentedLog, { from, to }: { from: number; to: number }): KeyedOffsets {
  const offsets = new Map<string, number[]>();
  let scannedTo = Math.max(from, log.storedFrom);
  let scannedBytes = 0;
  for (const row of log.rows(scannedTo)) {
    if (scannedTo >= to || scannedBytes > limits.scanBytes) break;
    const spans = recordSpans(row.records);
    for (const [i, span] of spans.entries()) {
      const offset = row.firstOffset + i;
      if (offset < from || offset >= to) continue;
      const { orderingKey } = unpackRecord(row.records, span);
      if (orderingKey === undefined) continue;
      const known = offsets.get(orderingKey);
      if (known) known.push(offset);
      else offsets.set(orderingKey, [offset]);
    }
    scannedTo = row.firstOffset + spans.length;
    scannedBytes += row.records.byteLength;
  }
  return { offsets: [...offsets], scannedTo: Math.min(to, scannedTo) };
}

/** The offset at which a reader that starts at `startAt` begins. */
export function startOffset(log: SegmentedLog, startAt: StartAt, partition: number): Result<number> {
  if (startAt.at === "earliest") return ok(log.earliest);
  if (startAt.at === "latest") return ok(log.head);
  if (startAt.at === "time") return ok(log.offsetAt(startAt.time));
  const offset = startAt.offsets[String(partition)] ?? log.head;
  if (offset <= log.head) return ok(Math.max(offset, log.earliest));
  return refuse("invalid-request", `Offset ${offset} lies beyond the head of partition ${partition}.`, {
    field: `startAt.offsets.${partition}`,
    limit: log.head,
  });
}

/** Where the log begins and ends, and the first offset stored at `time` or later. */
export function locate(log: SegmentedLog, time?: number): LogPlace {
  const { earliest, head } = log;
  return { earliest, head, ...(time !== undefined && { atTime: log.offsetAt(time) }) };
}
