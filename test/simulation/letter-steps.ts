// What operators do with dead letters: they list them, send them round again, at once or at a rate, remove them, or move
// them to another topic; and they move a subscription to another place of its log.

import type { Result } from "../../src/errors";
import { moveLetters } from "../../src/http/letter-move-store";
import { type Count, redriveLetters } from "../../src/http/letters-store";
import { subscriptionPlace } from "../../src/http/place-routes";
import type { Owner } from "./agenda";
import type { Clients } from "./clients";
import type { Watched } from "./lives";
import type { Grave } from "./picture";
import { TARGET } from "./world";

type Chosen = Readonly<{ ids: readonly Readonly<{ partition: number; epoch: number; offset: number }>[] }>;

export class LetterSteps {
  constructor(private readonly clients: Clients) {}

  letters(): void {
    const watched = this.clients.some();
    if (watched) this.clients.call(watched.object.remote, "deadLetters", [{ after: -1, limit: 1_000 }]);
  }

  redrive(watched = this.clients.some()): void {
    if (watched) this.clients.call(watched.object.remote, "redrive", [this.selection(watched)]);
  }

  purge(watched = this.clients.some()): void {
    if (watched) this.clients.call(watched.object.remote, "purge", [this.selection(watched)]);
  }

  /**
   * All there is, however often it went round; what can never be delivered is removed: it expired, is in a loop, or its id
   * names something else in the target.
   */
  clear({ object, picture, topic, partition }: Watched): void {
    const { now } = this.clients.world.platform.agenda;
    const isOver = ([offset, { reason }]: [number, Grave]) =>
      reason === "loop" || reason === "rejected" || topic.log.hasExpired(partition, offset, now);
    const offsets = [...(picture?.dead ?? [])].filter(isOver).map(([offset]) => offset);
    const epoch = picture?.counters.epoch ?? 0;
    if (offsets.length > 0) this.clients.call(object.remote, "purge", [{ offsets, epoch }]);
    else this.clients.call(object.remote, "redrive", [{ all: true, limit: 1_000, force: true }]);
  }

  private selection(watched: Watched) {
    const { chance } = this.clients;
    const dead = [...(watched.picture?.dead.keys() ?? [])];
    if (dead.length > 0 && chance.happens(0.6))
      return { offsets: [chance.pick(dead)], epoch: watched.picture?.counters.epoch ?? 0 };
    return { all: true, limit: 1_000 };
  }

  // ── over HTTP, through all partitions ──────────────────────────────────────────────────────────────

  /** Sends dead letters round at a rate. */
  redrivePaced(): void {
    const watched = this.clients.some();
    if (!watched) return;
    const redrive = { perSecond: this.clients.chance.pick([0.2, 1, 5]), force: true };
    this.atFound(watched, "redrive", (owner, found) =>
      redriveLetters(this.clients.world.platform.brokerFor(owner), found, { where: {} }, redrive),
    );
  }

  /** Moves dead letters to another topic; one that was broken off is asked for again, or is not. */
  move(): void {
    const { chance, world } = this.clients;
    const mine = world.living.filter(
      ({ topic, picture }) => topic.name !== TARGET && (picture?.dead.size ?? 0) > 0,
    );
    if (mine.length === 0) return;
    const watched = chance.pick(mine);
    const chosen = chance.happens(0.5) ? { where: {} } : this.idsOf(watched);
    const ask = (again: boolean) =>
      this.atFound(
        watched,
        "move",
        (owner, found) => moveLetters(world.platform.brokerFor(owner), found, chosen, TARGET),
        (answer) => {
          if (answer.ok) world.counts.movesAnswered += 1;
          else world.counts.movesBroken += 1;
          if (again && !answer.ok) ask(false);
        },
        () => {
          world.counts.movesBroken += 1;
          if (again) ask(false);
        },
      );
    ask(chance.happens(0.7));
  }

  private idsOf({ picture, partition }: Watched): Chosen {
    const epoch = picture?.counters.epoch ?? 0;
    const dead = [...(picture?.dead.keys() ?? [])].slice(0, 3);
    return { ids: dead.map((offset) => ({ partition, epoch, offset })) };
  }

  private atFound(
    { topic, name }: Watched,
    what: string,
    work: (owner: Owner, found: Parameters<typeof moveLetters>[1]) => Promise<Result<Count>>,
    heard: (answer: Result<unknown>) => void = () => undefined,
    failed: () => void = () => undefined,
  ): void {
    const { platform } = this.clients.world;
    const carried = async (owner: Owner) => {
      const found = await subscriptionPlace.find(platform.brokerFor(owner), {
        topic: topic.name,
        subscription: name,
      });
      return found.ok ? work(owner, found.value) : found;
    };
    this.clients.ask(what, carried, { answered: (answer) => heard(answer as Result<unknown>), failed });
  }

  // ── seeking ────────────────────────────────────────────────────────────────────────────────────────

  seek(): void {
    const watched = this.clients.some();
    if (!watched) return;
    const { chance, world } = this.clients;
    const offset = chance.below(watched.topic.log.log(watched.partition).length + 1);
    const time = world.platform.agenda.now - chance.below(60_000);
    const to = chance.pick([
      { at: "earliest" },
      { at: "latest" },
      { at: "offset", offset },
      { at: "time", time },
    ]);
    const how = { reprocess: chance.happens(0.7), dryRun: chance.happens(0.1) };
    const call = { seekId: this.clients.fresh("s"), to, ...how };
    this.clients.call(watched.object.remote, "seek", [call], {
      answered: () => {
        // What died before the seek is sent round again in the epoch after it.
        const all = { all: true, limit: 1_000 };
        if (chance.happens(0.5)) this.clients.call(watched.object.remote, "redrive", [all]);
      },
    });
  }

  stats(): void {
    const watched = this.clients.some();
    if (watched) this.clients.call(watched.object.remote, "stats", []);
  }
}
