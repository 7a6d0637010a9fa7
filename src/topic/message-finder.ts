// Finds a message of a partition: by its place, by a client's id through the publish keys, or by an id that the broker
// made, which tells when it was made: the log is looked through from then on, a bounded part of it a call.

import { limits } from "../limits";
import { recordSpans, unpackRecord } from "../record-batch";
import type { FindCall, Finding, LogRun } from "../topic-calls";
import { type SeenId, trimRun } from "./log";
import { readOffsets } from "./log-reads";
import type { TopicLog } from "./topic-log";

export type Found = Pick<Finding, "place" | "delayed" | "searched">;

/** A UUIDv7 (RFC 9562): 48 bits of epoch milliseconds come first. */
const UUID_V7 = /^([0-9a-f]{8})-([0-9a-f]{4})-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;

/** The message of a place or an id, as far as one call finds it. */
export function findMessage(log: TopicLog, call: FindCall): Found {
  if ("offset" in call) return placeAt(log, call.offset);
  const known = call.from === undefined ? log.seen([call.id]).get(call.id) : undefined;
  if (known) return foundBy(log, known);
  const from = call.from ?? firstOffsetFor(log, call.id);
  return from === undefined ? {} : searchLog(log, call.id, from);
}

/** A message that is delayed is not in the log yet. */
function foundBy(log: TopicLog, seen: SeenId): Found {
  if ("offset" in seen) return placeAt(log, seen.offset);
  if ("cancelled" in seen) return { delayed: { cancelled: true } };
  const { scheduledFor } = seen;
  const record = log.delays.recordOf(seen.id);
  return record ? { delayed: { scheduledFor, record } } : {};
}

function placeAt(log: TopicLog, offset: number): Found {
  if (offset >= log.head) return {};
  const [run] = readOffsets(log.stored, [offset], log.stored.earliest, limits.readBytes);
  return { place: { offset, ...(run && { run }) } };
}

/** Where a message with this id can lie at the earliest; undefined when the id tells no time. */
function firstOffsetFor(log: TopicLog, id: string): number | undefined {
  const [, high, low] = UUID_V7.exec(id) ?? [];
  if (high === undefined || low === undefined) return undefined;
  return log.stored.offsetAt(Number.parseInt(high + low, 16) - limits.idClockSkewMs);
}

function searchLog({ stored }: TopicLog, id: string, from: number): Found {
  let to = Math.max(from, stored.earliest);
  const begin = to;
  let bytes = 0;
  for (const row of stored.rows(begin)) {
    if (bytes > limits.scanBytes) break;
    const run = trimRun(row, begin);
    const spans = recordSpans(run.records);
    const index = spans.findIndex((span) => unpackRecord(run.records, span).id === id);
    if (index >= 0) return { place: onePlace(run, index, spans[index]) };
    to = run.firstOffset + spans.length;
    bytes += run.records.byteLength;
  }
  return { searched: { from: begin, to } };
}

function onePlace(run: LogRun, index: number, span: { start: number; end: number } | undefined) {
  const offset = run.firstOffset + index;
  return {
    offset,
    run: { ...run, firstOffset: offset, records: run.records.slice(span?.start, span?.end) },
  };
}
