// Invocations of the Worker: a request, a dispatch, a batch from the Cloudflare Queue, a sweep. Each is stateless and
// has bindings of its own; killed, nothing of it goes on, and its caller learns that it failed.

import { type Agenda, Owner } from "./agenda";
import type { Chance } from "./chance";
import type { Counts } from "./coverage";
import { NO_REPLY, type Remote, type Reply } from "./network";

export type Work = (owner: Owner, args: readonly unknown[]) => Promise<unknown>;
/** How likely an invocation is killed at some await of its own. */
const KILLED = 0.04;

type Invocation = Readonly<{ owner: Owner; reply: Reply }>;

export class Workers {
  private readonly running = new Set<Invocation>();

  constructor(
    private readonly agenda: Agenda,
    private readonly chance: Chance,
    private readonly counts: Counts,
    private readonly areKilled: () => boolean,
  ) {}

  /**
   * What is called `name` and carries out each call in an invocation of its own. One that is carried out `again` runs
   * twice now and then: the second comes later, and nobody hears its answer.
   */
  remote(name: string, work: Work, again: () => boolean = () => false): Remote {
    return {
      name,
      once: true,
      receive: (_, args, reply) => {
        this.start(name, (owner) => work(owner, args), reply);
        if (!again()) return;
        this.counts.callsDuplicated += 1;
        const second = () => this.start(name, (owner) => work(owner, structuredClone(args)), NO_REPLY);
        this.agenda.after(this.chance.below(2_000), undefined, `${name} again`, second);
      },
    };
  }

  /** Starts an invocation in this step. */
  start(name: string, work: (owner: Owner) => Promise<unknown>, reply: Reply): void {
    const invocation = { owner: new Owner(name), reply };
    this.running.add(invocation);
    if (this.areKilled() && this.chance.happens(KILLED)) this.killLater(invocation);
    this.agenda.become(invocation.owner);
    const ended = (say: () => void) => {
      if (this.running.delete(invocation)) say();
    };
    work(invocation.owner).then(
      (answer) => ended(() => reply.answer(answer)),
      (fault: unknown) => ended(() => reply.fail(new Error(String(fault)))),
    );
  }

  /** How many run under `name`, or in all. */
  count(name?: string): number {
    return [...this.running].filter(({ owner }) => name === undefined || owner.name === name).length;
  }

  /** Kills the `index`th of those that run. Answers its name. */
  kill(index: number): string | undefined {
    const invocation = [...this.running][index];
    return invocation && this.end(invocation);
  }

  private killLater(invocation: Invocation): void {
    const ms = this.chance.pick([this.chance.below(5), this.chance.below(40), this.chance.below(5_000)]);
    this.agenda.after(ms, invocation.owner, "killed", () => this.end(invocation));
  }

  killOwner(owner: Owner): void {
    for (const invocation of this.running) if (invocation.owner === owner) this.end(invocation);
  }

  private end(invocation: Invocation): string {
    if (!this.running.delete(invocation)) return invocation.owner.name;
    this.counts.workersKilled += 1;
    if (invocation.owner.name === "dispatcher") this.counts.dispatchersKilled += 1;
    invocation.owner.alive = false;
    invocation.reply.fail(new Error("The Worker was reset."));
    return invocation.owner.name;
  }
}
