// How a topic gets more partitions, while it is published to:
//
//   mark the rows ─▶ provision the new partitions ─▶ give them to every subscription ─▶ cut the old ones ─▶ show the number
//
// Until an old partition is cut it takes all of its keys; from then on those that leave it are taken by their new
// partition, where everything is ready. So no publish waits, and no key is taken in two places. Each step can be
// repeated, and whoever meets a half-done raise finishes it: a repeated PUT, else the sweep.

import { ok, type Refused, type Result, refuse } from "../errors";
import { limits } from "../limits";
import { addPriorities, layoutOf } from "../priority";
import type { TopicSettings } from "../settings";
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
  wantedBy,
} from "./entry-lifecycle";
import { RaiseStore } from "./raise-store";

/** Whether a topic may be given `partitions`; the refusal names the field and the limit. */
export function checkRaise(topic: TopicEntry, partitions: number): Refused | undefined {
  const { each: held } = layoutOf(topic);
  const { name, settings } = topic;
  if (partitions === held) return undefined;
  if (settings.priorities) {
    return refuse("conflict", `"${name}" has priorities: each keeps its ${held} partitions.`, {
      ...{ field: "partitions", limit: held },
    });
  }
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

type Wanted = Readonly<{ partitions?: number | undefined; settings: TopicSettings }>;

/** Whether a topic may be given the priorities that are asked for; the refusal names the field and the limit. */
export function checkPriorities(topic: TopicEntry, { partitions, settings }: Wanted): Refused | undefined {
  const { name, settings: held } = topic;
  const { priorities: wanted } = settings;
  const lost = held.priorities?.find((priority) => wanted && !wanted.includes(priority));
  if (lost !== undefined) {
    return refuse(
      "conflict",
      `"${name}" has the priority ${lost}: it can be given others, and keeps those it has.`,
      {
        ...{ field: "priorities", limit: [...(held.priorities ?? [])].sort((a, b) => a - b).join(", ") },
      },
    );
  }
  const each = partitions ?? layoutOf(topic).each;
  const most = Math.floor(limits.partitions / each);
  if (addPriorities(held, settings).length <= most) return undefined;
  return refuse(
    "conflict",
    `"${name}" has ${each} partitions of each priority, and at most ${limits.partitions} in all.`,
    {
      ...{ field: "priorities", limit: most },
    },
  );
}

/** What a topic is to have: partitions in all, and its priorities when it is given one. */
type Raised = Readonly<{ partitions: number; priorities?: readonly number[] | undefined }>;

/**
 * What a topic lacks of what is asked for, a step at a time: partitions first, then priorities. Undefined when it lacks
 * nothing.
 */
export function nextRaise(topic: TopicEntry, wanted: Wanted): Raised | undefined {
  const { each } = layoutOf(topic);
  const { partitions = each } = wanted;
  if (partitions !== each) return { partitions };
  const priorities = addPriorities(topic.settings, wanted.settings);
  const held = topic.settings.priorities?.length ?? 1;
  return priorities.length > held ? { partitions: each * priorities.length, priorities } : undefined;
}

/** Begins a raise, or the adding of priorities, whose partitions are new ones too. False when another was faster. */
export function beginRaise(catalog: Catalog, topic: TopicEntry, raised: Raised): Promise<boolean> {
  return raisesOf(catalog).begin(topic, raised, catalog.by);
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
    (addsPriorities(topic) ? undefined : await cutOld(catalog, topic));
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
      ...(!addsPriorities(topic) && { parent: partition % topic.partitions }),
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
      ...{ generation, startAt: { at: "earliest" }, subscription, wanted: wantedBy(entry) },
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

/** What is new is of a priority that was not there: nothing that the topic has belongs into it. */
function addsPriorities({ settings }: TopicEntry): boolean {
  return settings.priorities !== undefined;
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
