// Schedules come, change, pause and go, whatever races: each change is decided on the row as D1 has it and written
// only if it still is so.

import { ok, type Result, refuse } from "../errors";
import { limits } from "../limits";
import type { TopicEntry } from "./catalog-entry";
import { CatalogFault } from "./catalog-store";
import { away } from "./d1-store";
import type { Catalog } from "./entry-lifecycle";
import {
  changeSchedule,
  newSchedule,
  pauseSchedule,
  resumeSchedule,
  type Schedule,
  type ScheduleWanted,
} from "./schedule";
import { ScheduleStore } from "./schedule-store";

/** What a step came to; undefined when another was faster and it is to be tried again. */
type Try<T> = Result<T> | undefined;
export type SchedulePut = Readonly<{ schedule: Schedule; created: boolean }>;

/**
 * Creates a schedule, or changes it to what is wanted. `mayChange` says whether whoever asks may change one that
 * publishes to this topic.
 */
export function putSchedule(
  catalog: Catalog,
  wanted: ScheduleWanted,
  mayChange: (topic: string) => Result<null>,
): Promise<Result<SchedulePut>> {
  return changing(wanted.name, async () => {
    const store = storeOf(catalog);
    const held = await store.find(wanted.name);
    const allowed = held ? mayChange(held.topic) : ok(null);
    if (!allowed.ok) return allowed;
    const topic = await currentTopic(catalog, wanted.topic);
    if (!topic.ok) return topic;
    const maker = { topicGeneration: topic.value.generation, now: catalog.runtime.now() };
    if (!held) return create(catalog, wanted, maker);
    const changed = changeSchedule(held, wanted, maker);
    if (!changed.ok) return changed;
    const schedule = await write(catalog, held, changed.value);
    return schedule && ok({ schedule, created: false });
  });
}

async function create(
  catalog: Catalog,
  wanted: ScheduleWanted,
  maker: Readonly<{ topicGeneration: string; now: number }>,
): Promise<Try<SchedulePut>> {
  const store = storeOf(catalog);
  const made = newSchedule(wanted, { ...maker, generation: catalog.runtime.newId() });
  if (!made.ok) return made;
  if (await store.insert(made.value, catalog.by)) return ok({ schedule: made.value, created: true });
  if ((await store.count()) < limits.schedules) return undefined;
  return refuse("conflict", `There are at most ${limits.schedules} schedules.`, { limit: limits.schedules });
}

/** Pauses a schedule, or resumes it, bound to its topic as it is now. The same again changes nothing. */
export function setSchedulePaused(
  catalog: Catalog,
  name: string,
  paused: boolean,
): Promise<Result<Schedule>> {
  return changing(name, async () => {
    const store = storeOf(catalog);
    const held = await store.find(name);
    if (!held) return noSchedule(name);
    const now = catalog.runtime.now();
    if (paused) return asTry(await write(catalog, held, pauseSchedule(held, now)));
    const topic = await currentTopic(catalog, held.topic);
    if (!topic.ok) return topic;
    const resumed = resumeSchedule(held, { topicGeneration: topic.value.generation, now });
    return resumed.ok ? asTry(await write(catalog, held, resumed.value)) : resumed;
  });
}

/** The refusal of whoever names a schedule that is not there, or is not theirs to see. */
export function noSchedule(name: string) {
  return refuse("schedule-not-found", `There is no schedule "${name}".`);
}

async function write(catalog: Catalog, held: Schedule, changed: Schedule): Promise<Schedule | undefined> {
  return changed === held ? held : storeOf(catalog).update(held, changed, catalog.by);
}

function asTry(schedule: Schedule | undefined): Try<Schedule> {
  return schedule && ok(schedule);
}

/** The topic as D1 has it now: a schedule is not to be bound to a life that an isolate remembers. */
async function currentTopic(catalog: Catalog, name: string): Promise<Result<TopicEntry>> {
  const topic = await catalog.store.entries.findTopic(name);
  if (topic?.state === "active") return ok(topic);
  return refuse("topic-not-found", `There is no topic "${name}".`, { field: "topic" });
}

async function changing<T>(name: string, attempt: () => Promise<Try<T>>): Promise<Result<T>> {
  try {
    for (let tries = 0; tries < limits.lifecycleTries; tries++) {
      const result = await attempt();
      if (result) return result;
    }
    return refuse("unavailable", `Others keep changing "${name}"; try again.`, {
      retryAfterMs: limits.catalogRetryMs,
    });
  } catch (fault) {
    if (fault instanceof CatalogFault) return away();
    throw fault;
  }
}

function storeOf({ env }: Catalog): ScheduleStore {
  return new ScheduleStore(env.CATALOG);
}
