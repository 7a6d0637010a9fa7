// An isolate that stops at the n-th of its outgoing calls, of any sort: before the call is made, or after it was made
// and before it is answered. Stopped, it does nothing more; only one that was merely paused goes on.
import type { LedgerStore } from "../../src/ledger/ledger-store";
import type { Dispatching } from "../../src/push/dispatch-run";

export type Stop = Readonly<{ call: number; side: "before" | "after" }>;

export class Isolate {
  /** Where it stopped: the sort of call. */
  stoppedAt: string | undefined;
  /** The sorts of calls that it had decided to make and had not made when it stopped: they cannot be called back. */
  readonly onTheirWay: string[] = [];
  private calls = 0;
  private isStopped = false;
  private gate: Promise<void> = Promise.resolve();
  private open: () => void = () => undefined;

  constructor(private readonly stop: Stop) {}

  /** What a dispatch in this isolate gets of the world. */
  within(deps: Dispatching): Dispatching {
    const { report, fetch, sleep, topicRetentionMs } = deps;
    return {
      ...deps,
      ledger: this.ledger(deps.ledger),
      report: (call) => this.cross("report", () => report(call)),
      fetch: (url, init) => this.cross("fetch", () => fetch(url, init)),
      topicRetentionMs: () => this.cross("retention", () => topicRetentionMs()),
      sleep: async (ms) => {
        await sleep(ms);
        await this.gate;
      },
    };
  }

  /** It was only paused. */
  resume(): void {
    this.isStopped = false;
    this.open();
  }

  private ledger(store: LedgerStore): LedgerStore {
    return new Proxy(store, {
      get: (target, method: keyof LedgerStore & string) => (call: never) =>
        this.cross(method, () => (target[method] as (call: never) => Promise<unknown>)(call)),
    });
  }

  private async cross<T>(sort: string, call: () => Promise<T>): Promise<T> {
    this.calls += 1;
    const isHere = this.calls === this.stop.call;
    if (isHere && this.stop.side === "before") this.halt(`before ${sort}`);
    if (this.isStopped) this.onTheirWay.push(sort);
    await this.gate;
    try {
      return await call();
    } finally {
      if (isHere && this.stop.side === "after") this.halt(`after ${sort}`);
      await this.gate;
    }
  }

  private halt(where: string): void {
    this.stoppedAt = where;
    this.isStopped = true;
    this.gate = new Promise((open) => {
      this.open = open;
    });
  }
}
