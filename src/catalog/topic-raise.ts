// How a topic gets more partitions, while it is published to:
//
//   mark the rows ─▶ provision the new partitions ─▶ give them to every subscription ─▶ cut the old ones ─▶ show the number
//
// Until an old partition is cut it takes all of its keys; from then on those that leave it are taken by their new
// partition, where everything is ready. So no publish waits, and no key is taken in two places. Each step can be
// repeated, and whoever meets a half-done raise finishes it: a repeated PUT, else the sweep.

import { ok, type Refused, type Result, refuse } from "../errors";
import { limits } from "../limits";
import { type Entry, isTopic, type SubscriptionEntry, type TopicEntry } from "./catalog-entry";
import {
  type Catalog,
  configure,
  deletedMeanwhile,
  eachPartition,
  finish,
  removeObjects,
  subscriptionAt,
  topicAt,
} from "./entry-lifecycle";
import { RaiseStore } from "./raise-store";

/** Whether a topic may be given `partitions`; the refusal names the field and the limit. */
export function checkRaise({ partitions: held, name }: TopicEntry, partitions: number): Refused | undefined {
  if (partitions === held) return undefined;
  if (partitions < held) {
    return refuse("conflict", `"${name}" has ${held} partitions: their number can only be raised.`, {
      ...{ field: "partitions", limit: held },
    });
  }
  if (partitions % held === 0) return undefined;
  return refuse("conflict", `"${name}" has ${held} partitions: they can be raised to a multiple of that.`, {
    ...{ field: "partitions", limit: held },
  });
}

/** Begins a raise. False when another was faster. */
export function beginRaise(catalog: Catalog, topic: TopicEntry, partitions: number): Promise<boolean> {
  return raisesOf(catalog).begin(topic, partitions, catalog.by);
}

/** Takes an entry to the end of what its state asks for, a raise that was begun included. Idempotent. */
export async function finishEntry(catalog: Catalog, entry: Entry): Promise<Result<Entry | null>> {
  if (!isTopic(entry) || entry.state !== "active" || !entry.raisingTo) return finish(catalog, entry);
  const raised = await finishRaise(catalog, entry);
  // The raise rose the version with it. An object that misses that is the sweep's.
  if (raised.ok) await configure(catalog, raised.value);
  return raised;
}

/**
 * Takes a raise to its end, or of a topic with very many subscriptions nearer to it: then it is refused as
 * `unavailable`, and goes on with the next call or sweep.
 */
export async function finishRaise(catalog: Catalog, topic: TopicEntry): Promise<Result<TopicEntry>> {
  const refused =
    (await provisionNew(catalog, topic)) ??
    (await raiseSubscriptions(catalog, topic)) ??
    (await cutOld(catalog, topic));
  if (refused && refused.error.code !== "gone") return refused;
  const raised = refused ? undefined : await raisesOf(catalog).endTopic(topic);
  const now = raised ?? (await catalog.store.entries.refind(topic));
  if (now?.state !== "active") {
    // Deleted meanwhile: objects that were made after the removal went by are ours to remove.
    return (await removeObjects(catalog, topic)) ?? deletedMeanwhile(topic);
  }
  return now.raisingTo ? goesOn(topic) : ok(now);
}

function provisionNew(catalog: Catalog, topic: TopicEntry): Promise<Refused | undefined> {
  const { name, generation, settings, version } = topic;
  return eachPartition(catalog, newPartitions(topic), (partition) =>
    topicAt(catalog, generation, partition).provision({
      ...{ topic: name, generation, partition, settings, version },
      parent: partition % topic.partitions,
    }),
  );
}

async function raiseSubscriptions(catalog: Catalog, topic: TopicEntry): Promise<Refused | undefined> {
  const { partitions, raisingTo } = topic;
  const most = Math.max(1, Math.floor(limits.lifecycleObjects / ((raisingTo ?? 0) - partitions)));
  const behind = await raisesOf(catalog).subscriptionsBehind(topic, most + 1);
  for (const subscription of behind.slice(0, most)) {
    const refused = await raiseSubscription(catalog, subscription);
    if (refused) return refused;
  }
  return behind.length > most ? goesOn(topic) : undefined;
}

/** Its new partitions begin at the beginning, whatever `startAt` was: what is in them was published since the raise. */
async function raiseSubscription(catalog: Catalog, entry: SubscriptionEntry): Promise<Refused | undefined> {
  const { topic, topicGeneration, name: subscription, generation, settings, version } = entry;
  const refused = await eachPartition(catalog, newPartitions(entry), async (partition) => {
    const attached = await topicAt(catalog, topicGeneration, partition).attach({
      ...{ generation, startAt: { at: "earliest" }, subscription },
    });
    if (!attached.ok) return attached;
    return subscriptionAt(catalog, generation, partition).provision({
      ...{ topic, topicGeneration, subscription, generation, partition, settings, version },
      partitions: entry.raisingTo ?? entry.partitions,
      ...attached.value,
    });
  });
  // Gone: it, or its topic, is being deleted. Which of them is found out below.
  if (refused && refused.error.code !== "gone") return refused;
  const raised = refused ? undefined : await raisesOf(catalog).endSubscription(entry);
  // What is set for all partitions together is shared by more of them now. One that misses that keeps its share.
  if (raised?.settings.push) await configure(catalog, raised);
  if (raised) return undefined;
  const now = await catalog.store.entries.refind(entry);
  if (now && now.state !== "deleting") return now.raisingTo ? refused : undefined;
  return removeObjects(catalog, entry);
}

function cutOld(catalog: Catalog, topic: TopicEntry): Promise<Refused | undefined> {
  const { generation, partitions, raisingTo } = topic;
  return eachPartition(catalog, { generation, partitions }, (partition) =>
    topicAt(catalog, generation, partition).cut({ partitions: raisingTo ?? partitions }),
  );
}

function newPartitions({ generation, partitions, raisingTo }: Entry) {
  return { generation, from: partitions, partitions: raisingTo ?? partitions };
}

function goesOn({ name, raisingTo }: TopicEntry): Refused {
  return refuse("unavailable", `"${name}" is on its way to ${raisingTo} partitions; it goes on by itself.`, {
    retryAfterMs: limits.sweepAfterMs,
  });
}

function raisesOf({ env, runtime }: Catalog): RaiseStore {
  return new RaiseStore(env.CATALOG, runtime);
}
