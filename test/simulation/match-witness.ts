// What nobody matched, by a judgement of its own: each message as it is stored, by the filters that its partition was told
// until then; and at the end every partition was told what the catalog has. Filters of simulated worlds list subjects.

import { type Filter, isAlternate } from "../../src/filter-form";
import type { Counts } from "./coverage";
import { subscriptionRows } from "./lives";
import type { SimulatedObject } from "./object-host";
import type { World } from "./world";

type Stored = Readonly<{ id: string; subject?: string; unmatched?: true }>;

type Known = Readonly<{ isLooked: boolean; others: readonly (Filter | null)[] }>;

/** Messages that a topic's object has just stored are marked exactly when no filter that it knew lets them through. */
export class MatchWitness {
  /** What each knew after its last step: what is due is stored before the call that comes first changes that. */
  private readonly before = new Map<SimulatedObject, Known>();

  constructor(private readonly counts: Counts) {}

  stepped(object: SimulatedObject, stored: readonly Stored[]): void {
    const now = knownTo(object);
    const before = this.before.get(object) ?? now;
    this.before.set(object, now);
    for (const message of stored) this.check(message, [now, before]);
  }

  private check({ id, subject, unmatched }: Stored, knowns: readonly Known[]): void {
    const may = knowns.map(({ isLooked, others }) => ({
      isLooked,
      isMatched: !isLooked || others.some((filter) => letsThrough(filter, subject)),
    }));
    if (may.every(({ isMatched }) => isMatched === (unmatched === true)))
      throw new Error(
        `${id} is ${unmatched ? "" : "not "}marked as unmatched, and ${unmatched ? "is not" : "is"}`,
      );
    if (unmatched) this.counts.unmatched += 1;
    else if (may[0]?.isLooked) this.counts.matched += 1;
  }
}

/** Only read: a store of its own would write, and a witness changes nothing. */
function knownTo({ storage }: SimulatedObject): Known {
  const rows = storage.sql.exec("SELECT filter, alternate FROM subscriptions").toArray();
  const isLooked = rows.some(({ alternate }) => alternate === 1);
  const filters = rows.map(({ filter }) => JSON.parse(String(filter ?? null)) as Filter | null);
  return { isLooked, others: filters.filter((filter) => !isAlternate(filter)) };
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

function letsThrough(filter: Filter | null, subject: string | undefined): boolean {
  const subjects: readonly unknown[] | undefined = filter?.subject;
  return subjects === undefined || subjects.includes(subject);
}
