// One partition of one subscription: a Durable Object that takes messages from the log, hands them out under
// leases, and settles them. Push is a pull consumer that lives inside: one state machine serves both.

import { DurableObject } from "cloudflare:workers";
import type { DispatchCalls } from "../dispatch-calls";
import type { Env } from "../env";
import { ok, type Refused, type Result, refuse } from "../errors";
import { limits } from "../limits";
import { objectName } from "../object-name";
import { type Runtime, systemRuntime } from "../runtime";
import type { SubscriptionSettings } from "../settings";
import type {
  DeadLetter,
  DeadLetterSelection,
  LeaseAnswer,
  LeaseCall,
  LeaseRef,
  NackCall,
  NotifyCall,
  ReportCall,
  SettleStatus,
  SubscriptionCalls,
  SubscriptionProvision,
  SubscriptionStats,
} from "../subscription-calls";
import type { TopicCalls } from "../topic-calls";
import { Backlog } from "./backlog";
import { redrive } from "./delivery";
import { LeaseDesk } from "./lease-desk";
import { canLease } from "./leasing";
import { LogReader } from "./log-reader";
import { PushPump } from "./push-pump";
import { RecordBuffer } from "./record-buffer";
import { ack, expireLeases, extend, type Moment, nack, report } from "./settling";
import { type SubscriptionRow, SubscriptionStore } from "./subscription-store";
import { Waiters } from "./waiters";

/** What is in memory while the subscription exists. The store and the log can tell all of it again. */
type Loaded = {
  row: SubscriptionRow;
  backlog: Backlog;
  buffer: RecordBuffer;
  reader: LogReader;
  desk: LeaseDesk;
  pump: PushPump;
};

export class SubscriptionObject extends DurableObject<Env> implements SubscriptionCalls {
  runtime: Runtime = systemRuntime;
  private readonly store: SubscriptionStore;
  private readonly waiters = new Waiters();
  private loaded: Loaded | undefined;
  private armedAt: number | undefined;

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    this.store = new SubscriptionStore(ctx.storage);
    this.load();
    void ctx.blockConcurrencyWhile(async () => {
      this.armedAt = (await ctx.storage.getAlarm()) ?? undefined;
    });
  }

  // ── life and settings ──────────────────────────────────────────────────────────────────────────────

  async provision(call: SubscriptionProvision): Promise<Result<null>> {
    const row = this.store.subscription();
    if (row?.deleted) return this.gone();
    if (!row) {
      this.store.transaction(() => this.store.create(call));
      this.load();
    }
    return this.wake();
  }

  async configure(call: { settings: SubscriptionSettings; version: number }): Promise<Result<null>> {
    const state = this.loaded;
    if (!state) return this.gone();
    // At its own version the catalog's word stands against a pause that the object made by itself.
    const isSame = call.version === state.row.version && call.settings.paused === state.row.settings.paused;
    if (call.version < state.row.version || isSame) return ok(null);
    this.store.configure(call.settings, call.version);
    state.row = { ...state.row, ...call };
    return this.wake();
  }

  /** Leaves a tombstone, also where nothing was: a creation that comes late finds it. */
  async remove(): Promise<Result<null>> {
    const isBuried = this.store.subscription()?.deleted ?? false;
    if (!isBuried) this.store.transaction(() => this.store.bury());
    this.loaded = undefined;
    this.waiters.wakeAll();
    return ok(null);
  }

  // ── taking from the log ────────────────────────────────────────────────────────────────────────────

  async notify({ head, runs }: NotifyCall): Promise<Result<{ informedTo: number }>> {
    const state = this.loaded;
    if (!state) return this.gone();
    state.reader.informedTo(head);
    state.buffer.append(runs);
    this.waiters.wakeAll();
    await state.pump.pump();
    this.rememberUnread(state, head);
    return ok({ informedTo: head });
  }

  /**
   * What a push subscription answers to know is leased, or saved as unread with the alarm armed: a restart
   * forgets nothing. While there is unread anyway, every lease saves it along.
   */
  private rememberUnread(state: Loaded, head: number): void {
    if (!state.pump.isActive || this.loaded !== state) return;
    if (
      state.backlog.counters.nextOffset < head &&
      this.store.savedHead <= state.backlog.counters.nextOffset
    ) {
      this.change(state, () => {
        state.backlog.changes.state = true;
      });
    }
    this.arm(state);
  }

  async pull(call: LeaseCall): Promise<Result<LeaseAnswer>> {
    const state = this.loaded;
    if (!state) return this.gone();
    if (state.row.settings.type !== "pull")
      return refuse("not-pull", "This subscription pushes to an endpoint.");
    const ackDeadlineMs = call.ackDeadlineMs ?? state.row.settings.ackDeadlineMs;
    const until = this.runtime.now() + call.waitMs;
    for (let ask = true; ; ask = false) {
      const news = this.waiters.news;
      const lease = await state.desk.lease({ ...call, ackDeadlineMs }, ask);
      if (this.loaded !== state) return this.gone();
      const leftMs = until - this.runtime.now();
      if (lease.deliveries.length > 0 || leftMs <= 0) return ok(lease);
      await this.waiters.wait(leftMs, news);
    }
  }

  async ready({ waitMs }: { waitMs: number }): Promise<Result<{ ready: boolean }>> {
    const state = this.loaded;
    if (!state) return this.gone();
    const until = this.runtime.now() + waitMs;
    for (let ask = true; ; ask = false) {
      const news = this.waiters.news;
      if (ask) await state.reader.readAhead();
      if (this.loaded !== state) return this.gone();
      const now = this.runtime.now();
      if (!state.row.settings.paused && canLease(state.backlog, state.buffer, now))
        return ok({ ready: true });
      if (now >= until) return ok({ ready: false });
      await this.waiters.wait(until - now, news);
    }
  }

  // ── settling ───────────────────────────────────────────────────────────────────────────────────────

  async ack({ refs }: { refs: readonly LeaseRef[] }): Promise<Result<readonly SettleStatus[]>> {
    return this.settle((state) => ack(state.backlog, refs));
  }

  async nack(call: NackCall): Promise<Result<readonly SettleStatus[]>> {
    return this.settle((state) => nack(state.backlog, call, state.row.settings, this.moment()));
  }

  async extend(call: {
    refs: readonly LeaseRef[];
    ackDeadlineMs: number;
  }): Promise<Result<readonly SettleStatus[]>> {
    const deadlineAt = this.runtime.now() + call.ackDeadlineMs;
    return this.settle((state) => extend(state.backlog, call.refs, deadlineAt));
  }

  async report(call: ReportCall): Promise<Result<null>> {
    const settled = this.settle((state) => {
      const held = report(state.backlog, call, state.row.settings, this.moment());
      if (call.endpointGone) this.pauseForGoneEndpoint(state);
      return held || call.done;
    });
    if (!settled.ok) return settled;
    return settled.value ? ok(null) : refuse("lease-lost", "The lease holds nothing any more.");
  }

  /** The endpoint says it is gone for good. The catalog is told by the dispatcher; here it holds at once. */
  private pauseForGoneEndpoint(state: Loaded): void {
    const settings = { ...state.row.settings, paused: true, pausedReason: "endpoint-gone" };
    this.store.configure(settings, state.row.version);
    state.row = { ...state.row, settings };
  }

  private settle<T>(decide: (state: Loaded) => T): Result<T> {
    const state = this.loaded;
    if (!state) return this.gone();
    const value = this.change(state, () => decide(state));
    this.goOn(state);
    return ok(value);
  }

  // ── dead letters ───────────────────────────────────────────────────────────────────────────────────

  async deadLetters(call: { after: number; limit: number }): Promise<Result<readonly DeadLetter[]>> {
    const state = this.loaded;
    if (!state) return this.gone();
    await state.desk.buryDying();
    return ok(this.store.deadLetters(call.after, call.limit, limits.readBytes));
  }

  async redrive(call: DeadLetterSelection): Promise<Result<{ redriven: number }>> {
    const now = this.runtime.now();
    const unburied = await this.unbury(call, (state, letter) =>
      state.backlog.unbury(letter.offset, letter.orderingKey, redrive(letter, now)),
    );
    return unburied.ok ? ok({ redriven: unburied.value }) : unburied;
  }

  async purge(call: DeadLetterSelection): Promise<Result<{ purged: number }>> {
    const unburied = await this.unbury(call, (state, letter) =>
      state.backlog.unbury(letter.offset, letter.orderingKey),
    );
    return unburied.ok ? ok({ purged: unburied.value }) : unburied;
  }

  private async unbury(
    call: DeadLetterSelection,
    each: (
      state: Loaded,
      letter: { offset: number; orderingKey?: string; history: DeadLetter["history"] },
    ) => void,
  ): Promise<Result<number>> {
    const state = this.loaded;
    if (!state) return this.gone();
    await state.desk.buryDying();
    const letters = this.store.dead(call);
    this.change(state, () => {
      for (const letter of letters) each(state, letter);
    });
    this.goOn(state);
    return ok(letters.length);
  }

  /** After a change: whoever waits looks again, the dying are buried, and what can be pushed is pushed. */
  private goOn(state: Loaded): void {
    this.waiters.wakeAll();
    if (this.loaded !== state) return;
    const work = state.desk.buryDying().then(() => state.pump.pump());
    this.ctx.waitUntil(
      work.catch((fault) => {
        console.warn(JSON.stringify({ at: "subscription.goOn", fault: String(fault) }));
        this.arm(state);
      }),
    );
  }

  // ── timers and stats ───────────────────────────────────────────────────────────────────────────────

  async wake(): Promise<Result<null>> {
    const state = this.loaded;
    if (!state) return this.gone();
    // While it was paused, or if a notify was lost, there may be more in the log than it knows.
    state.reader.doubt();
    this.arm(state);
    this.goOn(state);
    return ok(null);
  }

  override async alarm(): Promise<void> {
    this.armedAt = undefined;
    const state = this.loaded;
    if (!state) return;
    try {
      this.change(state, () =>
        expireLeases(state.backlog, state.row.settings, this.moment(), limits.expiriesPerAlarm),
      );
    } catch (fault) {
      console.error(JSON.stringify({ at: "subscription.alarm", fault: String(fault) }));
    } finally {
      this.arm(state);
      this.goOn(state);
    }
  }

  async stats(): Promise<Result<SubscriptionStats>> {
    const state = this.loaded;
    if (!state) return this.gone();
    await state.desk.buryDying();
    const { backlog, reader, row } = state;
    const head = await reader.askHead();
    return ok({
      partition: row.partition,
      head,
      ...backlog.counters,
      leased: backlog.leasedCount,
      waiting: backlog.waitingCount,
      followers: backlog.followerCount,
      blockedLanes: backlog.heldLaneCount,
      unread: Math.max(0, head - backlog.counters.nextOffset),
      paused: row.settings.paused,
      stalled: backlog.isStalled,
    });
  }

  /** Arms the alarm for what is due first, unless it is armed for something sooner. */
  private arm(state: Loaded): void {
    const now = this.runtime.now();
    const due = this.dueAt(state, now);
    const stillAhead = this.armedAt !== undefined && this.armedAt > now - limits.lookAgainMs;
    if (due === undefined || (stillAhead && (this.armedAt ?? 0) <= due)) return;
    this.armedAt = Math.max(due, now);
    void this.ctx.storage.setAlarm(this.armedAt);
  }

  private dueAt(state: Loaded, now: number): number | undefined {
    const { backlog, pump, reader } = state;
    const dues = [...backlog.leases].map(({ deadlineAt }) => deadlineAt);
    const next = backlog.ready.peek();
    if (next && next.at > now) dues.push(next.at);
    const isReady = reader.isBehind || (next !== undefined && next.at <= now);
    if (pump.isActive && pump.hasRoom && isReady) dues.push(now + limits.lookAgainMs);
    if (pump.isActive) dues.push(pump.gathersUntil() ?? Number.POSITIVE_INFINITY);
    if (backlog.dying.size > 0) dues.push(now + limits.lookAgainMs);
    const due = dues.reduce((least, at) => Math.min(least, at), Number.POSITIVE_INFINITY);
    return due === Number.POSITIVE_INFINITY ? undefined : due;
  }

  private moment(): Moment {
    return { now: this.runtime.now(), jitter: () => this.runtime.random() };
  }

  // ── load, change ───────────────────────────────────────────────────────────────────────────────────

  private load(): void {
    this.loaded = undefined;
    const row = this.store.subscription();
    if (!row || row.deleted) return;
    const backlog = new Backlog(this.store.load());
    const buffer = new RecordBuffer(backlog.counters.nextOffset, limits.bufferBytes);
    const topic: TopicCalls = this.env.TOPIC.getByName(objectName(row.topicGeneration, row.partition));
    const changeNow = (decide: () => void) => {
      if (this.loaded) this.change(this.loaded, decide);
    };
    const reader = new LogReader(topic, backlog, buffer, this.store, changeNow);
    this.loaded = this.assemble({ row, backlog, buffer, reader });
  }

  private assemble(parts: Pick<Loaded, "row" | "backlog" | "buffer" | "reader">): Loaded {
    const { Dispatcher: dispatcher } = this.ctx.exports as unknown as { Dispatcher: DispatchCalls };
    const isLive = () => this.loaded === state;
    const runtime = () => this.runtime;
    const desk = new LeaseDesk({
      ...parts,
      runtime,
      isLive,
      settings: () => state.row.settings,
      change: (decide) => this.change(state, decide),
    });
    const pump = new PushPump({
      ...parts,
      desk,
      dispatcher,
      runtime,
      isLive,
      row: () => state.row,
      waitUntil: (work) => this.ctx.waitUntil(work),
      ended: () => this.goOn(state),
    });
    const state: Loaded = { ...parts, desk, pump };
    return state;
  }

  /** Decides and saves in one transaction, then arms. When it throws, memory is read afresh. */
  private change<T>(state: Loaded, decide: () => T): T {
    try {
      return this.store.transaction(() => {
        const value = decide();
        state.desk.buryThoseInMemory();
        const changes = state.backlog.takeChanges();
        this.store.save(state.backlog, changes);
        for (const offset of changes.deliveries) {
          if (state.backlog.deliveries.get(offset)?.state !== "leased") state.buffer.forget(offset);
        }
        return value;
      });
    } catch (fault) {
      this.load();
      throw fault;
    } finally {
      if (this.loaded === state) this.arm(state);
    }
  }

  private gone(): Refused {
    return refuse("gone", "This generation of the subscription is not here.");
  }
}
