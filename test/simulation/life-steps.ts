// What operators do with topics and subscriptions: pause and resume, other settings, more partitions, deletion and
// creation anew. At the end they put everything back: what was begun is finished, what is missing is created.

import { deleteSubscription, putSubscription, setPaused } from "../../src/catalog/subscription-lifecycle";
import { deleteTopic, putTopic } from "../../src/catalog/topic-lifecycle";
import type { Result } from "../../src/errors";
import type { StartAt, SubscriptionSettings } from "../../src/settings";
import type { Owner } from "./agenda";
import type { Clients } from "./clients";
import type { Watched } from "./lives";
import { otherFilter, otherSettings, type PlannedSubscription } from "./plan";
import { TOPIC } from "./world";

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
    const { topic, name } = watched;
    this.change((owner) => setPaused(this.catalog(owner), topic.name, name, paused));
  }

  settings(): void {
    this.ask(otherSettings);
  }

  filter(): void {
    this.ask(otherFilter);
  }

  private ask(other: typeof otherSettings): void {
    const planned = this.clients.chance.pick(this.clients.world.plan.subscriptions);
    const held = this.asked.get(planned.name) ?? planned.settings;
    this.asked.set(planned.name, other(this.clients.chance, held));
    this.putSubscription(planned, { at: "earliest" });
  }

  raise(): void {
    const { plan, topicRow } = this.shown;
    const partitions = (topicRow?.partitions ?? plan.partitions) * 2;
    if (partitions > plan.mostPartitions) return;
    this.clients.world.counts.raises += 1;
    this.putTopic(partitions);
  }

  // ── deletion, and creation anew ────────────────────────────────────────────────────────────────────

  remove(): void {
    const { world, chance } = this.clients;
    if (world.plan.replacesTopic && chance.happens(0.5)) this.removeTopic();
    else this.removeSubscription();
  }

  private removeSubscription(): void {
    const { world, chance } = this.clients;
    const { name } = chance.pick(world.plan.subscriptions);
    const ended = this.generationsOf(TOPIC, name);
    if (ended.length === 0) return;
    const topic = world.topicRow();
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

  private removeTopic(): void {
    const { world } = this.clients;
    const topic = world.topicRow();
    if (!topic) return;
    const ended = [topic.generation, ...this.generationsOf(TOPIC)];
    this.change(
      (owner) => deleteTopic(this.catalog(owner), TOPIC),
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
    const topic = world.topicRow();
    if (topic?.state !== "active") this.putTopic();
    else
      for (const planned of world.plan.subscriptions) {
        const row = this.rowOf(topic.generation, planned.name);
        if (row?.state !== "active") this.putSubscription(planned, startAt);
      }
  }

  // ── at the end ─────────────────────────────────────────────────────────────────────────────────────

  /** Whether nothing is half done, and everything is there as it was last asked for. */
  get isWhole(): boolean {
    const { world } = this.clients;
    const { plan } = world;
    const topic = world.topicRow();
    if (this.underWay > 0 || topic?.state !== "active" || world.isRaising) return false;
    return plan.subscriptions.every(({ name }) => {
      const row = this.rowOf(topic.generation, name);
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
    if (this.clients.world.isRaising) this.putTopic();
    else this.create({ at: "earliest" });
  }

  private get shown() {
    const { world } = this.clients;
    return { plan: world.plan, topicRow: world.topicRow() };
  }

  private rowOf(topicGeneration: string, name: string) {
    return this.clients.world
      .subscriptionRows()
      .find((row) => row.topicGeneration === topicGeneration && row.name === name);
  }

  private putTopic(partitions?: number): void {
    const { world } = this.clients;
    const isNew = world.topicRow() === undefined;
    const first = partitions ?? (isNew ? world.plan.partitions : undefined);
    const wanted = {
      name: TOPIC,
      kind: "topic",
      partitions: first,
      settings: world.topicSettings(TOPIC),
    } as const;
    this.change(
      (owner) => putTopic(this.catalog(owner), wanted),
      (answer) => {
        if (answer.ok && (answer.value as { created: boolean }).created) world.counts.topicsRecreated += 1;
      },
    );
  }

  private putSubscription({ name, settings }: PlannedSubscription, startAt: StartAt): void {
    const { world } = this.clients;
    const topic = world.topicRow();
    if (!topic) return;
    const wanted = {
      ...{ topic: world.entryOf(topic), name, startAt },
      settings: this.asked.get(name) ?? settings,
    };
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

function sameText(one: unknown, other: unknown): boolean {
  const text = (value: unknown) =>
    JSON.stringify(Object.entries(value ?? {}).sort(([a], [b]) => (a < b ? -1 : 1)));
  return text(one) === text(other);
}
