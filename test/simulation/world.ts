// One world: a seed, a platform, and the witnesses that watch it. The first broken promise ends the world.

import type { TopicEntry } from "../../src/catalog/catalog-entry";
import { putSubscription } from "../../src/catalog/subscription-lifecycle";
import { putTopic } from "../../src/catalog/topic-lifecycle";
import type { Result } from "../../src/errors";
import { objectName } from "../../src/object-name";
import { defaultTopicSettings, type SubscriptionSettings, type TopicSettings } from "../../src/settings";
import { Owner } from "./agenda";
import { Chance } from "./chance";
import { type Counts, noCounts } from "./coverage";
import { type SubscriptionRow, subscriptionRows, type TopicRow, topicRows, type Watched } from "./lives";
import type { LogWitness } from "./log-witness";
import type { SimulatedObject } from "./object-host";
import { PaceWitness } from "./pace-witness";
import { type Feature, type Plan, type PlannedSubscription, planOf, pull, TOPIC } from "./plan";
import { Platform } from "./platform";
import { Publications } from "./publications";
import { Watch } from "./watch";

/** Where dead letters are moved to. */
export const TARGET = "dead";
export const TARGET_READER = "reader";

export class World {
  readonly chance: Chance;
  readonly plan: Plan;
  readonly counts: Counts = noCounts();
  readonly publications = new Publications();
  readonly platform: Platform;
  readonly watch: Watch;
  /** Publishers, consumers and operators: they do not crash, they only hear of faults. */
  readonly clients = new Owner("clients");
  /** The priorities that the topic was asked to have, so far. */
  priorities: readonly number[] | undefined;
  /** The first broken promise. */
  violation: Error | undefined;

  constructor(
    readonly seed: number,
    migrationsDir: string,
    features?: readonly Feature[],
  ) {
    this.chance = new Chance(seed);
    this.plan = planOf(this.chance, seed, features);
    this.priorities = this.plan.priorities;
    const { chance, counts, publications } = this;
    const paces = new PaceWitness(counts);
    this.platform = new Platform({
      ...{ chance, counts, migrationsDir, crashiness: this.plan.crashiness },
      takesOn: this.plan.features.has("handOver") ? 0.5 : 0,
      stepped: (object) => this.guard(() => this.watch.stepped(object)),
      confirmed: (object) => this.guard(() => this.watch.confirmed(object)),
      undone: (object) => this.watch.undone(object),
      sends: (request) =>
        this.guard(() => {
          const { call, namespace, ids } = request;
          this.watch.checkMaySend(call, namespace, ids);
          paces.begins(request, this.platform.agenda.now);
        }),
      ended: (request) => paces.ended(request),
      soonMs: this.plan.features.has("paced") ? 1_000 : 30,
      paces,
    });
    const toldFirst = !this.plan.features.has("rebirth") && !this.plan.features.has("raise");
    const { forwards } = this.plan;
    this.watch = new Watch({
      ...{ platform: this.platform, counts, publications, toldFirst, forwards },
      ...{ moveTarget: TARGET, source: TOPIC },
    });
  }

  /** Creates the topic and its subscriptions, with no faults yet. */
  async start(): Promise<void> {
    const catalog = this.platform.catalogFor(this.clients);
    const { partitions, subscriptions, features } = this.plan;
    this.platform.agenda.trace.add(`features: ${[...features].join(", ")}`);
    const create = async (name: string, partitions: number, readers: typeof subscriptions) => {
      const wanted = { name, kind: "topic", partitions, settings: this.topicSettings(name) } as const;
      const topic = (await this.finish(putTopic(catalog, wanted))).entry;
      for (const { name, settings } of readers) {
        const wanted = { topic, name, settings, startAt: { at: "earliest" } } as const;
        await this.finish(putSubscription(catalog, wanted));
      }
    };
    await create(TOPIC, partitions, subscriptions);
    if (features.has("moves")) await create(TARGET, 1, [pull(this.chance, "at-least-once", TARGET_READER)]);
    const { forwards } = this.plan;
    for (const target of forwards.targets) await create(target.name, target.partitions, []);
    for (const planned of [...forwards.subscriptions, ...this.alternates]) {
      const topic = this.topicRow(planned.topic);
      const settings = this.settingsOf(planned);
      if (!topic || !settings) throw new Error(`${planned.topic} is not there`);
      const wanted = { topic: this.entryOf(topic), name: planned.name, settings } as const;
      await this.finish(putSubscription(catalog, { ...wanted, startAt: { at: "earliest" } }));
    }
  }

  get alternates(): readonly PlannedSubscription[] {
    const { alternate } = this.plan;
    return alternate ? [alternate] : [];
  }

  /** Its settings, a forward bound to the life that its target has now; undefined when that has none. */
  settingsOf({ settings, to }: PlannedSubscription): SubscriptionSettings | undefined {
    if (to === undefined) return settings;
    const row = this.topicRow(to);
    if (row?.state !== "active") return undefined;
    return { ...settings, forward: { topic: to, generation: row.generation } };
  }

  topicSettings(name: string): TopicSettings {
    if (name === TOPIC) {
      const { priorities } = this;
      const { retentionMs } = this.plan;
      return { ...defaultTopicSettings, retentionMs, ...(priorities && { priorities }) };
    }
    const { retentionBytes = defaultTopicSettings.retentionBytes } =
      this.plan.forwards.targets.find((target) => target.name === name) ?? {};
    return { ...defaultTopicSettings, retentionBytes };
  }

  // ── what there is ──────────────────────────────────────────────────────────────────────────────────

  /** The topic of this name as D1 has it, in whatever state. */
  topicRow(name = TOPIC): TopicRow | undefined {
    return topicRows(this.platform.catalog).find((row) => row.name === name);
  }

  /** Topics of which more partitions are being made, and are not shown yet. */
  get raising(): readonly string[] {
    return this.platform.catalog
      .peek<{ name: string }>("SELECT name FROM topics WHERE raising_to IS NOT NULL")
      .map(({ name }) => name);
  }

  get isRaising(): boolean {
    return this.raising.length > 0;
  }

  /** With how many partitions the topic begins. */
  plannedPartitions(name: string): number {
    const { partitions, forwards } = this.plan;
    return forwards.targets.find((target) => target.name === name)?.partitions ?? partitions;
  }

  subscriptionRows(): readonly SubscriptionRow[] {
    return subscriptionRows(this.platform.catalog);
  }

  /** An entry as an isolate knows it, which may be from before. */
  entryOf(row: TopicRow): TopicEntry {
    return { ...row, kind: "topic", createdAt: 0, updatedAt: 0 } as TopicEntry;
  }

  /** Partitions of subscriptions that were not removed. */
  get living(): readonly Watched[] {
    return this.watch.watched.filter(({ picture }) => picture !== undefined);
  }

  /** The log of the topic's present life. */
  get log(): LogWitness | undefined {
    return this.watch.topics.get(this.topicRow()?.generation ?? "")?.log;
  }

  topicObject(partition: number, generation = this.topicRow()?.generation): SimulatedObject {
    return this.platform.object("topic", objectName(generation ?? "", partition));
  }

  // ── time ───────────────────────────────────────────────────────────────────────────────────────────

  /** Lets one thing happen. False when nothing is left to happen by `until`. */
  async step(until?: number): Promise<boolean> {
    const stepped = await this.platform.agenda.step(until);
    for (const object of this.platform.objects.values()) object.settleStep();
    if (this.violation) throw this.violation;
    return stepped;
  }

  async run(ms: number): Promise<void> {
    const until = this.platform.agenda.now + ms;
    while (await this.step(until));
  }

  /** Runs until `work` is done, and answers what it came to. */
  async finish<T>(work: Promise<Result<T>>): Promise<T> {
    let result: Result<T> | undefined;
    let fault: unknown;
    work.then(
      (value) => {
        result = value;
      },
      (why: unknown) => {
        fault = why;
      },
    );
    while (result === undefined && fault === undefined && (await this.step()));
    if (!result) throw fault ?? new Error("it never came to an end");
    if (!result.ok) throw new Error(`${result.error.code}: ${result.error.detail}`);
    return result.value;
  }

  /** Runs a witness's check: what it throws is a broken promise. */
  guard(check: () => void): void {
    try {
      check();
    } catch (fault) {
      this.violation ??= fault instanceof Error ? fault : new Error(String(fault));
    }
  }
}
