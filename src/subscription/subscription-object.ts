// One partition of one subscription: a Durable Object that takes messages from the log, hands them out under
// leases, and settles them. Push is a pull consumer that lives inside: one state machine serves both.

import { DurableObject } from "cloudflare:workers";
import type { AttemptsAnswer, AttemptsCall } from "../attempt-calls";
import type {
  DeadLetter,
  DeadLetterPage,
  DeadLetterSelection,
  MovedLetter,
  PurgeAnswer,
  RedriveAnswer,
  RedriveCall,
} from "../dead-letter-calls";
import type { Env } from "../env";
import { ok, type Result } from "../errors";
import { limits } from "../limits";
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
  ReportAnswer,
  ReportCall,
  SeekAnswer,
  SeekCall,
  SettleStatus,
  SubscriptionCalls,
  SubscriptionProvision,
  SubscriptionStats,
} from "../subscription-calls";
import type { Audit, Trace, TraceCall } from "../timeline-calls";
import type { VerifyCall } from "../verify-calls";
import { findAttempts } from "./failed-attempts";
import type { Loaded } from "./loaded";
import { openFrom } from "./seek";
import { SocketDesk } from "./socket-desk";
import { socketOf } from "./socket-store";
import { statsOf } from "./stats";
import { SubscriptionMemory, sendAll } from "./subscription-memory";
import { SubscriptionStore } from "./subscription-store";

/** A close frame without a code, and what it is answered with (RFC 6455, section 7.4). */
const NO_STATUS = 1005;
const NORMAL = 1000;

export class SubscriptionObject extends DurableObject<Env> implements SubscriptionCalls {
  runtime: Runtime = systemRuntime;
  private readonly store: SubscriptionStore;
  private readonly memory: SubscriptionMemory;
  private readonly sockets: SocketDesk;

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    this.store = new SubscriptionStore(ctx.storage);
    this.memory = new SubscriptionMemory({ ctx, env, store: this.store, runtime: () => this.runtime });
    this.sockets = new SocketDesk(this.memory, this.memory.sockets, () => this.runtime);
    void ctx.blockConcurrencyWhile(() => this.memory.recallAlarm());
  }

  private get loaded(): Loaded | undefined {
    return this.memory.loaded;
  }

  // ── life and settings ──────────────────────────────────────────────────────────────────────────────

  async provision(call: SubscriptionProvision): Promise<Result<null>> {
    const row = this.store.subscription();
    if (row?.deleted) return this.memory.gone();
    if (!row) {
      this.store.transaction(() => this.store.create(call));
      this.memory.load();
    }
    return this.wake();
  }

  async configure(call: {
    settings: SubscriptionSettings;
    version: number;
    partitions?: number;
  }): Promise<Result<null>> {
    const state = this.loaded;
    if (!state) return this.memory.gone();
    // At its own version the catalog's word stands against a pause that the object made by itself.
    const { version, settings, partitions } = state.row;
    const isShared = (call.partitions ?? partitions) === partitions;
    const isSame = call.version === version && call.settings.paused === settings.paused && isShared;
    if (call.version < version || isSame) return ok(null);
    this.memory.configure(state, call);
    // Of another endpoint nothing is known.
    const isElsewhere =
      call.settings.push?.url !== settings.push?.url ||
      call.settings.forward?.generation !== settings.forward?.generation;
    if (isElsewhere) state.endpoint.forgive(this.runtime.now());
    this.sockets.dismiss(state);
    return this.wake();
  }

  /** Leaves a tombstone, also where nothing was: a creation that comes late finds it. */
  async remove(): Promise<Result<null>> {
    const isBuried = this.store.subscription()?.deleted ?? false;
    if (!isBuried) this.store.transaction(() => this.store.bury());
    this.memory.forget();
    this.sockets.dismiss(undefined);
    return ok(null);
  }

  // ── taking from the log ────────────────────────────────────────────────────────────────────────────

  async notify({ head, runs }: NotifyCall): Promise<Result<{ informedTo: number }>> {
    return this.memory.whenLive(async (state) => {
      state.reader.informedTo(head);
      state.buffer.append(runs);
      this.memory.waiters.wakeAll();
      await sendAll(state);
      this.memory.rememberUnread(state, head);
      return ok({ informedTo: head });
    });
  }

  async pull(call: LeaseCall): Promise<Result<LeaseAnswer>> {
    const until = this.runtime.now() + call.waitMs;
    return this.memory.whenLive(({ pulls }) => pulls.pull(call, until));
  }

  async ready({ waitMs }: { waitMs: number }): Promise<Result<{ ready: boolean }>> {
    const until = this.runtime.now() + waitMs;
    return this.memory.whenLive(({ pulls }) => pulls.ready(until));
  }

  // ── sockets ────────────────────────────────────────────────────────────────────────────────────────

  /** Opens a socket: the one call that is a request, because only a response can carry one. */
  override async fetch(request: Request): Promise<Response> {
    const query = new URL(request.url).searchParams;
    const ackDeadlineMs = query.get("ackDeadlineMs");
    const opened = await this.sockets.open({
      credit: Number(query.get("credit")),
      ...(ackDeadlineMs !== null && { ackDeadlineMs: Number(ackDeadlineMs) }),
    });
    if (!opened.ok) return Response.json(opened);
    return new Response(null, { status: 101, webSocket: opened.value });
  }

  override async webSocketMessage(socket: WebSocket, data: string | ArrayBuffer): Promise<void> {
    await this.sockets.hear(socketOf(socket), data);
  }

  override async webSocketClose(socket: WebSocket, code: number): Promise<void> {
    const closing = socketOf(socket);
    closing.close(code === NO_STATUS ? NORMAL : code, "");
    await this.sockets.closed(closing);
  }

  override async webSocketError(socket: WebSocket): Promise<void> {
    await this.sockets.closed(socketOf(socket));
  }

  // ── settling ───────────────────────────────────────────────────────────────────────────────────────

  async ack({ refs }: { refs: readonly LeaseRef[] }): Promise<Result<readonly SettleStatus[]>> {
    return this.andGoOn(({ settles }) => settles.ack(refs));
  }

  async nack(call: NackCall): Promise<Result<readonly SettleStatus[]>> {
    return this.andGoOn(({ settles }) => settles.nack(call));
  }

  async extend(call: {
    refs: readonly LeaseRef[];
    ackDeadlineMs: number;
  }): Promise<Result<readonly SettleStatus[]>> {
    const deadlineAt = this.runtime.now() + call.ackDeadlineMs;
    return this.andGoOn(({ settles }) => settles.extend(call.refs, deadlineAt));
  }

  async report(call: ReportCall): Promise<Result<ReportAnswer>> {
    return this.andGoOn(({ settles }) => settles.report(call));
  }

  async probe(): Promise<Result<null>> {
    return this.andGoOn((state) => {
      this.memory.change(state, () => state.endpoint.forgive(this.runtime.now()));
      return ok(null);
    });
  }

  async verify(call: Pick<VerifyCall, "by">): Promise<Result<null>> {
    return this.memory.whenLive(({ verifier }) => verifier.ask(call));
  }

  // ── retention ──────────────────────────────────────────────────────────────────────────────────────

  async expire({ before }: { before: number }): Promise<Result<ExpireAnswer>> {
    // A lane whose head expired goes on with what is left of it.
    return this.andGoOn(async ({ expiry }) => ok(await expiry.expire(before)));
  }

  async settledTo(): Promise<Result<{ offset: number }>> {
    return this.memory.whenLive((state) => {
      this.memory.saveFiltered(state);
      return ok({ offset: state.expiry.settledTo() });
    });
  }

  // ── dead letters ───────────────────────────────────────────────────────────────────────────────────

  async deadLetters(call: {
    after: number;
    epoch?: number;
    limit: number;
  }): Promise<Result<readonly DeadLetter[]>> {
    const { epoch = 0, after, limit } = call;
    return this.memory.whenLive(async (state) => ok(await state.deadLetters.list(epoch, after, limit)));
  }

  async findDeadLetters(call: DeadLetterSelection): Promise<Result<DeadLetterPage>> {
    return this.memory.whenLive(async (state) => ok(await state.deadLetters.find(call)));
  }

  async redrive(call: RedriveCall): Promise<Result<RedriveAnswer>> {
    return this.andGoOn(({ deadLetters }) => deadLetters.redrive(call));
  }

  async purge(call: DeadLetterSelection): Promise<Result<PurgeAnswer>> {
    return this.andGoOn(async ({ deadLetters }) => ok(await deadLetters.purge(call)));
  }

  async moveLetters({ letters }: { letters: readonly MovedLetter[] }): Promise<Result<{ moved: number }>> {
    return this.andGoOn(({ deadLetters }) => ok({ moved: deadLetters.move(letters) }));
  }

  // ── seeking ────────────────────────────────────────────────────────────────────────────────────────

  async seek(call: SeekCall): Promise<Result<SeekAnswer>> {
    return this.memory.whenLive((state) => state.seeks.seek(call));
  }

  async position(): Promise<Result<{ openFrom: number }>> {
    return this.memory.whenLive((state) => {
      this.memory.saveFiltered(state);
      return ok({ openFrom: openFrom(state.backlog) });
    });
  }

  // ── timers and stats ───────────────────────────────────────────────────────────────────────────────

  async wake(): Promise<Result<null>> {
    return this.memory.whenLive((state) => {
      // While it was paused, or if a notify was lost, there may be more in the log than it knows.
      state.reader.doubt();
      this.memory.saveFiltered(state);
      this.memory.arm(state);
      this.memory.goOn(state);
      return ok(null);
    });
  }

  override async alarm(): Promise<void> {
    this.memory.alarmRang();
    const state = this.loaded;
    if (!state) return;
    // Before anything arms the alarm anew: what has begun is not due any more.
    state.verifier.askWhenDue();
    let notBefore = 0;
    try {
      state.settles.endOverdue();
    } catch (fault) {
      console.error(JSON.stringify({ at: "subscription.alarm", fault: String(fault) }));
      notBefore = this.runtime.now() + limits.lookAgainMs;
    }
    // A fault had memory read afresh, and what failed now would fail again at once.
    if (!this.loaded) return;
    this.memory.arm(this.loaded, notBefore);
    this.memory.goOn(this.loaded);
  }

  async stats(): Promise<Result<SubscriptionStats>> {
    return this.memory.whenLive(async (state) => {
      const { desk, backlog, endpoint, reader, row } = state;
      await desk.buryDying();
      this.memory.saveFiltered(state);
      const head = await reader.askHead();
      const shown = {
        ...{ partition: row.partition, paused: row.settings.paused, head },
        gaps: this.store.gaps.list(),
        endpoint:
          row.settings.type === "pull" ? undefined : endpoint.view(this.runtime.now(), row.settings.push),
        oldestDeathAt: this.store.deadLetters.oldestDeathAt(),
      };
      return ok(statsOf(backlog, shown));
    });
  }

  async attempts(call: AttemptsCall): Promise<Result<AttemptsAnswer>> {
    return this.memory.whenLive(async ({ backlog, desk }) => {
      await desk.buryDying();
      const letters = this.store.deadLetters.failedAfter(backlog.counters.epoch, call);
      return ok(findAttempts(backlog.deliveries.values(), letters, call));
    });
  }

  async whereabouts(call: TraceCall): Promise<Result<Trace>> {
    return this.memory.whenLive(async (state) => {
      this.memory.saveFiltered(state);
      return ok(await state.timeline.trace(call));
    });
  }

  async audit({ from }: { from: number }): Promise<Result<Audit>> {
    return this.memory.whenLive((state) => {
      this.memory.saveFiltered(state);
      return state.timeline.audit(from);
    });
  }

  async pendingKeys({ partition }: { partition: number }): Promise<Result<{ pending: PendingKeys }>> {
    return this.memory.whenLive(async ({ parents }) => ok({ pending: await parents.pendingFor(partition) }));
  }

  /** Answers a call that changes what is in hand; then whatever it made possible is done. */
  private andGoOn<T>(act: (state: Loaded) => Result<T> | Promise<Result<T>>): Promise<Result<T>> {
    return this.memory.whenLive(async (state) => {
      const answer = await act(state);
      this.memory.goOn(state);
      return answer;
    });
  }
}
