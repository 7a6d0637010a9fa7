// What befalls a world, at instants of chance: objects crash or are evicted, Workers are killed, D1 or a topic is away
// for a while, endpoints change their mood. A new danger is one function and one weight.

import { sweep } from "../../src/catalog/sweep";
import { limits } from "../../src/limits";
import type { D1StandIn } from "./d1-stand-in";
import type { World } from "./world";

type Danger = "crash" | "evict" | "kill" | "d1Away" | "topicAway" | "subscriptionAway" | "mood";

const WEIGHTS: Readonly<Record<Danger, number>> = {
  ...{ crash: 6, evict: 4, kill: 6, d1Away: 3, topicAway: 1, subscriptionAway: 2, mood: 4 },
};
const SWEEP_EVERY_MS = 60_000;

export class Dangers {
  /** While false nothing new befalls the world. */
  private on = true;

  constructor(private readonly world: World) {}

  start(): void {
    this.world.platform.network.faults.on = true;
    this.sweepSoon();
  }

  /** Faults end, and whatever was away is back. */
  stop(): void {
    const { network, catalog, ledger } = this.world.platform;
    this.on = false;
    network.faults.on = false;
    network.away.clear();
    catalog.isAway = false;
    ledger.isAway = false;
  }

  /** One danger befalls the world. */
  befall(): void {
    const danger = this.world.chance.weighted(WEIGHTS);
    this.world.platform.agenda.trace.add(danger);
    this[danger]();
  }

  private crash(): void {
    this.someObject()?.crash(this.world.chance.happens(0.5));
  }

  private evict(): void {
    this.someObject()?.evict();
  }

  private kill(): void {
    const { chance, platform } = this.world;
    platform.workers.kill(chance.below(Math.max(1, platform.workers.count())));
  }

  private d1Away(): void {
    const { chance, platform } = this.world;
    this.databaseAway(chance.pick([platform.catalog, platform.ledger]), 30_000);
  }

  private databaseAway(database: D1StandIn, mostMs: number): void {
    const { chance, counts, platform } = this.world;
    counts.d1Outages += 1;
    database.isAway = true;
    platform.agenda.after(chance.below(mostMs), undefined, "D1 is back", () => {
      database.isAway = false;
    });
  }

  /** Longer than what INGRESS bears; what it then strands may find no D1. */
  private topicAway(): void {
    const { chance, counts, platform } = this.world;
    counts.topicOutages += 1;
    if (chance.happens(0.4)) this.databaseAway(platform.catalog, 600_000);
    const { targets } = this.world.plan.forwards;
    const name = targets.length > 0 && chance.happens(0.6) ? chance.pick(targets).name : undefined;
    const row = this.world.topicRow(name);
    const partition = chance.below(row?.partitions ?? 1);
    this.away(this.world.topicObject(partition, row?.generation).name, 600_000);
  }

  /** Longer than an ack deadline. */
  private subscriptionAway(): void {
    const { chance, counts, living } = this.world;
    if (living.length === 0) return;
    counts.subscriptionOutages += 1;
    const { object, generation } = chance.pick(living);
    const ofAll = this.world.plan.features.has("paced") && chance.happens(0.5);
    this.away(ofAll ? `capacity:${generation}` : object.name, 25_000);
  }

  private away(name: string, mostMs: number): void {
    const { chance, platform } = this.world;
    platform.network.away.add(name);
    platform.agenda.after(chance.below(mostMs), undefined, `${name} is back`, () => {
      platform.network.away.delete(name);
    });
  }

  private mood(): void {
    const { chance, platform, living } = this.world;
    const pushes = living.filter(({ picture }) => picture?.settings.push);
    if (pushes.length === 0) return;
    platform.endpoint(chance.pick(pushes).generation).mood = chance.pick(["well", "shaky", "shaky", "down"]);
  }

  private someObject() {
    const { chance, platform } = this.world;
    const living = [...platform.objects.values()].filter(({ live }) => live);
    return living.length === 0 ? undefined : chance.pick(living);
  }

  // ── the cron ───────────────────────────────────────────────────────────────────────────────────────

  private sweepSoon(): void {
    this.world.platform.agenda.after(SWEEP_EVERY_MS, undefined, "cron", () => {
      if (!this.on) return;
      this.sweep();
      this.sweepSoon();
    });
  }

  /** One sweep, as the cron makes it. */
  sweep(): void {
    const { counts, platform } = this.world;
    const nobody = { answer: () => undefined, fail: () => undefined };
    counts.sweeps += 1;
    platform.workers.start(
      "sweep",
      (owner) =>
        sweep(platform.catalogFor(owner), () => platform.ledgerFor(owner).sweep(limits.ledgerSweepRows)),
      nobody,
    );
  }
}
