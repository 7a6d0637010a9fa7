// A world for one dispatch under virtual time: an endpoint that answers as the test says, a subscription that
// records reports, and the real ledger. Time moves only when the dispatch waits for nothing else.
import { env } from "cloudflare:workers";
import type { ShareAnswer } from "../../src/capacity-calls";
import type { Begin, DispatchCall, Sending } from "../../src/dispatch-calls";
import { ok, type Result } from "../../src/errors";
import { LedgerStore } from "../../src/ledger/ledger-store";
import type { Message } from "../../src/message";
import { dispatch } from "../../src/push/dispatch";
import type { Dispatching, ShareAsk } from "../../src/push/dispatch-run";
import { packRecords } from "../../src/record-batch";
import type { ReplyTo, Said } from "../../src/reply-calls";
import type { DispatchOutcome, ReportAnswer, ReportCall } from "../../src/report-calls";
import type { Runtime } from "../../src/runtime";
import {
  defaultSubscriptionSettings,
  type PushSettings,
  type SubscriptionSettings,
} from "../../src/settings";
import type { Isolate } from "./isolate";

export type Sent = Readonly<{
  id: string;
  at: number;
  url: string;
  headers: Headers;
  body: Uint8Array;
  redirect: string | undefined;
}>;
export type Posted = Sent & Readonly<{ signal: AbortSignal }>;
export type Endpoint = (posted: Posted) => Response | Promise<Response>;
export type Asked = Readonly<{
  messages: readonly Partial<Message>[];
  push?: Partial<PushSettings>;
  settings?: Partial<SubscriptionSettings>;
  leaseId?: string;
  attempt?: number;
  firstOffset?: number;
  generation?: string;
  replay?: number;
  sending?: Sending;
}>;

export type Running = Readonly<{ ended: boolean; fault: unknown; over: Promise<void> }>;

type Timer = Readonly<{ at: number; fire: () => void }>;

const d1 = (env as unknown as { LEDGER: D1Database }).LEDGER;
const utf8 = new TextEncoder();
export const SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

let lastGeneration = 0;

export class World {
  now: number;
  readonly sent: Sent[] = [];
  readonly reports: (ReportCall & { at: number })[] = [];
  readonly lines: Readonly<Record<string, unknown>>[] = [];
  readonly replies: (Said & { to: ReplyTo })[] = [];
  replyTries = 0;
  /** Whether the object of a request's replies is away at this try. */
  repliesAway: (tries: number) => boolean = () => false;
  gone = 0;
  underWay = 0;
  mostUnderWay = 0;
  /** How the next reports are answered; a fault is thrown. */
  answerReport: (call: ReportCall) => Result<ReportAnswer> | Error = () => ok(null);
  readonly asks: (ShareAsk & { at: number })[] = [];
  /** How the capacity answers; what it throws is a fault of the way to it. */
  answerAsk: (asked: ShareAsk, call: DispatchCall) => Result<ShareAnswer> | Promise<Result<ShareAnswer>> =
    () => ok({ paces: {} });
  /** Whether the ledger's database is away. */
  ledgerAway: (method: string) => boolean = () => false;
  /** Set them to end the world before or after a method of the ledger: the isolate died there. */
  diesBefore: string | undefined;
  diesAfter: string | undefined;
  /** How long the topic keeps messages; undefined when nobody can tell. */
  topicRetentionMs: number | undefined = 7 * 24 * 3_600_000;
  readonly generation = `generation-${++lastGeneration}`;
  /** What secrets are opened with. */
  secretsKeys: readonly string[] = [];
  readonly runtime: Runtime;
  private timers: Timer[] = [];
  private busy = 0;
  private dead = false;

  constructor(
    readonly endpoint: Endpoint = () => new Response(null, { status: 204 }),
    startsAt = 1_800_000_000_000,
  ) {
    this.now = startsAt;
    this.runtime = { now: () => this.now, random: () => 0.5, newId: () => crypto.randomUUID() };
  }

  /** The outcomes of all reports, by offset. */
  get outcomes(): ReadonlyMap<number, DispatchOutcome> {
    return new Map(
      this.reports.flatMap(({ outcomes }) => outcomes).map((outcome) => [outcome.offset, outcome]),
    );
  }

  /** The results of all reports, by offset: `delivered`, `failed` or `unsent`. */
  get results(): readonly (readonly [number, string])[] {
    return [...this.outcomes]
      .map(([offset, { result }]) => [offset, result] as const)
      .sort(([a], [b]) => a - b);
  }

  /** Waits in virtual time. */
  sleep(ms: number): Promise<void> {
    return new Promise((fire) => this.timers.push({ at: this.now + ms, fire }));
  }

  /** Runs one dispatch to its end; or, when it dies, to its death. */
  async dispatch(asked: Asked): Promise<void> {
    const running = this.start(this.callOf(asked));
    await this.drive(() => running.ended || this.dead);
    this.dead = false;
    this.timers = [];
    if (running.fault) throw running.fault;
  }

  /** Begins a dispatch, in an isolate that may stop. It goes on while the world is driven. */
  start(call: DispatchCall, isolate?: Isolate, begin: Begin = async () => true): Running {
    const { promise: over, resolve: end } = Promise.withResolvers<void>();
    const running = { ended: false, fault: undefined as unknown, over };
    const deps = { ...this.deps(call), begin };
    dispatch(call, isolate?.within(deps) ?? deps)
      .catch((error: unknown) => {
        running.fault = error;
      })
      .finally(() => {
        running.ended = true;
        end();
      });
    return running;
  }

  /** Lets time pass, from one thing that waits for it to the next, until `isOver`. */
  async drive(isOver: () => boolean): Promise<void> {
    while (!isOver()) {
      await this.settled();
      if (isOver()) return;
      const [next] = this.timers.sort((a, b) => a.at - b.at).splice(0, 1);
      if (next === undefined) throw new Error("the dispatch waits for nothing");
      this.now = Math.max(this.now, next.at);
      next.fire();
    }
  }

  /** Whoever waited for time is gone. */
  forgetTimers(): void {
    this.timers = [];
  }

  callOf(asked: Asked): DispatchCall {
    const { messages, push, settings, leaseId = crypto.randomUUID(), attempt = 1, firstOffset = 0 } = asked;
    const whole = messages.map((message, index) => ({
      id: `m${firstOffset + index}`,
      publishedAt: this.now,
      contentType: "application/json",
      body: utf8.encode(`{"n":${firstOffset + index}}`),
      ...message,
    }));
    const all: SubscriptionSettings = {
      ...defaultSubscriptionSettings,
      type: "push",
      push: {
        url: "https://hooks.example.com/in?token=hunter2",
        headers: {},
        timeoutMs: 30_000,
        batchMaxMessages: 1,
        batchMaxWaitMs: 0,
        secrets: [SECRET],
        ...push,
      },
      ...settings,
    };
    const deliveries = whole.map((_, index) => ({ offset: firstOffset + index, attempt }));
    const deadlineAt = this.now + all.ackDeadlineMs;
    return {
      topic: "orders",
      subscription: "billing",
      generation: asked.generation ?? this.generation,
      replay: asked.replay ?? 0,
      partition: 0,
      settings: all,
      lease: { leaseId, deadlineAt, deliveries, records: packRecords(whole) },
      ...(asked.sending && { sending: asked.sending }),
    };
  }

  ledger(): LedgerStore {
    const store = new LedgerStore(d1, this.runtime);
    return new Proxy(store, {
      get: (target, method: keyof LedgerStore & string) => (call: never) =>
        this.onLedger(target, method, call),
    });
  }

  /** A row of the ledger, as nobody disturbs it. */
  peek(namespace: string, messageId: string) {
    return new LedgerStore(d1, this.runtime).read(namespace, messageId);
  }

  private deps(call: DispatchCall): Omit<Dispatching, "begin"> {
    return {
      runtime: this.runtime,
      local: false,
      secretsKeys: this.secretsKeys,
      ownHosts: ["broker.example.com"],
      ledger: this.ledger(),
      sleep: (ms) => this.sleep(ms),
      timeout: (ms) => this.timeout(ms),
      fetch: (url, init) => this.post(url, init),
      report: (call) => this.take(call),
      reply: async (to, said) => {
        this.replyTries += 1;
        if (this.repliesAway(this.replyTries)) throw new Error("the object of the replies is away");
        this.replies.push({ to, ...said });
        return ok("first");
      },
      topicRetentionMs: async () => this.topicRetentionMs,
      share: async (asked) => {
        this.asks.push({ ...asked, at: this.now });
        return this.answerAsk(asked, call);
      },
      endpointGone: () => {
        this.gone += 1;
      },
      log: (line) => this.lines.push(line),
    };
  }

  private async onLedger(store: LedgerStore, method: keyof LedgerStore, call: never): Promise<unknown> {
    if (this.diesBefore === method) return this.die();
    if (this.ledgerAway(method)) throw new Error("D1_ERROR: away");
    this.busy += 1;
    try {
      const answer = await (store[method] as (call: never) => Promise<unknown>).call(store, call);
      return this.diesAfter === method ? this.die() : answer;
    } finally {
      this.busy -= 1;
    }
  }

  private async post(url: string, init: RequestInit): Promise<Response> {
    const headers = new Headers(init.headers as Record<string, string>);
    const body = new Uint8Array(await new Response(init.body as Uint8Array).arrayBuffer());
    const sent = {
      id: headers.get("webhook-id") ?? "",
      at: this.now,
      url,
      headers,
      body,
      redirect: init.redirect,
    };
    this.sent.push(sent);
    this.mostUnderWay = Math.max(this.mostUnderWay, ++this.underWay);
    const { signal } = init as { signal: AbortSignal };
    const aborted = new Promise<never>((_, fail) => {
      signal.addEventListener("abort", () => fail(signal.reason));
    });
    try {
      return await Promise.race([aborted, this.endpoint({ ...sent, signal })]);
    } finally {
      this.underWay -= 1;
    }
  }

  private async take(call: ReportCall): Promise<Result<ReportAnswer>> {
    const answer = this.answerReport(call);
    if (answer instanceof Error) throw answer;
    this.reports.push({ ...call, at: this.now });
    return answer;
  }

  private timeout(ms: number): AbortSignal {
    const controller = new AbortController();
    const fire = () => controller.abort(new DOMException("The operation timed out", "TimeoutError"));
    this.timers.push({ at: this.now + ms, fire });
    return controller.signal;
  }

  /** The isolate is gone: nothing after this point happens. */
  private die(): Promise<never> {
    this.dead = true;
    return new Promise(() => undefined);
  }

  /** Until the dispatch waits for time alone. */
  private async settled(): Promise<void> {
    do {
      for (let turn = 0; turn < 3; turn++) await new Promise((next) => setTimeout(next, 0));
    } while (this.busy > 0);
  }
}
