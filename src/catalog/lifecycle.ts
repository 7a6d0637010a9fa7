// How topics and subscriptions come, change and go: a row in D1 and one object per partition, kept in step.
//
//   (free) ──insert──▶ creating ──every object provisioned──▶ active ──mark──▶ deleting ──every object removed──▶ (free)
//
// Each step can be repeated, and whoever meets a half-done entry finishes it: a repeated PUT or DELETE, else the
// sweep. A row is written before an object is touched, so no object exists that no row knows.

import type { SigningKey } from "../endpoint-secrets";
import { ok, type Refused, type Result, refuse } from "../errors";
import { limits } from "../limits";
import { layoutOf, withPriorities } from "../priority";
import type { PushSettings, StartAt, SubscriptionSettings, TopicSettings } from "../settings";
import { defaultSubscriptionSettings } from "../settings";
import {
  mergeSettings,
  type SubscriptionEntry,
  type TopicEntry,
  type TopicKind,
  withKeys,
  withPause,
} from "./catalog-entry";
import {
  changeSettings,
  changing,
  currentTopic,
  deleteEntry,
  finishFirst,
  newLife,
  type Put,
  type Try,
} from "./entry-change";
import { type Catalog, configure, finish } from "./entry-lifecycle";
import { beginRaise, checkPriorities, checkRaise, nextRaise } from "./topic-raise";

export { type Catalog, finish } from "./entry-lifecycle";

/** Seals what is secret in the settings of a subscription's generation, just before they are written. */
export type SealSettings = (
  settings: SubscriptionSettings,
  generation: string,
) => Promise<SubscriptionSettings>;

/** What a push subscription's secrets need on their way into D1. */
export type SecretsWanted = Readonly<{
  /** Signing keys for schemes that have none and are given none. */
  offeredKeys?: readonly SigningKey[];
  seal?: SealSettings;
}>;

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
export type SubscriptionWanted = SecretsWanted &
  Readonly<{
    topic: TopicEntry;
    name: string;
    settings: SubscriptionSettings;
    startAt: StartAt;
  }>;
type Changed = Result<SubscriptionSettings>;

// ── topics and queues ────────────────────────────────────────────────────────────────────────────────

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

// ── subscriptions ────────────────────────────────────────────────────────────────────────────────────

/**
 * Creates a subscription or gives it new settings. Idempotent; `startAt` counts at creation only, a pause stays,
 * and secrets stay when none are named.
 */
export function putSubscription(
  catalog: Catalog,
  wanted: SubscriptionWanted,
): Promise<Result<Put<SubscriptionEntry>>> {
  const { name } = wanted;
  return changing(catalog, wanted.topic.name, async () => {
    const topic = await currentTopic(catalog, wanted.topic.name);
    if (!topic.ok) return topic;
    if (topic.value.kind === "queue" && name !== topic.value.name) {
      return refuse("conflict", "A queue has exactly one subscription, of its own name.");
    }
    if (topic.value.raisingTo) return finishFirst(catalog, topic.value);
    const held = await catalog.store.entries.findSubscription(topic.value.generation, name);
    if (!held) return createSubscription(catalog, topic.value, wanted);
    if (held.state !== "active") return finishFirst(catalog, held);
    const merged = withKeys(mergeSettings(held.settings, wanted.settings), wanted.offeredKeys);
    const sealed = (await wanted.seal?.(merged, held.generation)) ?? merged;
    return changeSettings(catalog, held, sealed, topic.value.kind);
  });
}

/** Pauses a subscription, with the broker's reason if it has one, or resumes it. Nothing is lost either way. */
export function setPaused(
  catalog: Catalog,
  topicName: string,
  name: string,
  paused: boolean,
  reason?: string,
): Promise<Result<SubscriptionEntry>> {
  return edit(catalog, topicName, name, (settings) => ok(withPause(settings, paused, reason)));
}

/** Changes the endpoint of a push subscription: its secrets, or whether it is verified. Refused as `change` refuses. */
export function changePush(
  catalog: Catalog,
  { topic, name }: Pick<SubscriptionEntry, "topic" | "name">,
  change: (push: PushSettings, generation: string) => Promise<Result<PushSettings>>,
): Promise<Result<SubscriptionEntry>> {
  return edit(catalog, topic, name, async (settings, generation) => {
    if (!settings.push) return refuse("conflict", "A pull subscription has no endpoint.");
    const changed = await change(settings.push, generation);
    return changed.ok ? ok({ ...settings, push: changed.value }) : changed;
  });
}

/** Deletes a subscription and all that it holds. Idempotent: an absent one is deleted. */
export function deleteSubscription(catalog: Catalog, topic: TopicEntry, name: string): Promise<Result<null>> {
  return changing(catalog, topic.name, async () => {
    const current = await currentTopic(catalog, topic.name);
    if (!current.ok) return current;
    if (current.value.kind === "queue" && name === current.value.name) {
      return refuse("conflict", "A queue keeps its subscription: delete the queue.");
    }
    const held = await catalog.store.entries.findSubscription(current.value.generation, name);
    return held ? deleteEntry(catalog, held) : ok(null);
  });
}

async function createSubscription(
  catalog: Catalog,
  topic: TopicEntry,
  wanted: SubscriptionWanted,
): Promise<Try<Put<SubscriptionEntry>>> {
  const entry = await newSubscription(catalog, topic, wanted);
  if (!(await catalog.store.entries.insertSubscription(entry, catalog.by))) {
    const count = await catalog.store.entries.countSubscriptions(topic);
    if (count < limits.subscriptionsPerTopic) return undefined;
    return refuse("conflict", `A topic has at most ${limits.subscriptionsPerTopic} subscriptions.`, {
      limit: limits.subscriptionsPerTopic,
    });
  }
  const done = await finish(catalog, entry);
  return done.ok ? ok({ entry: done.value as SubscriptionEntry, created: true }) : done;
}

function edit(
  catalog: Catalog,
  topicName: string,
  name: string,
  change: (settings: SubscriptionSettings, generation: string) => Changed | Promise<Changed>,
): Promise<Result<SubscriptionEntry>> {
  return changing(catalog, topicName, async () => {
    const topic = await currentTopic(catalog, topicName);
    if (!topic.ok) return topic;
    const held = await catalog.store.entries.findSubscription(topic.value.generation, name);
    if (held?.state !== "active") {
      return refuse("subscription-not-found", `Topic "${topicName}" has no subscription "${name}".`);
    }
    const changed = await change(held.settings, held.generation);
    if (!changed.ok) return changed;
    const put = await changeSettings(catalog, held, changed.value, topic.value.kind);
    // Said again also when nothing changes here: an object may have paused itself without the catalog's hearing of it.
    if (put?.ok && put.value.entry === held) await configure(catalog, held);
    return put?.ok ? ok(put.value.entry) : put;
  });
}

async function newSubscription(
  catalog: Catalog,
  topic: TopicEntry,
  { name, settings, startAt, offeredKeys, seal }: Omit<SubscriptionWanted, "topic">,
): Promise<SubscriptionEntry> {
  const of = { topic: topic.name, topicGeneration: topic.generation, partitions: topic.partitions };
  const life = newLife(catalog);
  const whole = withKeys(settings, offeredKeys);
  const sealed = (await seal?.(whole, life.generation)) ?? whole;
  return { ...of, name, settings: sealed, startAt, ...life };
}

function secretsOf({ offeredKeys, seal }: SecretsWanted): SecretsWanted {
  return { ...(offeredKeys && { offeredKeys }), ...(seal && { seal }) };
}
