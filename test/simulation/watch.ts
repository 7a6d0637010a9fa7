// What is checked after every step: each object that had a turn is looked at, and what it did is told to its witness
// once it is on disk. Objects are found by their generation as they first come to life.

import type { DispatchCall } from "../../src/dispatch-calls";
import type { Result } from "../../src/errors";
import { limits } from "../../src/limits";
import { objectName } from "../../src/object-name";
import { priorityShown } from "../../src/priority";
import { recordSpans, unpackRecords } from "../../src/record-batch";
import { read } from "../../src/topic/log-reads";
import type { TopicLog } from "../../src/topic/topic-log";
import type { AppendCall, BatchAnswer, LogRun } from "../../src/topic-calls";
import type { Counts } from "./coverage";
import { DeliveryWitness } from "./delivery-witness";
import type { ForwardPlan } from "./forward-plan";
import { ForwardWitness } from "./forward-witness";
import { placeOfObject, subscriptionRows, type TopicLife, topicRows, type Watched } from "./lives";
import { LogWitness } from "./log-witness";
import { MatchWitness } from "./match-witness";
import type { Deed, SimulatedObject } from "./object-host";
import { differenceOf, memoryOf, type Picture, pacedUntil, pictureOf, reachOf } from "./picture";
import { MOST_ACK_DEADLINE_MS } from "./plan";
import type { Platform } from "./platform";
import type { Publications } from "./publications";

export type WatchParts = Readonly<{
  platform: Platform;
  counts: Counts;
  publications: Publications;
  /** The topic that is published to; what is in any other was published to it. */
  source: string;
  /** The topic that dead letters are moved to. */
  moveTarget: string;
  forwards: ForwardPlan;
  /** What retention has removed, every subscription was told of: false where some may not have been there yet. */
  toldFirst: boolean;
}>;

/** What a call to an object that was removed may do without being answered `gone`. */
const AFTER_REMOVAL = new Set(["remove", "detach", "alarm"]);

export class Watch {
  readonly topics = new Map<string, TopicLife>();
  readonly watched: Watched[] = [];
  /** Generations whose deletion was answered, and when. */
  private readonly goneSince = new Map<string, number>();
  /** What was appended and is not on disk yet: a removal right after it takes the log away. */
  private readonly appended = new Map<SimulatedObject, LogRun[]>();
  private readonly byObject = new Map<SimulatedObject, Watched>();
  private readonly matches: MatchWitness;
  /** Forwards that are paused because their target is gone. */
  private readonly pausedAsGone = new Set<Watched>();
  /** What was sent, and under which lease. */
  private readonly sent = new Set<string>();

  private readonly forwards: ForwardWitness;

  constructor(private readonly parts: WatchParts) {
    this.matches = new MatchWitness(parts.counts);
    this.forwards = new ForwardWitness({
      counts: parts.counts,
      at: (generation, partition) => this.at(generation, partition),
      above: ({ generation, picture }) => this.above(generation, picture?.parent),
    });
  }

  /** A deletion was answered: from now on whoever calls these is told that they are gone. */
  deleted(generations: readonly string[]): void {
    const { now } = this.parts.platform.agenda;
    for (const generation of generations)
      if (!this.goneSince.has(generation)) this.goneSince.set(generation, now);
  }

  at(generation: string, partition: number): Watched | undefined {
    return this.watched.find((each) => each.generation === generation && each.partition === partition);
  }

  // ── after every step ───────────────────────────────────────────────────────────────────────────────

  stepped(object: SimulatedObject): void {
    this.checkGone(object);
    if (object.kind === "topic") this.readAhead(object);
    else this.look(object);
  }

  private look(object: SimulatedObject): void {
    const watched = this.watchedOf(object);
    if (!watched) return void object.deeds.splice(0);
    if (watched.pictured !== object.storage.writes) this.picture(watched);
    const { picture } = watched;
    const deeds = object.deeds.splice(0);
    if (!picture) return;
    const { forward } = picture.settings;
    if (forward) this.forwards.isBound(watched, forward.generation);
    if (forward) this.checkTargetGone(watched, picture);
    watched.unconfirmed.push({ at: this.parts.platform.agenda.now, deeds, picture });
    this.checkArmed(watched, picture);
  }

  /** A forward pauses itself because its target is gone only when the life that it is bound to has ended. */
  private checkTargetGone(watched: Watched, { settings }: Picture): void {
    if (!settings.paused || settings.pausedReason !== "target-gone") {
      this.pausedAsGone.delete(watched);
      return;
    }
    if (this.pausedAsGone.has(watched)) return;
    this.pausedAsGone.add(watched);
    this.parts.counts.targetsGone += 1;
    const { topic, generation } = settings.forward ?? {};
    const { catalog } = this.parts.platform;
    const target = topicRows(catalog).find((each) => each.generation === generation);
    // Whom the catalog has paused nobody has resumed: that comes after it was bound anew.
    const entry = subscriptionRows(catalog).find((each) => each.generation === watched.generation);
    if (target?.state === "active" && entry?.settings.paused === false)
      throw new Error(`${nameOf(watched)} says that ${topic} is gone, and it is not`);
  }

  private readAhead(object: SimulatedObject): void {
    const topic = this.topicOf(object);
    const log = logOf(object);
    if (!topic || !log) return;
    const known = this.appended.get(object) ?? [];
    const from = known.reduce(
      (end, { firstOffset, records }) => Math.max(end, firstOffset + recordSpans(records).length),
      topic.log.log(placeOfObject(object).partition).length,
    );
    const { runs } = log.head > from ? read(log.stored, from, Number.POSITIVE_INFINITY) : { runs: [] };
    this.matches.stepped(
      object,
      runs.flatMap(({ records }) => unpackRecords(records)),
    );
    if (runs.length === 0) return;
    this.appended.set(object, [...known, ...runs]);
  }

  private checkGone(object: SimulatedObject): void {
    const since = this.goneSince.get(placeOfObject(object).generation);
    if (since === undefined) return;
    for (const { method, begunAt, answer } of object.deeds) {
      if (begunAt <= since || AFTER_REMOVAL.has(method)) continue;
      const result = answer as Result<unknown> | undefined;
      if (result === undefined || result.ok || result.error.code !== "gone")
        throw new Error(`${object.name} was deleted, and answered ${method} with ${JSON.stringify(answer)}`);
      this.parts.counts.goneAnswered += 1;
    }
  }

  private topicOf(object: SimulatedObject): TopicLife | undefined {
    const { generation } = placeOfObject(object);
    const known = this.topics.get(generation);
    if (known) return known;
    const { platform, publications, counts, source, forwards } = this.parts;
    const row = topicRows(platform.catalog).find((each) => each.generation === generation);
    if (!row) return undefined;
    const { retentionMs } = row.settings;
    const life = { bornAt: platform.agenda.now, retentionMs, isTarget: row.name !== source };
    const priorityOf = (partition: number) => {
      const now = topicRows(platform.catalog).find((each) => each.generation === generation);
      return now && priorityShown(now, partition).priority;
    };
    const repeats = forwards.repeating.has(row.name);
    const log = new LogWitness(publications, counts, { ...life, repeats, priorityOf });
    const topic = { name: row.name, generation, log };
    this.topics.set(generation, topic);
    return topic;
  }

  private watchedOf(object: SimulatedObject): Watched | undefined {
    const known = this.byObject.get(object);
    if (known) return known;
    const picture = pictureOf(object);
    const { generation, partition } = placeOfObject(object);
    const row =
      picture && subscriptionRows(this.parts.platform.catalog).find((r) => r.generation === generation);
    const topic = row && this.topics.get(row.topicGeneration);
    if (!topic) return undefined;
    const { name } = row;
    const endpoint = this.parts.platform.endpoint(generation);
    const ancestors = () => this.ancestorsOf(generation, picture.parent);
    const witness = new DeliveryWitness({
      ...{ partition, log: topic.log, counts: this.parts.counts, ancestors },
      isAcknowledged: (id, { type, forward }) => {
        if (forward) return this.isIn(forward.topic, id);
        return type === "pull" || endpoint.acknowledged.has(id);
      },
      isElsewhere: (id) => this.isIn(this.parts.moveTarget, id),
    });
    const base = { name, generation, topic, partition, object, witness, unconfirmed: [] };
    const watched: Watched = { ...base, picture: undefined, pictured: -1 };
    this.watched.push(watched);
    this.byObject.set(object, watched);
    return watched;
  }

  /** The witnesses of the partitions that a raise made this one of. */
  private ancestorsOf(generation: string, parent: number | undefined): readonly DeliveryWitness[] {
    return this.above(generation, parent).map(({ witness }) => witness);
  }

  private above(generation: string, parent: number | undefined): readonly Watched[] {
    const above = parent === undefined ? undefined : this.at(generation, parent);
    return above ? [above, ...this.above(generation, above.picture?.parent)] : [];
  }

  private isIn(topic: string, id: string): boolean {
    return [...this.topics.values()].some(({ name, log }) => name === topic && log.placeOf(id));
  }

  /** Storage must tell all that memory knows: a crash may come now. */
  private picture(watched: Watched): void {
    const stored = pictureOf(watched.object);
    const memory = memoryOf(watched.object);
    watched.pictured = watched.object.storage.writes;
    watched.picture = stored;
    const difference = memory && stored && differenceOf(memory.backlog, stored.backlog);
    if (difference) throw new Error(`${nameOf(watched)}: ${difference}`);
    if (memory && stored && JSON.stringify(memory.row.settings) !== JSON.stringify(stored.settings))
      throw new Error(`${nameOf(watched)}: it goes by other settings than it has written down`);
  }

  /** Whatever falls due has an alarm that is set for it, unless the platform gave the alarm up. */
  private checkArmed(watched: Watched, picture: Picture): void {
    const { object } = watched;
    const { agenda, workers } = this.parts.platform;
    if (object.alarmLost) return;
    const isPush = picture.settings.type !== "pull" && !picture.paused;
    // While it asks the log or has a dispatch under way, it will go on by itself.
    const isIdle = object.live?.asking === 0 && workers.count("dispatcher") === 0;
    const dues = [...picture.deadlines];
    const heldUntil = Math.max(picture.heldUntil, pacedUntil(object, picture), this.forgottenUntil(picture));
    // What waits for another partition since a raise is looked at again when that may have changed.
    const isGated = memoryOf(object)?.backlog.gate.isOpen === false;
    if (isPush && isIdle && !isGated && picture.waitingFrom !== undefined)
      dues.push(Math.max(picture.waitingFrom, heldUntil));
    // Nor is anything unread that nobody would look for after a crash: what a dispatch has ends with that, and whoever
    // is not answered yet tells it again.
    const isTold = (object.live?.replies.size ?? 0) > 0;
    if (isPush && !isGated && !isTold && isUnread(watched, picture) && picture.deadlines.length === 0)
      dues.push(heldUntil);
    const due = Math.max(Math.min(...dues), agenda.now);
    if (due === Number.POSITIVE_INFINITY) return;
    const { alarmAt } = object.storage;
    if (alarmAt !== undefined && alarmAt <= due + limits.lookAgainMs) return;
    throw new Error(`${nameOf(watched)}: due at ${due}, and the alarm is set for ${alarmAt}`);
  }

  /** With nothing leased, a dispatch that a restart forgot may have been waited for: until an ack deadline after that. */
  private forgottenUntil({ deadlines }: Picture): number {
    return deadlines.length === 0 ? this.parts.platform.agenda.now + MOST_ACK_DEADLINE_MS : 0;
  }

  // ── once it is on disk ─────────────────────────────────────────────────────────────────────────────

  confirmed(object: SimulatedObject): void {
    if (object.kind === "topic") {
      const topic = this.topicOf(object);
      const deeds = object.deeds.splice(0);
      if (topic) this.readLog(object, topic, deeds);
    }
    const watched = this.byObject.get(object);
    for (const seen of watched?.unconfirmed.splice(0) ?? []) {
      try {
        watched?.witness.observe(seen);
      } catch (fault) {
        throw new Error(`${watched && nameOf(watched)}: ${fault instanceof Error ? fault.message : fault}`);
      }
    }
  }

  private readLog(object: SimulatedObject, topic: TopicLife, deeds: readonly Deed[]): void {
    const { partition } = placeOfObject(object);
    topic.log.done(deeds);
    const log = logOf(object);
    topic.log.logged(partition, this.appended.get(object) ?? []);
    this.noteForwarded(topic, deeds);
    this.appended.delete(object);
    if (!log || object.alarmLost) return;
    this.checkToldOrArmed(object, topic, partition);
    this.checkReleaseArmed(object, topic, partition);
    if (this.parts.toldFirst) this.checkToldOfRemoval(topic, partition, log);
  }

  private noteForwarded(topic: TopicLife, deeds: readonly Deed[]): void {
    for (const { method, args, answer } of deeds) {
      const result = answer as Result<readonly BatchAnswer[]> | undefined;
      if (method !== "append" || !result) continue;
      if (!result.ok && result.error.code === "topic-full") this.parts.counts.targetsFull += 1;
      if (result.ok)
        this.forwards.appended(topic, args[0] as AppendCall, result.value, this.parts.platform.agenda.now);
    }
  }

  /** A push subscription that has not heard of the newest messages will be told: the topic's alarm is armed. */
  private checkToldOrArmed({ storage }: SimulatedObject, topic: TopicLife, partition: number): void {
    if (storage.alarmAt !== undefined) return;
    const head = topic.log.log(partition).length;
    for (const watched of this.watched) {
      const { object, picture } = watched;
      if (watched.topic !== topic || watched.partition !== partition) continue;
      if (!picture || picture.settings.type === "pull" || picture.paused) continue;
      const reach = pastFiltered(watched, reachOf(object, picture.backlog), head);
      if (reach < head) throw new Error(`${nameOf(watched)} knows ${reach} of ${head}, and no alarm is set`);
    }
  }

  private checkReleaseArmed(object: SimulatedObject, { log }: TopicLife, partition: number): void {
    const { storage, name } = object;
    // With a raise its delayed messages are on their way to where their keys went: none is released before.
    if (isDeparting(object)) return;
    const due = log.delays.nextDueAt(partition);
    if (due === undefined) return;
    const by = Math.max(due, this.parts.platform.agenda.now) + limits.notifyAgainMs;
    if (storage.alarmAt === undefined || storage.alarmAt > by)
      throw new Error(
        `${name}: a delayed message is due at ${due}, and the alarm is set for ${storage.alarmAt}`,
      );
  }

  /** What is removed, nobody has yet to read: whoever had was told, and has counted it. */
  private checkToldOfRemoval(
    topic: TopicLife,
    partition: number,
    { stored: { storedFrom } }: TopicLog,
  ): void {
    for (const watched of this.watched) {
      if (watched.topic !== topic || watched.partition !== partition || !watched.picture) continue;
      const { epoch, nextOffset } = watched.picture.counters;
      if (epoch === 0 && nextOffset < storedFrom)
        throw new Error(`${nameOf(watched)} is at ${nextOffset}, and the log was removed to ${storedFrom}`);
    }
  }

  undone(object: SimulatedObject): void {
    object.deeds.splice(0);
    this.appended.delete(object);
    const watched = this.byObject.get(object);
    watched?.unconfirmed.splice(0);
    if (!watched) return;
    // What operators go by at the end: a resume that was lost is not seen otherwise.
    watched.picture = pictureOf(object);
    watched.pictured = -1;
  }

  // ── before something is sent ───────────────────────────────────────────────────────────────────────

  /** Nothing is sent that has expired, or twice under one lease; under effectively-once, nothing that is not claimed. */
  checkMaySend(call: DispatchCall, namespace: string, ids: readonly string[]): void {
    const { agenda, ledger } = this.parts.platform;
    const watched = this.at(call.generation, call.partition);
    const isClaimed = call.settings.guarantee === "effectively-once" && call.lease.settled !== true;
    for (const id of ids) {
      const sent = `${call.lease.leaseId} ${id}`;
      if (this.sent.has(sent)) throw new Error(`${id} was sent twice under one lease`);
      this.sent.add(sent);
      const offset = watched?.topic.log.placeOf(id)?.offset;
      if (watched && offset !== undefined && watched.topic.log.hasExpired(call.partition, offset, agenda.now))
        throw new Error(`${id} was sent, and has expired`);
      if (!isClaimed) continue;
      const [row] = ledger.peek<{ state: string; lease_until: number }>(
        "SELECT state, lease_until FROM processed_messages WHERE namespace = ?1 AND message_id = ?2",
        ...[namespace, `${offset}:${id}`],
      );
      if (row?.state !== "claimed") throw new Error(`${id} was sent while its claim is ${row?.state}`);
      if (row.lease_until <= agenda.now) throw new Error(`${id} was sent after its claim ended`);
    }
  }
}

export function nameOf({ name, topic, partition }: Watched): string {
  return `${topic.name}/${name}/${partition}`;
}

export function topicObjectName({ generation }: TopicLife, partition: number): string {
  return objectName(generation, partition);
}

function isUnread(watched: Watched, { backlog, counters }: Picture): boolean {
  // Behind a lane that is held nothing falls due.
  return (
    backlog.lanes.size === 0 &&
    pastFiltered(watched, counters.nextOffset, backlog.knownHead) < backlog.knownHead
  );
}

/** The first offset from `offset` on, below `head`, that the filter does not leave out. What it does, nobody owes a look. */
export function pastFiltered({ witness }: Watched, offset: number, head: number): number {
  let next = offset;
  while (next < head && witness.leavesOut(next)) next += 1;
  return next;
}

function isDeparting(object: SimulatedObject): boolean {
  const topic = object.live?.instance as unknown as
    | { memory?: { loaded?: { lineage: { departing: number | undefined } } } }
    | undefined;
  return topic?.memory?.loaded?.lineage.departing !== undefined;
}

function logOf(object: SimulatedObject): TopicLog | undefined {
  const topic = object.live?.instance as unknown as { memory?: { loaded?: { log: TopicLog } } } | undefined;
  return topic?.memory?.loaded?.log;
}
