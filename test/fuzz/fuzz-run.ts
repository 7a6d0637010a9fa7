// A fuzzing run: bursts of hostile requests, each answer judged; and bursts of refused ones, with the state compared
// before and after. The same seed makes the same requests.

import fc from "fast-check";
import { type FuzzAnswer, faultOf, type Send } from "./fuzz-judge.ts";
import { type Ask, changesOf, isHead, readState, type State } from "./fuzz-world.ts";
import { type HostileRequest, hostileRequests, type OpenApi, type World } from "./hostile-requests.ts";
import { refusedRequests } from "./refused-requests.ts";

export type FuzzFault = Readonly<{ what: string; burst: number; requests: readonly HostileRequest[] }>;
export type FuzzReport = Readonly<{
  seed: number;
  /** Those that were generated; what was sent again is in `resent`. */
  sent: number;
  resent: number;
  /** How often the state was compared around a burst that was refused throughout. */
  compared: number;
  /** Answers by route, then by status. */
  counts: ReadonlyMap<string, ReadonlyMap<number, number>>;
  slowest: readonly Readonly<{ ms: number; request: HostileRequest }>[];
  faults: readonly FuzzFault[];
}>;
export type FuzzOptions = Readonly<{
  document: OpenApi;
  world: World;
  send: Send;
  ask: Ask;
  requests: number;
  seed: number;
  /** Requests under way at once. */
  concurrency: number;
  /** How long one answer may take. */
  withinMs: number;
  /** Ends the run before its time. */
  isOver?: () => boolean;
  say?: (line: string) => void;
  /** Says how far it has come this often. */
  sayEveryMs?: number;
}>;

const BURST = 200;
/** Seeds of bursts lie so far apart that two runs have none in common. */
const SEED_STEP = 1_000_003;
/** Every so many bursts one is of requests that must be refused. */
const REFUSED_EVERY = 4;
/** Every so many bursts, those that were refused are sent again. */
const RESEND_EVERY = 16;
const QUIET_TRIES = 12;
const SLOWEST = 5;
const FAULTS = 20;
/** A segment of a path that is one dot or two, however it is written. */
const DOTS = /\/(?:\.|%2e){1,2}(?:[/?]|$)/i;

/** Runs until as many requests were generated, it is over, or too many faults were found. */
export async function fuzz(options: FuzzOptions): Promise<FuzzReport> {
  return new FuzzRun(options).run();
}

class FuzzRun {
  private readonly counts = new Map<string, Map<number, number>>();
  private readonly faults: FuzzFault[] = [];
  private slowest: { ms: number; request: HostileRequest }[] = [];
  private sent = 0;
  private resent = 0;
  private compared = 0;
  private answered = 0;
  private refused = 0;
  /** How many things the state was when it was last read. */
  private things = 0;
  private burst = 0;
  private readonly beganAt = performance.now();
  private saidAt = this.beganAt;

  private readonly options: FuzzOptions;

  constructor(options: FuzzOptions) {
    this.options = options;
  }

  async run(): Promise<FuzzReport> {
    const { document, world, requests, seed, isOver = () => false } = this.options;
    const hostile = hostileRequests(document, world);
    const refused = refusedRequests(document, world);
    for (; this.sent < requests && !isOver() && this.faults.length < FAULTS; this.burst++) {
      const mustBeRefused = this.burst % REFUSED_EVERY === REFUSED_EVERY - 1;
      const numRuns = Math.min(BURST, requests - this.sent);
      const burst = fc.sample(mustBeRefused ? refused : hostile, {
        seed: (seed * SEED_STEP + this.burst) | 0,
        numRuns,
      });
      if (mustBeRefused) await this.sendRefused(burst);
      else await this.sendHostile(burst);
      this.sent += burst.length;
    }
    const { sent, resent, compared, counts, slowest, faults } = this;
    return { seed, sent, resent, compared, counts, slowest, faults };
  }

  /** Also in the middle of a burst, so that one which hangs is seen to. */
  private sayProgress(): void {
    const { say, sayEveryMs = 10_000, requests } = this.options;
    const now = performance.now();
    if (now - this.saidAt < sayEveryMs) return;
    this.saidAt = now;
    const seconds = (now - this.beganAt) / 1000;
    const { sent, answered, refused, things, compared, faults } = this;
    say?.(
      `${seconds.toFixed(0).padStart(5)} s  ${sent} of ${requests}; ${answered} answered, ${refused} of them refused, ` +
        `${(answered / seconds).toFixed(0)} a second; state of ${things} things compared ${compared} times; ${faults.length} faults`,
    );
  }

  private async sendHostile(burst: readonly HostileRequest[]): Promise<void> {
    const statuses = await this.sendAll(burst);
    if (this.burst % RESEND_EVERY !== 0) return;
    const refused = burst.filter((_, index) => isRefused(statuses[index] ?? 0));
    this.resent += refused.length;
    await this.compare(refused);
  }

  private async sendRefused(burst: readonly HostileRequest[]): Promise<void> {
    const before = this.faults.length;
    const forgiven = await this.compare(burst);
    if (this.faults.length > before) return;
    for (const request of forgiven) {
      // Whoever sends it makes another path of one with dots, and that may name what exists.
      if (!DOTS.test(request.path)) this.fault("was not refused, and had to be", [request]);
    }
  }

  /** Sends what must change nothing, and looks whether it did. Returns those that were not refused: then there is no telling. */
  private async compare(burst: readonly HostileRequest[]): Promise<readonly HostileRequest[]> {
    const before = await this.quietState();
    const statuses = await this.sendAll(burst);
    const forgiven = burst.filter((_, index) => !isRefused(statuses[index] ?? 0));
    if (forgiven.length > 0) return forgiven;
    this.compared += 1;
    const changes = changesOf(before, await this.state());
    if (changes.length > 0) await this.blame(burst, changes);
    return [];
  }

  private async blame(burst: readonly HostileRequest[], changes: readonly string[]): Promise<void> {
    const guilty = await narrow(burst, (part) => this.changesAgain(part));
    // A log may have grown by what was accepted before: only what grows again is a fault.
    if (guilty === undefined && changes.every(isHead)) return;
    this.fault(`a refused request changed ${changes.slice(0, 5).join(", ")}`, guilty ?? burst);
  }

  private async changesAgain(burst: readonly HostileRequest[]): Promise<boolean> {
    const before = await this.quietState();
    const statuses = await this.sendAll(burst);
    return statuses.every(isRefused) && changesOf(before, await this.state()).length > 0;
  }

  private async sendAll(burst: readonly HostileRequest[]): Promise<number[]> {
    const statuses: number[] = [];
    let next = 0;
    const work = async () => {
      while (next < burst.length && this.faults.length < FAULTS) {
        const index = next++;
        const request = burst[index];
        if (request) statuses[index] = await this.sendOne(request);
      }
    };
    await Promise.all(Array.from({ length: this.options.concurrency }, work));
    return statuses;
  }

  private async sendOne(request: HostileRequest): Promise<number> {
    const { send, withinMs } = this.options;
    let answer: FuzzAnswer;
    try {
      answer = await send(request);
      // A broker that is away for one request, and for that one each time, is not away.
      for (let tries = 0; answer.status === 503 && tries < 5; tries++) answer = await send(request);
    } catch (fault) {
      this.fault(`no answer: ${String(fault)}`, [request]);
      return 0;
    }
    this.note(request, answer);
    const what = answer.status === 503 ? `503 each time: ${answer.text.slice(0, 200)}` : undefined;
    const fault = faultOf(request, answer, withinMs) ?? what;
    if (fault !== undefined) this.fault(fault, [request]);
    return answer.status;
  }

  private note(request: HostileRequest, { status, ms }: FuzzAnswer): void {
    const counts = this.counts.get(request.route) ?? new Map<number, number>();
    this.counts.set(request.route, counts.set(status, (counts.get(status) ?? 0) + 1));
    this.answered += 1;
    if (isRefused(status)) this.refused += 1;
    this.sayProgress();
    this.slowest = [...this.slowest, { ms, request }].sort((a, b) => b.ms - a.ms).slice(0, SLOWEST);
  }

  private fault(what: string, requests: readonly HostileRequest[]): void {
    this.faults.push({ what, burst: this.burst, requests });
  }

  private async state(): Promise<State> {
    const state = await readState(this.options.ask, this.options.world);
    this.things = state.size;
    return state;
  }

  /** The state once what was accepted has arrived: read until it is the same twice. */
  private async quietState(): Promise<State> {
    let before = await this.state();
    for (let tries = 0; tries < QUIET_TRIES; tries++) {
      const after = await this.state();
      if (changesOf(before, after).length === 0) return after;
      before = after;
    }
    return before;
  }
}

function isRefused(status: number): boolean {
  return status >= 400 && status < 500;
}

/** The one of `all` for which `holds`, by halves; undefined when it does not hold of all together again. */
export async function narrow<T>(
  all: readonly T[],
  holds: (part: readonly T[]) => Promise<boolean>,
): Promise<readonly T[] | undefined> {
  if (!(await holds(all))) return undefined;
  let part = all;
  while (part.length > 1) {
    const middle = Math.ceil(part.length / 2);
    const [first, second] = [part.slice(0, middle), part.slice(middle)];
    if (await holds(first)) part = first;
    else if (await holds(second)) part = second;
    else return part;
  }
  return part;
}
