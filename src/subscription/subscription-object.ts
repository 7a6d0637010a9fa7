// One partition of one subscription: a Durable Object that takes messages from the log, hands them out under
// leases, and settles them. Push is a pull consumer that lives inside: one state machine serves both.

import { DurableObject } from "cloudflare:workers";
import type {
  DeadLetter,
  DeadLetterPage,
  DeadLetterSelection,
  MovedLetter,
  PurgeAnswer,
  RedriveAnswer,
  RedriveCall,
} from "../dead-letter-calls";
import type { DispatchCalls } from "../dispatch-calls";
import type { Env } from "../env";
import { ok, type Refused, type Result, refuse } from "../errors";
import { limits } from "../limits";
import { objectName } from "../object-name";
import { type Runtime, systemRuntime } from "../runtime";
import type { SubscriptionSettings } from "../settings";
import type {
  ExpireAnswer,
  LeaseAnswer,
  LeaseCall,
  LeaseRef,
  NackCall,
  NotifyCall,
  PendingKeys,
  ReportCall,
  SeekAnswer,
  SeekCall,
  SettleStatus,
  SubscriptionCalls,
  SubscriptionProvision,
  SubscriptionStats,
} from "../subscription-calls";
import type { Audit, Trace, TraceCall } from "../timeline-calls";
import type { TopicCalls } from "../topic-calls";
import { Backlog, sums } from "./backlog";
import { DeadLetterDesk } from "./dead-letter-desk";
import { dueAt } from "./due";
import { ExpiryDesk } from "./expiry-desk";
import { LaneGate } from "./lane-gate";
import { LeaseDesk } from "./lease-desk";
import { canLease } from "./leasing";
import { LogReader } from "./log-reader";
import { LongPoll } from "./long-poll";
import { ParentDesk } from "./parent-desk";
import { PushPump } from "./push-pump";
import { RecordBuffer } from "./record-buffer";
import { openFrom } from "./seek";
import { SeekDesk } from "./seek-desk";
import { ack, expireLeases, extend, type Moment, nack, report } from "./settling";
import { type SubscriptionRow, SubscriptionStore } from "./subscription-store";
import { TimelineDesk } from "./timeline-desk";
import { Waiters } from "./waiters";

/** What is in memory while the subscription exists. The store and the log can tell all of it again. */
type Loaded = {
  row: SubscriptionRow;
  backlog: Backlog;
  buffer: RecordBuffer;
  reader: LogReader;
  parents: ParentDesk;
  desk: LeaseDesk;
  deadLetters: DeadLetterDesk;
  timeline: TimelineDesk;
  expiry: ExpiryDesk;
  seeks: SeekDesk;
  polls: LongPoll;
  pump: PushPump;
};

/** What is in memory was read afresh while a call waited: the call is made again, on what there is now. */
class StaleState extends Error {}

type Read = Pick<Loaded, "row" | "backlog" | "buffer" | "reader">;

export class SubscriptionObject extends DurableObject<Env> implements SubscriptionCalls {
  runtime: Runtime = systemRuntime;
  private readonly store: SubscriptionStore;
  private readonly waiters = new Waiters();
  private loaded: Loaded | undefined;
  private armedAt: number | undefined;
  /** Dispatches under way: they outlive what is in memory. */
  private readonly underway = { count: 0 };

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
    return this.whenLive(async (state) => {
      state.reader.informedTo(head);
      state.buffer.append(runs);
      this.waiters.wakeAll();
      await state.pump.pump();
      this.rememberUnread(state, head);
      return ok({ informedTo: head });
    });
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
    const until = this.runtime.now() + call.waitMs;
    return this.whenLive(async (state) => {
      if (state.row.settings.type !== "pull")
        return refuse("not-pull", "This subscription pushes to an endpoint.");
      const ackDeadlineMs = call.ackDeadlineMs ?? state.row.settings.ackDeadlineMs;
      const lease = await state.polls.until(until, async (isFirst) => {
        const lease = await state.desk.lease({ ...call, ackDeadlineMs }, isFirst);
        return { answer: lease, isEnough: lease.deliveries.length > 0 };
      });
      return ok(stillThere(lease));
    });
  }

  async ready({ waitMs }: { waitMs: number }): Promise<Result<{ ready: boolean }>> {
    const until = this.runtime.now() + waitMs;
    return this.whenLive(async (state) => {
      const { backlog, buffer, reader } = state;
      const answer = await state.polls.until(until, async (isFirst) => {
        if (isFirst) await reader.readAhead();
        await state.parents.ask();
        const ready = !state.row.settings.paused && canLease(backlog, buffer, this.runtime.now());
        return { answer: { ready }, isEnough: ready };
      });
      return ok(stillThere(answer));
    });
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
    const settled = await this.settle((state) => {
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

  private settle<T>(decide: (state: Loaded) => T): Promise<Result<T>> {
    return this.whenLive((state) => {
      const value = this.change(state, () => decide(state));
      this.goOn(state);
      return ok(value);
    });
  }

  // ── retention ──────────────────────────────────────────────────────────────────────────────────────

  async expire({ before }: { before: number }): Promise<Result<ExpireAnswer>> {
    return this.whenLive(async (state) => {
      const answer = await state.expiry.expire(before);
      // A lane whose head expired goes on with what is left of it.
      this.goOn(state);
      return ok(answer);
    });
  }

  async settledTo(): Promise<Result<{ offset: number }>> {
    return this.whenLive((state) => ok({ offset: state.expiry.settledTo() }));
  }

  // ── dead letters ───────────────────────────────────────────────────────────────────────────────────

  async deadLetters(call: {
    after: number;
    epoch?: number;
    limit: number;
  }): Promise<Result<readonly DeadLetter[]>> {
    const { epoch = 0, after, limit } = call;
    return this.whenLive(async (state) => ok(await state.deadLetters.list(epoch, after, limit)));
  }

  async findDeadLetters(call: DeadLetterSelection): Promise<Result<DeadLetterPage>> {
    return this.whenLive(async (state) => ok(await state.deadLetters.find(call)));
  }

  async redrive(call: RedriveCall): Promise<Result<RedriveAnswer>> {
    return this.whenLive(async (state) => {
      const redriven = await state.deadLetters.redrive(call);
      this.goOn(state);
      return redriven;
    });
  }

  async purge(call: DeadLetterSelection): Promise<Result<PurgeAnswer>> {
    return this.whenLive(async (state) => {
      const answer = await state.deadLetters.purge(call);
      this.goOn(state);
      return ok(answer);
    });
  }

  async moveLetters({ letters }: { letters: readonly MovedLetter[] }): Promise<Result<{ moved: number }>> {
    return this.whenLive((state) => {
      const moved = state.deadLetters.move(letters);
      this.goOn(state);
      return ok({ moved });
    });
  }

  // ── seeking ────────────────────────────────────────────────────────────────────────────────────────

  async seek(call: SeekCall): Promise<Result<SeekAnswer>> {
    return this.whenLive((state) => state.seeks.seek(call));
  }

  /** Writes an epoch's beginning; from here on there is nothing in memory but what the store tells. */
  private beginAnew(state: Loaded, write: () => void): void {
    if (this.loaded !== state) throw new StaleState();
    try {
      this.store.transaction(write);
    } finally {
      this.load();
    }
    if (!this.loaded) return;
    this.arm(this.loaded);
    this.goOn(this.loaded);
  }

  async position(): Promise<Result<{ openFrom: number }>> {
    return this.whenLive(({ backlog }) => ok({ openFrom: openFrom(backlog) }));
  }

  // ── timers and stats ───────────────────────────────────────────────────────────────────────────────

  async wake(): Promise<Result<null>> {
    return this.whenLive((state) => {
      // While it was paused, or if a notify was lost, there may be more in the log than it knows.
      state.reader.doubt();
      this.arm(state);
      this.goOn(state);
      return ok(null);
    });
  }

  override async alarm(): Promise<void> {
    this.armedAt = undefined;
    const state = this.loaded;
    if (!state) return;
    let notBefore = 0;
    try {
      this.change(state, () =>
        expireLeases(state.backlog, state.row.settings, this.moment(), limits.expiriesPerAlarm),
      );
    } catch (fault) {
      console.error(JSON.stringify({ at: "subscription.alarm", fault: String(fault) }));
      notBefore = this.runtime.now() + limits.lookAgainMs;
    }
    // A fault had memory read afresh, and what failed now would fail again at once.
    if (!this.loaded) return;
    this.arm(this.loaded, notBefore);
    this.goOn(this.loaded);
  }

  async stats(): Promise<Result<SubscriptionStats>> {
    return this.whenLive(async ({ desk, backlog, reader, row }) => {
      await desk.buryDying();
      const head = await reader.askHead();
      const gaps = this.store.gaps.list();
      const oldest = this.store.deadLetters.oldestDeathAt();
      return ok({
        partition: row.partition,
        head,
        ...sums(backlog, head),
        paused: row.settings.paused,
        gaps,
        ...(oldest !== undefined && { oldestDeathAt: oldest }),
      });
    });
  }

  async whereabouts(call: TraceCall): Promise<Result<Trace>> {
    return this.whenLive(({ timeline }) => ok(timeline.trace(call)));
  }

  async audit({ from }: { from: number }): Promise<Result<Audit>> {
    return this.whenLive(({ timeline }) => timeline.audit(from));
  }

  async pendingKeys({ partition }: { partition: number }): Promise<Result<{ pending: PendingKeys }>> {
    return this.whenLive(async ({ parents }) => ok({ pending: await parents.pendingFor(partition) }));
  }

  /** After a change: whoever waits looks again, the dying are buried, and what can be pushed is pushed. */
  private goOn(state: Loaded): void {
    this.waiters.wakeAll();
    if (this.loaded !== state) return;
    const work = state.desk.buryDying().then(() => state.pump.pump());
    this.ctx.waitUntil(
      work.catch((fault) => {
        // Whoever read afresh goes on by itself.
        if (fault instanceof StaleState) return;
        console.warn(JSON.stringify({ at: "subscription.goOn", fault: String(fault) }));
        this.arm(state);
      }),
    );
  }

  /** Arms the alarm for what is due first, unless it is armed for something sooner. */
  private arm(state: Loaded, notBefore = 0): void {
    const now = this.runtime.now();
    const dueNext = dueAt(state, now);
    const due = dueNext === undefined ? undefined : Math.max(dueNext, notBefore);
    const stillAhead = this.armedAt !== undefined && this.armedAt > now - limits.lookAgainMs;
    if (due === undefined || (stillAhead && (this.armedAt ?? 0) <= due)) return;
    this.armedAt = Math.max(due, now);
    void this.ctx.storage.setAlarm(this.armedAt);
  }

  private moment(): Moment {
    return { now: this.runtime.now(), jitter: () => this.runtime.random() };
  }

  // ── load, change ───────────────────────────────────────────────────────────────────────────────────

  private load(): void {
    this.loaded = undefined;
    const row = this.store.subscription();
    if (!row || row.deleted) return;
    const gate = new LaneGate(row.parent === undefined || row.parentCleared === true);
    const backlog = new Backlog(this.store.load(), gate);
    const buffer = new RecordBuffer(backlog.counters.nextOffset, limits.bufferBytes);
    const topic: TopicCalls = this.env.TOPIC.getByName(objectName(row.topicGeneration, row.partition));
    const changeNow = (decide: () => void) => {
      if (this.loaded?.backlog !== backlog) throw new StaleState();
      this.change(this.loaded, decide);
    };
    const reader = new LogReader(topic, backlog, buffer, this.store, changeNow);
    const parts = { row, backlog, buffer, reader };
    this.loaded = this.assemble({ ...parts, parents: this.parentsOf(topic, parts) }, topic);
  }

  private parentsOf(topic: TopicCalls, { row, ...parts }: Read): ParentDesk {
    const { generation, partition, parent } = row;
    const isLive = () => this.loaded?.backlog === parts.backlog;
    return new ParentDesk({
      ...{ ...parts, topic, partition, isLive },
      parent:
        parent === undefined ? undefined : this.env.SUBSCRIPTION.getByName(objectName(generation, parent)),
      now: () => this.runtime.now(),
      opened: () => this.store.noteParentCleared(),
    });
  }

  private assemble(parts: Read & Pick<Loaded, "parents">, topic: TopicCalls): Loaded {
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
      underway: this.underway,
      waitUntil: (work) => this.ctx.waitUntil(work),
      ended: () => this.loaded && this.goOn(this.loaded),
    });
    const deadLetters = new DeadLetterDesk({
      ...{ ...parts, desk, store: this.store, runtime, settings: () => state.row.settings },
      change: (decide) => this.change(state, decide),
    });
    const timeline = new TimelineDesk({
      ...{ partition: parts.row.partition, backlog: parts.backlog, reader: parts.reader, store: this.store },
      settings: () => state.row.settings,
    });
    const seeks = new SeekDesk({
      ...{ ...parts, desk, store: this.store },
      row: () => state.row,
      beginAnew: (write) => this.beginAnew(state, write),
    });
    const expiry = new ExpiryDesk({
      ...parts,
      ...{ desk, topic, store: this.store, runtime, isLive },
      change: (decide) => this.change(state, decide),
    });
    const { parents, backlog } = parts;
    const lookAgainMs = () =>
      parents.isAwaiting ? backlog.gate.waitMs(this.runtime.now()) : Number.POSITIVE_INFINITY;
    const polls = new LongPoll({ waiters: this.waiters, runtime, isLive, lookAgainMs });
    const state: Loaded = { ...parts, desk, deadLetters, timeline, expiry, seeks, polls, pump };
    return state;
  }

  /** Decides and saves in one transaction, then arms. When it throws, memory is read afresh. */
  private change<T>(state: Loaded, decide: () => T): T {
    if (this.loaded !== state) throw new StaleState();
    try {
      return this.store.transaction(() => {
        const value = decide();
        state.desk.buryThoseInMemory();
        const changes = state.backlog.takeChanges();
        this.store.save(state.backlog, changes, this.runtime.now());
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

  /** Answers a call to a subscription that exists; `gone` to any other. */
  private async whenLive<T>(answer: (state: Loaded) => Result<T> | Promise<Result<T>>): Promise<Result<T>> {
    while (this.loaded) {
      try {
        return await answer(this.loaded);
      } catch (fault) {
        if (!(fault instanceof StaleState)) throw fault;
      }
    }
    return this.gone();
  }

  private gone(): Refused {
    return refuse("gone", "This generation of the subscription is not here.");
  }
}

/** What a long poll found; it finds nothing once what it looked at was read afresh. */
function stillThere<T>(found: T | undefined): T {
  if (found === undefined) throw new StaleState();
  return found;
}
