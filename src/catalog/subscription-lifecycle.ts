// How subscriptions come, change, pause and go, by the steps that topic-lifecycle.ts draws, and what is secret in their
// settings is sealed on the way into D1.

import type { SigningKey } from "../endpoint-secrets";
import { ok, type Result, refuse } from "../errors";
import { limits } from "../limits";
import type { PushSettings, StartAt, SubscriptionSettings } from "../settings";
import { mergeSettings, type SubscriptionEntry, type TopicEntry, withKeys, withPause } from "./catalog-entry";
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

export type SubscriptionWanted = SecretsWanted &
  Readonly<{
    topic: TopicEntry;
    name: string;
    settings: SubscriptionSettings;
    startAt: StartAt;
  }>;

type Changed = Result<SubscriptionSettings>;

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

/** A subscription that is to be made, its secrets sealed. */
export async function newSubscription(
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

/** Of what is wanted, the part that secrets need. */
export function secretsOf({ offeredKeys, seal }: SecretsWanted): SecretsWanted {
  return { ...(offeredKeys && { offeredKeys }), ...(seal && { seal }) };
}
