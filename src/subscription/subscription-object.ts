// One partition of one subscription: a Durable Object that takes messages from the log, hands them out under
// leases, and settles them. Push is a pull consumer that lives inside: one state machine serves both.

import { DurableObject } from "cloudflare:workers";
import type { AttemptsAnswer, AttemptsCall } from "../attempt-calls";
import type {
  DeadLetter,
  DeadLetterPage,
  DeadLetterSelection,
  DeadLettersCall,
  MovedLetter,
  PurgeAnswer,
  RedriveAnswer,
  RedriveCall,
} from "../dead-letter-calls";
import type { Env } from "../env";
import { ok, type Result } from "../errors";
import type { ReportAnswer, ReportCall } from "../report-calls";
import { type Runtime, systemRuntime } from "../runtime";
import type { SeekAnswer, SeekCall } from "../seek-calls";
import { readSocketAsk } from "../socket-calls";
import type {
  ConfigureCall,
  ExpireAnswer,
  ExtendCall,
  LeaseAnswer,
  LeaseCall,
  LeaseRef,
  NackCall,
  NotifyCall,
  PendingKeys,
  SettleStatus,
  SubscriptionCalls,
  SubscriptionProvision,
  SubscriptionStats,
} from "../subscription-calls";
import type { Audit, Trace, TraceCall } from "../timeline-calls";
import type { VerifyCall } from "../verify-calls";
import { LifeDesk } from "./life-desk";
import type { Loaded } from "./loaded";
import { openFrom } from "./seek";
import { SocketDesk } from "./socket-desk";
import { socketOf } from "./socket-store";
import { StatsDesk } from "./stats-desk";
import { SubscriptionMemory } from "./subscription-memory";
import { SubscriptionStore } from "./subscription-store";
import { WakeDesk } from "./wake-desk";

export class SubscriptionObject extends DurableObject<Env> implements SubscriptionCalls {
  runtime: Runtime = systemRuntime;
  private readonly memory: SubscriptionMemory;
  private readonly sockets: SocketDesk;
  private readonly wakes: WakeDesk;
  private readonly life: LifeDesk;
  private readonly counts: StatsDesk;

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    const store = new SubscriptionStore(ctx.storage);
    const runtime = () => this.runtime;
    this.memory = new SubscriptionMemory({ ctx, env, store, runtime });
    this.sockets = new SocketDesk(this.memory, this.memory.sockets, this.memory.door, runtime);
    this.wakes = new WakeDesk(this.memory, runtime);
    const { memory, sockets, wakes } = this;
    this.life = new LifeDesk({ memory, sockets, wakes, store, runtime });
    this.counts = new StatsDesk(this.memory, store, runtime);
    void ctx.blockConcurrencyWhile(() => this.memory.recallAlarm());
  }

  // ── life and settings ──────────────────────────────────────────────────────────────────────────────

  async provision(call: SubscriptionProvision): Promise<Result<null>> {
    return this.life.provision(call);
  }

  async configure(call: ConfigureCall): Promise<Result<null>> {
    return this.life.configure(call);
  }

  async remove(): Promise<Result<null>> {
    return this.life.remove();
  }

  // ── taking from the log ────────────────────────────────────────────────────────────────────────────

  async notify(call: NotifyCall): Promise<Result<{ informedTo: number }>> {
    return this.wakes.notify(call);
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
    const opened = await this.sockets.open(readSocketAsk(new URL(request.url).searchParams));
    if (!opened.ok) return Response.json(opened);
    return new Response(null, { status: 101, webSocket: opened.value });
  }

  override async webSocketMessage(socket: WebSocket, data: string | ArrayBuffer): Promise<void> {
    await this.sockets.hear(socketOf(socket), data);
  }

  override async webSocketClose(socket: WebSocket, code: number): Promise<void> {
    await this.sockets.close(socketOf(socket), code);
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

  async extend(call: ExtendCall): Promise<Result<readonly SettleStatus[]>> {
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
    return this.told(({ expiry }) => ok({ offset: expiry.settledTo() }));
  }

  // ── dead letters ───────────────────────────────────────────────────────────────────────────────────

  async deadLetters({ after, epoch = 0, limit }: DeadLettersCall): Promise<Result<readonly DeadLetter[]>> {
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
    return this.told(({ backlog }) => ok({ openFrom: openFrom(backlog) }));
  }

  // ── timers and stats ───────────────────────────────────────────────────────────────────────────────

  async wake(): Promise<Result<null>> {
    return this.wakes.wake();
  }

  override async alarm(): Promise<void> {
    this.wakes.alarm();
  }

  async stats(): Promise<Result<SubscriptionStats>> {
    return this.counts.stats();
  }

  async attempts(call: AttemptsCall): Promise<Result<AttemptsAnswer>> {
    return this.counts.attempts(call);
  }

  async whereabouts(call: TraceCall): Promise<Result<Trace>> {
    return this.told(async ({ timeline }) => ok(await timeline.trace(call)));
  }

  async audit({ from }: { from: number }): Promise<Result<Audit>> {
    return this.told(({ timeline }) => timeline.audit(from));
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

  /** Answers what somebody will rely on: what is told of filtered messages is not taken back by a restart. */
  private told<T>(tell: (state: Loaded) => Result<T> | Promise<Result<T>>): Promise<Result<T>> {
    return this.memory.whenLive((state) => {
      this.memory.saveFiltered(state);
      return tell(state);
    });
  }
}
