// Retention overtakes a subscription: what it never read is counted, what waits dies. Synchronous and pure, like
// cutting a lease; what must be looked up in the log is found first, for the caller to read.

import type { Backlog } from "./backlog";
import { noteGap } from "./changes";
import { type Lane, learn, losesBelow } from "./lane";

/** The offsets that carry their own message: redriven dead letters do not depend on the log. */
export type Carried = ReadonlySet<number>;

/** Where followers lie in the log: the offsets of each key, all of them below `scannedTo`. */
export type FoundFollowers = Readonly<{ offsets: ReadonlyMap<string, readonly number[]>; scannedTo: number }>;

/**
 * Lets go of the followers below `before` and of what was never read there. Both at once, since an offset that is
 * passed unread can afterwards not be told from a follower, and a message that comes next would be lost in its
 * stead. Where the search has not come so far yet, only the followers that it found leave. Answers whether all is done.
 */
export function passBelow(backlog: Backlog, before: number, { offsets, scannedTo }: FoundFollowers): boolean {
  loseFollowers(backlog, Math.min(before, scannedTo), offsets);
  if (scannedTo < before) return false;
  skipUnread(backlog, before);
  return true;
}

/** Counts what was never read below `before`; the next lease begins there. Answers whether anything was. */
export function skipUnread(backlog: Backlog, before: number): boolean {
  const { counters } = backlog;
  if (counters.nextOffset >= before) return false;
  overtake(backlog, counters.nextOffset, before - counters.nextOffset);
  counters.nextOffset = before;
  return true;
}

/** Up to `max` deliveries that wait below `before` die as `expired`. Answers how many. */
export function killWaiting(
  backlog: Backlog,
  carried: Carried,
  { before, now, max }: Readonly<{ before: number; now: number; max: number }>,
): number {
  const death = { diedAt: now, reason: "expired" as const };
  let killed = 0;
  for (const delivery of backlog.deliveries.values()) {
    if (killed >= max) break;
    if (delivery.state !== "waiting" || delivery.offset >= before || carried.has(delivery.offset)) continue;
    backlog.put({ ...delivery, state: "dying", death });
    killed += 1;
  }
  return killed;
}

/** Where to begin to look for followers below `before` whose offsets are not known; undefined when all are. */
export function unknownFrom(backlog: Backlog, before: number): number | undefined {
  const froms = [...backlog.lanes.values()].filter((lane) => hasUnknown(lane, before));
  return froms.length === 0 ? undefined : Math.min(...froms.map(({ followersFrom }) => followersFrom));
}

function hasUnknown({ followers, followersFrom, known }: Lane, before: number): boolean {
  if (followers === 0 || followersFrom >= before) return false;
  return known.length < followers && (known.at(-1) ?? -1) < before;
}

/** Followers below `before` were never attempted: they count as expired. `found`: the offsets of each key there. */
export function loseFollowers(
  backlog: Backlog,
  before: number,
  found: ReadonlyMap<string, readonly number[]>,
): void {
  for (const lane of [...backlog.lanes.values()]) {
    if (lane.followers === 0 || lane.followersFrom >= before) continue;
    const offsets = hasUnknown(lane, before) ? (found.get(lane.key) ?? []) : lane.known;
    // What is not taken from the log yet follows nothing, whatever its key.
    const taken = offsets.filter((offset) => offset < backlog.counters.nextOffset);
    const lost = losesBelow(lane, before, taken);
    backlog.dropFollowers(lane, lost.length);
    for (const offset of lost) overtake(backlog, offset, 1);
    backlog.touch(lane);
  }
}

/** The first follower of some lane is no longer in the log. */
export function loseFollower(backlog: Backlog, offset: number): void {
  const lane = [...backlog.lanes.values()].find(({ known }) => known[0] === offset);
  if (!lane) return;
  backlog.takeFollower(lane);
  overtake(backlog, offset, 1);
  backlog.touch(lane);
}

/** What a search for a lane's followers found. Those that retention overtook count as expired. */
export function learnFollowers(
  backlog: Backlog,
  key: string,
  offsets: readonly number[],
  scannedTo: number,
): void {
  const lane = backlog.lanes.get(key);
  if (!lane) return;
  const from = lane.followersFrom;
  const lost = learn(lane, offsets, scannedTo, backlog.counters.nextOffset);
  if (lost > 0) {
    backlog.dropFollowers(lane, lost);
    // Which offsets they had, nobody knows any more: no outcome tells of them.
    backlog.counters.expired += lost;
    noteGap(backlog.changes, { from, to: Math.max(from, scannedTo), count: lost });
  }
  backlog.touch(lane);
}

/** Retention overtook `count` messages from `from` on that were never attempted. */
function overtake(backlog: Backlog, from: number, count: number): void {
  backlog.end("expired", from, { count });
  noteGap(backlog.changes, { from, to: from + count, count });
}

/** What is still open below `before`: the time when the last lease ends; undefined when there is none. */
export function leasedUntil(backlog: Backlog, before: number, carried: Carried): number | undefined {
  const deadlines = [...backlog.leases]
    .filter(({ offsets }) => [...offsets].some((offset) => offset < before && !carried.has(offset)))
    .map(({ deadlineAt }) => deadlineAt);
  return deadlines.length === 0 ? undefined : Math.max(...deadlines);
}

/** Whether something below `before` was given back, or is dying, since those that waited were looked at. */
export function isGivenBack(backlog: Backlog, before: number, carried: Carried): boolean {
  for (const { offset, state } of backlog.deliveries.values())
    if (offset < before && state !== "leased" && !carried.has(offset)) return true;
  return false;
}

/** The lowest offset that the subscription still needs of the log. */
export function neededFrom(backlog: Backlog, carried: Carried): number {
  let from = backlog.counters.nextOffset;
  for (const offset of backlog.deliveries.keys()) if (offset < from && !carried.has(offset)) from = offset;
  for (const { followers, followersFrom } of backlog.lanes.values()) {
    if (followers > 0 && followersFrom < from) from = followersFrom;
  }
  return from;
}
