// Holds what is in memory of a topic's partition, and is the one way to change it: loaded from its store, changed in one
// transaction at a time, read afresh after a change that failed, and with the alarm armed for what is due first.

import { type Refused, type Result, refuse } from "../errors";
import { limits } from "../limits";
import type { LogRun } from "../topic-calls";
import { Waiters } from "../waiters";
import { loadParts, type TopicHost, type TopicParts } from "./topic-parts";

export type MemoryHost = Pick<TopicHost, "store" | "subscriptions" | "topicAt" | "now"> &
  Readonly<{ ctx: Pick<DurableObjectState, "storage" | "waitUntil"> }>;

export class TopicMemory {
  /** What is in memory while the topic exists. The store can tell all of it again. */
  loaded: TopicParts | undefined;
  /** When the alarm rings; undefined when it is not armed. */
  armedAt: number | undefined;

  /** Those who follow the log as it grows. */
  readonly tails = new Waiters();

  constructor(private readonly host: MemoryHost) {
    this.load();
  }

  /** Answers a call: nobody is shown what is past its retention, and what is due has its offset before. */
  whenAlive<T>(answer: (state: TopicParts) => Result<T>): Result<T> {
    const state = this.loaded;
    if (!state) return gone();
    const telling = state.retention.tidy(this.host.now());
    if (telling) this.host.ctx.waitUntil(telling);
    this.release(this.host.now());
    return this.loaded ? answer(this.loaded) : gone();
  }

  /** Gives their offsets to delayed messages that are due: one row of them, so that no call waits long for it. */
  private release(now: number): void {
    const state = this.loaded;
    if (!state?.delays.isDue(now)) return;
    const run = this.write(() => state.delays.release(now));
    if (run) this.announce(state, run);
  }

  private load(): void {
    const topic = this.host.store.topic();
    this.loaded = undefined;
    if (!topic || topic.deleted) return;
    this.loaded = loadParts(topic, {
      ...this.host,
      write: (decide) => this.write(decide),
      current: () => this.loaded,
    });
  }

  /** Runs `decide` in one transaction; when it throws, nothing was written and memory is read afresh. */
  write<T>(decide: () => T): T {
    try {
      return this.host.store.transaction(decide);
    } catch (fault) {
      this.load();
      throw fault;
    }
  }

  /** A change of the topic itself: written, then read afresh. */
  change<T>(decide: () => Result<T>): Result<T> {
    const result = this.write(decide);
    this.load();
    this.arm();
    return result;
  }

  /** Owes every reader a notify: armed in the same change as the append, sent right after it. */
  announce({ notifier }: TopicParts, run: LogRun): void {
    this.arm();
    this.tails.wakeAll();
    this.host.ctx.waitUntil(notifier.announce(run));
  }

  /** The alarm has rung: what is due is released, and whoever is behind is told again. Never throws. */
  ring(): void {
    this.armedAt = undefined;
    const now = this.host.now();
    let notBefore = now;
    try {
      for (let rows = 0; rows < limits.releasesPerAlarm; rows++) this.release(now);
    } catch (fault) {
      console.error(JSON.stringify({ at: "topic.alarm", fault: String(fault) }));
      notBefore += limits.notifyAgainMs;
    }
    // It rang because somebody was owed a notify; after a restart nobody knows who, until all have answered.
    this.arm({ notBefore, doubts: true });
    if (this.loaded) this.host.ctx.waitUntil(this.loaded.notifier.notifyAgain());
  }

  /**
   * Arms the alarm to tell again whoever does not know the head, or for the first delayed message that is due, unless
   * it is armed for something sooner. Retention has no alarm: what is past it is seen out by whichever call comes
   * first, the sweep's poke at the latest.
   */
  arm({ notBefore = this.host.now(), doubts = false } = {}): void {
    const state = this.loaded;
    if (!state) return;
    const now = this.host.now();
    const owedAt = state.notifier.isOwed(doubts) ? now + limits.notifyAgainMs : Number.POSITIVE_INFINITY;
    const releaseAt = state.delays.nextDueAt ?? Number.POSITIVE_INFINITY;
    const due = Math.max(notBefore, Math.min(owedAt, releaseAt));
    if (due === Number.POSITIVE_INFINITY) return;
    const stillAhead = this.armedAt !== undefined && this.armedAt > now - limits.notifyAgainMs;
    if (stillAhead && (this.armedAt ?? 0) <= due) return;
    this.armedAt = due;
    void this.host.ctx.storage.setAlarm(due);
  }
}

export function gone(): Refused {
  return refuse("gone", "This generation of the topic is not here.");
}
