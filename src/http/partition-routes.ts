// The partitions of a topic or a subscription, asked side by side or one after another.

import { type ZodType, z } from "zod";
import type { SubscriptionEntry, TopicEntry } from "../catalog/catalog-entry";
import { inParallel } from "../catalog/entry-lifecycle";
import { ok, type Result, refuse } from "../errors";
import { objectName } from "../object-name";
import type { SubscriptionCalls } from "../subscription-calls";
import type { TopicCalls } from "../topic-calls";
import type { Broker } from "./broker";
import { parse } from "./parse";
import { type Place, place, placeText } from "./schemas";

export function topicAt({ env }: Broker, { generation }: TopicEntry, partition: number): TopicCalls {
  return env.TOPIC.getByName(objectName(generation, partition));
}

export function subscriptionAt(
  { env }: Broker,
  { generation }: SubscriptionEntry,
  partition: number,
): SubscriptionCalls {
  return env.SUBSCRIPTION.getByName(objectName(generation, partition));
}

/** Asks every partition, a few at once. Refused when one refuses. */
export async function everyPartition<T>(
  partitions: number,
  ask: (partition: number) => Promise<Result<T>>,
): Promise<Result<readonly T[]>> {
  return somePartitions([...Array(partitions).keys()], ask);
}

/** Asks these partitions, a few at once; the answers come in their order. Refused when one refuses. */
export async function somePartitions<T>(
  partitions: readonly number[],
  ask: (partition: number) => Promise<Result<T>>,
): Promise<Result<readonly T[]>> {
  const answers = new Map<number, Result<T>>();
  await inParallel(partitions, async (partition) => {
    answers.set(partition, await ask(partition));
  });
  return together(partitions.flatMap((partition) => answers.get(partition) ?? []));
}

/** Asks these partitions, which refuse nothing: a few at once, or one after another by their numbers. In no certain order. */
export async function inEachPartition<T>(
  partitions: readonly number[],
  inTurn: boolean,
  ask: (partition: number) => Promise<T>,
): Promise<readonly T[]> {
  const answers: T[] = [];
  const note = async (partition: number) => void answers.push(await ask(partition));
  if (!inTurn) await inParallel(partitions, note);
  else for (const partition of [...partitions].sort((a, b) => a - b)) await note(partition);
  return answers;
}

/** Asks these partitions one after another: a partition that a raise made comes after the one that its keys were in. */
export async function partitionsInTurn<T>(
  partitions: readonly number[],
  ask: (partition: number) => Promise<Result<T>>,
): Promise<Result<readonly T[]>> {
  const answers: Result<T>[] = [];
  for (const partition of [...partitions].sort((a, b) => a - b)) answers.push(await ask(partition));
  return together(answers);
}

function together<T>(answers: readonly Result<T>[]): Result<readonly T[]> {
  const values: T[] = [];
  for (const answer of answers) {
    if (!answer.ok) return answer;
    values.push(answer.value);
  }
  return ok(values);
}

export type Walk<T> = Readonly<{
  partitions: number;
  /** Where the page before ended; undefined at the beginning. */
  after: Place | undefined;
  limit: number;
  bytesOf(item: T): number;
  maxBytes: number;
  /** Up to `limit` items of a partition with a place above `after`. */
  ask(partition: number, after: number, limit: number): Promise<Result<readonly T[]>>;
  offsetOf(item: T): number;
}>;
export type Walked<T> = Readonly<{ items: readonly (Place & { item: T })[]; next: Place | null }>;

/** One page of a list that runs through the partitions, one after another, by offset in each. */
export async function walk<T>({ ask, offsetOf, ...rest }: Walk<T>): Promise<Result<Walked<T>>> {
  const walked = await walkBy<T, Pick<Place, "offset">>({
    ...rest,
    begin: { offset: -1 },
    ask: (partition, { offset }, limit) => ask(partition, offset, limit),
    placeOf: (item) => ({ offset: offsetOf(item) }),
  });
  if (!walked.ok) return walked;
  const { items, next } = walked.value;
  return ok({ items: items.map(({ partition, at, item }) => ({ partition, ...at, item })), next });
}

/** A list whose items stand, in their partition, at an `At`. */
export type WalkBy<T, At> = Omit<Walk<T>, "after" | "ask" | "offsetOf"> &
  Readonly<{
    /** Where the page before ended; undefined at the beginning. */
    after: (InPartition & At) | undefined;
    /** Before the first item of a partition. */
    begin: At;
    /** Up to `limit` items of a partition that come after `after`. */
    ask(partition: number, after: At, limit: number): Promise<Result<readonly T[]>>;
    placeOf(item: T): At;
  }>;
type InPartition = Readonly<{ partition: number }>;
export type WalkedBy<T, At> = Readonly<{
  items: readonly Readonly<{ partition: number; at: At; item: T }>[];
  next: (InPartition & At) | null;
}>;

/** One page of a list that runs through the partitions, one after another. */
export async function walkBy<T, At extends object>({
  partitions,
  limit,
  after,
  begin,
  ...walk
}: WalkBy<T, At>): Promise<Result<WalkedBy<T, At>>> {
  const items: { partition: number; at: At; item: T }[] = [];
  let partition = after?.partition ?? 0;
  let at: At = after ?? begin;
  let bytes = 0;
  while (partition < partitions) {
    const last = items.at(-1);
    const isFull = items.length >= limit || bytes >= walk.maxBytes;
    if (last && isFull) return ok({ items, next: { partition: last.partition, ...last.at } });
    const found = await walk.ask(partition, at, limit - items.length);
    if (!found.ok) return found;
    for (const item of found.value) {
      at = walk.placeOf(item);
      items.push({ partition, at, item });
      bytes += walk.bytesOf(item);
    }
    // An object answers fewer than asked also when bytes are the limit: only an empty answer is the end.
    if (found.value.length === 0) [partition, at] = [partition + 1, begin];
  }
  return ok({ items, next: null });
}

/** Whether a place can exist: a partition beyond the last holds nothing. */
export function checkPartition(partition: number, partitions: number): Result<null> {
  if (partition < partitions) return ok(null);
  return refuse("invalid-request", `There are ${partitions} partitions: 0 to ${partitions - 1}.`, {
    field: "partition",
    limit: partitions - 1,
  });
}

/** Whether all of these partitions exist. `field` names the offsets in the request. */
export function checkOffsets(
  field: string,
  offsets: Readonly<Record<string, number>>,
  partitions: number,
): Result<null> {
  const beyond = Object.keys(offsets).find((partition) => Number(partition) >= partitions);
  if (beyond === undefined) return ok(null);
  return refuse("invalid-request", `There are ${partitions} partitions: 0 to ${partitions - 1}.`, {
    field: `${field}.${beyond}`,
    limit: partitions - 1,
  });
}

/** The place that a page's `after` names. */
export function placeAfter(after: string | undefined): Result<Place | undefined> {
  return parseAfter(place, after);
}

/** What a page's `after` names, by the schema of the list's places. */
export function parseAfter<P>(schema: ZodType<P>, after: string | undefined): Result<P | undefined> {
  if (after === undefined) return ok(undefined);
  return parse(
    z.object({ after: schema }).transform((page) => page.after),
    { after },
  );
}

export function nextOf(next: Place | null): string | null {
  return next && placeText(next);
}
