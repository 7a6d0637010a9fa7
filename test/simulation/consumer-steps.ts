// What pull consumers do: they pull, ack, give back and extend, sometimes late, twice, or not at all.

import type { Result } from "../../src/errors";
import type { LeaseAnswer, LeaseRef } from "../../src/subscription-calls";
import type { Owner } from "./agenda";
import type { Clients } from "./clients";
import type { Watched } from "./lives";
import { checkHighestFirst, leaseOf, type PulledFrom, pullOver } from "./priority-checks";

/** Leases that consumers still remember: perhaps long ended, perhaps settled already. */
const REMEMBERED_LEASES = 8;

type Held = Readonly<{ watched: Watched; leaseId: string; offsets: readonly number[] }>;

export class ConsumerSteps {
  private readonly leases: Held[] = [];

  constructor(private readonly clients: Clients) {}

  pull(max = this.clients.chance.between(1, 8)): void {
    const { chance } = this.clients;
    const watched = this.clients.some("pull");
    if (!watched) return;
    const leaseId = this.clients.fresh("l");
    const call = { leaseId, max, maxBytes: 1_000_000, waitMs: chance.pick([0, 0, 3_000]) };
    const ask = (again: boolean) =>
      this.clients.call(watched.object.remote, "pull", [call], {
        answered: (answer) => {
          const lease = answer as Result<LeaseAnswer>;
          if (!lease.ok || lease.value.deliveries.length === 0) return;
          if (again) ask(false);
          else this.hold(watched, lease.value);
        },
        failed: () => {
          // The answer was lost: a consumer that knows its lease id asks for the same lease.
          if (chance.happens(0.5)) ask(false);
        },
      });
    ask(chance.happens(0.2));
  }

  /** A pull over all partitions, the highest priority first, as a request makes it. */
  pullAll(): void {
    const { chance, world } = this.clients;
    const [max, waitMs] = [chance.between(1, 8), chance.pick([0, 0, 3_000])];
    const readers = world.plan.subscriptions.filter(({ settings }) => settings.type === "pull");
    if (readers.length === 0) return;
    const { name } = chance.pick(readers);
    const work = (owner: Owner) => pullOver(world.platform.brokerFor(owner), name, { max, waitMs });
    this.clients.ask("http", work, {
      answered: (answer) => {
        const pulled = answer as Result<PulledFrom>;
        if (pulled.ok) this.holdAll(pulled.value);
      },
    });
  }

  private holdAll({ generation, messages }: PulledFrom): void {
    const { counts, watch } = this.clients.world;
    if (messages.length === 0) return;
    counts.pullsOfAll += 1;
    checkHighestFirst(messages, counts);
    const leased = messages.filter(({ ackId }) => ackId !== undefined);
    for (const mine of Map.groupBy(leased, leaseOf).values()) {
      const [first] = mine;
      const watched = first && watch.at(generation, first.partition);
      if (!watched) continue;
      this.leases.unshift({ watched, leaseId: leaseOf(first), offsets: mine.map(({ offset }) => offset) });
      this.leases.splice(REMEMBERED_LEASES);
    }
  }

  private hold(watched: Watched, { leaseId, deliveries }: LeaseAnswer): void {
    this.leases.unshift({ watched, leaseId, offsets: deliveries.map(({ offset }) => offset) });
    this.leases.splice(REMEMBERED_LEASES);
  }

  ack(): void {
    const held = this.someLease();
    if (!held) return;
    const { refs, watched } = held;
    this.clients.call(watched.object.remote, "ack", [{ refs }]);
    if (this.clients.chance.happens(0.2)) this.clients.call(watched.object.remote, "ack", [{ refs }]);
  }

  nack(): void {
    const held = this.someLease();
    if (!held) return;
    const { chance, world } = this.clients;
    const delay = chance.happens(0.3) ? { delayMs: chance.below(5_000) } : {};
    const deadLetter = chance.happens(world.plan.features.has("moves") ? 0.5 : 0.2);
    this.clients.call(held.watched.object.remote, "nack", [{ refs: held.refs, deadLetter, ...delay }]);
  }

  /** Gives back the first delivery of a lease alone: what stands behind it in its lane goes back with it. */
  nackFirst(): void {
    const { chance } = this.clients;
    const held = this.leases[chance.below(Math.max(1, this.leases.length))];
    if (!held) return;
    const refs = held.offsets.slice(0, 1).map((offset) => ({ offset, leaseId: held.leaseId }));
    this.clients.call(held.watched.object.remote, "nack", [{ refs, deadLetter: chance.happens(0.2) }]);
  }

  extend(): void {
    const held = this.someLease();
    if (!held) return;
    this.clients.call(held.watched.object.remote, "extend", [{ refs: held.refs, ackDeadlineMs: 20_000 }]);
  }

  /** Acks everything that is still held. */
  ackAll(): void {
    for (const { watched, leaseId, offsets } of this.leases.splice(0)) {
      const refs = offsets.map((offset) => ({ offset, leaseId }));
      this.clients.call(watched.object.remote, "ack", [{ refs }]);
    }
  }

  private someLease(): { watched: Watched; refs: LeaseRef[] } | undefined {
    const { chance } = this.clients;
    const held = this.leases[chance.below(Math.max(1, this.leases.length))];
    if (!held) return undefined;
    const from = chance.happens(0.6) ? 0 : chance.below(held.offsets.length);
    const offsets = held.offsets.slice(from, from + chance.between(1, 8));
    return { watched: held.watched, refs: offsets.map((offset) => ({ offset, leaseId: held.leaseId })) };
  }
}
