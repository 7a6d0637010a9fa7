// What could be leased now, and what must be read from the log for it. The ready queue is not tidied when a delivery
// moves on: each entry is looked up afresh.

import type { Backlog, Ready } from "./backlog";
import { isLeftOut } from "./filtering";
import type { RecordBuffer } from "./record-buffer";
import { isExpired } from "./time-to-live";

/** What must be read before it can be leased: records, and where the followers of free lanes lie. */
export type Missing = Readonly<{
  offsets: readonly number[];
  lanes: readonly { key: string; from: number }[];
}>;

/** Finds what the next `max` deliveries that are due lack in memory; undefined when they lack nothing. */
export function findMissing(
  backlog: Backlog,
  buffer: RecordBuffer,
  { now, max }: { now: number; max: number },
): Missing | undefined {
  const due: Ready[] = [];
  const offsets: number[] = [];
  const lanes: { key: string; from: number }[] = [];
  for (let seen = 0; seen < max; ) {
    const next = backlog.ready.peek();
    if (!next || next.at > now) break;
    backlog.ready.pop();
    if (isStale(backlog, next, now)) continue;
    due.push(next);
    const lane = next.key === undefined ? undefined : backlog.lanes.get(next.key);
    const run = lane ? [...lane.waiting, ...lane.known].slice(0, max - seen) : [next.offset];
    if (lane && lane.followers > 0 && lane.known.length === 0)
      lanes.push({ key: lane.key, from: lane.followersFrom });
    offsets.push(...run.filter((offset) => !buffer.get(offset)));
    seen += Math.max(1, run.length);
  }
  for (const entry of due) backlog.ready.push(entry);
  return offsets.length + lanes.length > 0 ? { offsets, lanes } : undefined;
}

/** Whether a cut at `now` would lease something, or find something to read first. */
export function canLease(backlog: Backlog, buffer: RecordBuffer, now: number): boolean {
  for (let next = backlog.ready.peek(); next && next.at <= now; next = backlog.ready.peek()) {
    if (!isStale(backlog, next, now)) return true;
    backlog.ready.pop();
  }
  for (let offset = backlog.counters.nextOffset; offset < buffer.end; offset++) {
    const held = buffer.get(offset);
    if (held && (isLeftOut(backlog, offset, held) || isExpired(held, now))) continue;
    const key = held?.orderingKey;
    if (key === undefined || !backlog.mustFollow(key)) return !backlog.isStalled;
  }
  return false;
}

/** The ready queue is not tidied when a delivery moves on: an entry may stand for what is no longer so. */
function isStale(backlog: Backlog, { offset, key }: Ready, now: number): boolean {
  const lane = key === undefined ? undefined : backlog.lanes.get(key);
  if (key !== undefined && (!lane || backlog.isHeld(lane))) return true;
  const head = lane ? lane.waiting[0] : offset;
  if (head === undefined) return lane?.followers === 0;
  const delivery = backlog.deliveries.get(head);
  return delivery?.state !== "waiting" || delivery.availableAt > now;
}
