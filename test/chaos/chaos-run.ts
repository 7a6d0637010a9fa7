// A run of chaos: producers publish, consumers consume, the broker is killed with -9 again and again, and consumers
// beside it. Then the faults stop, everything drains, and the judge reads what everybody wrote down.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { type Broker, startBroker } from "../support/broker.ts";
import { call } from "../support/client.ts";
import { pause, until } from "../support/until.ts";
import { assemble, booksAt, type Cast, TOPIC } from "./chaos-cast.ts";
import { type Chance, chanceOf } from "./chaos-chance.ts";
import { type Audience, findViolations, type Violation } from "./chaos-checker.ts";
import type { ChaosEvent, Counters } from "./chaos-event.ts";
import { type Journal, openJournal, readHistory } from "./chaos-journal.ts";
import { produce } from "./chaos-producer.ts";

export type ChaosOptions = Readonly<{
  /** How often the broker is killed. */
  kills: number;
  seed: number;
  /** false: without the subscription whose claims outlive a killed dispatcher by a minute. */
  effectivelyOnce?: boolean;
  say?: (text: string) => void;
  abort?: AbortSignal;
}>;

export type ChaosReport = Readonly<{
  history: readonly ChaosEvent[];
  audiences: readonly Audience[];
  violations: readonly Violation[];
  /** Where the journals are: kept when there are violations, else removed. */
  dir: string;
}>;

const PRODUCERS = ["north", "south", "west"];
/** Confirmed messages between a start and the next kill: a broker that stands still proves nothing. */
const PROGRESS = 40;
const UP_MS = { least: 0, most: 2_000 };
const VICTIM_EVERY_MS = { least: 300, most: 2_000 };
/** The claims of a killed dispatcher are held for a minute, and the last kill may have been just now. */
const PATIENCE_MS = 240_000;

type Stage = ChaosOptions &
  Cast &
  Readonly<{
    broker: Broker;
    dir: string;
    own: Journal;
    chance: Chance;
    say(text: string): void;
    abort: AbortSignal;
    /** The ids of all messages that were confirmed to their producers. */
    confirmed: Set<string>;
  }>;

type AtEnd = (cleanup: () => unknown) => void;

/** Plays one run to its end. Throws when the broker does not start, does not drain, or `abort` fires. */
export async function runChaos(options: ChaosOptions): Promise<ChaosReport> {
  const dir = mkdtempSync(join(tmpdir(), "pennypost-chaos-"));
  const cleanups: (() => unknown)[] = [];
  let report: ChaosReport | undefined;
  try {
    report = await play(options, dir, (cleanup) => cleanups.push(cleanup));
    return report;
  } finally {
    for (const cleanup of cleanups.reverse()) await cleanup();
    const isWorthALook = report?.violations.length !== 0 && !options.abort?.aborted;
    if (isWorthALook) options.say?.(`The journals are in ${dir}`);
    else rmSync(dir, { recursive: true, force: true, maxRetries: 5 });
  }
}

async function play(options: ChaosOptions, dir: string, atEnd: AtEnd): Promise<ChaosReport> {
  const stage = await setUp(options, dir, atEnd);
  await storm(stage);
  await drain(stage);
  await Promise.all(stage.actors.map((actor) => actor.dismiss()));
  await audit(stage);
  const history = [...readHistory(dir), ...readBooks(dir)].sort((a, b) => a.at - b.at);
  return { history, audiences: stage.audiences, violations: findViolations(history, stage.audiences), dir };
}

/** Starts the broker and everybody else; whatever it started ends with the run. */
async function setUp(options: ChaosOptions, dir: string, atEnd: AtEnd): Promise<Stage> {
  const { seed, effectivelyOnce = true, say = () => undefined } = options;
  const ending = new AbortController();
  const abort = AbortSignal.any([ending.signal, ...(options.abort ? [options.abort] : [])]);
  const broker = await startBroker(options.abort ? { abort: options.abort } : {});
  atEnd(broker.stop);
  const cast = await assemble(broker, { dir, seed, effectivelyOnce });
  atEnd(() => Promise.all(cast.actors.map((actor) => actor.dismiss())));
  atEnd(() => ending.abort(new Error("the run has ended")));
  const own = openJournal(dir, "runner");
  const chance = chanceOf(seed, "runner");
  return { ...options, ...cast, broker, dir, own, chance, say, abort, confirmed: new Set() };
}

/** Everything goes on at once, until the broker has been killed as often as was asked. */
async function storm(stage: Stage): Promise<void> {
  const { broker, seed, dir, confirmed, abort } = stage;
  const closing = new AbortController();
  const producers = PRODUCERS.map((name) =>
    produce({
      ...{ broker, topic: TOPIC, name, confirmed, abort, closing: closing.signal },
      ...{ chance: chanceOf(seed, name), journal: openJournal(dir, name) },
    }),
  );
  const hunting = huntConsumers(stage, closing.signal);
  for (let kill = 1; kill <= stage.kills; kill++) await killBroker(stage, kill);
  closing.abort();
  await Promise.all([...producers, hunting]);
}

async function killBroker(stage: Stage, kill: number): Promise<void> {
  const { broker, kills, chance, own, say, confirmed } = stage;
  const goal = confirmed.size + PROGRESS;
  await becomes(stage, `${PROGRESS} more messages are confirmed`, () => confirmed.size >= goal);
  await pause(chance.between(UP_MS.least, UP_MS.most));
  own.write({ type: "killed", whom: "broker" });
  await broker.kill9();
  const from = Date.now();
  await broker.restart();
  say(
    `kill ${kill} of ${kills}: up again after ${Date.now() - from} ms; ${confirmed.size} messages confirmed`,
  );
}

/** Kills consumers at random moments; they come back at once. */
async function huntConsumers({ chance, actors, own, abort }: Stage, closing: AbortSignal): Promise<void> {
  while (!closing.aborted && !abort.aborted) {
    await pause(chance.between(VICTIM_EVERY_MS.least, VICTIM_EVERY_MS.most));
    const victim = chance.oneOf(actors);
    own.write({ type: "killed", whom: victim.name });
    victim.kill9();
  }
}

/** Waits until every subscription has nothing left to do. */
async function drain(stage: Stage): Promise<void> {
  stage.say(
    `The faults have stopped; ${stage.confirmed.size} messages are confirmed. Waiting until all are settled …`,
  );
  for (const { subscription } of stage.audiences) {
    await becomes(stage, `${subscription} is drained`, async () => {
      const counters = await countersOf(stage.broker, subscription);
      return counters.every(({ unread, leased, waiting }) => unread + leased + waiting === 0);
    });
  }
}

/** Waits for a condition, and no longer than everybody is well. */
async function becomes({ actors, abort }: Stage, claim: string, isSo: () => boolean | Promise<boolean>) {
  const fault = () => (abort.aborted ? abort.reason : actors.map((actor) => actor.fault()).find(Boolean));
  await until(claim, async () => fault() !== undefined || (await isSo()), {
    withinMs: PATIENCE_MS,
    everyMs: 100,
  });
  if (fault() !== undefined) throw fault();
}

/** Writes down what the broker says when all is quiet. */
async function audit({ broker, audiences, own }: Stage): Promise<void> {
  for (const { subscription } of audiences) {
    for (const counters of await countersOf(broker, subscription)) {
      own.write({ type: "counted", subscription, ...counters });
    }
    for (const { message, id } of await deadLettersOf(broker, subscription)) {
      own.write({ type: "dead", subscription, id: message?.id ?? id });
    }
  }
}

async function countersOf(broker: Broker, subscription: string): Promise<readonly Counters[]> {
  const path = `${TOPIC}/subscriptions/${subscription}/stats`;
  return (await call<{ partitions: Counters[] }>(broker, "GET", path)).partitions;
}

type Letters = Readonly<{ deadLetters: { id: string; message?: { id: string } }[]; next: string | null }>;

async function deadLettersOf(broker: Broker, subscription: string): Promise<Letters["deadLetters"]> {
  const path = `${TOPIC}/subscriptions/${subscription}/dead-letters`;
  const letters: Letters["deadLetters"] = [];
  for (let after: string | null = ""; after !== null; ) {
    const page: Letters = await call(broker, "GET", after === "" ? path : `${path}?after=${after}`);
    letters.push(...page.deadLetters);
    after = page.next;
  }
  return letters;
}

/** The effects of the consumer that keeps them in a database. */
function readBooks(dir: string): ChaosEvent[] {
  const db = new DatabaseSync(booksAt(dir), { readOnly: true });
  const rows = db.prepare("SELECT event FROM effects ORDER BY rowid").all();
  db.close();
  return rows.map(({ event }) => JSON.parse(String(event)) as ChaosEvent);
}
