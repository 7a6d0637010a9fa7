// The network between owners: every call crosses it as a copy, and may be lost, delayed, doubled or overtaken; its
// answer too. Whether a caller that hears of a fault was carried out is never known to it.

import type { Agenda, Owner } from "./agenda";
import type { Chance } from "./chance";
import type { Counts } from "./coverage";

/** How likely each fault is, for one call. */
export type Faults = { on: boolean; loss: number; doubling: number; slowness: number };

/** Where a call's answer goes: exactly one of the two, once. */
export type Reply = Readonly<{ answer(value: unknown): void; fail(fault: Error): void }>;

/** What can be called. `receive` begins to carry out the call and sees to it that the reply comes. */
export type Remote = Readonly<{
  name: string;
  /** The network doubles no call to it: an HTTP request only its client repeats, a dispatch is doubled where it runs. */
  once?: true;
  receive(method: string, args: readonly unknown[], reply: Reply): void;
}>;

export const NO_REPLY: Reply = { answer: () => undefined, fail: () => undefined };

export class Network {
  readonly faults: Faults = { on: false, loss: 0.02, doubling: 0.02, slowness: 0.04 };
  /** Names that cannot be reached at the moment. */
  readonly away = new Set<string>();

  constructor(
    private readonly agenda: Agenda,
    private readonly chance: Chance,
    private readonly counts: Counts,
  ) {}

  /** Calls `remote` for `from`. The promise never settles once `from` is dead. */
  call(from: Owner, remote: Remote, method: string, args: readonly unknown[]): Promise<unknown> {
    const sent = structuredClone(args);
    from.asking += 1;
    const answered = new Promise((resolve, reject) => {
      from.send(() => this.transmit(from, remote, method, sent, { answer: resolve, fail: reject }));
    });
    return answered.finally(() => {
      from.asking -= 1;
    });
  }

  private transmit(from: Owner, remote: Remote, method: string, args: readonly unknown[], to: Reply): void {
    const what = `${remote.name}.${method}`;
    const back = (say: () => void) => this.agenda.after(this.latency(), from, `answer ${what}`, say);
    const lose = () => back(() => to.fail(new Error("Network connection lost.")));
    if (this.away.has(remote.name) || this.strikes(this.faults.loss)) {
      this.counts.requestsLost += 1;
      lose();
      return;
    }
    const losesAnswer = this.strikes(this.faults.loss);
    const reply: Reply = {
      answer: (value) => {
        if (losesAnswer) this.counts.answersLost += 1;
        if (losesAnswer || !from.alive) return void lose();
        const copy = structuredClone(value);
        back(() => to.answer(copy));
      },
      fail: (fault) => back(() => to.fail(fault)),
    };
    this.arrive(remote, method, args, reply);
    if (!remote.once && this.strikes(this.faults.doubling)) {
      this.counts.callsDuplicated += 1;
      this.arrive(remote, method, structuredClone(args), NO_REPLY);
    }
  }

  private arrive(remote: Remote, method: string, args: readonly unknown[], reply: Reply): void {
    const run = () => remote.receive(method, args, reply);
    this.agenda.after(this.latency(), undefined, `${remote.name}.${method}`, run);
  }

  private latency(): number {
    if (!this.strikes(this.faults.slowness)) return this.chance.below(4);
    this.counts.callsSlow += 1;
    return this.chance.happens(0.7) ? this.chance.below(1_000) : this.chance.below(20_000);
  }

  /** Whether a fault of this likelihood happens now. */
  strikes(probability: number): boolean {
    return this.faults.on && this.chance.happens(probability);
  }
}

/** A stub whose every method is a call over the network. */
export function stubOf<C>(call: (method: string, args: readonly unknown[]) => Promise<unknown>): C {
  const get = (_: object, method: string | symbol) =>
    // A stub that is returned from an async function must not look like a promise.
    method === "then" || typeof method === "symbol" ? undefined : (...args: unknown[]) => call(method, args);
  return new Proxy({}, { get }) as C;
}
