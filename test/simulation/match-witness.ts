// What nobody matched, by a judgement of its own: each message as it is stored, by the filters that its partition was told
// until then; and at the end every partition was told what the catalog has. Filters of simulated worlds list subjects.

import { type Filter, isAlternate } from "../../src/filter-form";
import { TopicStore } from "../../src/topic/topic-store";
import type { Counts } from "./coverage";
import { subscriptionRows } from "./lives";
import type { SimulatedObject } from "./object-host";
import type { World } from "./world";

type Stored = Readonly<{ id: string; subject?: string; unmatched?: true }>;

/** Messages that a topic's object has just stored are marked exactly when no filter that it knows lets them through. */
export function checkMarks(object: SimulatedObject, stored: readonly Stored[], counts: Counts): void {
  if (stored.length === 0) return;
  const store = storeOf(object);
  const isLooked = store.hasAlternate();
  const others = store.filters().filter(({ filter }) => !isAlternate(filter));
  for (const { id, subject, unmatched = false } of stored) {
    const isMatched = others.some(({ filter }) => letsThrough(filter, subject));
    if (unmatched !== (isLooked && !isMatched))
      throw new Error(
        `${id} is ${unmatched ? "" : "not "}marked as unmatched, and ${isMatched ? "is not" : "is"}`,
      );
    if (unmatched) counts.unmatched += 1;
    else if (isLooked) counts.matched += 1;
  }
}

/** Whether every partition of every topic that has an alternate was told each filter. */
export function isTold(world: World): boolean {
  const rows = subscriptionRows(world.platform.catalog);
  return world.living.every(({ topic, generation, partition }) => {
    const mine = rows.filter(({ topicGeneration }) => topicGeneration === topic.generation);
    const row = mine.find((each) => each.generation === generation);
    if (!row || !mine.some(({ settings }) => isAlternate(settings.filter))) return true;
    const { sql } = world.topicObject(partition, topic.generation).storage;
    const [told] = sql.exec("SELECT filter FROM subscriptions WHERE generation = ?1", generation).toArray();
    return told?.filter === JSON.stringify(row.settings.filter ?? null);
  });
}

function letsThrough(filter: Filter | null | undefined, subject: string | undefined): boolean {
  const subjects: readonly unknown[] | undefined = filter?.subject;
  return subjects === undefined || subjects.includes(subject);
}

function storeOf({ storage }: SimulatedObject): TopicStore {
  return new TopicStore(storage as unknown as DurableObjectStorage);
}
