// What publishers, consumers and operators do, step by step, at instants of chance. They believe only what they are
// answered, and repeat what failed. A new kind of step is one function and one weight.

import { setPaused } from "../../src/catalog/lifecycle";
import { resendStranded } from "../../src/catalog/stranded-store";
import type { Result } from "../../src/errors";
import { ok } from "../../src/errors";
import type { Outcomes } from "../../src/http/publish";
import type { Draft } from "../../src/http/publish-items";
import { publishItems } from "../../src/http/publish-store";
import type { LeaseAnswer, LeaseRef, SubscriptionCalls } from "../../src/subscription-calls";
import { type Remote, stubOf } from "./network";
import type { SimulatedObject } from "./object-host";
import { TOPIC, type Watched, type World } from "./world";

type Step =
  | "publish"
  | "republish"
  | "pull"
  | "ack"
  | "nack"
  | "extend"
  | "letters"
  | "redrive"
  | "purge"
  | "pause"
  | "resume"
  | "stats"
  | "resend"
  | "seek";

const WEIGHTS: Readonly<Record<Step, number>> = {
  ...{ publish: 8, republish: 2, pull: 8, ack: 8, nack: 3, extend: 2 },
  ...{ letters: 0.5, redrive: 1.5, purge: 1.5, pause: 0.4, resume: 1, stats: 0.5, resend: 0.3, seek: 0.7 },
};
/** Leases that consumers still remember: perhaps long ended, perhaps settled already. */
const REMEMBERED_LEASES = 8;
const REMEMBERED_DRAFTS = 30;

type Held = Readonly<{ watched: Watched; leaseId: string; offsets: readonly number[] }>;

export class Steps {
  private serial = 0;
  private readonly drafts: Draft[] = [];
  private readonly leases: Held[] = [];
  private readonly http: Remote;
  private readonly operator: Remote;

  constructor(private readonly world: World) {
    const { workers } = world.platform;
    this.http = workers.remote("http", (owner, [drafts, wait]) => {
      const items = (drafts as Draft[]).map((draft) => ok(draft));
      const topic = world.topic;
      if (!topic) throw new Error("no topic");
      return publishItems(world.platform.brokerFor(owner), topic, {
        items,
        atomic: false,
        wait: wait === true,
      });
    });
    this.operator = workers.remote("operator", async (owner, [name, paused]) =>
      setPaused(world.platform.catalogFor(owner), TOPIC, String(name), paused === true),
    );
  }

  take(): void {
    const { chance } = this.world;
    const step = chance.weighted(WEIGHTS);
    this.world.platform.agenda.trace.add(`step ${step}`);
    this[step]();
  }

  // ── publishers ─────────────────────────────────────────────────────────────────────────────────────

  private publish(): void {
    const { chance } = this.world;
    const drafts = Array.from({ length: chance.between(1, 6) }, () => this.draft());
    this.send(drafts, chance.happens(0.5));
  }

  /** A publisher that does not know, or forgot, publishes again; perhaps by mistake with other content. */
  private republish(): void {
    const { chance, counts } = this.world;
    if (this.drafts.length === 0) return;
    const { message } = chance.pick(this.drafts);
    counts.repeatedPublishes += 1;
    const body = chance.happens(0.15) ? bytes(`other ${message.id}`) : message.body;
    this.send([{ message: { ...message, body }, isClientId: true }], chance.happens(0.7));
  }

  private draft(): Draft {
    const { chance, plan } = this.world;
    const id = `m-${++this.serial}`;
    const orderingKey = chance.pick(plan.keys);
    const message = {
      ...{ id, publishedAt: this.world.platform.agenda.now, contentType: "text/plain", body: bytes(id) },
      ...(orderingKey !== undefined && { orderingKey }),
    };
    const draft = { message, isClientId: chance.happens(0.4) };
    if (draft.isClientId) this.drafts.push(draft);
    if (this.drafts.length > REMEMBERED_DRAFTS) this.drafts.shift();
    return draft;
  }

  private send(drafts: readonly Draft[], wait: boolean): void {
    const { world } = this;
    world.counts.publishes += 1;
    const messages = drafts.map(({ message }) => message);
    const floors = world.log.publishing(messages);
    this.call(this.http, "publish", [drafts, wait], (answer) => {
      for (const [index, outcome] of answer as Outcomes) {
        const message = messages[index];
        if (!message) throw new Error("an outcome for no message");
        if (outcome.status === "accepted") world.counts.acceptedPublishes += 1;
        if (outcome.status === "stored" && outcome.duplicate) world.counts.duplicatesAnswered += 1;
        if (outcome.status === "refused" && outcome.error.code === "id-reused")
          world.counts.reusedIdsRefused += 1;
        world.log.answered(message, outcome, floors);
      }
    });
  }

  // ── consumers ──────────────────────────────────────────────────────────────────────────────────────

  pull(max = this.world.chance.between(1, 8)): void {
    const { chance } = this.world;
    const watched = this.someOf("pull");
    if (!watched) return;
    const call = {
      leaseId: `l-${++this.serial}`,
      max,
      maxBytes: 1_000_000,
      waitMs: chance.pick([0, 0, 3_000]),
    };
    const ask = (again: boolean) =>
      this.call(
        watched.object.remote,
        "pull",
        [call],
        (answer) => {
          const lease = answer as Result<LeaseAnswer>;
          if (!lease.ok || lease.value.deliveries.length === 0) return;
          if (again) ask(false);
          else this.hold(watched, lease.value);
        },
        () => {
          // The answer was lost: a consumer that knows its lease id asks for the same lease.
          if (chance.happens(0.5)) ask(false);
        },
      );
    ask(chance.happens(0.2));
  }

  private hold(watched: Watched, { leaseId, deliveries }: LeaseAnswer): void {
    this.leases.unshift({ watched, leaseId, offsets: deliveries.map(({ offset }) => offset) });
    this.leases.splice(REMEMBERED_LEASES);
  }

  private ack(): void {
    const held = this.someLease();
    if (!held) return;
    const { refs, watched } = held;
    this.call(watched.object.remote, "ack", [{ refs }]);
    if (this.world.chance.happens(0.2)) this.call(watched.object.remote, "ack", [{ refs }]);
  }

  private nack(): void {
    const held = this.someLease();
    if (!held) return;
    const { chance } = this.world;
    const delay = chance.happens(0.3) ? { delayMs: chance.below(5_000) } : {};
    const deadLetter = chance.happens(0.15);
    this.call(held.watched.object.remote, "nack", [{ refs: held.refs, deadLetter, ...delay }]);
  }

  private extend(): void {
    const held = this.someLease();
    if (!held) return;
    this.call(held.watched.object.remote, "extend", [{ refs: held.refs, ackDeadlineMs: 20_000 }]);
  }

  /** Acks everything of the lease pulled last. */
  ackAll(): void {
    for (const { watched, leaseId, offsets } of this.leases.splice(0)) {
      this.call(watched.object.remote, "ack", [{ refs: offsets.map((offset) => ({ offset, leaseId })) }]);
    }
  }

  private someLease(): { watched: Watched; refs: LeaseRef[] } | undefined {
    const { chance } = this.world;
    const held = this.leases[chance.below(Math.max(1, this.leases.length))];
    if (!held) return undefined;
    const from = chance.happens(0.6) ? 0 : chance.below(held.offsets.length);
    const offsets = held.offsets.slice(from, from + chance.between(1, 8));
    return { watched: held.watched, refs: offsets.map((offset) => ({ offset, leaseId: held.leaseId })) };
  }

  // ── operators ──────────────────────────────────────────────────────────────────────────────────────

  private letters(): void {
    const watched = this.some();
    if (watched) this.call(watched.object.remote, "deadLetters", [{ after: -1, limit: 1_000 }]);
  }

  redrive(watched = this.some()): void {
    if (watched) this.call(watched.object.remote, "redrive", [this.selection(watched)]);
  }

  private purge(): void {
    const watched = this.some();
    if (watched) this.call(watched.object.remote, "purge", [this.selection(watched)]);
  }

  private selection(watched: Watched) {
    const { chance } = this.world;
    const dead = [...(watched.picture?.dead.keys() ?? [])];
    if (dead.length > 0 && chance.happens(0.6))
      return { offsets: [chance.pick(dead)], epoch: watched.picture?.counters.epoch ?? 0 };
    return { all: true, limit: 1_000 };
  }

  private pause(): void {
    this.setPaused(true);
  }

  private resume(): void {
    this.setPaused(false);
  }

  setPaused(paused: boolean, watched = this.some()): void {
    if (watched) this.call(this.operator, "setPaused", [watched.entry.name, paused]);
  }

  private seek(): void {
    const watched = this.some();
    if (!watched) return;
    const { chance, log } = this.world;
    const offset = chance.below(log.log(watched.partition).length + 1);
    const time = this.world.platform.agenda.now - chance.below(60_000);
    const to = chance.pick([
      { at: "earliest" },
      { at: "latest" },
      { at: "offset", offset },
      { at: "time", time },
    ]);
    const how = { reprocess: chance.happens(0.7), dryRun: chance.happens(0.1) };
    this.call(watched.object.remote, "seek", [{ seekId: `s-${++this.serial}`, to, ...how }], () => {
      // What died before the seek is sent round again in the epoch after it.
      if (chance.happens(0.5)) this.call(watched.object.remote, "redrive", [{ all: true, limit: 1_000 }]);
    });
  }

  /** Pokes an object, as the sweep does. */
  poke(object: SimulatedObject): void {
    this.call(object.remote, "wake", []);
  }

  private stats(): void {
    const watched = this.some();
    if (watched) this.call(watched.object.remote, "stats", []);
  }

  /** Sends on what is stranded. */
  resend(): void {
    const { platform, counts } = this.world;
    const [row] = platform.catalog.peek<{ id: string }>("SELECT id FROM stranded_batches LIMIT 1");
    if (!row) return;
    const remote = platform.workers.remote("operator", (owner) =>
      resendStranded(platform.catalogFor(owner), row.id),
    );
    this.call(remote, "resend", [], (answer) => {
      if ((answer as Result<unknown>).ok) counts.resent += 1;
    });
  }

  // ── what they share ────────────────────────────────────────────────────────────────────────────────

  subscription(watched: Watched): SubscriptionCalls {
    const { platform, clients } = this.world;
    return stubOf((method, args) => platform.network.call(clients, watched.object.remote, method, args));
  }

  private some(): Watched | undefined {
    const { watched } = this.world;
    return watched[this.world.chance.below(Math.max(1, watched.length))];
  }

  private someOf(type: "pull" | "push"): Watched | undefined {
    const all = this.world.watched.filter(({ entry }) => entry.settings.type === type);
    return all[this.world.chance.below(Math.max(1, all.length))];
  }

  /** Calls as a client; `then` looks at the answer, and what it throws is a broken promise. */
  private call(
    remote: Remote,
    method: string,
    args: readonly unknown[],
    then: (answer: unknown) => void = () => undefined,
    failed: () => void = () => undefined,
  ): void {
    const { platform, clients } = this.world;
    platform.network.call(clients, remote, method, args).then(
      (answer) => this.world.guard(() => then(answer)),
      () => failed(),
    );
  }
}

function bytes(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}
