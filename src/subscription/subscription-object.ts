// One partition of one subscription: a Durable Object that takes messages from the log, hands them out under
// leases, and settles them. Push is a pull consumer that lives inside: one state machine serves both.

import { DurableObject } from "cloudflare:workers";
import {
  type DeadLetter,
  type DeadLetterSelection,
  type DispatchCalls,
  type LeaseAnswer,
  type LeaseCall,
  type LeaseRef,
  type NackCall,
  type NotifyCall,
  objectName,
  type ReportCall,
  type SettleStatus,
  type SubscriptionCalls,
  type SubscriptionProvision,
  type SubscriptionStats,
  type TopicCalls,
} from "../calls";
import type { Env } from "../env";
import { ok, type Refused, type Result, refuse } from "../errors";
import { limits } from "../limits";
import { joinBytes } from "../record-batch";
import { type Runtime, systemRuntime } from "../runtime";
import type { SubscriptionSettings } from "../settings";
import { Backlog } from "./backlog";
import { redrive } from "./delivery";
import { canLease, cutLease, findMissing } from "./leasing";
import { LogReader } from "./log-reader";
import { RecordBuffer } from "./record-buffer";
import { ack, expireLeases, extend, leasedBy, type Moment, nack, report } from "./settling";
import { type SubscriptionRow, SubscriptionStore } from "./subscription-store";
import { Waiters } from "./waiters";

/** What is in memory while the subscription exists. The store and the log can tell all of it again. */
type Loaded = {
  row: SubscriptionRow;
  backlog: Backlog;
  buffer: RecordBuffer;
  reader: LogReader;
  dispatches: number;
  pumping: Promise<void> | undefined;
  pumpAgain: boolean;
};
type Wanted = { leaseId: string; max: number; maxBytes: number; ackDeadlineMs: number };

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
    if (call.version <= state.row.version) return ok(null);
    this.store.configure(call.settings, call.version);
    state.row = { ...state.row, ...call };
    return this.wake();
  }

  async remove(): Promise<Result<null>> {
    if (this.loaded) this.store.transaction(() => this.store.bury());
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
    // What a push subscription answers to know is leased, or its alarm is armed: a restart forgets nothing.
    await this.pump(state);
    this.arm(state);
    return ok({ informedTo: head });
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
      const lease = await this.lease(state, { ...call, ackDeadlineMs }, ask);
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

  /**
   * Leases what is there, reading the log for what is missing. `ask` reads the log even when the subscription
   * believes to know its head: whoever was just answered by a publish finds that message.
   */
  private async lease(state: Loaded, wanted: Wanted, ask: boolean): Promise<LeaseAnswer> {
    const again = leasedBy(state.backlog, wanted.leaseId);
    if (again.length > 0) return this.leaseAgain(state, wanted.leaseId);
    for (let reads = 0; reads < limits.leaseReads && this.loaded === state; reads++) {
      await this.buryDying(state);
      if (await this.readFirst(state, wanted.max, reads)) continue;
      const lease = this.cut(state, wanted);
      if (lease.deliveries.length > 0) return lease;
      const mayRead = state.reader.isBehind || (ask && reads === 0);
      if (!mayRead || !(await state.reader.readAhead())) return lease;
    }
    return this.answer(wanted.leaseId, 0, [], []);
  }

  /** Reads what a cut would lack: deliveries that are due, and the log when none of it is held. */
  private async readFirst(state: Loaded, max: number, reads: number): Promise<boolean> {
    const { backlog, buffer, reader } = state;
    // Half of the reads at most: the other half is for the log, and to hand out what did arrive.
    if (reads > limits.leaseReads / 2 || (reads > 0 && buffer.isFull)) return false;
    const missing = findMissing(backlog, buffer, { now: this.runtime.now(), max });
    if (missing) {
      const lost = await reader.readMissing(missing);
      if (lost.length > 0) this.lose(state, lost);
      return true;
    }
    const holdsNothing = buffer.end === backlog.counters.nextOffset;
    return holdsNothing && reader.isBehind && (await reader.readAhead());
  }

  /** Synchronous from the look at the backlog to the write: two leases never take the same offset. */
  private cut(state: Loaded, { leaseId, max, maxBytes, ackDeadlineMs }: Wanted): LeaseAnswer {
    const { settings } = state.row;
    const now = this.runtime.now();
    const deadlineAt = now + ackDeadlineMs;
    const room = settings.maxInFlight - state.backlog.leasedCount;
    const canOpen = !settings.paused && state.backlog.leases.size < limits.openLeases;
    if (!canOpen || room <= 0) return this.answer(leaseId, deadlineAt, [], []);
    const { leased, records } = this.change(state, () =>
      cutLease(state.backlog, state.buffer, { leaseId, now, deadlineAt, max: Math.min(max, room), maxBytes }),
    );
    if (state.buffer.isHalfFull) for (const { offset } of leased) state.buffer.forget(offset);
    return this.answer(leaseId, deadlineAt, leased, records);
  }

  private answer(
    leaseId: string,
    deadlineAt: number,
    leased: readonly { offset: number; attempts: number }[],
    records: readonly Uint8Array[],
  ): LeaseAnswer {
    const deliveries = leased.map(({ offset, attempts }) => ({ offset, attempt: attempts + 1 }));
    return { leaseId, deadlineAt, deliveries, records: joinBytes(records) };
  }

  /** The same lease again, for a caller that lost the first answer. */
  private async leaseAgain(state: Loaded, leaseId: string): Promise<LeaseAnswer> {
    const offsets = leasedBy(state.backlog, leaseId).map(({ offset }) => offset);
    await state.reader.hold(offsets);
    const held = leasedBy(state.backlog, leaseId).filter(({ offset }) => state.buffer.get(offset));
    const first = held[0] && state.backlog.leaseOf.get(held[0].offset);
    const records = held.flatMap(({ offset }) => state.buffer.get(offset)?.record ?? []);
    return this.answer(leaseId, first?.deadlineAt ?? 0, held, records);
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
    await this.buryDying(state);
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
    await this.buryDying(state);
    const letters = this.store.dead(call);
    this.change(state, () => {
      for (const letter of letters) each(state, letter);
    });
    this.goOn(state);
    return ok(letters.length);
  }

  /** Buries those out of attempts whose message is not in memory: it is read first, to be kept with them. */
  private async buryDying(state: Loaded): Promise<void> {
    while (state.backlog.dying.size > 0 && this.loaded === state) {
      const offsets = [...state.backlog.dying].sort((a, b) => a - b).slice(0, limits.dispatchMessages);
      const lost = await state.reader.hold(offsets);
      this.change(state, () => {
        for (const offset of lost) this.bury(state, offset);
      });
    }
  }

  private buryThoseInMemory(state: Loaded): void {
    for (const offset of [...state.backlog.dying]) if (state.buffer.get(offset)) this.bury(state, offset);
  }

  private bury({ backlog, buffer, row }: Loaded, offset: number): void {
    const dying = backlog.deliveries.get(offset);
    if (dying?.state !== "dying") return;
    const parks = dying.orderingKey !== undefined && row.settings.onExhausted === "park";
    const { reason } = dying.death;
    backlog.bury(dying, buffer.get(offset)?.record.slice(), parks && reason !== "expired");
  }

  /** Deliveries whose message retention overtook. What waited dies, and says so; followers count as expired. */
  private lose(state: Loaded, offsets: readonly number[]): void {
    const death = { diedAt: this.runtime.now(), reason: "expired" as const };
    this.change(state, () => {
      for (const offset of offsets) {
        const delivery = state.backlog.deliveries.get(offset);
        if (delivery?.state === "waiting") state.backlog.put({ ...delivery, state: "dying", death });
        else state.backlog.loseFollower(offset);
      }
    });
  }

  // ── push ───────────────────────────────────────────────────────────────────────────────────────────

  /** Hands out what can be pushed now. One at a time: whoever comes meanwhile makes it look once more. */
  private async pump(state: Loaded): Promise<void> {
    if (state.row.settings.type !== "push") return;
    state.pumpAgain = true;
    state.pumping ??= this.pumpAll(state).finally(() => {
      state.pumping = undefined;
    });
    await state.pumping;
  }

  private async pumpAll(state: Loaded): Promise<void> {
    while (state.pumpAgain && this.loaded === state) {
      state.pumpAgain = false;
      while (state.dispatches < limits.dispatchesPerSubscription && (await this.dispatchOne(state)));
    }
  }

  private async dispatchOne(state: Loaded): Promise<boolean> {
    if (this.loaded !== state || state.row.settings.paused || this.gathersUntil(state) !== undefined)
      return false;
    const leaseId = this.runtime.newId();
    const { ackDeadlineMs } = state.row.settings;
    const { dispatchMessages: max, dispatchBytes: maxBytes } = limits;
    const lease = await this.lease(state, { leaseId, max, maxBytes, ackDeadlineMs }, false);
    if (lease.deliveries.length === 0) return false;
    state.dispatches += 1;
    this.ctx.waitUntil(this.dispatch(state, lease));
    return true;
  }

  private async dispatch(state: Loaded, lease: LeaseAnswer): Promise<void> {
    const { topic, subscription, generation, partition, settings } = state.row;
    const { Dispatcher } = this.ctx.exports as unknown as { Dispatcher: DispatchCalls };
    try {
      await Dispatcher.deliver({ topic, subscription, generation, partition, settings, lease });
    } catch (fault) {
      // How far it came is unknown. The ack deadline ends the lease.
      console.error(JSON.stringify({ at: "subscription.dispatch", subscription, fault: String(fault) }));
    } finally {
      state.dispatches -= 1;
      this.goOn(state);
    }
  }

  /** While a batch is smaller than asked for, until when to wait for more. */
  private gathersUntil({ row, backlog, buffer }: Loaded): number | undefined {
    const { push } = row.settings;
    const { nextOffset } = backlog.counters;
    const first = buffer.get(nextOffset);
    if (!push || push.batchMaxMessages <= 1 || !first) return undefined;
    const until = first.storedAt + push.batchMaxWaitMs;
    const isShort = buffer.end - nextOffset < push.batchMaxMessages;
    return isShort && until > this.runtime.now() ? until : undefined;
  }

  /** After a change: whoever waits looks again, the dying are buried, and what can be pushed is pushed. */
  private goOn(state: Loaded): void {
    this.waiters.wakeAll();
    if (this.loaded !== state) return;
    const work = this.buryDying(state).then(() => this.pump(state));
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
    this.armedAt = undefined;
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
    await this.buryDying(state);
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
    const { backlog, row, reader } = state;
    const dues = [...backlog.leases].map(({ deadlineAt }) => deadlineAt);
    const next = backlog.ready.peek();
    if (next && next.at > now) dues.push(next.at);
    const isPush = row.settings.type === "push" && !row.settings.paused;
    const hasRoom = state.dispatches < limits.dispatchesPerSubscription;
    if (isPush && hasRoom && (reader.isBehind || (next && next.at <= now)))
      dues.push(now + limits.lookAgainMs);
    if (isPush) dues.push(this.gathersUntil(state) ?? Number.POSITIVE_INFINITY);
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
    const reader = new LogReader(topic, backlog, buffer, this.store, (decide) => this.changeNow(decide));
    this.loaded = { row, backlog, buffer, reader, dispatches: 0, pumping: undefined, pumpAgain: false };
  }

  private changeNow(decide: () => void): void {
    if (this.loaded) this.change(this.loaded, decide);
  }

  /** Decides and saves in one transaction, then arms. When it throws, memory is read afresh. */
  private change<T>(state: Loaded, decide: () => T): T {
    try {
      return this.store.transaction(() => {
        const value = decide();
        this.buryThoseInMemory(state);
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
