// One partition of one generation of a topic: a Durable Object that writes messages down, answers who asks
// for them, and tells its subscriptions that there are more. Each call is one method here, which says only when it may be
// answered (topic-memory.ts) and which desk answers it (topic-parts.ts).

import { DurableObject } from "cloudflare:workers";
import type { Env } from "../env";
import { ok, type Result } from "../errors";
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
  FollowCall,
  KeyedOffsets,
  KnownId,
  LaneAnswer,
  LaneRead,
  LogPlace,
  OffsetsAnswer,
  OffsetsRead,
  ProducerPlace,
  ReadAnswer,
  ReadCall,
  Rejection,
  TopicCalls,
  TopicProvision,
  TopicStats,
  Wanted,
} from "../topic-calls";
import { PublishDesk } from "./publish-desk";
import { TailDesk } from "./tail-desk";
import { gone, TopicMemory } from "./topic-memory";
import { TopicStore } from "./topic-store";

type KnowsAnswer = { known: readonly KnownId[]; cutAt?: number };

export class TopicObject extends DurableObject<Env> implements TopicCalls {
  runtime: Runtime = systemRuntime;
  private readonly store: TopicStore;
  private readonly memory: TopicMemory;
  private readonly publishes: PublishDesk;
  private readonly tails: TailDesk;

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
    this.publishes = new PublishDesk(this.memory);
    this.tails = new TailDesk(this.memory, () => this.runtime.now());
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
    return this.publishes.append(call);
  }

  async adopt(call: Pick<AppendCall, "batches">): Promise<Result<readonly BatchAnswer[]>> {
    return this.publishes.adopt(call);
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

  async read(call: ReadCall): Promise<Result<ReadAnswer>> {
    return this.memory.whenAlive(({ lookups }) => ok(lookups.read(call)));
  }

  async follow(call: FollowCall): Promise<Result<ReadAnswer>> {
    return this.tails.follow(call);
  }

  async readOffsets(call: OffsetsRead): Promise<Result<OffsetsAnswer>> {
    return this.memory.whenAlive(({ lookups }) => ok(lookups.readOffsets(call)));
  }

  async readLanes(call: LaneRead): Promise<Result<LaneAnswer>> {
    return this.memory.whenAlive(({ lookups }) => ok(lookups.readLanes(call)));
  }

  async find(call: FindCall): Promise<Result<Finding>> {
    return this.memory.whenAlive(({ lookups }) => ok(lookups.find(call)));
  }

  async locate({ time }: { time?: number }): Promise<Result<LogPlace>> {
    return this.memory.whenAlive(({ lookups }) => ok(lookups.locate(time)));
  }

  async keyedOffsets(call: { from: number; to: number }): Promise<Result<KeyedOffsets>> {
    return this.memory.whenAlive(({ lookups }) => ok(lookups.keyedOffsets(call)));
  }

  async rejections(call: { after: string | null; limit: number }): Promise<Result<readonly Rejection[]>> {
    return this.memory.whenAlive(({ lookups }) => ok(lookups.rejections(call)));
  }

  async stats(): Promise<Result<TopicStats>> {
    return this.memory.whenAlive(({ lookups }) => ok(lookups.stats()));
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
