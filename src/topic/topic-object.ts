// One partition of one generation of a topic: a Durable Object that writes messages down, answers who asks
// for them, and tells its subscriptions that there are more.

import { DurableObject } from "cloudflare:workers";
import type { Env } from "../env";
import { ok, type Refused, type Result, refuse } from "../errors";
import { limits } from "../limits";
import { objectName } from "../object-name";
import { type Runtime, systemRuntime } from "../runtime";
import type { StartAt, TopicSettings } from "../settings";
import type {
  AppendCall,
  BatchAnswer,
  LaneAnswer,
  LaneRead,
  LogRun,
  ReadAnswer,
  Rejection,
  TopicCalls,
  TopicProvision,
  TopicStats,
} from "../topic-calls";
import { behind, doubtful, type Reader, Tail } from "./fanout";
import { TopicLog } from "./topic-log";
import { type TopicRow, TopicStore } from "./topic-store";

type OffsetsAnswer = { runs: readonly LogRun[]; earliest: number };

/** What is in memory while the topic exists. The store can tell all of it again. */
type Loaded = { topic: TopicRow; log: TopicLog; readers: Map<string, Reader>; tail: Tail };

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
    return this.whenAlive((state) => {
      const strayed = call.batches.find(({ generation }) => generation !== state.topic.generation);
      if (strayed) return this.gone();
      if (this.store.bytes > limits.topicBytes) {
        return refuse("topic-full", "The partition has no room left.", { limit: limits.topicBytes });
      }
      const { run, answers } = this.write(() => state.log.append(call, this.runtime.now()));
      if (run) this.announce(state, run);
      return ok(answers);
    });
  }

  /** Owes every reader a notify: armed in the same change as the append, sent right after it. */
  private announce(state: Loaded, run: LogRun): void {
    state.tail.push(run);
    this.arm();
    this.ctx.waitUntil(this.notifyAll(state, behind(state.readers.values(), state.log.head)));
  }

  /** Tells those who are behind, and those of whom a restart forgot whether they are. */
  private notifyAgain(state: Loaded): void {
    const readers = [...state.readers.values()];
    const owed = new Set([...behind(readers, state.log.head), ...doubtful(readers)]);
    this.ctx.waitUntil(this.notifyAll(state, [...owed]));
  }

  private async notifyAll(state: Loaded, queue: Reader[]): Promise<void> {
    const worker = async () => {
      for (let reader = queue.shift(); reader; reader = queue.shift()) await this.notify(state, reader);
    };
    await Promise.all(Array.from({ length: Math.min(limits.notifyConcurrency, queue.length) }, worker));
  }

  /** Tells one reader until it knows the head. A fault is left to the alarm, which notifies again. */
  private async notify(state: Loaded, reader: Reader): Promise<void> {
    if (reader.notifying) return;
    reader.notifying = true;
    try {
      const isOwed = () => reader.informedTo < state.log.head || !reader.isConfirmed;
      while (isOwed() && state.readers.has(reader.generation)) {
        const subscription = this.env.SUBSCRIPTION.getByName(
          objectName(reader.generation, state.topic.partition),
        );
        const runs = state.tail.from(reader.informedTo);
        const told = await subscription.notify({ head: state.log.head, runs });
        if (!told.ok) break;
        reader.informedTo = Math.max(reader.informedTo, told.value.informedTo);
        reader.isConfirmed = true;
      }
    } catch (fault) {
      console.warn(
        JSON.stringify({ at: "topic.notify", subscription: reader.generation, fault: String(fault) }),
      );
    } finally {
      reader.notifying = false;
    }
  }

  // ── subscriptions ──────────────────────────────────────────────────────────────────────────────────

  async attach(call: { generation: string; startAt: StartAt }): Promise<Result<{ startOffset: number }>> {
    return this.whenAlive(({ log, readers, topic }) => {
      const known = readers.get(call.generation);
      if (known) return ok({ startOffset: known.startOffset });
      const start = log.startOffset(call.startAt, topic.partition);
      if (!start.ok) return start;
      this.store.insertSubscription(call.generation, start.value);
      readers.set(call.generation, newReader(call.generation, start.value));
      this.arm();
      return ok({ startOffset: start.value });
    });
  }

  async detach({ generation }: { generation: string }): Promise<Result<null>> {
    return this.whenAlive(({ readers }) => {
      if (readers.delete(generation)) this.store.deleteSubscription(generation);
      return ok(null);
    });
  }

  // ── reads ──────────────────────────────────────────────────────────────────────────────────────────

  async read({ from, maxBytes }: { from: number; maxBytes: number }): Promise<Result<ReadAnswer>> {
    return this.whenAlive(({ log }) => ok(log.read(from, Math.min(maxBytes, limits.readBytes))));
  }

  async readOffsets({ offsets }: { offsets: readonly number[] }): Promise<Result<OffsetsAnswer>> {
    return this.whenAlive(({ log }) =>
      ok({ runs: log.readOffsets(offsets, limits.readBytes), earliest: log.earliest }),
    );
  }

  async readLanes(call: LaneRead): Promise<Result<LaneAnswer>> {
    return this.whenAlive(({ log }) => ok(log.readLanes(call)));
  }

  async rejections(call: { after: string | null; limit: number }): Promise<Result<readonly Rejection[]>> {
    return this.whenAlive(() => ok(this.store.rejections(Number(call.after ?? 0), call.limit)));
  }

  async stats(): Promise<Result<TopicStats>> {
    return this.whenAlive(({ log, readers, topic }) =>
      ok({
        partition: topic.partition,
        earliest: log.earliest,
        head: log.head,
        bytes: this.store.bytes,
        subscriptions: readers.size,
        rejections: this.store.rejectionCount(),
      }),
    );
  }

  // ── timers ─────────────────────────────────────────────────────────────────────────────────────────

  async wake(): Promise<Result<null>> {
    return this.whenAlive((state) => {
      this.notifyAgain(state);
      return ok(null);
    });
  }

  override async alarm(): Promise<void> {
    this.armedAt = undefined;
    const state = this.loaded;
    if (!state) return;
    this.arm();
    this.notifyAgain(state);
  }

  /**
   * Arms the alarm to tell again whoever is behind, unless it is armed for something sooner. Retention has no
   * alarm: what is past it is dropped by whichever call comes first, the sweep's poke at the latest.
   */
  private arm(): void {
    const state = this.loaded;
    if (!state || behind(state.readers.values(), state.log.head).length === 0) return;
    const now = this.runtime.now();
    const due = now + limits.notifyAgainMs;
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
    const log = new TopicLog(this.store, topic.settings.retentionMs);
    const readers = this.store
      .subscriptions()
      .map(
        (row) =>
          [row.generation, { ...newReader(row.generation, row.startOffset), informedTo: log.head }] as const,
      );
    this.loaded = { topic, log, readers: new Map(readers), tail: new Tail(limits.notifyBytes) };
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

  /** Answers a call: nobody is shown what is past its retention. */
  private whenAlive<T>(answer: (state: Loaded) => Result<T>): Result<T> {
    const state = this.loaded;
    if (!state) return this.gone();
    const now = this.runtime.now();
    if ((state.log.nextDropAt() ?? now + 1) <= now) this.write(() => state.log.dropExpired(now));
    return this.loaded ? answer(this.loaded) : this.gone();
  }

  private gone(): Refused {
    return refuse("gone", "This generation of the topic is not here.");
  }
}

function newReader(generation: string, startOffset: number): Reader {
  return { generation, startOffset, informedTo: startOffset, isConfirmed: false, notifying: false };
}
