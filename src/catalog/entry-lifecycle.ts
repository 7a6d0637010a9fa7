// One entry on its way from state to state: its objects are provisioned, configured or removed, partition by
// partition, and only then does its row move on. Every step can be repeated.

import type { Env } from "../env";
import { asOwn, ok, type Refused, type Result, refuse } from "../errors";
import { isAlternate } from "../filter-form";
import { limits } from "../limits";
import { objectName } from "../object-name";
import type { Runtime } from "../runtime";
import type { Wanted } from "../topic-calls";
import type { Actor } from "./audit-details";
import { type Entry, isTopic, objectsOf, type SubscriptionEntry, type TopicEntry } from "./catalog-entry";
import type { CatalogStore } from "./catalog-store";
import { TopicFilterStore } from "./topic-filter-store";

/** What the control plane works with. */
export type Catalog = Readonly<{
  env: Env;
  store: CatalogStore;
  runtime: Runtime;
  /** Who asks for the changes; the broker itself when it is not said. */
  by?: Actor;
}>;

/**
 * Takes an entry to the end of what its state asks for: provisions or removes its objects, or brings their settings
 * up to date. Answers the entry, or null once it is deleted or, being large, nearer to it. Idempotent.
 */
export async function finish(catalog: Catalog, entry: Entry): Promise<Result<Entry | null>> {
  if (entry.state === "deleting") return finishDeleting(catalog, entry);
  if (entry.state === "creating") return finishCreating(catalog, entry);
  const refused = await configure(catalog, entry);
  return refused ?? ok(entry);
}

async function finishCreating(catalog: Catalog, entry: Entry): Promise<Result<Entry>> {
  const { entries } = catalog.store;
  const refused = await provision(catalog, entry);
  if (refused && passing(refused)) return refused;
  if (refused) {
    if (await entries.markDeleting(entry, ["creating"])) await finishDeleting(catalog, entry);
    return refused.error.code === "gone" ? deletedMeanwhile(entry) : refused;
  }
  const active = (await entries.activate(entry)) ?? (await entries.refind(entry));
  if (active?.state === "active") return ok(active);
  // Deleted while its objects were being provisioned: those made after the removal went by are ours to remove.
  return (await removeObjects(catalog, entry)) ?? deletedMeanwhile(entry);
}

/** Removes objects, then rows: of a topic with very many, as many as one call may. */
export async function finishDeleting(catalog: Catalog, entry: Entry): Promise<Result<null>> {
  const { entries } = catalog.store;
  if (isTopic(entry)) {
    const most = Math.max(1, Math.floor(limits.lifecycleObjects / objectsOf(entry)));
    const below = await entries.subscriptionsOf(entry, most + 1);
    const refusals: Refused[] = [];
    await inParallel(below.slice(0, most), async (subscription) => {
      const refused = await removeObjects(catalog, subscription, { topicStays: false });
      if (refused) refusals.push(refused);
      else await entries.remove(subscription);
    });
    if (refusals[0]) return refusals[0];
    if (below.length > most) return ok(null);
  }
  const refused = await removeObjects(catalog, entry);
  if (refused) return refused;
  await entries.remove(entry);
  return ok(null);
}

function provision(catalog: Catalog, entry: Entry): Promise<Refused | undefined> {
  return isTopic(entry) ? provisionTopic(catalog, entry) : provisionSubscription(catalog, entry);
}

async function provisionTopic(catalog: Catalog, entry: TopicEntry): Promise<Refused | undefined> {
  const { name: topic, generation, settings, version } = entry;
  const refused = await eachPartition(catalog, entry, (partition) =>
    topicAt(catalog, generation, partition).provision({ topic, generation, partition, settings, version }),
  );
  if (refused || entry.kind !== "queue") return refused;
  // A queue is seen only when its subscription can be: otherwise a consumer could meet half of it.
  const [subscription] = await catalog.store.entries.subscriptionsOf(entry, 1);
  if (subscription?.state !== "creating") return undefined;
  const done = await finishCreating(catalog, subscription);
  return done.ok ? undefined : done;
}

async function provisionSubscription(
  catalog: Catalog,
  whole: SubscriptionEntry,
): Promise<Refused | undefined> {
  const { topic, topicGeneration, name: subscription, generation, startAt, ...entry } = whole;
  const { settings, version } = entry;
  // The topic looks at filters from when an alternate is attached: by then it is to know all of them.
  const untold = isAlternate(settings.filter) ? await tellFilters(catalog, whole) : undefined;
  if (untold) return untold;
  return eachPartition(catalog, { generation, ...entry }, async (partition) => {
    const start = await topicAt(catalog, topicGeneration, partition).attach({
      ...{ generation, startAt, subscription, wanted: wantedBy(whole) },
    });
    if (!start.ok) return start;
    return subscriptionAt(catalog, generation, partition).provision({
      topic,
      topicGeneration,
      subscription,
      generation,
      partition,
      ...start.value,
      settings,
      version,
      partitions: entry.partitions,
    });
  });
}

/** What a subscription's topic is told of it. */
export function wantedBy({ version, settings }: SubscriptionEntry): Wanted {
  return { version, filter: settings.filter ?? null };
}

/**
 * Tells a topic that has an alternate what this subscription wants by now; and of an alternate, what every subscription
 * wants: nobody told the topic while it had none. Any other topic looks at no filters, and is told nothing.
 */
async function tellFilters(catalog: Catalog, entry: SubscriptionEntry): Promise<Refused | undefined> {
  const { topicGeneration: generation } = entry;
  const isOne = isAlternate(entry.settings.filter);
  if (!isOne && !(await new TopicFilterStore(catalog.env.CATALOG).hasAlternate(generation))) return undefined;
  const { entries } = catalog.store;
  const all = isOne ? await entries.subscriptionsOf({ generation }, limits.subscriptionsPerTopic) : [entry];
  const readers = all.map((each) => ({ generation: each.generation, ...wantedBy(each) }));
  return eachPartition(catalog, { generation, partitions: objectsOf(entry) }, (partition) =>
    topicAt(catalog, generation, partition).describe({ readers }),
  );
}

export function removeObjects(
  catalog: Catalog,
  entry: Entry,
  { topicStays } = { topicStays: true },
): Promise<Refused | undefined> {
  const { generation } = entry;
  return eachPartition(catalog, { generation, partitions: objectsOf(entry) }, async (partition) => {
    if (isTopic(entry)) return goneIsDone(await topicAt(catalog, generation, partition).remove());
    const removed = goneIsDone(await subscriptionAt(catalog, generation, partition).remove());
    if (!removed.ok || !topicStays) return removed;
    return goneIsDone(await topicAt(catalog, entry.topicGeneration, partition).detach({ generation }));
  });
}

/** Gives every object the entry's settings; a refusal leaves the row behind its version, for the sweep. */
export async function configure(catalog: Catalog, entry: Entry): Promise<Refused | undefined> {
  const { generation, version } = entry;
  const configured = await eachPartition(
    catalog,
    { generation, partitions: objectsOf(entry) },
    (partition) =>
      isTopic(entry)
        ? topicAt(catalog, generation, partition).configure({ settings: entry.settings, version })
        : subscriptionAt(catalog, generation, partition).configure({
            ...{ settings: entry.settings, version, partitions: entry.partitions },
          }),
  );
  const refused = configured ?? (isTopic(entry) ? undefined : await tellFilters(catalog, entry));
  if (!refused) await catalog.store.entries.noteConfigured(entry);
  return refused;
}

/** Calls the object of every partition, a few at once. One that fails stops no other; the first refusal is answered. */
export async function eachPartition(
  catalog: Catalog,
  { generation, partitions, from = 0 }: Pick<Entry, "generation" | "partitions"> & { from?: number },
  call: (partition: number) => Promise<Result<unknown>>,
): Promise<Refused | undefined> {
  const refusals: Refused[] = [];
  await inParallel([...Array(partitions).keys()].slice(from), async (partition) => {
    const answer = await reach(catalog, objectName(generation, partition), () => call(partition));
    if (!answer.ok) refusals.push(answer);
  });
  return refusals.find((refused) => !passing(refused)) ?? refusals[0];
}

/** Calls an object; a fault is logged and refused as `unavailable`. */
export async function reach<T>(
  { env }: Pick<Catalog, "env">,
  object: string,
  call: () => Promise<Result<T>>,
): Promise<Result<T>> {
  try {
    return asOwn(await call());
  } catch (fault) {
    if (env.LOG !== "off")
      console.warn(JSON.stringify({ at: "catalog.reach", object, fault: String(fault) }));
    return refuse("unavailable", "A partition could not be reached; try again.", {
      retryAfterMs: limits.catalogRetryMs,
    });
  }
}

/** Works on `items`, limits.objectConnections at once. */
export async function inParallel<T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
  const rest = [...items];
  const worker = async () => {
    for (let item = rest.shift(); item !== undefined; item = rest.shift()) await work(item);
  };
  await Promise.all(Array.from({ length: Math.min(limits.objectConnections, rest.length) }, worker));
}

/** Whether trying again may help. */
function passing({ error }: Refused): boolean {
  return ["unavailable", "overloaded", "too-many-requests", "internal"].includes(error.code);
}

function goneIsDone(answer: Result<null>): Result<null> {
  return answer.ok || answer.error.code !== "gone" ? answer : ok(null);
}

export function deletedMeanwhile(entry: Entry): Refused {
  return isTopic(entry)
    ? refuse("conflict", `"${entry.name}" was deleted while it was being created.`)
    : refuse("conflict", `"${entry.name}" or its topic was deleted while it was being created.`);
}

export function topicAt({ env }: Catalog, generation: string, partition: number) {
  return env.TOPIC.getByName(objectName(generation, partition));
}

export function subscriptionAt({ env }: Catalog, generation: string, partition: number) {
  return env.SUBSCRIPTION.getByName(objectName(generation, partition));
}
