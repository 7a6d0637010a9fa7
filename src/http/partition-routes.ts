// The partitions of a topic or a subscription, asked side by side or one after another.

import { z } from "zod";
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
  const answers: Result<T>[] = [];
  await inParallel([...Array(partitions).keys()], async (partition) => {
    answers[partition] = await ask(partition);
  });
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

/** One page of a list that runs through the partitions, one after another. */
export async function walk<T>({ partitions, limit, ...walk }: Walk<T>): Promise<Result<Walked<T>>> {
  const items: (Place & { item: T })[] = [];
  let { partition, offset } = walk.after ?? { partition: 0, offset: -1 };
  let bytes = 0;
  while (partition < partitions) {
    const last = items.at(-1);
    const isFull = items.length >= limit || bytes >= walk.maxBytes;
    if (last && isFull) return ok({ items, next: { partition: last.partition, offset: last.offset } });
    const found = await walk.ask(partition, offset, limit - items.length);
    if (!found.ok) return found;
    for (const item of found.value) {
      offset = walk.offsetOf(item);
      items.push({ partition, offset, item });
      bytes += walk.bytesOf(item);
    }
    // An object answers fewer than asked also when bytes are the limit: only an empty answer is the end.
    if (found.value.length === 0) [partition, offset] = [partition + 1, -1];
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

/** The place that a page's `after` names. */
export function placeAfter(after: string | undefined): Result<Place | undefined> {
  if (after === undefined) return ok(undefined);
  return parse(
    z.object({ after: place }).transform((page) => page.after),
    { after },
  );
}

export function nextOf(next: Place | null): string | null {
  return next && placeText(next);
}
