// The replies to one request: a Durable Object that its asker waits on and whoever was handed the request writes to. It
// calls nobody, so calls still go one way. It forgets itself when its time is over.

import { DurableObject } from "cloudflare:workers";
import type { Env } from "../env";
import { ok, type Result, refuse } from "../errors";
import { limits } from "../limits";
import { toBase64, urlSafe } from "../message-json";
import type { OpenAnswer, OpenCall, Replied, Reply, ReplyCalls, RequestView, Said } from "../reply-calls";
import { type Runtime, systemRuntime } from "../runtime";
import { Waiters } from "../waiters";
import { endWait, judgeReply, keptUntil, openBook, type ReplyBook, replyOfBook, viewOf } from "./reply-book";
import { ReplyStore } from "./reply-store";

/** As many bits as a UUID has, all of them chance. */
const SECRET_BYTES = 16;

export class ReplyObject extends DurableObject<Env> implements ReplyCalls {
  runtime: Runtime = systemRuntime;
  private readonly store: ReplyStore;
  private readonly waiters = new Waiters();
  private waiting = 0;
  private held: ReplyBook | undefined;

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    this.store = new ReplyStore(ctx.storage);
    this.held = this.store.load();
  }

  async open(call: OpenCall): Promise<Result<OpenAnswer>> {
    const before = this.held;
    const secret = before?.secret ?? newSecret();
    const opened = openBook(before, call, { now: this.runtime.now(), secret });
    if (!opened.ok) return opened;
    if (opened.value !== before) this.store.saveRequest(opened.value);
    if (before === undefined) this.arm(opened.value);
    this.held = opened.value;
    const reply = replyOfBook(opened.value);
    return ok({ secret, fresh: before === undefined, ...(reply && { reply }) });
  }

  async answer(call: Said & Readonly<{ secret: string }>): Promise<Result<Replied>> {
    const book = this.held;
    const { replied, reply } = judgeReply(book, call, this.runtime.now());
    if (book === undefined || reply === undefined) return ok(replied);
    this.store.addReply(book.replies.length, reply);
    this.held = { ...book, replies: [...book.replies, reply] };
    this.waiters.wakeAll();
    return ok(replied);
  }

  async hear({ waitMs }: { waitMs: number }): Promise<Result<Readonly<{ reply?: Reply }>>> {
    if (this.held === undefined) return unknown();
    if (this.held.replies.length === 0 && waitMs > 0) {
      if (this.waiting >= limits.replyWaiters) return tooMany();
      this.waiting += 1;
      // The first reply is the only news that there is to wait for.
      await this.waiters.wait(waitMs, this.waiters.news);
      this.waiting -= 1;
      // In memory alone: what is stored differs by no more than the call took.
      if (this.waiting === 0 && this.held !== undefined) this.held = endWait(this.held, this.runtime.now());
    }
    const reply = replyOfBook(this.held);
    return ok(reply ? { reply } : {});
  }

  async show(): Promise<Result<RequestView>> {
    return this.held === undefined ? unknown() : ok(viewOf(this.held));
  }

  /** A reply that came late is kept a while longer: then it looks again. */
  override async alarm(): Promise<void> {
    if (this.held === undefined) return;
    if (this.runtime.now() < keptUntil(this.held)) return this.arm(this.held);
    await this.store.clear();
    this.held = undefined;
  }

  private arm(book: ReplyBook): void {
    void this.ctx.storage.setAlarm(keptUntil(book));
  }
}

function newSecret(): string {
  return urlSafe(toBase64(crypto.getRandomValues(new Uint8Array(SECRET_BYTES))));
}

function unknown(): Result<never> {
  return refuse("request-not-found", "There is no such request, or its replies are no longer kept.");
}

function tooMany(): Result<never> {
  return refuse("too-many-requests", "Too many wait for the reply to this request.", {
    limit: limits.replyWaiters,
    retryAfterMs: limits.catalogRetryMs,
  });
}
