// One world: a seed, a platform, and the witnesses that watch it. After every step each object that had a turn is
// looked at; what it did is told to its witness once it is on disk. The first broken promise ends the world.

import type { SubscriptionEntry, TopicEntry } from "../../src/catalog/catalog-entry";
import { putSubscription, putTopic } from "../../src/catalog/lifecycle";
import type { Result } from "../../src/errors";
import { limits } from "../../src/limits";
import { objectName } from "../../src/object-name";
import { defaultTopicSettings } from "../../src/settings";
import { read } from "../../src/topic/log-reads";
import type { TopicLog } from "../../src/topic/topic-log";
import type { AppendCall, BatchAnswer } from "../../src/topic-calls";
import { Owner } from "./agenda";
import { Chance } from "./chance";
import { type Counts, noCounts } from "./coverage";
import { DeliveryWitness, type Observation } from "./delivery-witness";
import type { Request } from "./endpoints";
import { LogWitness } from "./log-witness";
import type { SimulatedObject } from "./object-host";
import { differenceOf, memoryOf, type Picture, pictureOf, reachOf } from "./picture";
import { type Plan, planOf } from "./plan";
import { Platform } from "./platform";

export const TOPIC = "t";

/** One partition of one subscription, with all that watches it. */
export type Watched = {
  readonly entry: SubscriptionEntry;
  readonly partition: number;
  readonly object: SimulatedObject;
  readonly witness: DeliveryWitness;
  readonly unconfirmed: Observation[];
  picture: Picture | undefined;
  /** Writes of its storage when the picture was made. */
  pictured: number;
};

export class World {
  readonly chance: Chance;
  readonly plan: Plan;
  readonly counts: Counts = noCounts();
  readonly log = new LogWitness();
  readonly platform: Platform;
  /** Publishers, consumers and operators: they do not crash, they only hear of faults. */
  readonly clients = new Owner("clients");
  readonly watched: Watched[] = [];
  topic: TopicEntry | undefined;
  /** The first broken promise. */
  violation: Error | undefined;

  constructor(
    readonly seed: number,
    migrationsDir: string,
  ) {
    this.chance = new Chance(seed);
    this.plan = planOf(this.chance);
    const { chance, counts } = this;
    this.platform = new Platform({
      ...{ chance, counts, migrationsDir, crashiness: this.plan.crashiness },
      stepped: (object) => this.guard(() => this.stepped(object)),
      confirmed: (object) => this.guard(() => this.confirmed(object)),
      undone: (object) => this.undone(object),
      sends: (request) => this.guard(() => this.checkMaySend(request)),
    });
  }

  /** Creates the topic and its subscriptions, with no faults yet. */
  async start(): Promise<void> {
    const catalog = this.platform.catalogFor(this.clients);
    const { partitions, subscriptions } = this.plan;
    const settings = defaultTopicSettings;
    const wanted = { name: TOPIC, kind: "topic", partitions, settings } as const;
    const topic = (await this.finish(putTopic(catalog, wanted))).entry;
    this.topic = topic;
    for (const { name, settings } of subscriptions) {
      const wanted = { topic, name, settings, startAt: { at: "earliest" } } as const;
      this.watch((await this.finish(putSubscription(catalog, wanted))).entry);
    }
  }

  private watch(entry: SubscriptionEntry): void {
    const endpoint = entry.settings.push ? this.platform.endpoint(entry.name) : undefined;
    for (let partition = 0; partition < entry.partitions; partition++) {
      const object = this.platform.object("subscription", objectName(entry.generation, partition));
      const isAcknowledged = (id: string) => endpoint?.acknowledged.has(id) ?? true;
      const witness = new DeliveryWitness(partition, this.log, this.counts, isAcknowledged);
      this.watched.push({
        ...{ entry, partition, object, witness, unconfirmed: [] },
        picture: undefined,
        pictured: -1,
      });
    }
  }

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

  topicObject(partition: number): SimulatedObject {
    return this.platform.object("topic", objectName(this.topic?.generation ?? "", partition));
  }

  // ── what is checked after every step ───────────────────────────────────────────────────────────────

  private stepped(object: SimulatedObject): void {
    if (object.kind !== "subscription") return;
    const watched = this.watched.find((each) => each.object === object);
    if (!watched) return;
    if (watched.pictured !== object.storage.writes) this.picture(watched);
    const { picture } = watched;
    const deeds = object.deeds.splice(0);
    if (!picture) return;
    watched.unconfirmed.push({ at: this.platform.agenda.now, deeds, picture });
    this.checkArmed(watched, picture);
  }

  /** Storage must tell all that memory knows: a crash may come now. */
  private picture(watched: Watched): void {
    const stored = pictureOf(watched.object);
    const memory = memoryOf(watched.object);
    watched.pictured = watched.object.storage.writes;
    watched.picture = stored;
    const difference = memory && stored && differenceOf(memory, stored.backlog);
    if (difference) throw new Error(`${this.nameOf(watched)}: ${difference}`);
  }

  /** Whatever falls due has an alarm that is set for it, unless the platform gave the alarm up. */
  private checkArmed({ object, entry, partition }: Watched, picture: Picture): void {
    if (object.alarmLost) return;
    const isPush = picture.settings.type === "push" && !picture.paused;
    // While it asks the log or has a dispatch under way, it will go on by itself.
    const isIdle = object.live?.asking === 0 && this.platform.workers.count("dispatcher") === 0;
    const dues = [...picture.deadlines];
    if (isPush && isIdle && picture.waitingFrom !== undefined) dues.push(picture.waitingFrom);
    const due = Math.max(Math.min(...dues), this.platform.agenda.now);
    if (due === Number.POSITIVE_INFINITY) return;
    const { alarmAt } = object.storage;
    if (alarmAt !== undefined && alarmAt <= due + limits.lookAgainMs) return;
    throw new Error(`${entry.name}/${partition}: due at ${due}, and the alarm is set for ${alarmAt}`);
  }

  private confirmed(object: SimulatedObject): void {
    if (object.kind === "topic") {
      this.readLog(object);
      this.checkToldOrArmed(object);
    }
    const watched = this.watched.find((each) => each.object === object);
    for (const seen of watched?.unconfirmed.splice(0) ?? []) {
      try {
        watched?.witness.observe(seen);
      } catch (fault) {
        throw new Error(
          `${watched && this.nameOf(watched)}: ${fault instanceof Error ? fault.message : fault}`,
        );
      }
    }
  }

  private readLog(object: SimulatedObject): void {
    const partition = Number(object.id.split(":")[1]);
    const topic = object.live?.instance as unknown as { memory: { loaded?: { log: TopicLog } } } | undefined;
    const loaded = topic?.memory.loaded;
    const seen = this.log.log(partition).length;
    if (loaded && loaded.log.head > seen) {
      this.log.logged(partition, read(loaded.log.stored, seen, Number.POSITIVE_INFINITY).runs);
    }
    for (const { method, args, answer } of object.deeds.splice(0)) {
      const appended = answer as Result<readonly BatchAnswer[]>;
      if (method === "append" && appended.ok) this.log.appended(args[0] as AppendCall, appended.value);
    }
  }

  /** A push subscription that has not heard of the newest messages will be told: the topic's alarm is armed. */
  private checkToldOrArmed({ id, storage, alarmLost }: SimulatedObject): void {
    if (storage.alarmAt !== undefined || alarmLost) return;
    const partition = Number(id.split(":")[1]);
    const head = this.log.log(partition).length;
    for (const watched of this.watched) {
      const { object, picture } = watched;
      if (watched.partition !== partition || picture?.settings.type !== "push" || picture.paused) continue;
      const reach = reachOf(object, picture.backlog);
      if (reach < head)
        throw new Error(`${this.nameOf(watched)} knows ${reach} of ${head}, and no alarm is set`);
    }
  }

  private undone(object: SimulatedObject): void {
    object.deeds.splice(0);
    const watched = this.watched.find((each) => each.object === object);
    watched?.unconfirmed.splice(0);
    if (watched) watched.pictured = -1;
  }

  /** Under effectively-once nothing is sent that the ledger has as completed. */
  private checkMaySend({ subscription, namespace, ids }: Request): void {
    const entry = this.watched.find((each) => each.entry.name === subscription)?.entry;
    if (entry?.settings.guarantee !== "effectively-once") return;
    for (const id of ids) {
      const place = this.log.placeOf(id);
      const [row] = this.platform.ledger.peek<{ state: string; lease_until: number }>(
        "SELECT state, lease_until FROM processed_messages WHERE namespace = ?1 AND message_id = ?2",
        namespace,
        `${place?.offset}:${id}`,
      );
      if (row?.state !== "claimed") throw new Error(`${id} was sent while its claim is ${row?.state}`);
      if (row.lease_until <= this.platform.agenda.now)
        throw new Error(`${id} was sent after its claim ended`);
    }
  }

  nameOf({ entry, partition }: Watched): string {
    return `${entry.name}/${partition}`;
  }
}
