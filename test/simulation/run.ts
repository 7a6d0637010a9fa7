// Runs worlds: a seed is lived through with its dangers, then these stop, and everything must come to its end. Used by
// the tests, by their mutants, and by `npm run simulate`.

import type { Result } from "../../src/errors";
import { limits } from "../../src/limits";
import { unpackRecordBatch, unpackRecords } from "../../src/record-batch";
import type { SubscriptionStats } from "../../src/subscription-calls";
import { addCounts, type Counts, noCounts } from "./coverage";
import { Dangers } from "./dangers";
import { takeOverGlobals } from "./platform";
import { Steps } from "./steps";
import { type Watched, World } from "./world";

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
  /** How many of the newest steps a failure shows. */
  keepTrace?: number;
}>;

const QUIET_ROUNDS = 40;
const QUIET_STEPS = 15_000;
const ROUND_MS = 20_000;

/** Lives through one seed. Throws a BrokenPromise. */
export async function live(seed: number, { migrationsDir, keepTrace = 60 }: RunOptions): Promise<Lived> {
  const world = new World(seed, migrationsDir);
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
    await settleDown(world, steps);
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

/**
 * Time goes on without faults and without the sweep. Objects whose alarm the platform gave up are poked once, as the
 * sweep would; from then on alarms alone must bring everything to its end, while consumers ack, and operators
 * redrive, resume and send on.
 */
async function settleDown(world: World, steps: Steps): Promise<void> {
  const { agenda, objects } = world.platform;
  // So long an object may still believe in an alarm that is overdue.
  await world.run(limits.lookAgainMs + 1_000);
  for (const object of objects.values()) if (object.alarmLost) steps.poke(object);
  const enough = agenda.steps + QUIET_STEPS;
  for (let round = 0; round < QUIET_ROUNDS && agenda.steps < enough; round++) {
    await world.run(ROUND_MS);
    if (isDone(world)) return;
    steps.resend();
    for (const watched of world.watched) {
      if (watched.picture?.paused) steps.setPaused(false, watched);
      else if (deadOf(watched) > 0) steps.redrive(watched);
    }
    for (let pulls = 0; pulls < 4 && agenda.steps < enough; pulls++) {
      steps.pull(100);
      await world.run(5_000);
      steps.ackAll();
    }
  }
  const open = world.watched.map((watched) => {
    const { counters, leasedCount, waitingCount, dead } = watched.picture ?? {};
    const head = world.log.log(watched.partition).length;
    return `${world.nameOf(watched)} ${JSON.stringify({ head, ...counters, leasedCount, waitingCount, dead: dead?.size })}`;
  });
  throw new Error(`it never came to rest: ${open.join("; ")}; ${world.platform.ingress.size} in INGRESS`);
}

function deadOf({ picture }: Watched): number {
  return (picture?.dead.size ?? 0) + (picture?.counters.formerDead ?? 0);
}

function isDone(world: World): boolean {
  const { platform, log } = world;
  if (platform.ingress.size + platform.ingressDead.size > 0) return false;
  if (platform.catalog.peek("SELECT id FROM stranded_batches").length > 0) return false;
  return world.watched.every(({ picture, partition }) => {
    if (!picture) return false;
    const { counters, inHand, followers, dead } = picture;
    if (counters.formerDead > 0) return false;
    const isRead = counters.nextOffset === log.log(partition).length;
    return isRead && inHand.size + followers + dead.size === 0;
  });
}

/** Every message has come to its end, and the public stats say the same. */
async function checkEnd(world: World, steps: Steps): Promise<void> {
  const stranded = new Set<string>();
  for (const { packed } of world.platform.catalog.peek<{ packed: Uint8Array }>(
    "SELECT packed FROM stranded_batches",
  )) {
    for (const { id } of unpackRecords(unpackRecordBatch(packed).records)) stranded.add(id);
  }
  world.log.checkKept(stranded);
  for (const watched of world.watched) {
    const head = world.log.log(watched.partition).length;
    for (let offset = watched.picture?.counters.startOffset ?? 0; offset < head; offset++) {
      if (!watched.witness.isFinished(offset))
        throw new Error(`${world.nameOf(watched)}: ${offset} has no end`);
    }
    const asked: Promise<Result<SubscriptionStats>> = steps.subscription(watched).stats();
    await checkAudit(world, steps, watched);
    const { unread, leased, waiting, settled } = await world.finish(asked);
    if (unread + leased + waiting > 0 || settled !== watched.witness.acked)
      throw new Error(`${world.nameOf(watched)}: the stats say otherwise`);
  }
}

/** The audit finds no offset that breaks the law. */
async function checkAudit(world: World, steps: Steps, watched: Watched): Promise<void> {
  const { breach } = await world.finish(steps.subscription(watched).audit({ from: 0 }));
  if (breach) throw new Error(`${world.nameOf(watched)}: the audit says ${JSON.stringify(breach)}`);
}
