// Runs worlds: a seed is lived through with its dangers, then these stop, and everything must come to its end. Used by
// the tests, by their mutants, and by `npm run simulate`.

import { addCounts, type Counts, noCounts } from "./coverage";
import { Dangers } from "./dangers";
import type { Feature } from "./plan";
import { takeOverGlobals } from "./platform";
import { checkEnd, settleDown } from "./rest";
import { Steps } from "./steps";
import { World } from "./world";

export type Lived = Readonly<{ seed: number; steps: number; hash: string; counts: Counts; quietMs: number }>;

/** A promise that a seed broke, and how the world came to it. */
export class BrokenPromise extends Error {
  override readonly name = "BrokenPromise";

  constructor(
    readonly seed: number,
    readonly steps: number,
    readonly why: string,
    readonly trace: readonly string[],
  ) {
    super(`seed ${seed}, step ${steps}: ${why}`);
  }
}

export type RunOptions = Readonly<{
  migrationsDir: string;
  /** What its world has beside the ordinary; drawn unless it is said. */
  features?: readonly Feature[] | undefined;
  /** How many of the newest steps a failure shows. */
  keepTrace?: number;
}>;

/** Lives through one seed. Throws a BrokenPromise. */
export async function live(
  seed: number,
  { migrationsDir, features, keepTrace = 60 }: RunOptions,
): Promise<Lived> {
  const world = new World(seed, migrationsDir, features);
  const { agenda } = world.platform;
  agenda.trace.keep = keepTrace;
  const putBack = takeOverGlobals(agenda);
  try {
    await world.start();
    const steps = new Steps(world);
    const dangers = new Dangers(world);
    dangers.start();
    await turmoil(world, steps, dangers);
    dangers.stop();
    const quietAt = agenda.now;
    await settleDown(world, steps, dangers);
    await checkEnd(world, steps);
    const quietMs = agenda.now - quietAt;
    return { seed, steps: agenda.steps, hash: agenda.trace.hash, counts: world.counts, quietMs };
  } catch (fault) {
    const why = fault instanceof Error ? (fault.stack ?? fault.message) : String(fault);
    throw new BrokenPromise(seed, agenda.steps, why, agenda.trace.last.slice(-keepTrace));
  } finally {
    putBack();
    world.platform.close();
  }
}

/** Lives through seeds, one after another, as long as `goOn` says. */
export async function liveAll(
  first: number,
  count: number,
  options: RunOptions & Readonly<{ goOn?: (lived: Lived) => boolean }>,
): Promise<{ seeds: number; steps: number; counts: Counts; longestQuietMs: number }> {
  const sum = { seeds: 0, steps: 0, counts: noCounts(), longestQuietMs: 0 };
  for (let seed = first; seed < first + count; seed++) {
    const lived = await live(seed, options);
    sum.seeds += 1;
    sum.steps += lived.steps;
    sum.longestQuietMs = Math.max(sum.longestQuietMs, lived.quietMs);
    addCounts(sum.counts, lived.counts);
    if (options.goOn?.(lived) === false) break;
  }
  return sum;
}

/** Clients step while dangers befall: at one instant often, now and then after a long while. */
async function turmoil(world: World, steps: Steps, dangers: Dangers): Promise<void> {
  const { chance, plan, platform } = world;
  let left = plan.clientSteps;
  const next = () => {
    const gap = chance.weighted({ none: 35, short: 35, long: 25, pause: 5 });
    const ms = { none: chance.below(5), short: chance.below(300), long: chance.below(4_000), pause: 60_000 }[
      gap
    ];
    platform.agenda.after(ms, undefined, "client", () => {
      left -= 1;
      if (chance.happens(plan.danger)) dangers.befall();
      else steps.take();
      if (left > 0) next();
    });
  };
  next();
  while (left > 0 && (await world.step()));
}
