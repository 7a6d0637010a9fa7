// One change of an entry, made against whoever else changes it: it is tried until no other was faster, and what another left
// half-done is finished first. What the isolate knew of the topic is forgotten with it.

import { ok, type Refused, type Result, refuse } from "../errors";
import { limits } from "../limits";
import { BROKER, resourceOf } from "./audit-details";
import { type Entry, sameSettings, type TopicEntry, type TopicKind } from "./catalog-entry";
import { away, CatalogFault } from "./d1-store";
import { type Catalog, configure, finishDeleting } from "./entry-lifecycle";
import { finishEntry } from "./topic-raise";

export type Put<E> = Readonly<{ entry: E; created: boolean }>;

/** What a try at a write came to; undefined when another was faster, and it must look again. */
export type Try<T> = Result<T> | undefined;

/** Tries until no other is faster, with D1's absence as a refusal, and forgets what the isolate knew of the topic. */
export async function changing<T>(
  catalog: Catalog,
  topicName: string,
  attempt: () => Promise<Try<T>>,
): Promise<Result<T>> {
  try {
    for (let tries = 0; tries < limits.lifecycleTries; tries++) {
      const result = await attempt();
      if (result) return result;
    }
    return refuse("unavailable", `Others keep changing "${topicName}"; try again.`, {
      retryAfterMs: limits.catalogRetryMs,
    });
  } catch (fault) {
    if (fault instanceof CatalogFault) return away();
    throw fault;
  } finally {
    catalog.store.forget(topicName);
  }
}

/** Finishes what another left half-done; then the caller looks again. */
export async function finishFirst(catalog: Catalog, held: Entry): Promise<Refused | undefined> {
  const done = await finishEntry(catalog, held);
  return done.ok ? undefined : done;
}

export async function changeSettings<E extends Entry>(
  catalog: Catalog,
  held: E,
  settings: E["settings"],
  topicKind?: TopicKind,
): Promise<Try<Put<E>>> {
  if (sameSettings(held.settings, settings)) return ok({ entry: held, created: false });
  const subject = { by: catalog.by ?? BROKER, resource: resourceOf(held, topicKind) };
  const entry = await catalog.store.entries.changeSettings(held, settings, subject);
  if (!entry) return undefined;
  await configure(catalog, entry);
  return ok({ entry, created: false });
}

export async function deleteEntry(catalog: Catalog, held: Entry): Promise<Result<null>> {
  const subject = { by: catalog.by ?? BROKER, resource: resourceOf(held) };
  await catalog.store.entries.markDeleting(held, ["creating", "active"], subject);
  // As it is now: a raise that was begun meanwhile has made objects that are to be removed as well.
  return finishDeleting(catalog, (await catalog.store.entries.refind(held)) ?? held);
}

/** The topic as D1 has it now: a write must not go by what an isolate remembers. */
export async function currentTopic(catalog: Catalog, name: string): Promise<Result<TopicEntry>> {
  const topic = await catalog.store.entries.findTopic(name);
  if (topic?.state === "active") return ok(topic);
  return refuse("topic-not-found", `There is no topic "${name}".`);
}

export function newLife({ runtime }: Catalog) {
  const now = runtime.now();
  const state = "creating" as const;
  return { generation: runtime.newId(), version: 1, state, createdAt: now, updatedAt: now };
}
