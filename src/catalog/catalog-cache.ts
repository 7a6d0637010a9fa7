// What an isolate remembers of the catalog, so that the hot path does not wait for D1:
//
//   read ──5 s──▶ fresh ──30 s──▶ due ──10 min──▶ stale ──▶ spent
//
// Fresh is served; due is served and read again behind the request; stale is served only when D1 cannot be
// asked; spent is never served. An absent name is never remembered.

import { limits } from "../limits";
import type { SubscriptionEntry, Token, TopicEntry } from "./catalog-entry";

/** A value, when its read began, and until when D1 is not asked for it again. */
export type Kept<T> = { value: T; readAt: number; quietUntil: number };
export type Shelf<T> = Map<string, Kept<T>>;
export type Age = "fresh" | "due" | "stale" | "spent";

export type CatalogCache = {
  topics: Shelf<TopicEntry>;
  subscriptions: Shelf<SubscriptionEntry>;
  tokens: Shelf<Token>;
  /** Rises whenever something is forgotten: a read that began before must not bring it back. */
  epoch: number;
};

export function emptyCache(): CatalogCache {
  return { topics: new Map(), subscriptions: new Map(), tokens: new Map(), epoch: 0 };
}

export function ageOf<T>(kept: Kept<T> | undefined, now: number): Age {
  if (!kept) return "spent";
  const ageMs = now - kept.readAt;
  if (ageMs < limits.catalogFreshMs) return "fresh";
  if (ageMs < limits.catalogRefreshMs) return "due";
  return ageMs < limits.catalogStaleMs ? "stale" : "spent";
}

/** Keeps what a read that began at `readAt` found. A full shelf drops what was read longest ago. */
export function keep<T>(shelf: Shelf<T>, key: string, value: T, readAt: number): void {
  shelf.delete(key);
  shelf.set(key, { value, readAt, quietUntil: 0 });
  if (shelf.size <= limits.catalogCachedEntries) return;
  const oldest = shelf.keys().next();
  if (!oldest.done) shelf.delete(oldest.value);
}

/** The key of a subscription. No name holds a NUL, so a topic's keys have a prefix of their own. */
export function subscriptionKey(topic: string, generation: string, name: string): string {
  return `${topic}\0${generation}\0${name}`;
}

/** Forgets a token, whatever secret it was known by. */
export function forgetToken(cache: CatalogCache, id: string): void {
  cache.epoch += 1;
  for (const [hash, { value }] of cache.tokens) if (value.id === id) cache.tokens.delete(hash);
}

/** Forgets a topic and its subscriptions. */
export function forgetTopic(cache: CatalogCache, name: string): void {
  cache.epoch += 1;
  cache.topics.delete(name);
  for (const key of cache.subscriptions.keys()) {
    if (key.startsWith(`${name}\0`)) cache.subscriptions.delete(key);
  }
}
