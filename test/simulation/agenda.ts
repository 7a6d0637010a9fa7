// The virtual clock, and the agenda: everything that is to happen: calls under way, answers, timers,
// alarms. Of what is due it picks one by chance, lets it run until nothing is left to run, then picks the next: so
// any interleaving at any await may come. When nothing is due, the clock jumps to what comes first.

import TinyQueue from "tinyqueue";
import { type Chance, Trace } from "./chance";

/** On whose behalf code runs: an object's instance, one invocation of a Worker, a client. Dead, nothing of it runs. */
export class Owner {
  alive = true;
  /** Calls that it made and that were not answered yet. */
  asking = 0;

  constructor(readonly name: string) {}

  /** Lets something leave: at once, unless the owner has an output gate. */
  send(leave: () => void): void {
    leave();
  }
}

export type Due = {
  readonly at: number;
  readonly order: number;
  /** Without an owner it happens whoever lives. */
  readonly owner: Owner | undefined;
  readonly what: string;
  readonly run: () => void;
  cancelled: boolean;
};

const START = 1_700_000_000_000;
/** Node's own, taken before a world puts its timers in place of the global ones. */
const { setImmediate: turn } = globalThis;

export class Agenda {
  now = START;
  steps = 0;
  readonly trace = new Trace();
  private readonly later = new TinyQueue<Due>([], (a, b) => a.at - b.at || a.order - b.order);
  private readonly due: Due[] = [];
  private order = 0;
  private running: Owner | undefined;

  constructor(readonly chance: Chance) {}

  /** On whose behalf code runs now. */
  get owner(): Owner {
    return this.running ?? NOBODY;
  }

  /** The rest of this step runs on behalf of `owner`. */
  become(owner: Owner): void {
    this.running = owner;
  }

  after(ms: number, owner: Owner | undefined, what: string, run: () => void): Due {
    const due = {
      at: this.now + Math.max(0, Math.ceil(ms)),
      order: this.order++,
      owner,
      what,
      run,
      cancelled: false,
    };
    this.later.push(due);
    return due;
  }

  /** Lets one thing happen, up to `until`; false when nothing is left to happen by then. */
  async step(until = Number.POSITIVE_INFINITY): Promise<boolean> {
    const next = this.take(until);
    if (!next) return false;
    this.steps += 1;
    this.trace.add(`${this.now - START} ${next.owner?.name ?? "-"} ${next.what}`);
    this.running = next.owner;
    next.run();
    await new Promise<void>((resolve) => turn(resolve));
    this.running = undefined;
    return true;
  }

  private take(until: number): Due | undefined {
    for (;;) {
      if (this.due.length === 0) {
        const first = this.later.peek();
        if (!first || first.at > until) {
          if (until !== Number.POSITIVE_INFINITY) this.now = Math.max(this.now, until);
          return undefined;
        }
        this.now = Math.max(this.now, first.at);
      }
      for (let next = this.later.peek(); next && next.at <= this.now; next = this.later.peek()) {
        this.later.pop();
        if (isLive(next)) this.due.push(next);
      }
      if (this.due.length === 0) continue;
      const at = this.chance.below(this.due.length);
      const picked = this.due[at] as Due;
      const last = this.due.pop() as Due;
      if (last !== picked) this.due[at] = last;
      if (isLive(picked)) return picked;
    }
  }

  // ── timers of the code under simulation ────────────────────────────────────────────────────────────

  /** In place of the global setTimeout: a timer of whoever runs. */
  readonly startTimer = (run: () => void, ms = 0): Due => this.after(ms, this.owner, "timer", run);

  readonly stopTimer = (timer: Due | undefined): void => {
    if (timer) timer.cancelled = true;
  };

  sleep(ms: number, owner: Owner): Promise<void> {
    return new Promise((wake) => {
      this.after(ms, owner, "sleep", wake);
    });
  }
}

const NOBODY = new Owner("nobody");

function isLive({ cancelled, owner }: Due): boolean {
  return !cancelled && owner?.alive !== false;
}
