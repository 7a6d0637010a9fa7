// What operators do with topics and subscriptions: pause and resume, other settings, more partitions, deletion and
// creation anew. At the end they put everything back: what was begun is finished, what is missing is created.

import { deleteSubscription, putSubscription, setPaused } from "../../src/catalog/subscription-lifecycle";
import { deleteTopic, putTopic } from "../../src/catalog/topic-lifecycle";
import type { Result } from "../../src/errors";
import { bindAnew } from "../../src/http/forward-target-store";
import { subscriptionPlace } from "../../src/http/place-routes";
import { rootPrincipal } from "../../src/http/scope";
import type { StartAt, SubscriptionSettings } from "../../src/settings";
import type { Owner } from "./agenda";
import type { Clients } from "./clients";
import type { Watched } from "./lives";
import {
  MOST_PRIORITIES,
  otherFilter,
  otherPace,
  otherSettings,
  type PlannedSubscription,
  TOPIC,
} from "./plan";

export class LifeSteps {
  /** Settings as they were last asked for, by subscription. */
  private readonly asked = new Map<string, SubscriptionSettings>();
  /** Changes that are not answered yet. */
  private underWay = 0;

  constructor(private readonly clients: Clients) {}

  pause(): void {
    this.setPaused(true);
  }

  resume(): void {
    this.setPaused(false);
  }

  setPaused(paused: boolean, watched: Watched | undefined = this.clients.some()): void {
    if (!watched) return;
    const { topic, name, picture } = watched;
    const pause = (owner: Owner) => setPaused(this.catalog(owner), topic.name, name, paused);
    if (paused || !picture?.settings.forward) this.change(pause);
    else this.change((owner) => this.bindAnew(owner, watched, pause));
  }

  /** As a forward is resumed: bound to the life that its target has by now. */
  private async bindAnew(
    owner: Owner,
    { topic, name }: Watched,
    resume: (owner: Owner) => Promise<Result<unknown>>,
  ): Promise<Result<unknown>> {
    const { platform, counts } = this.clients.world;
    const broker = platform.brokerFor(owner);
    const found = await subscriptionPlace.find(broker, { topic: topic.name, subscription: name });
    if (!found.ok) return found;
    const bound = await bindAnew(broker, rootPrincipal, found.value);
    if (!bound.ok) return bound;
    if (bound.value.version > found.value.subscription.version) counts.boundAnew += 1;
    return resume(owner);
  }

  settings(): void {
    this.ask(otherSettings);
  }

  filter(): void {
    this.ask(otherFilter);
  }

  pace(): void {
    this.ask(otherPace);
  }

  private ask(other: typeof otherSettings): void {
    const planned = this.clients.chance.pick(this.changeable);
    const held = this.asked.get(nameOf(planned)) ?? planned.settings;
    this.asked.set(nameOf(planned), other(this.clients.chance, held));
    this.putSubscription(planned, { at: "earliest" });
  }

  raise(): void {
    const { world } = this.clients;
    const { plan } = world;
    const name = this.someTopic();
    const partitions = (world.topicRow(name)?.partitions ?? plan.partitions) * 2;
    if (partitions > plan.mostPartitions) return;
    world.counts.raises += 1;
    this.putTopic(name, partitions);
  }

  /** Gives the topic all the priorities that it may have. */
  prioritise(): void {
    const { world } = this.clients;
    if (world.priorities?.length === MOST_PRIORITIES.length) return;
    world.counts.prioritiesAdded += 1;
    world.priorities = MOST_PRIORITIES;
    this.putTopic(TOPIC);
  }

  /** Every topic of the world that is not there for one purpose only, and every subscription. */
  private get topics(): readonly string[] {
    return [TOPIC, ...this.clients.world.plan.forwards.targets.map(({ name }) => name)];
  }

  private get planned(): readonly PlannedSubscription[] {
    return [...this.changeable, ...this.clients.world.alternates];
  }

  /** An alternate keeps its settings. */
  private get changeable(): readonly PlannedSubscription[] {
    const { subscriptions, forwards } = this.clients.world.plan;
    return [...subscriptions, ...forwards.subscriptions];
  }

  private someTopic(): string {
    const { topics } = this;
    return topics.length === 1 ? TOPIC : this.clients.chance.pick(topics);
  }

  // ── deletion, and creation anew ────────────────────────────────────────────────────────────────────

  remove(): void {
    const { world, chance } = this.clients;
    const { targets } = world.plan.forwards;
    if (targets.length > 0 && chance.happens(0.4)) this.removeTopic(chance.pick(targets).name);
    else if (world.plan.replacesTopic && chance.happens(0.5)) this.removeTopic(TOPIC);
    else this.removeSubscription();
  }

  private removeSubscription(): void {
    const { world, chance } = this.clients;
    const planned = chance.pick(this.planned);
    const { name } = planned;
    const ended = this.generationsOf(topicOf(planned), name);
    if (ended.length === 0) return;
    const topic = world.topicRow(topicOf(planned));
    if (!topic) return;
    this.change(
      (owner) => deleteSubscription(this.catalog(owner), world.entryOf(topic), name),
      (answer) => {
        if (!answer.ok) return;
        world.counts.subscriptionsDeleted += 1;
        world.watch.deleted(ended);
      },
    );
  }

  private removeTopic(name: string): void {
    const { world } = this.clients;
    const topic = world.topicRow(name);
    if (!topic) return;
    const ended = [topic.generation, ...this.generationsOf(name)];
    this.change(
      (owner) => deleteTopic(this.catalog(owner), name),
      (answer) => {
        if (!answer.ok) return;
        world.counts.topicsDeleted += 1;
        world.watch.deleted(ended);
      },
    );
  }

  private generationsOf(topic: string, name?: string): readonly string[] {
    const { generation } = this.clients.world.topicRow(topic) ?? {};
    return this.clients.world
      .subscriptionRows()
      .filter((row) => row.topicGeneration === generation && (name ?? row.name) === row.name)
      .map((row) => row.generation);
  }

  /** Creates what is not there. */
  create(startAt: StartAt = this.clients.chance.pick([{ at: "earliest" }, { at: "latest" }])): void {
    const { world } = this.clients;
    for (const name of this.topics) {
      const topic = world.topicRow(name);
      if (topic?.state !== "active") this.putTopic(name);
      else
        for (const planned of this.planned.filter((each) => topicOf(each) === name)) {
          const row = this.rowOf(topic.generation, planned.name);
          if (row?.state !== "active") this.putSubscription(planned, startAt);
        }
    }
  }

  // ── at the end ─────────────────────────────────────────────────────────────────────────────────────

  /** Whether nothing is half done, and everything is there as it was last asked for. */
  get isWhole(): boolean {
    const { world } = this.clients;
    const { plan } = world;
    if (this.underWay > 0 || world.isRaising) return false;
    if (this.topics.some((name) => world.topicRow(name)?.state !== "active")) return false;
    return this.planned.every((planned) => {
      const topic = world.topicRow(topicOf(planned));
      if (!topic) return false;
      const row = this.rowOf(topic.generation, planned.name);
      if (row?.state !== "active") return false;
      const mine = world.living.filter(({ generation }) => generation === row.generation);
      // What an object missed of a change is the sweep's to repair.
      const isSame = ({ picture }: Watched) => !plan.isSwept || sameText(picture?.settings, row.settings);
      return mine.length === topic.partitions && row.partitions === topic.partitions && mine.every(isSame);
    });
  }

  /** Repeats what is not done. */
  restore(): void {
    if (this.underWay > 0) return;
    const { raising } = this.clients.world;
    if (raising.length === 0) this.create({ at: "earliest" });
    for (const name of raising) this.putTopic(name);
  }

  private rowOf(topicGeneration: string, name: string) {
    return this.clients.world
      .subscriptionRows()
      .find((row) => row.topicGeneration === topicGeneration && row.name === name);
  }

  private putTopic(name: string, partitions?: number): void {
    const { world } = this.clients;
    const isNew = world.topicRow(name) === undefined;
    const first = partitions ?? (isNew ? world.plannedPartitions(name) : undefined);
    const wanted = { name, kind: "topic", partitions: first, settings: world.topicSettings(name) } as const;
    this.change(
      (owner) => putTopic(this.catalog(owner), wanted),
      (answer) => {
        if (answer.ok && (answer.value as { created: boolean }).created) world.counts.topicsRecreated += 1;
      },
    );
  }

  private putSubscription(planned: PlannedSubscription, startAt: StartAt): void {
    const { world } = this.clients;
    const topic = world.topicRow(topicOf(planned));
    const held = this.asked.get(nameOf(planned)) ?? planned.settings;
    const settings = world.settingsOf({ ...planned, settings: held });
    if (!topic || !settings) return;
    const wanted = { topic: world.entryOf(topic), name: planned.name, startAt, settings };
    this.change(
      (owner) => putSubscription(this.catalog(owner), wanted),
      (answer) => {
        if (answer.ok && (answer.value as { created: boolean }).created)
          world.counts.subscriptionsRecreated += 1;
      },
    );
  }

  private change(
    work: (owner: Owner) => Promise<Result<unknown>>,
    heard: (answer: Result<unknown>) => void = () => undefined,
  ): void {
    this.underWay += 1;
    this.clients.ask("operator", work, {
      answered: (answer) => {
        this.underWay -= 1;
        heard(answer as Result<unknown>);
      },
      failed: () => {
        this.underWay -= 1;
      },
    });
  }

  private catalog(owner: Owner) {
    return this.clients.world.platform.catalogFor(owner);
  }
}

function topicOf({ topic = TOPIC }: PlannedSubscription): string {
  return topic;
}

/** Among all of a world. */
function nameOf(planned: PlannedSubscription): string {
  return `${topicOf(planned)}/${planned.name}`;
}

function sameText(one: unknown, other: unknown): boolean {
  const text = (value: unknown) =>
    JSON.stringify(Object.entries(value ?? {}).sort(([a], [b]) => (a < b ? -1 : 1)));
  return text(one) === text(other);
}
