// Holds what is in memory of a subscription, and is the one way to change it: decide, save just what changed in one
// transaction, then arm the alarm for what is due first. When that fails, memory is read afresh, and whoever waited
// meanwhile is made to look again.

import type { AdmissionCalls } from "../admission-calls";
import type { DispatchCalls } from "../dispatch-calls";
import type { Env } from "../env";
import { type Refused, type Result, refuse } from "../errors";
import { limits } from "../limits";
import type { Runtime } from "../runtime";
import type { ConfigureCall } from "../subscription-calls";
import type { VerifyCalls } from "../verify-calls";
import { Waiters } from "../waiters";
import { dueAt } from "./due";
import { EndpointDesk } from "./endpoint-desk";
import { saveFiltered, setFilter } from "./filtering";
import { assemble, type Loaded } from "./loaded";
import { SocketDoor } from "./socket-door";
import { SocketStore } from "./socket-store";
import { StaleState } from "./stale-state";
import type { SubscriptionStore } from "./subscription-store";

/** The object whose memory it is. */
export type Host = Readonly<{
  ctx: DurableObjectState;
  env: Env;
  store: SubscriptionStore;
  runtime: () => Runtime;
}>;

export class SubscriptionMemory {
  readonly waiters = new Waiters();
  readonly sockets: SocketStore;
  readonly door: SocketDoor;
  private held: Loaded | undefined;
  private armedAt: number | undefined;
  private readonly underway = { count: 0 };
  private readonly asking = { until: 0 };
  private readonly endpoint: EndpointDesk;

  constructor(private readonly host: Host) {
    this.endpoint = new EndpointDesk(host.store.health);
    this.sockets = new SocketStore(host.ctx);
    const { Doorkeeper: keeper } = host.ctx.exports as unknown as { Doorkeeper: AdmissionCalls };
    this.door = new SocketDoor({ keeper, runtime: host.runtime });
    this.load();
  }

  /** What is in memory; undefined while the subscription does not exist. */
  get loaded(): Loaded | undefined {
    return this.held;
  }

  // ── load, forget ───────────────────────────────────────────────────────────────────────────────────

  /** Reads afresh what there is. */
  load(): void {
    this.held = undefined;
    const { ctx, env, store, runtime } = this.host;
    const row = store.subscription();
    if (!row || row.deleted) return;
    this.endpoint.recall();
    const { Dispatcher: dispatcher } = ctx.exports as unknown as { Dispatcher: DispatchCalls & VerifyCalls };
    this.held = assemble(row, {
      ...{ env, dispatcher, store, runtime, waiters: this.waiters, underway: this.underway },
      ...{ endpoint: this.endpoint, asking: this.asking },
      ...{ sockets: () => this.sockets.all(), door: this.door },
      waitUntil: (work) => ctx.waitUntil(work),
      isLive: (state) => this.held === state,
      change: (state, decide) => this.change(state, decide),
      pause: (state, reason) => this.pause(state, reason),
      beginAnew: (state, write) => this.beginAnew(state, write),
      goOn: () => this.held && this.goOn(this.held),
      arm: (state) => this.held === state && this.arm(state),
    });
  }

  /** The subscription is gone: whoever waits learns so. */
  forget(): void {
    this.held = undefined;
    this.waiters.wakeAll();
  }

  /** Answers a call to a subscription that exists; `gone` to any other. */
  async whenLive<T>(answer: (state: Loaded) => Result<T> | Promise<Result<T>>): Promise<Result<T>> {
    while (this.held) {
      try {
        return await answer(this.held);
      } catch (fault) {
        if (!(fault instanceof StaleState)) throw fault;
      }
    }
    return this.gone();
  }

  gone(): Refused {
    return refuse("gone", "This generation of the subscription is not here.");
  }

  // ── change ─────────────────────────────────────────────────────────────────────────────────────────

  /** Decides and saves in one transaction, then arms. When it throws, memory is read afresh. */
  change<T>(state: Loaded, decide: () => T): T {
    if (this.held !== state) throw new StaleState();
    const { store, runtime } = this.host;
    try {
      return store.transaction(() => {
        const value = decide();
        state.desk.buryThoseInMemory();
        const changes = state.backlog.takeChanges();
        store.save(state.backlog, changes, runtime().now());
        for (const offset of changes.deliveries) {
          const isLeased = state.backlog.deliveries.get(offset)?.state === "leased";
          if (!isLeased) state.buffer.release(offset, state.backlog.counters.nextOffset);
        }
        return value;
      });
    } catch (fault) {
      this.load();
      throw fault;
    } finally {
      if (this.held === state) this.arm(state);
    }
  }

  /**
   * What a subscription that sends by itself answers to know is leased, or saved as unread with the alarm armed: a restart
   * forgets nothing. While there is unread anyway, every lease saves it along.
   */
  rememberUnread(state: Loaded, head: number): void {
    if (this.held !== state || !(state.pump.isActive || state.live.isActive)) return;
    const { counters } = state.backlog;
    if (counters.nextOffset < head && this.host.store.savedHead <= counters.nextOffset) {
      this.change(state, () => {
        state.backlog.changes.state = true;
      });
    }
    this.arm(state);
  }

  /** Other settings. Another filter is saved with how far the one before has filtered: what it judged stays judged. */
  configure(state: Loaded, call: ConfigureCall): void {
    const { settings, version, partitions } = call;
    const held = state.row;
    this.change(state, () => {
      this.host.store.configure(settings, version, partitions);
      // What it was told while it sent nothing by itself is in memory only, if there still: it must look, also after a restart.
      if (!settings.paused) {
        state.reader.doubt();
        state.backlog.changes.state = true;
      }
      const [before, next] = [held.settings.filter ?? null, settings.filter ?? null];
      if (JSON.stringify(before) === JSON.stringify(next)) return;
      setFilter(state.backlog, { version: held.version, filter: before }, { version, filter: next });
    });
    state.row = { ...held, ...call };
  }

  /** What is told of filtered messages is not taken back by a restart. */
  saveFiltered(state: Loaded): void {
    if (state.backlog.unsaved.count > 0) this.change(state, () => saveFiltered(state.backlog));
  }

  /** Within a change: nothing is sent from now on, though the catalog does not know yet. */
  private pause(state: Loaded, pausedReason: string): void {
    const settings = { ...state.row.settings, paused: true, pausedReason };
    this.host.store.configure(settings, state.row.version);
    state.row = { ...state.row, settings };
  }

  /** Writes an epoch's beginning; from here on there is nothing in memory but what the store tells. */
  private beginAnew(state: Loaded, write: () => void): void {
    if (this.held !== state) throw new StaleState();
    try {
      this.host.store.transaction(write);
    } finally {
      this.load();
    }
    if (!this.held) return;
    this.arm(this.held);
    this.goOn(this.held);
  }

  /** After a change: whoever waits looks again, the dying are buried, and what can be sent is sent. */
  goOn(state: Loaded): void {
    this.waiters.wakeAll();
    if (this.held !== state) return;
    const work = state.desk.buryDying().then(async () => {
      await sendAll(state);
      if (state.desk.hasMore && this.held === state) this.arm(state);
    });
    this.host.ctx.waitUntil(
      work.catch((fault) => {
        // Whoever read afresh goes on by itself.
        if (fault instanceof StaleState) return;
        console.warn(JSON.stringify({ at: "subscription.goOn", fault: String(fault) }));
        this.arm(state);
      }),
    );
  }

  // ── alarm ──────────────────────────────────────────────────────────────────────────────────────────

  /** Learns for when the alarm was armed before this memory. */
  async recallAlarm(): Promise<void> {
    this.armedAt = (await this.host.ctx.storage.getAlarm()) ?? undefined;
  }

  /** The alarm has rung: none is armed. */
  alarmRang(): void {
    this.armedAt = undefined;
  }

  /** Arms the alarm for what is due first, unless it is armed for something sooner. */
  arm(state: Loaded, notBefore = 0): void {
    const now = this.host.runtime().now();
    const dueNext = dueAt(state, now);
    const due = dueNext === undefined ? undefined : Math.max(dueNext, notBefore);
    const stillAhead = this.armedAt !== undefined && this.armedAt > now - limits.lookAgainMs;
    if (due === undefined || (stillAhead && (this.armedAt ?? 0) <= due)) return;
    this.armedAt = Math.max(due, now);
    void this.host.ctx.storage.setAlarm(this.armedAt);
  }
}

/** Sends what can be sent by itself: to an endpoint, to another topic, or to whoever listens. */
export function sendAll({ pump, live, row }: Loaded): Promise<void> {
  return row.settings.type === "pull" ? live.pump() : pump.pump();
}
