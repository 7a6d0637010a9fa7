// What publishers, consumers, receivers, relays and operators do, step by step, at instants of chance. A new kind of step
// is one function and one weight.

import { Clients } from "./clients";
import { ConsumerSteps } from "./consumer-steps";
import { LetterSteps } from "./letter-steps";
import { LifeSteps } from "./life-steps";
import type { Feature } from "./plan";
import { PublisherSteps } from "./publisher-steps";
import { Receivers } from "./receivers";
import { Relays } from "./relays";
import type { World } from "./world";

const WEIGHTS = {
  ...{ publish: 8, republish: 2, pull: 8, ack: 8, nack: 3, extend: 2 },
  ...{ letters: 0.5, redrive: 1.5, purge: 1.5, pause: 0.4, resume: 1, stats: 0.5, resend: 0.3, seek: 0.7 },
  ...{ redrivePaced: 1.2 },
} as const;
/** Steps that only worlds with a feature have. */
const OF_FEATURES = {
  delays: { cancel: 2, reschedule: 2 },
  ttl: {},
  retention: {},
  handOver: { receiver: 5 },
  relays: { relay: 7, killRelay: 1.5 },
  raise: { raise: 0.8 },
  moves: { move: 6 },
  rebirth: { remove: 2, create: 3 },
  settings: { settings: 4 },
  filters: { filter: 3 },
  forwards: { resume: 2 },
  alternates: { filter: 5 },
  lanes: { nackFirst: 5 },
  priorities: { pullAll: 10, prioritise: 0.7 },
  paced: { publish: 14, pace: 2 },
} as const satisfies Record<Feature, Readonly<Record<string, number>>>;

export class Steps {
  readonly clients: Clients;
  readonly publishers: PublisherSteps;
  readonly consumers: ConsumerSteps;
  readonly operators: LetterSteps;
  readonly lives: LifeSteps;
  readonly relays: Relays;
  private readonly ways: Readonly<Record<string, () => void>>;
  private readonly weights: Readonly<Record<string, number>>;

  constructor(private readonly world: World) {
    this.clients = new Clients(world);
    const publishers = new PublisherSteps(this.clients);
    const consumers = new ConsumerSteps(this.clients);
    const operators = new LetterSteps(this.clients);
    const lives = new LifeSteps(this.clients);
    const relays = new Relays(this.clients, publishers);
    const receivers = new Receivers(this.clients);
    world.platform.receive = (handed) => receivers.take(handed);
    this.publishers = publishers;
    this.consumers = consumers;
    this.operators = operators;
    this.lives = lives;
    this.relays = relays;
    this.weights = {
      ...WEIGHTS,
      ...Object.assign({}, ...[...world.plan.features].map((f) => OF_FEATURES[f])),
    };
    this.ways = {
      publish: () => publishers.publish(),
      republish: () => publishers.republish(),
      cancel: () => publishers.cancel(),
      reschedule: () => publishers.reschedule(),
      resend: () => publishers.resend(),
      pull: () => consumers.pull(),
      pullAll: () => consumers.pullAll(),
      ack: () => consumers.ack(),
      nack: () => consumers.nack(),
      nackFirst: () => consumers.nackFirst(),
      extend: () => consumers.extend(),
      letters: () => operators.letters(),
      redrive: () => operators.redrive(),
      redrivePaced: () => operators.redrivePaced(),
      purge: () => operators.purge(),
      move: () => operators.move(),
      seek: () => operators.seek(),
      stats: () => operators.stats(),
      pause: () => lives.pause(),
      resume: () => lives.resume(),
      settings: () => lives.settings(),
      filter: () => lives.filter(),
      pace: () => lives.pace(),
      raise: () => lives.raise(),
      prioritise: () => lives.prioritise(),
      remove: () => lives.remove(),
      create: () => lives.create(),
      relay: () => relays.relay(),
      killRelay: () => relays.kill(),
      receiver: () => receivers.receiver(),
    };
  }

  take(): void {
    const step = this.world.chance.weighted(this.weights);
    this.world.platform.agenda.trace.add(`step ${step}`);
    this.ways[step]?.();
  }
}
