// What a subscription's filter does to what is in hand. A filtered message leaves no row and no outcome: the next offset
// moves past it and a counter rises, and even that is written only now and then. Synchronous and pure, like cutting a
// lease.

import { limits } from "../limits";
import type { Backlog } from "./backlog";
import type { Lane } from "./lane";
import type { BufferedRecord, RecordBuffer } from "./record-buffer";
import { type FilterVersion, neededVersions, Sieve, withFilter } from "./sieve";

type Named = Omit<FilterVersion, "from">;

/** Another filter holds for what is not taken from the log yet; `before` held until now. */
export function setFilter(backlog: Backlog, before: Named, next: Named): void {
  const { startOffset, nextOffset } = backlog.counters;
  const { versions } = backlog.sieve;
  const from = { ...next, from: nextOffset };
  useVersions(backlog, withFilter(versions, { ...before, from: startOffset }, from));
}

/** Nothing below `offset` is in the log any more: filters that held only there are forgotten. */
export function forgetFiltersBelow(backlog: Backlog, offset: number): void {
  const { versions } = backlog.sieve;
  const needed = neededVersions(versions, offset);
  if (needed.length < versions.length) useVersions(backlog, needed);
}

function useVersions(backlog: Backlog, versions: readonly FilterVersion[]): void {
  backlog.sieve = new Sieve(versions);
  backlog.changes.filters = true;
  backlog.changes.state = true;
}

/** Left out by the filter; or here already, as a dead letter of an earlier epoch that was redriven. */
export function isLeftOut(backlog: Backlog, offset: number, held: BufferedRecord): boolean {
  const { sieve, deliveries } = backlog;
  return !sieve.isOpen && (deliveries.has(offset) || !sieve.passes(offset, held));
}

/** A message that comes next in the log is left out. A restart judges it again until much has come together. */
export function leaveOut(backlog: Backlog, bytes: number): void {
  const { unsaved } = backlog;
  backlog.counters.filtered += 1;
  unsaved.count += 1;
  unsaved.bytes += bytes;
  const isMuch = unsaved.count >= limits.filteredUnsaved || unsaved.bytes >= limits.filteredUnsavedBytes;
  if (isMuch) backlog.changes.state = true;
}

/** The first follower of a lane is left out: the line closes up. */
export function leaveOutFollower(backlog: Backlog, lane: Lane): void {
  backlog.takeFollower(lane);
  backlog.counters.filtered += 1;
  backlog.changes.state = true;
  backlog.touch(lane);
}

/** Has progress past filtered messages saved, before somebody is told that he may rely on it. */
export function saveFiltered(backlog: Backlog): void {
  if (backlog.unsaved.count > 0) backlog.changes.state = true;
}

/**
 * Passes what the filter leaves out of the messages that come next, up to the first that it lets through, or that
 * stands in line.
 */
export function passFiltered(backlog: Backlog, buffer: RecordBuffer): void {
  const { counters, sieve } = backlog;
  sieve.renew();
  for (let offset = counters.nextOffset; offset < buffer.end && !sieve.isSpent; offset++) {
    const held = buffer.get(offset);
    if (!held || hasFollowers(backlog, held.orderingKey) || !isLeftOut(backlog, offset, held)) return;
    leaveOut(backlog, held.record.byteLength);
    buffer.forget(offset);
    counters.nextOffset = offset + 1;
  }
}

/** How many of the messages that come next the filter lets through, as far as they are in memory; `max` at most. */
export function countNext(backlog: Backlog, buffer: RecordBuffer, max: number): number {
  const { counters, sieve } = backlog;
  if (sieve.isOpen) return Math.min(max, buffer.end - counters.nextOffset);
  let count = 0;
  for (let offset = counters.nextOffset; offset < buffer.end && count < max; offset++) {
    // What is too much to judge at once is enough.
    if (sieve.isSpent) return max;
    const held = buffer.get(offset);
    if (held && !isLeftOut(backlog, offset, held)) count += 1;
  }
  return count;
}

/** Whether others stand in line: behind them everything of the key follows, so that a search of the log finds just those. */
export function hasFollowers(backlog: Backlog, key: string | undefined): boolean {
  return key !== undefined && (backlog.lanes.get(key)?.followers ?? 0) > 0;
}
