// Where the objects live. Each has its storage, at most one instance, and an output gate: what an instance answers or
// asks leaves it only once its writes before that are on disk. An instance may crash or be evicted between any two
// steps: its memory is gone, calls under way fail at their callers, and what was not confirmed may be lost.

import { type Agenda, Owner } from "./agenda";
import type { Chance } from "./chance";
import type { Counts } from "./coverage";
import type { Network, Remote, Reply } from "./network";
import { ObjectStorage } from "./object-storage";

type Methods = Record<string, (...args: unknown[]) => Promise<unknown>>;
export type Instance = Readonly<{ alarm(): Promise<void> }>;
export type ObjectKind = "topic" | "subscription" | "capacity";

/** What one instance did: a call it carried out with its answer, or one that it made to a dispatcher. */
export type Deed = Readonly<{ method: string; args: readonly unknown[]; answer: unknown; begunAt: number }>;

/** Makes an instance of an object's class, in the hands of `live`. */
export type MakeInstance = (live: Live, ctx: unknown) => Instance;

export type HostParts = Readonly<{
  agenda: Agenda;
  network: Network;
  chance: Chance;
  counts: Counts;
  /** How likely an instance crashes while a write of it is on its way to the disk. */
  crashiness: () => number;
  /** What an object did in a step that has just ended. */
  stepped: (object: SimulatedObject) => void;
  /** All that an object did since the last time is on disk. */
  confirmed: (object: SimulatedObject) => void;
  /** What it did since the last time is undone. */
  undone: (object: SimulatedObject) => void;
}>;

/** One instance of an object: memory, and what has not left it yet. */
export class Live extends Owner {
  readonly outbox: (() => void)[] = [];
  readonly replies = new Set<Reply>();
  instance: Instance | undefined;
  ready: Promise<unknown> = Promise.resolve();

  constructor(readonly object: SimulatedObject) {
    super(object.name);
  }

  override send(leave: () => void): void {
    if (!this.alive) return;
    if (this.outbox.length === 0 && !this.object.storage.dirty) leave();
    else {
      this.outbox.push(leave);
      this.object.touch();
    }
  }
}

export class SimulatedObject {
  readonly storage = new ObjectStorage();
  readonly remote: Remote;
  live: Live | undefined;
  /** What was done since it was last confirmed or undone; for the witness. */
  deeds: Deed[] = [];
  /** The platform gave its alarm up, and nothing has set it since. */
  alarmLost = false;
  private gate = false;
  private ringsAt: number | undefined;
  private touched = false;

  constructor(
    readonly kind: ObjectKind,
    readonly id: string,
    private readonly make: MakeInstance,
    private readonly parts: HostParts,
  ) {
    const receive: Remote["receive"] = (method, args, reply) => this.receive(method, args, reply);
    this.remote = { name: this.name, receive };
  }

  get name(): string {
    return `${this.kind}:${this.id}`;
  }

  note(deed: Omit<Deed, "begunAt"> & Partial<Deed>): void {
    this.deeds.push({ begunAt: this.parts.agenda.now, ...deed });
    this.touch();
  }

  /** Its turn has come in this step: it is looked at when the step ends. */
  touch(): void {
    this.touched = true;
  }

  /** After every step: what was written is on its way to the disk, what was seen is told. */
  settleStep(): void {
    if (!this.touched) return;
    this.touched = false;
    this.parts.stepped(this);
    const { live } = this;
    const isOpen = !this.storage.dirty && (live?.outbox.length ?? 0) === 0;
    if (isOpen) this.confirm();
    else if (live && !this.gate) {
      this.gate = true;
      const ms = this.parts.chance.happens(0.05) ? this.parts.chance.below(200) : this.parts.chance.below(3);
      this.parts.agenda.after(ms, live, "gate", () => this.openGate(live));
      if (!this.parts.chance.happens(this.parts.crashiness())) return;
      const keeps = this.parts.chance.happens(0.3);
      this.parts.agenda.after(this.parts.chance.below(ms + 1), live, "crash", () => this.crash(keeps));
    }
  }

  // ── calls ──────────────────────────────────────────────────────────────────────────────────────────

  private receive(method: string, args: readonly unknown[], reply: Reply): void {
    const live = this.awake();
    live.replies.add(reply);
    const leave = (say: () => void) =>
      live.send(() => {
        if (live.replies.delete(reply)) say();
      });
    void this.carryOut(live, method, args).then(
      (answer) => leave(() => reply.answer(answer)),
      (fault: unknown) => leave(() => reply.fail(new Error(String(fault)))),
    );
  }

  private async carryOut(live: Live, method: string, args: readonly unknown[]): Promise<unknown> {
    await live.ready;
    const begunAt = this.parts.agenda.now;
    const run = (live.instance as unknown as Methods)[method];
    if (!run) throw new Error(`${this.name} has no method ${method}`);
    const answer = await run.apply(live.instance, [...args]);
    if (live.alive) this.note({ method, args, answer: structuredClone(answer), begunAt });
    return answer;
  }

  /** The instance, made if there is none; this step is its own. */
  private awake(): Live {
    const live = this.live ?? this.start();
    this.parts.agenda.become(live);
    this.touch();
    return live;
  }

  private start(): Live {
    const live = new Live(this);
    this.live = live;
    this.parts.agenda.become(live);
    const blockConcurrencyWhile = (work: () => Promise<unknown>) => {
      live.ready = work();
      return live.ready;
    };
    const waitUntil = (work: Promise<unknown>) => void work.catch(() => undefined);
    live.instance = this.make(live, {
      storage: guarded(this.storage, live),
      blockConcurrencyWhile,
      // Nobody listens on sockets here.
      getWebSockets: () => [],
      waitUntil,
    });
    return live;
  }

  // ── the output gate, crashes and evictions ─────────────────────────────────────────────────────────

  private openGate(live: Live): void {
    this.gate = false;
    this.confirm();
    for (const leave of live.outbox.splice(0)) leave();
  }

  private confirm(): void {
    this.storage.confirm();
    if (this.storage.confirmedAlarmAt !== undefined) this.alarmLost = false;
    this.parts.confirmed(this);
    this.rearm();
  }

  /** Memory is gone. `keeps`: what was written reached the disk before. Nothing more leaves. */
  crash(keeps: boolean): void {
    const { live } = this;
    if (!live) return;
    this.parts.counts.crashes += 1;
    if (keeps) this.confirm();
    else {
      if (this.storage.dirty) this.parts.counts.writesLost += 1;
      this.storage.rollBack();
      this.parts.undone(this);
    }
    this.end(live);
  }

  /** Memory is gone after everything was written and has left, as when the Worker is deployed anew. */
  evict(): void {
    const { live } = this;
    if (!live) return;
    this.parts.counts.evictions += 1;
    this.openGate(live);
    this.end(live);
  }

  private end(live: Live): void {
    live.alive = false;
    this.live = undefined;
    this.gate = false;
    for (const reply of live.replies) reply.fail(new Error("The object was reset."));
    live.replies.clear();
    this.rearm();
  }

  // ── the alarm ──────────────────────────────────────────────────────────────────────────────────────

  private rearm(): void {
    const { confirmedAlarmAt: at } = this.storage;
    if (at === this.ringsAt) return;
    this.ringsAt = at;
    if (at === undefined) return;
    this.parts.agenda.after(
      at + this.lateness() - this.parts.agenda.now,
      undefined,
      `alarm ${this.name}`,
      () => this.ring(at),
    );
  }

  private lateness(): number {
    const { chance, counts, network } = this.parts;
    if (!network.faults.on || !chance.happens(0.1)) return chance.below(3);
    counts.alarmsLate += 1;
    return chance.below(20_000);
  }

  private ring(at: number): void {
    const { chance, counts, network } = this.parts;
    const strikes = (probability: number) => network.faults.on && chance.happens(probability);
    const isStale = this.storage.alarmAt !== at;
    if (isStale) {
      // It was under way already when another instant was set. Should that be undone, it is to ring again.
      if (this.ringsAt === at) this.ringsAt = undefined;
      if (strikes(0.3)) {
        counts.alarmsStale += 1;
        this.run();
      }
      return;
    }
    this.ringsAt = undefined;
    if (strikes(0.03)) {
      counts.alarmsLost += 1;
      this.storage.dropAlarm();
      this.alarmLost = true;
      return;
    }
    this.storage.alarmAt = undefined;
    this.storage.dirty = true;
    this.run();
    if (!strikes(0.05)) return;
    this.parts.agenda.after(chance.below(1_000), undefined, `alarm again ${this.name}`, () => {
      counts.alarmsTwice += 1;
      this.run();
    });
  }

  private run(): void {
    const live = this.awake();
    this.parts.counts.alarms += 1;
    const ringing = live.ready.then(() => live.instance?.alarm());
    void ringing.then(
      () => {
        if (live.alive) this.note({ method: "alarm", args: [], answer: undefined });
      },
      () => undefined,
    );
  }
}

/** The storage as one instance has it: once that is dead, it reaches nothing. */
function guarded(storage: ObjectStorage, live: Live): unknown {
  const check = () => {
    if (!live.alive) throw new Error("this instance is no more");
    live.object.touch();
  };
  const { sql } = storage;
  return {
    sql: {
      get databaseSize() {
        return sql.databaseSize;
      },
      exec: (...asked: Parameters<typeof sql.exec>) => {
        check();
        return sql.exec(...asked);
      },
    },
    transactionSync: <T>(change: () => T) => {
      check();
      return storage.transactionSync(change);
    },
    getAlarm: () => storage.getAlarm(),
    setAlarm: (at: number) => {
      check();
      return storage.setAlarm(at);
    },
    deleteAlarm: () => {
      check();
      return storage.deleteAlarm();
    },
  };
}
