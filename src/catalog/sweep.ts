// The cron's sweep, once a minute: nothing in the broker is owed to one request's luck. It publishes what schedules
// have due, finishes what requests left half-done, gives objects the settings they missed, pokes objects in turn, and lets the ledger forget.
//
// Bounds: one sweep takes on limits.sweepRows unfinished rows and pokes limits.sweepObjects objects. So with no
// row failing for good, a row waits at most sweepAfterMs + (unfinished ÷ sweepRows) minutes, and every object is
// poked once in (objects ÷ sweepObjects) minutes: 1,000 objects in 5. It publishes up to limits.sweepRuns runs; more
// that are due in one minute wait for the next.

import type { Result } from "../errors";
import { limits } from "../limits";
import { objectName } from "../object-name";
import { AuditLogStore } from "./audit-log-store";
import { type Catalog, inParallel, reach } from "./entry-lifecycle";
import { resealOld } from "./resealing";
import { cutPage, type Poke, roundStart } from "./rotation";
import { fireSchedules } from "./schedule-firing";
import { finishEntry } from "./topic-raise";

export type SweepReport = Readonly<{
  /** Runs of schedules that were published, and runs that were not. */
  fired: number;
  unfired: number;
  /** Rows brought to the end of their state, and rows that could not be. */
  finished: number;
  unfinished: number;
  /** Objects poked, and objects that refused or could not be reached. */
  poked: number;
  unreached: number;
  purged: number;
  /** Subscriptions whose secrets were sealed anew, while SECRETS_KEY is exchanged. */
  resealed: number;
  /** Tokens that expired long ago, former secrets of tokens, and old records of the audit log that were removed. */
  forgotten: number;
  /** What failed as a whole, in one line each. */
  faults: readonly string[];
}>;

type Tally = { -readonly [Name in keyof SweepReport]: SweepReport[Name] } & { faults: string[] };

/**
 * One step of the sweep. `purgeLedger` removes a bounded number of expired claims and says how many. Never
 * throws: a part that fails is reported and stops no other part.
 */
export async function sweep(catalog: Catalog, purgeLedger: () => Promise<number>): Promise<SweepReport> {
  const tally = emptyTally();
  const parts: Record<string, () => Promise<void>> = {
    // First, because a run has its minute.
    fire: async () => {
      const { stored, unstored } = await fireSchedules(catalog);
      Object.assign(tally, { fired: stored, unfired: unstored });
    },
    finish: () => finishRows(catalog, tally),
    poke: () => pokeObjects(catalog, tally),
    reseal: async () => {
      tally.resealed = await resealOld(catalog);
    },
    purge: async () => {
      tally.purged = await purgeLedger();
    },
    forget: async () => {
      const audit = new AuditLogStore(catalog.env.CATALOG, catalog.runtime);
      tally.forgotten = (await catalog.store.tokens.purge()) + (await audit.purge());
    },
  };
  for (const [part, work] of Object.entries(parts)) {
    await work().catch((fault: unknown) => tally.faults.push(`${part}: ${String(fault)}`));
  }
  if (catalog.env.LOG !== "off") console.log(JSON.stringify({ at: "sweep", ...tally }));
  return tally;
}

function emptyTally(): Tally {
  const counts = {
    fired: 0,
    unfired: 0,
    finished: 0,
    unfinished: 0,
    poked: 0,
    unreached: 0,
    purged: 0,
    resealed: 0,
    forgotten: 0,
  };
  return { ...counts, faults: [] };
}

async function finishRows(catalog: Catalog, tally: Tally): Promise<void> {
  const store = catalog.store.sweep;
  const due = catalog.runtime.now() - limits.sweepAfterMs;
  for (const entry of await store.unsettled(due, limits.sweepRows)) {
    try {
      await store.noteTried(entry);
      const done = await finishEntry(catalog, entry);
      if (done.ok) tally.finished += 1;
      else tally.unfinished += 1;
    } catch (fault) {
      tally.unfinished += 1;
      tally.faults.push(`${entry.generation}: ${String(fault)}`);
    }
  }
}

// The cursor moves on before the objects are poked, so that a page that kills the sweep is not met for ever.
async function pokeObjects(catalog: Catalog, tally: Tally): Promise<void> {
  const store = catalog.store.sweep;
  let place = (await store.sweepPlace()) ?? roundStart;
  const pokes: Poke[] = [];
  for (let noun = 0; noun < 2 && pokes.length < limits.sweepObjects; noun++) {
    const room = limits.sweepObjects - pokes.length;
    // A full page of lives always fills the room: each has at least one object, but the first may be at its last.
    const page = cutPage(place, await store.activeFrom(place, room + 1), room);
    pokes.push(...page.pokes);
    place = page.next;
  }
  await store.saveSweepPlace(place);
  await inParallel(pokes, async (poke) => {
    const woken = await wake(catalog, poke);
    if (woken.ok) tally.poked += 1;
    else tally.unreached += 1;
  });
}

function wake(catalog: Catalog, { noun, generation, partition }: Poke): Promise<Result<null>> {
  const { TOPIC, SUBSCRIPTION } = catalog.env;
  const name = objectName(generation, partition);
  if (noun === "topic") return reach(catalog, name, () => TOPIC.getByName(name).wake());
  return reach(catalog, name, () => SUBSCRIPTION.getByName(name).wake());
}
