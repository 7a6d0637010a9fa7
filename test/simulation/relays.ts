// Relays of an outbox: each numbers its messages, sends them in order, and may be killed anywhere. What it had sent it
// then remembers only in part, or asks the broker. Nothing of its outbox may be lost or come twice.

import type { Result } from "../../src/errors";
import type { Outcomes } from "../../src/http/publish";
import type { Draft } from "../../src/http/publish-items";
import { layoutOf } from "../../src/priority";
import { partitionOf } from "../../src/record-batch";
import type { ProducerPlace } from "../../src/topic-calls";
import { Owner } from "./agenda";
import type { Clients } from "./clients";
import type { PublisherSteps } from "./publisher-steps";

/** What a relay has in memory, from its start to its end. */
type Running = { readonly owner: Owner; next: number | undefined; busy: boolean };
type Relay = {
  readonly name: string;
  readonly key: string | undefined;
  /** On its own disk. */
  readonly outbox: Draft[];
  /** On its own disk too, and perhaps behind. */
  cursor: number;
  /** The highest number that it was told is accepted. */
  acknowledged: number;
  running: Running | undefined;
};

export class Relays {
  private readonly relays: Relay[];

  constructor(
    private readonly clients: Clients,
    private readonly publishers: PublisherSteps,
  ) {
    const { plan, chance } = clients.world;
    this.relays = Array.from({ length: plan.relays }, (_, i) => ({
      ...{ name: `r-${"ab"[i]}`, key: chance.happens(0.5) ? chance.pick(plan.keys) : undefined },
      ...{ outbox: [], cursor: 0, acknowledged: 0, running: undefined },
    }));
  }

  /** One relay takes a turn. */
  relay(): void {
    const { chance } = this.clients;
    if (this.relays.length === 0) return;
    const relay = chance.pick(this.relays);
    for (let more = chance.below(4); more > 0; more--) this.write(relay);
    this.turn(relay);
  }

  kill(): void {
    const { chance, world } = this.clients;
    const running = this.relays.filter((relay) => relay.running);
    if (running.length === 0) return;
    const relay = chance.pick(running);
    world.counts.relaysKilled += 1;
    if (relay.running) relay.running.owner.alive = false;
    relay.running = undefined;
  }

  /** All of them take a turn, to send what is left. */
  drain(): void {
    for (const relay of this.relays) this.turn(relay);
  }

  /** Whether everything in their outboxes is in the log. */
  get isDrained(): boolean {
    const numbers = this.clients.world.log?.numbers;
    return this.relays.every(({ name, outbox }) => (numbers?.get(name) ?? 0) === outbox.length);
  }

  private write({ name, key, outbox }: Relay): void {
    outbox.push(this.publishers.draftOf(`${name}-${outbox.length + 1}`, { orderingKey: key }));
  }

  private turn(relay: Relay): void {
    const running = relay.running ?? this.start(relay);
    if (running.busy) return;
    if (running.next === undefined) {
      this.askWhere(relay, running);
      return;
    }
    const isHasty = this.clients.world.platform.network.faults.on && this.clients.chance.happens(0.06);
    this.send(relay, running, running.next + (isHasty ? 1 : 0));
  }

  private start(relay: Relay): Running {
    const asks = this.clients.chance.happens(0.3);
    relay.running = { owner: new Owner(relay.name), next: asks ? undefined : relay.cursor + 1, busy: false };
    return relay.running;
  }

  /**
   * Asks the broker how far it has come: never more than it has, and never less than it was told, unless a raise is under
   * way: then it may hear what its former partition knows, and of what it sends again that it is known.
   */
  private askWhere(relay: Relay, running: Running): void {
    const { world } = this.clients;
    const row = world.topicRow();
    const partitions = row?.partitions ?? 1;
    const isRaising = () => world.isRaising || world.topicRow()?.partitions !== partitions;
    const mayBeBehind = isRaising();
    const object = world.topicObject(partitionOf(relay.key ?? relay.name, row ? layoutOf(row).each : 1));
    running.busy = true;
    this.clients.call(object.remote, "producer", [{ name: relay.name }], {
      from: running.owner,
      answered: (answer) => {
        running.busy = false;
        const place = answer as Result<ProducerPlace | null>;
        if (!place.ok) return;
        const { lastSequence } = place.value ?? { lastSequence: 0 };
        if (!mayBeBehind && !isRaising()) this.checkPlace(relay, lastSequence);
        running.next = lastSequence + 1;
      },
      failed: () => {
        running.busy = false;
      },
    });
  }

  private send(relay: Relay, running: Running, first: number): void {
    const { chance, world } = this.clients;
    const drafts = relay.outbox.slice(first - 1, first - 1 + chance.between(1, 4));
    if (drafts.length === 0) return;
    running.busy = true;
    world.counts.relayPublishes += 1;
    const producer = { name: relay.name, sequence: first };
    const failed = () => {
      running.busy = false;
    };
    const answered = (outcomes: Outcomes) => {
      running.busy = false;
      this.heard(relay, running, { first, count: drafts.length, outcomes });
    };
    this.publishers.send({ drafts, wait: true, producer, from: running.owner }, { answered, failed });
  }

  private heard(
    relay: Relay,
    running: Running,
    { first, count, outcomes }: Readonly<{ first: number; count: number; outcomes: Outcomes }>,
  ): void {
    const { counts } = this.clients.world;
    const all = [...outcomes.values()];
    const refused = all.flatMap((outcome) => (outcome.status === "refused" ? [outcome.error] : []));
    counts.knownNumbers += all.filter(({ status }) => status === "known").length;
    const gap = refused.find(({ code }) => code === "sequence-gap");
    if (gap) {
      const last = Number(gap.limit);
      counts.gapsRefused += 1;
      this.checkPlace(relay, last);
      if (last >= first - 1) throw new Error(`${relay.name}: ${first} was refused as a gap after ${last}`);
      running.next = last + 1;
    }
    if (refused.length > 0) return;
    running.next = first + count;
    relay.acknowledged = Math.max(relay.acknowledged, first + count - 1);
    // Killed before it writes this down, it sends again what it has sent.
    if (this.clients.chance.happens(0.6)) relay.cursor = relay.acknowledged;
  }

  private checkPlace({ name, acknowledged, outbox }: Relay, lastSequence: number): void {
    if (lastSequence >= acknowledged && lastSequence <= outbox.length) return;
    throw new Error(
      `${name} was told ${lastSequence}: it was told ${acknowledged} before, and has ${outbox.length}`,
    );
  }
}
