// One partition of one generation of a topic: a Durable Object that writes messages down, answers who asks
// for them, and tells its subscriptions that there are more. Each call is one method here, which says only when it may be
// answered (topic-memory.ts) and which of its parts answers it (topic-parts.ts).

import { DurableObject } from "cloudflare:workers";
import type { Env } from "../env";
import { ok, type Result } from "../errors";
import { limits } from "../limits";
import type { Cut } from "../raise";
import { type Runtime, systemRuntime } from "../runtime";
import type { TopicSettings } from "../settings";
import type {
  AppendCall,
  AttachAnswer,
  AttachCall,
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
  OffsetsAnswer,
  OffsetsRead,
  ProducerPlace,
  ReadAnswer,
  Rejection,
  TopicCalls,
  TopicProvision,
  TopicStats,
  Wanted,
} from "../topic-calls";
import * as reads from "./log-reads";
import { findMessage } from "./message-finder";
import type { Beside } from "./topic-log";
import { gone, TopicMemory } from "./topic-memory";
import type { TopicParts } from "./topic-parts";
import { TopicStore } from "./topic-store";

type Above = Omit<Beside, "movedTo">;
type KnowsAnswer = { known: readonly KnownId[]; cutAt?: number };

export class TopicObject extends DurableObject<Env> implements TopicCalls {
  runtime: Runtime = systemRuntime;
  private readonly store: TopicStore;
  private readonly memory: TopicMemory;

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    this.store = new TopicStore(ctx.storage);
    this.memory = new TopicMemory({
      ctx,
      store: this.store,
      subscriptions: env.SUBSCRIPTION,
      topicAt: (name) => this.env.TOPIC.getByName(name),
      now: () => this.runtime.now(),
    });
    void ctx.blockConcurrencyWhile(async () => {
      this.memory.armedAt = (await ctx.storage.getAlarm()) ?? undefined;
    });
  }

  // ── life and settings ──────────────────────────────────────────────────────────────────────────────

  async provision(call: TopicProvision): Promise<Result<null>> {
    if (this.store.topic()?.deleted) return gone();
    return this.memory.change(() => {
      if (!this.memory.loaded) this.store.create(call);
      return ok(null);
    });
  }

  async configure(call: { settings: TopicSettings; version: number }): Promise<Result<null>> {
    return this.memory.whenAlive(({ topic }) => {
      if (call.version <= topic.version) return ok(null);
      return this.memory.change(() => {
        this.store.configure(call.settings, call.version);
        return ok(null);
      });
    });
  }

  /** Leaves a tombstone, also where nothing was: a creation that comes late finds it. */
  async remove(): Promise<Result<null>> {
    if (this.store.topic()?.deleted) return ok(null);
    const buried = this.memory.change(() => {
      this.store.bury();
      return ok(null);
    });
    this.memory.tails.wakeAll();
    return buried;
  }

  // ── publish ────────────────────────────────────────────────────────────────────────────────────────

  async append(call: AppendCall): Promise<Result<readonly BatchAnswer[]>> {
    if (this.memory.loaded?.appends.isOver()) await this.memory.loaded.retention.askSettled();
    const ids = call.batches.flatMap(({ clientIds }) => clientIds.map(({ id }) => id));
    const known = await this.memory.loaded?.lineage.askParent(ids);
    if (known && !known.ok) return known;
    const producers = await this.memory.loaded?.producers.above(call.batches);
    if (producers && !producers.ok) return producers;
    const above = {
      ...(known && { knownAbove: known.value }),
      ...(producers && { producersAbove: producers.value }),
    };
    return this.memory.whenAlive((state) => {
      return this.take(state, call, above);
    });
  }

  private take(state: TopicParts, call: AppendCall, above: Above): Result<readonly BatchAnswer[]> {
    const strayed = call.batches.find(({ generation }) => generation !== state.topic.generation);
    if (strayed) return gone();
    const appended = state.appends.append(call, above);
    if (!appended.ok) return appended;
    const { run, answers } = appended.value;
    if (run) this.memory.announce(state, run);
    else this.memory.arm();
    return ok(answers);
  }

  // ── raises ─────────────────────────────────────────────────────────────────────────────────────────

  async cut({ partitions }: { partitions: number }): Promise<Result<null>> {
    const cut = this.memory.whenAlive(({ lineage }) => {
      lineage.cut(partitions);
      return ok(null);
    });
    if (!cut.ok) return cut;
    const handedOver = (await this.memory.loaded?.departures.handOver()) ?? gone();
    this.memory.arm();
    return handedOver;
  }

  async adopt({ batches }: Pick<AppendCall, "batches">): Promise<Result<readonly BatchAnswer[]>> {
    return this.memory.whenAlive((state) => this.take(state, { batches }, {}));
  }

  async cuts(): Promise<Result<readonly Cut[]>> {
    return this.memory.whenAlive(({ lineage }) => ok(lineage.cuts));
  }

  async knows({ ids, child }: { ids: readonly string[]; child: number }): Promise<Result<KnowsAnswer>> {
    const state = this.memory.loaded;
    return state ? state.lineage.knows(ids, child) : gone();
  }

  // ── producers ──────────────────────────────────────────────────────────────────────────────────────

  async producer(call: { name: string; child?: number }): Promise<Result<ProducerPlace | null>> {
    const state = this.memory.loaded;
    return state ? state.producers.find(call.name, call.child) : gone();
  }

  async beginProducer(call: { name: string; lastSequence: number }): Promise<Result<null>> {
    return this.memory.whenAlive(({ producers }) => producers.begin(call.name, call.lastSequence));
  }

  async forgetProducer({ name }: { name: string }): Promise<Result<null>> {
    return this.memory.whenAlive(() => {
      this.store.producers.delete(name);
      return ok(null);
    });
  }

  // ── delayed messages ───────────────────────────────────────────────────────────────────────────────

  async cancel({ id }: { id: string }): Promise<Result<null>> {
    return this.memory.whenAlive(({ delays }) =>
      this.memory.write(() => delays.cancel(id, this.runtime.now())),
    );
  }

  async reschedule(call: { id: string; deliverAt: number }): Promise<Result<{ scheduledFor: number }>> {
    return this.memory.whenAlive(({ delays }) => {
      const moved = this.memory.write(() => delays.reschedule(call.id, call.deliverAt));
      this.memory.arm();
      return moved;
    });
  }

  async delayed(call: { after: DelayedPlace | null; limit: number }): Promise<Result<DelayedPage>> {
    return this.memory.whenAlive(({ log }) => ok(log.delays.page(call.after, call.limit)));
  }

  // ── subscriptions ──────────────────────────────────────────────────────────────────────────────────

  async attach(call: AttachCall): Promise<Result<AttachAnswer>> {
    return this.memory.whenAlive(({ readers }) => {
      const attached = readers.attach(call);
      this.memory.arm();
      return attached;
    });
  }

  async detach({ generation }: { generation: string }): Promise<Result<null>> {
    return this.memory.whenAlive(({ readers }) => {
      readers.detach(generation);
      return ok(null);
    });
  }

  async describe(call: {
    readers: readonly (Wanted & Readonly<{ generation: string }>)[];
  }): Promise<Result<null>> {
    return this.memory.whenAlive(({ readers }) => {
      this.memory.write(() => readers.describe(call.readers));
      return ok(null);
    });
  }

  // ── reads ──────────────────────────────────────────────────────────────────────────────────────────

  async read({ from, maxBytes }: { from: number; maxBytes: number }): Promise<Result<ReadAnswer>> {
    return this.memory.whenAlive(({ stored }) =>
      ok(reads.read(stored, from, Math.min(maxBytes, limits.readBytes))),
    );
  }

  async follow({
    waitMs,
    ...call
  }: {
    from: number;
    maxBytes: number;
    waitMs: number;
  }): Promise<Result<ReadAnswer>> {
    const until = this.runtime.now() + waitMs;
    for (;;) {
      const { news } = this.memory.tails;
      const answer = await this.read(call);
      const leftMs = until - this.runtime.now();
      const isEnough = !answer.ok || answer.value.runs.length > 0 || answer.value.earliest > call.from;
      if (isEnough || leftMs <= 0) return answer;
      await this.memory.tails.wait(leftMs, news);
    }
  }

  async readOffsets({ offsets, retired = false }: OffsetsRead): Promise<Result<OffsetsAnswer>> {
    return this.memory.whenAlive(({ stored }) => {
      const earliest = retired ? stored.storedFrom : stored.earliest;
      return ok({ runs: reads.readOffsets(stored, offsets, earliest, limits.readBytes), earliest });
    });
  }

  async readLanes(call: LaneRead): Promise<Result<LaneAnswer>> {
    return this.memory.whenAlive(({ stored }) => ok(reads.readLanes(stored, call)));
  }

  async find(call: FindCall): Promise<Result<Finding>> {
    return this.memory.whenAlive(({ log }) => {
      const rejections = "id" in call ? this.store.rejections.of(call.id, limits.rejectionsKept) : [];
      return ok({ ...findMessage(log, call), rejections, head: log.head });
    });
  }

  async locate({ time }: { time?: number }): Promise<Result<LogPlace>> {
    return this.memory.whenAlive(({ stored }) => ok(reads.locate(stored, time)));
  }

  async keyedOffsets(call: { from: number; to: number }): Promise<Result<KeyedOffsets>> {
    return this.memory.whenAlive(({ stored }) => ok(reads.keyedOffsets(stored, call)));
  }

  async rejections(call: { after: string | null; limit: number }): Promise<Result<readonly Rejection[]>> {
    return this.memory.whenAlive(() => ok(this.store.rejections.page(Number(call.after ?? 0), call.limit)));
  }

  async stats(): Promise<Result<TopicStats>> {
    return this.memory.whenAlive(({ stored, log, notifier, topic }) =>
      ok({
        partition: topic.partition,
        earliest: stored.earliest,
        head: stored.head,
        bytes: this.store.bytes,
        messageBytes: stored.bytes,
        subscriptions: notifier.readers.size,
        rejections: this.store.rejections.count(),
        scheduled: log.delays.count,
      }),
    );
  }

  // ── timers ─────────────────────────────────────────────────────────────────────────────────────────

  async wake(): Promise<Result<null>> {
    return this.memory.whenAlive(({ notifier }) => {
      this.memory.arm();
      this.ctx.waitUntil(notifier.notifyAgain());
      return ok(null);
    });
  }

  override async alarm(): Promise<void> {
    this.memory.ring();
  }
}
