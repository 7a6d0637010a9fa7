// Priorities: each that a topic uses is a log of its own, in partitions of its own. The partitions of the priority that was
// listed first come first, and one that is added later is appended, so no message ever moves. Pure.

import type { TopicSettings } from "./settings";

/** What a message has whose publisher names none. Always in use, and the lowest there is. */
export const DEFAULT_PRIORITY = 0;

/** A topic, as far as it tells where its priorities lie. */
export type Laid = Readonly<{
  /** Of all priorities together. */
  partitions: number;
  raisingTo?: number | null;
  settings?: Pick<TopicSettings, "priorities">;
}>;

/** Partitions of one priority, and the priorities in the order in which they lie. */
export type Layout = Readonly<{ each: number; priorities: readonly number[] }>;

/** Where a topic's priorities lie. One that is being added is not among them before all of its partitions are there. */
export function layoutOf({ partitions, raisingTo, settings }: Laid): Layout {
  const { priorities } = settings ?? {};
  if (!priorities) return { each: partitions, priorities: [DEFAULT_PRIORITY] };
  const each = Math.max(partitions, raisingTo ?? 0) / priorities.length;
  return { each, priorities: priorities.slice(0, partitions / each) };
}

/** The partition of `priority` at `place` among its own. Undefined when the topic does not use it. */
export function partitionIn(
  { each, priorities }: Layout,
  priority: number,
  place: number,
): number | undefined {
  const rank = priorities.indexOf(priority);
  return rank < 0 ? undefined : rank * each + place;
}

/** The priority of what lies in `partition`, to be shown; nothing for a topic that has none. */
export function priorityShown(topic: Laid, partition: number): { priority?: number } {
  if (!topic.settings?.priorities) return {};
  const { each, priorities } = layoutOf(topic);
  const priority = priorities[Math.floor(partition / each)];
  return priority === undefined ? {} : { priority };
}

/** The partitions of each priority, the highest first; those of one begin at a place of `chance` in [0, 1). */
export function levelsOf(topic: Laid, chance: number): readonly (readonly number[])[] {
  const { each, priorities } = layoutOf(topic);
  const first = Math.floor(chance * each);
  const places = Array.from({ length: each }, (_, place) => (first + place) % each);
  const highestFirst = [...priorities.entries()].sort(([, a], [, b]) => b - a);
  return highestFirst.map(([rank]) => places.map((place) => rank * each + place));
}

type Listing = Pick<TopicSettings, "priorities">;

/** The priorities of a topic that has `held` and is to have `wanted` too: those it has stay where they lie. */
export function addPriorities(held: Listing, { priorities: wanted = [] }: Listing): readonly number[] {
  const has = held.priorities ?? [DEFAULT_PRIORITY];
  const added = wanted.filter((priority) => !has.includes(priority));
  return [...has, ...added.sort((a, b) => a - b)];
}

/** `wanted`, with the priorities of `held` added. A topic that has none but the default has none. */
export function withPriorities<S extends Listing>(wanted: S, held: Listing = {}): S {
  const { priorities: _, ...settings } = wanted;
  const all = addPriorities(held, wanted);
  return { ...settings, ...(all.length > 1 && { priorities: all }) } as S;
}
