// One partition of one generation of a topic: a Durable Object that writes messages down, answers who asks
// for them, and tells its subscriptions that there are more.

import { DurableObject } from "cloudflare:workers";
import type { Env } from "../env";
import { ok, type Refused, type Result, refuse } from "../errors";
import { limits } from "../limits";
import { objectName } from "../object-name";
import type { Cut } from "../raise";
import type { RecordBatch } from "../record-batch";
import { type Runtime, systemRuntime } from "../runtime";
import type { StartAt, TopicSettings } from "../settings";
import type {
  AppendCall,
  AttachAnswer,
  BatchAnswer,
  DelayedPage,
  DelayedPlace,
  FindCall,
  Finding,
  KeyedOffsets,
  KnownId,
  LaneAnswer,
  LaneRead,
  LogPlace,
  LogRun,
  OffsetsAnswer,
  OffsetsRead,
  ProducerPlace,
  ReadAnswer,
  Rejection,
  TopicCalls,
  TopicProvision,
  TopicStats,
} from "../topic-calls";
import { DelayDesk } from "./delay-desk";
import { LineageDesk, type LineageParts } from "./lineage-desk";
import { findMessage } from "./message-finder";
import { Notifier } from "./notifier";
import { ProducerDesk } from "./producer-desk";
import { RetentionDesk } from "./retention-desk";
import { TopicLog } from "./topic-log";
import { type TopicRow, TopicStore } from "./topic-store";

/** What is in memory while the topic exists. The store can tell all of it again. */
type Loaded = {
  topic: TopicRow;
  log: TopicLog;
  delays: DelayDesk;
  notifier: Notifier;
  retention: RetentionDesk;
  lineage: LineageDesk;
  producers: ProducerDesk;
};
type KnowsAnswer = { known: readonly KnownId[]; cutAt?: number };

export class TopicObject extends DurableObject<Env> implements TopicCalls {
  runtime: Runtime = systemRuntime;
  private readonly store: TopicStore;
  private loaded: Loaded | undefined;
  private armedAt: number | undefined;

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    this.store = new TopicStore(ctx.storage);
    this.load();
    void ctx.blockConcurrencyWhile(async () => {
      this.armedAt = (await ctx.storage.getAlarm()) ?? undefined;
    });
  }

  // ── life and settings ──────────────────────────────────────────────────────────────────────────────

  async provision(call: TopicProvision): Promise<Result<null>> {
    if (this.store.topic()?.deleted) return this.gone();
    return this.change(() => {
      if (!this.loaded) this.store.create(call);
      return ok(null);
    });
  }

  async configure({
    settings,
    version,
  }: {
    settings: TopicSettings;
    version: number;
  }): Promise<Result<null>> {
    return this.whenAlive(({ topic }) => {
      if (version <= topic.version) return ok(null);
      return this.change(() => {
        this.store.configure(settings, version);
        return ok(null);
      });
    });
  }

  /** Leaves a tombstone, also where nothing was: a creation that comes late finds it. */
  async remove(): Promise<Result<null>> {
    if (this.store.topic()?.deleted) return ok(null);
    return this.change(() => {
      this.store.bury();
      return ok(null);
    });
  }

  // ── publish ────────────────────────────────────────────────────────────────────────────────────────

  async append(call: AppendCall): Promise<Result<readonly BatchAnswer[]>> {
    if (this.loaded && this.isOver(this.loaded)) await this.loaded.retention.askSettled();
    const ids = call.batches.flatMap(({ clientIds }) => clientIds.map(({ id }) => id));
    const above = await this.loaded?.lineage.askParent(ids);
    if (above && !above.ok) return above;
    const producers = await this.loaded?.producers.above(call.batches);
    if (producers && !producers.ok) return producers;
    return this.whenAlive((state) => {
      const strayed = call.batches.find(({ generation }) => generation !== state.topic.generation);
      if (strayed) return this.gone();
      const isOver = () => this.isOver(state);
      if (isOver()) state.retention.makeRoom(isOver, this.runtime.now());
      // What has left this partition needs no room in it.
      const leaves = () => call.batches.every((batch) => state.lineage.movedTo(batch) !== undefined);
      if (isOver() && !leaves()) {
        const again = state.log.answeredBefore(call);
        return again ? ok(again) : this.full(state);
      }
      const movedTo = (batch: RecordBatch) => state.lineage.movedTo(batch);
      const beside = {
        movedTo,
        ...(above && { knownAbove: above.value }),
        ...(producers && { producersAbove: producers.value }),
      };
      const { run, answers } = this.write(() => state.log.append(call, this.runtime.now(), beside));
      if (run) this.announce(state, run);
      else this.arm();
      return ok(answers);
    });
  }

  private isOver({ log, topic }: Loaded): boolean {
    return log.bytes >= topic.settings.retentionBytes || this.store.bytes > limits.topicBytes;
  }

  private full({ retention, topic }: Loaded): Refused {
    const detail = retention.whyFull((generation) => this.store.subscriptionName(generation) ?? generation);
    const limit = Math.min(topic.settings.retentionBytes, limits.topicBytes);
    const more = { field: "retentionBytes", limit, retryAfterMs: limits.topicFullRetryMs };
    return refuse("topic-full", detail, more);
  }

  /** Owes every reader a notify: armed in the same change as the append, sent right after it. */
  private announce({ notifier }: Loaded, run: LogRun): void {
    this.arm();
    this.ctx.waitUntil(notifier.announce(run));
  }

  // ── raises ─────────────────────────────────────────────────────────────────────────────────────────

  async cut({ partitions }: { partitions: number }): Promise<Result<null>> {
    return this.whenAlive(({ lineage }) => {
      lineage.cut(partitions);
      return ok(null);
    });
  }

  async cuts(): Promise<Result<readonly Cut[]>> {
    return this.whenAlive(({ lineage }) => ok(lineage.cuts));
  }

  async knows({ ids, child }: { ids: readonly string[]; child: number }): Promise<Result<KnowsAnswer>> {
    const state = this.loaded;
    return state ? state.lineage.knows(ids, child) : this.gone();
  }

  // ── producers ──────────────────────────────────────────────────────────────────────────────────────

  async producer(call: { name: string; child?: number }): Promise<Result<ProducerPlace | null>> {
    const state = this.loaded;
    return state ? state.producers.find(call.name, call.child) : this.gone();
  }

  async beginProducer(call: { name: string; lastSequence: number }): Promise<Result<null>> {
    return this.whenAlive(({ producers }) => producers.begin(call.name, call.lastSequence));
  }

  async forgetProducer({ name }: { name: string }): Promise<Result<null>> {
    return this.whenAlive(() => {
      this.store.producers.delete(name);
      return ok(null);
    });
  }

  // ── delayed messages ───────────────────────────────────────────────────────────────────────────────

  async cancel({ id }: { id: string }): Promise<Result<null>> {
    return this.whenAlive(({ delays }) => this.write(() => delays.cancel(id, this.runtime.now())));
  }

  async reschedule(call: { id: string; deliverAt: number }): Promise<Result<{ scheduledFor: number }>> {
    return this.whenAlive(({ delays }) => {
      const moved = this.write(() => delays.reschedule(call.id, call.deliverAt));
      this.arm();
      return moved;
    });
  }

  async delayed(call: { after: DelayedPlace | null; limit: number }): Promise<Result<DelayedPage>> {
    return this.whenAlive(({ log }) => ok(log.delays.page(call.after, call.limit)));
  }

  /** Gives their offsets to delayed messages that are due: one row of them, so that no call waits long for it. */
  private release(now: number): void {
    const state = this.loaded;
    if (!state?.delays.isDue(now)) return;
    const run = this.write(() => state.delays.release(now));
    if (run) this.announce(state, run);
  }

  // ── subscriptions ──────────────────────────────────────────────────────────────────────────────────

  async attach(call: {
    generation: string;
    startAt: StartAt;
    subscription?: string;
  }): Promise<Result<AttachAnswer>> {
    return this.whenAlive(({ log, notifier, topic, lineage }) => {
      const parent = lineage.parentPartition === undefined ? {} : { parent: lineage.parentPartition };
      const known = notifier.readers.get(call.generation);
      if (known) return ok({ startOffset: known.startOffset, ...parent });
      const start = log.startOffset(call.startAt, topic.partition);
      if (!start.ok) return start;
      this.store.insertSubscription(call.generation, start.value, call.subscription);
      notifier.add(call.generation, start.value, start.value);
      this.arm();
      return ok({ startOffset: start.value, ...parent });
    });
  }

  async detach({ generation }: { generation: string }): Promise<Result<null>> {
    return this.whenAlive(({ notifier }) => {
      if (notifier.readers.delete(generation)) this.store.deleteSubscription(generation);
      return ok(null);
    });
  }

  // ── reads ──────────────────────────────────────────────────────────────────────────────────────────

  async read({ from, maxBytes }: { from: number; maxBytes: number }): Promise<Result<ReadAnswer>> {
    return this.whenAlive(({ log }) => ok(log.read(from, Math.min(maxBytes, limits.readBytes))));
  }

  async readOffsets({ offsets, retired = false }: OffsetsRead): Promise<Result<OffsetsAnswer>> {
    return this.whenAlive(({ log }) => {
      const earliest = retired ? log.storedFrom : log.earliest;
      return ok({ runs: log.readOffsets(offsets, earliest, limits.readBytes), earliest });
    });
  }

  async readLanes(call: LaneRead): Promise<Result<LaneAnswer>> {
    return this.whenAlive(({ log }) => ok(log.readLanes(call)));
  }

  async find(call: FindCall): Promise<Result<Finding>> {
    return this.whenAlive(({ log }) => {
      const rejections = "id" in call ? this.store.rejectionsOf(call.id, limits.rejectionsKept) : [];
      return ok({ ...findMessage(log, call), rejections, head: log.head });
    });
  }

  async locate({ time }: { time?: number }): Promise<Result<LogPlace>> {
    return this.whenAlive(({ log }) => ok(log.locate(time)));
  }

  async keyedOffsets(call: { from: number; to: number }): Promise<Result<KeyedOffsets>> {
    return this.whenAlive(({ log }) => ok(log.keyedOffsets(call)));
  }

  async rejections(call: { after: string | null; limit: number }): Promise<Result<readonly Rejection[]>> {
    return this.whenAlive(() => ok(this.store.rejections(Number(call.after ?? 0), call.limit)));
  }

  async stats(): Promise<Result<TopicStats>> {
    return this.whenAlive(({ log, notifier, topic }) =>
      ok({
        partition: topic.partition,
        earliest: log.earliest,
        head: log.head,
        bytes: this.store.bytes,
        messageBytes: log.bytes,
        subscriptions: notifier.readers.size,
        rejections: this.store.rejectionCount(),
        scheduled: log.delays.count,
      }),
    );
  }

  // ── timers ─────────────────────────────────────────────────────────────────────────────────────────

  async wake(): Promise<Result<null>> {
    return this.whenAlive(({ notifier }) => {
      this.arm();
      this.ctx.waitUntil(notifier.notifyAgain());
      return ok(null);
    });
  }

  override async alarm(): Promise<void> {
    this.armedAt = undefined;
    const now = this.runtime.now();
    let notBefore = now;
    try {
      for (let rows = 0; rows < limits.releasesPerAlarm; rows++) this.release(now);
    } catch (fault) {
      console.error(JSON.stringify({ at: "topic.alarm", fault: String(fault) }));
      notBefore += limits.notifyAgainMs;
    }
    // It rang because somebody was owed a notify; after a restart nobody knows who, until all have answered.
    this.arm({ notBefore, doubts: true });
    if (this.loaded) this.ctx.waitUntil(this.loaded.notifier.notifyAgain());
  }

  /**
   * Arms the alarm to tell again whoever does not know the head, or for the first delayed message that is due, unless
   * it is armed for something sooner. Retention has no alarm: what is past it is seen out by whichever call comes
   * first, the sweep's poke at the latest.
   */
  private arm({ notBefore = this.runtime.now(), doubts = false } = {}): void {
    const state = this.loaded;
    if (!state) return;
    const now = this.runtime.now();
    const owedAt = state.notifier.isOwed(doubts) ? now + limits.notifyAgainMs : Number.POSITIVE_INFINITY;
    const releaseAt = state.log.delays.nextDueAt ?? Number.POSITIVE_INFINITY;
    const due = Math.max(notBefore, Math.min(owedAt, releaseAt));
    if (due === Number.POSITIVE_INFINITY) return;
    const stillAhead = this.armedAt !== undefined && this.armedAt > now - limits.notifyAgainMs;
    if (stillAhead && (this.armedAt ?? 0) <= due) return;
    this.armedAt = due;
    void this.ctx.storage.setAlarm(due);
  }

  // ── load, change ───────────────────────────────────────────────────────────────────────────────────

  private load(): void {
    const topic = this.store.topic();
    this.loaded = undefined;
    if (!topic || topic.deleted) return;
    const log = new TopicLog(this.store, topic.settings);
    const notifier = new Notifier(log, this.env.SUBSCRIPTION, topic.partition);
    const retention = new RetentionDesk({
      ...{ log, readers: notifier.readers, subscriptions: this.env.SUBSCRIPTION, partition: topic.partition },
      now: () => this.runtime.now(),
      write: (decide) => this.write(decide),
      isLive: () => this.loaded?.retention === retention,
    });
    // A restart forgot who was told: all are taken to know all there was, and are asked by the alarm or the sweep.
    for (const { generation, startOffset } of this.store.subscriptions()) {
      notifier.add(generation, startOffset, log.head);
    }
    const { generation, partition } = topic;
    const beside: Pick<LineageParts, "partition" | "topicAt" | "now" | "write"> = {
      partition,
      topicAt: (parent) => this.env.TOPIC.getByName(objectName(generation, parent)),
      now: () => this.runtime.now(),
      write: (decide) => this.write(decide),
    };
    const { retentionMs } = topic.settings;
    const lineage = new LineageDesk({ ...beside, store: this.store.lineage, retentionMs, log });
    const producers = new ProducerDesk({ ...beside, store: this.store.producers, lineage });
    this.loaded = { topic, log, delays: new DelayDesk(log), notifier, retention, lineage, producers };
  }

  /** Runs `decide` in one transaction; when it throws, nothing was written and memory is read afresh. */
  private write<T>(decide: () => T): T {
    try {
      return this.store.transaction(decide);
    } catch (fault) {
      this.load();
      throw fault;
    }
  }

  /** A change of the topic itself: written, then read afresh. */
  private change<T>(decide: () => Result<T>): Result<T> {
    const result = this.write(decide);
    this.load();
    this.arm();
    return result;
  }

  /** Answers a call: nobody is shown what is past its retention, and what is due has its offset before. */
  private whenAlive<T>(answer: (state: Loaded) => Result<T>): Result<T> {
    const state = this.loaded;
    if (!state) return this.gone();
    const telling = state.retention.tidy(this.runtime.now());
    if (telling) this.ctx.waitUntil(telling);
    this.release(this.runtime.now());
    return this.loaded ? answer(this.loaded) : this.gone();
  }

  private gone(): Refused {
    return refuse("gone", "This generation of the topic is not here.");
  }
}
