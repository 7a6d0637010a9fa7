// `Prefer: matched`: how many subscriptions each message of a publish matches, by what the catalog has when it is stored.

import { CatalogFault, type TopicEntry } from "../catalog/catalog-store";
import { TopicFilterStore } from "../catalog/topic-filter-store";
import type { Result } from "../errors";
import type { Broker } from "./broker";
import { countMatches } from "./matched";
import type { Outcomes } from "./publish";
import type { Draft } from "./publish-items";

/**
 * By the place of each message that was not refused. Undefined when it cannot be told: the publish stands, and its answer
 * does not say that the preference was applied.
 */
export async function matchedOf(
  { env }: Broker,
  topic: TopicEntry,
  items: readonly Result<Draft>[],
  outcomes: Outcomes,
): Promise<ReadonlyMap<number, number> | undefined> {
  const stored = items.flatMap((item, index) =>
    item.ok && outcomes.get(index)?.status !== "refused" ? [{ index, message: item.value.message }] : [],
  );
  if (stored.length === 0) return undefined;
  try {
    const filters = await new TopicFilterStore(env.CATALOG).filtersOf(topic.generation);
    const counts = countMatches(
      stored.map(({ message }) => message),
      filters,
    );
    return counts && new Map(stored.map(({ index }, place) => [index, counts[place] ?? 0]));
  } catch (fault) {
    if (fault instanceof CatalogFault) return undefined;
    throw fault;
  }
}
