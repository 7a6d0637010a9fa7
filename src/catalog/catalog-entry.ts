// What the catalog knows of a topic, a subscription and a token. A generation is one life of a name: delete and
// create again, and the name has another generation, with other objects.

import { keepKeys, type SigningKey, takeOffered } from "../endpoint-secrets";
import { keepVerification } from "../endpoint-verification";
import type { TokenLimits } from "../limit-policy";
import type { StartAt, SubscriptionSettings, TopicSettings } from "../settings";

/** Rows go creating, active, deleting. Only active ones can be seen from outside. */
export type EntryState = "creating" | "active" | "deleting";
export type TopicKind = "topic" | "queue";

type Life = Readonly<{
  generation: string;
  partitions: number;
  /** Where `partitions` is on the way to, while it is raised. */
  raisingTo?: number | null;
  /** Rises by one whenever the settings change. */
  version: number;
  state: EntryState;
  createdAt: number;
  updatedAt: number;
}>;

export type TopicEntry = Life &
  Readonly<{
    name: string;
    kind: TopicKind;
    settings: TopicSettings;
    /** Until when each partition, by number, refuses for space. */
    fullUntil?: Readonly<Record<string, number>> | null;
  }>;

export type SubscriptionEntry = Life &
  Readonly<{
    topic: string;
    topicGeneration: string;
    name: string;
    startAt: StartAt;
    settings: SubscriptionSettings;
  }>;

export type Entry = TopicEntry | SubscriptionEntry;

/** A bearer token, without its text or hash. Its scopes are for http/ to read. */
export type Token = Readonly<{
  id: string;
  name: string;
  scopes: readonly string[];
  createdAt: number;
  expiresAt: number | null;
  lastUsedAt: number | null;
  /** Until when the secret of before the last rotation is honoured too. */
  previousUntil: number | null;
  /** What it is held to; absent when that is nothing. */
  limits?: TokenLimits;
}>;

export function isTopic(entry: Entry): entry is TopicEntry {
  return "kind" in entry;
}

/** How many objects there may be: during a raise, those that it makes too. */
export function objectsOf({ partitions, raisingTo }: Entry): number {
  return Math.max(partitions, raisingTo ?? 0);
}

/** Whether two settings say the same, whatever the order of their fields. */
export function sameSettings(one: unknown, other: unknown): boolean {
  return canonical(one) === canonical(other);
}

/**
 * The settings that a repeated PUT asks for. A pause belongs to its own verbs, so it survives; secrets are
 * never returned, so a PUT that names none keeps them; and an endpoint that is verified stays so while its URL does.
 */
export function mergeSettings(
  held: SubscriptionSettings,
  wanted: SubscriptionSettings,
): SubscriptionSettings {
  const { pausedReason: _, ...rest } = wanted;
  const merged = { ...rest, ...pauseOf(held) };
  if (!wanted.push || !held.push) return merged;
  return { ...merged, push: keepVerification(held.push, keepKeys(held.push, wanted.push)) };
}

/** Push settings that lack a signing key take one that is offered. */
export function withKeys(
  settings: SubscriptionSettings,
  offered: readonly SigningKey[] = [],
): SubscriptionSettings {
  return settings.push ? { ...settings, push: takeOffered(settings.push, offered) } : settings;
}

/** `settings`, paused for `reason` or resumed. */
export function withPause(
  settings: SubscriptionSettings,
  paused: boolean,
  reason?: string,
): SubscriptionSettings {
  const { pausedReason: _, ...rest } = settings;
  return { ...rest, paused, ...(paused && reason !== undefined && { pausedReason: reason }) };
}

function pauseOf({ paused, pausedReason }: SubscriptionSettings) {
  return { paused, ...(pausedReason !== undefined && { pausedReason }) };
}

function canonical(value: unknown): string {
  return JSON.stringify(value, (_key, part: unknown) =>
    part !== null && typeof part === "object" && !Array.isArray(part)
      ? Object.fromEntries(Object.entries(part).sort(([a], [b]) => (a < b ? -1 : 1)))
      : part,
  );
}
