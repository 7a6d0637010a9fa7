// How topics and queues come, change and go, as subscriptions do (subscription-lifecycle.ts): a row in D1 and one object
// per partition, kept in step.
//
//   (free) ──insert──▶ creating ──every object provisioned──▶ active ──mark──▶ deleting ──every object removed──▶ (free)
//
// Each step can be repeated, and whoever meets a half-done entry finishes it: a repeated PUT or DELETE, else the
// sweep. A row is written before an object is touched, so no object exists that no row knows.

import { ok, type Refused, type Result, refuse } from "../errors";
import { layoutOf, withPriorities } from "../priority";
import { defaultSubscriptionSettings, type SubscriptionSettings, type TopicSettings } from "../settings";
import type { SubscriptionEntry, TopicEntry, TopicKind } from "./catalog-entry";
import {
  changeSettings,
  changing,
  deleteEntry,
  finishFirst,
  newLife,
  type Put,
  type Try,
} from "./entry-change";
import { type Catalog, finish } from "./entry-lifecycle";
import { newSubscription, putSubscription, type SecretsWanted, secretsOf } from "./subscription-lifecycle";
import { beginRaise, checkPriorities, checkRaise, nextRaise } from "./topic-raise";

export type TopicWanted = SecretsWanted &
  Readonly<{
    name: string;
    kind: TopicKind;
    /** Of each priority. 1, or what it has, when it is not said. */
    partitions?: number | undefined;
    settings: TopicSettings;
    /** A queue's subscription, when the queue is created. */
    subscription?: SubscriptionSettings;
  }>;

/**
 * Creates a topic, gives it new settings, more partitions or more priorities. Idempotent; its kind cannot change, and the
 * priorities it has it keeps.
 */
export function putTopic(catalog: Catalog, wanted: TopicWanted): Promise<Result<Put<TopicEntry>>> {
  return changing(catalog, wanted.name, async () => {
    const held = await catalog.store.entries.findTopic(wanted.name);
    if (!held) return createTopic(catalog, wanted);
    if (held.state !== "deleting") {
      const clash = clashOf(held, wanted);
      if (clash) return clash;
    }
    if (held.state !== "active" || held.raisingTo) return finishFirst(catalog, held);
    const raise = nextRaise(held, wanted);
    if (!raise) return changeSettings(catalog, held, withPriorities(wanted.settings, held.settings));
    await beginRaise(catalog, held, raise);
    return undefined;
  });
}

/** Creates a queue or changes it: a topic of kind `queue` and one subscription of the same name, from its beginning. */
export async function putQueue(
  catalog: Catalog,
  wanted: Omit<TopicWanted, "kind"> & { subscription: SubscriptionSettings },
): Promise<Result<Put<TopicEntry> & { subscription: SubscriptionEntry }>> {
  const topic = await putTopic(catalog, { ...wanted, kind: "queue" });
  if (!topic.ok) return topic;
  const { name, subscription: settings } = wanted;
  const startAt = { at: "earliest" } as const;
  const reader = { topic: topic.value.entry, name, settings, startAt, ...secretsOf(wanted) };
  const subscription = await putSubscription(catalog, reader);
  if (!subscription.ok) return subscription;
  return ok({ ...topic.value, subscription: subscription.value.entry });
}

/**
 * Deletes a topic and all its subscriptions. Idempotent: an absent topic is deleted. It is invisible from the first
 * write on; of a topic with very many objects the sweep removes the rest.
 */
export function deleteTopic(catalog: Catalog, name: string): Promise<Result<null>> {
  return changing(catalog, name, async () => {
    const held = await catalog.store.entries.findTopic(name);
    return held ? deleteEntry(catalog, held) : ok(null);
  });
}

async function createTopic(catalog: Catalog, wanted: TopicWanted): Promise<Try<Put<TopicEntry>>> {
  const { name, kind } = wanted;
  const settings = withPriorities(wanted.settings);
  const partitions = (wanted.partitions ?? 1) * (settings.priorities?.length ?? 1);
  const entry: TopicEntry = { name, kind, partitions, settings, ...newLife(catalog) };
  const settingsOfReader = wanted.subscription ?? defaultSubscriptionSettings;
  const reader = {
    name,
    settings: settingsOfReader,
    startAt: { at: "earliest" },
    ...secretsOf(wanted),
  } as const;
  const subscription = kind === "queue" ? await newSubscription(catalog, entry, reader) : undefined;
  if (!(await catalog.store.entries.insertTopic(entry, subscription, catalog.by))) return undefined;
  const done = await finish(catalog, entry);
  return done.ok ? ok({ entry: done.value as TopicEntry, created: true }) : done;
}

function clashOf(held: TopicEntry, wanted: TopicWanted): Refused | undefined {
  if (held.kind !== wanted.kind) return refuse("conflict", `"${held.name}" is a ${held.kind}.`);
  // One that is created or raised is held to what it will have, once it has that.
  if (held.raisingTo) return undefined;
  return checkRaise(held, wanted.partitions ?? layoutOf(held).each) ?? checkPriorities(held, wanted);
}
