// Receivers that answer a push with 202: the claim is theirs to complete over the ledger. They complete soon, late, twice
// or never, fail it, or ask for more time; each believes what the ledger answers, and acts on it once.

import type { Result } from "../../src/errors";
import { claimRoutes } from "../../src/http/claim-routes";
import { subscriptionPlace } from "../../src/http/place-routes";
import type { AnyCall, Reply } from "../../src/http/route";
import type { Owner } from "./agenda";
import type { Clients } from "./clients";
import type { HandedOver } from "./endpoints";
import { TOPIC } from "./plan";

type Verb = "complete" | "fail" | "extend";
type Results = readonly Readonly<{ status: string }>[];

const ROUTES = claimRoutes(subscriptionPlace);
const REMEMBERED = 12;

export class Receivers {
  private readonly held: HandedOver[] = [];
  /** By claim of a message: the fence under which the ledger took its completion. */
  private readonly completed = new Map<string, number>();

  constructor(private readonly clients: Clients) {}

  /** A request was answered 202. */
  take(handed: HandedOver): void {
    const { chance, world } = this.clients;
    this.held.unshift(handed);
    this.held.splice(REMEMBERED);
    const { agenda } = world.platform;
    const complete = () => this.settle("complete", handed);
    if (chance.happens(0.5)) agenda.after(chance.below(handed.leaseMs), undefined, "receiver", complete);
    else if (chance.happens(0.3)) agenda.after(handed.leaseMs * 2, undefined, "receiver is late", complete);
  }

  /** One of them does something of its own accord. */
  receiver(): void {
    const { chance } = this.clients;
    const handed = this.held[chance.below(Math.max(1, this.held.length))];
    if (handed) this.settle(chance.weighted({ complete: 4, fail: 4, extend: 2 }), handed);
  }

  private settle(verb: Verb, handed: HandedOver): void {
    const { world } = this.clients;
    // It has done its work before it says so.
    if (verb === "complete") world.platform.endpoint(handed.generation).acknowledged.add(handed.id);
    const claims = [{ claim: handed.claim, messageId: handed.id }];
    const body = verb === "extend" ? { claims, leaseMs: 5_000 } : { claims };
    this.clients.ask("claims", (owner) => this.post(owner, verb, handed, body), {
      answered: (answer) => {
        const results = answer as Result<Results>;
        if (results.ok) this.hear(verb, handed, results.value[0]?.status);
      },
    });
  }

  private async post(
    owner: Owner,
    verb: Verb,
    { subscription }: HandedOver,
    body: unknown,
  ): Promise<unknown> {
    const found = ROUTES.find(({ path }) => path.endsWith(`/claims/${verb}`));
    const broker = this.clients.world.platform.brokerFor(owner);
    const params = { topic: TOPIC, subscription };
    const call = { broker, params, query: {}, body: found?.body?.parse(body) } as unknown as AnyCall;
    const reply = (await found?.handle(call)) as Result<Reply>;
    return reply.ok ? { ok: true, value: (reply.value.body as { results: Results }).results } : reply;
  }

  /** The ledger takes the completion of one fence only: of two that did the work, one learns that it was overtaken. */
  private hear(verb: Verb, { namespace, id, fence }: HandedOver, status: string | undefined): void {
    const { counts } = this.clients.world;
    if (status === "claim-lost") counts.claimsLost += 1;
    if (verb === "fail" && status === "failed") counts.receiversFailed += 1;
    if (verb !== "complete" || status !== "completed") return;
    const name = `${namespace} ${id}`;
    const first = this.completed.get(name) ?? fence;
    if (first !== fence) throw new Error(`${name} was completed under ${first}, and again under ${fence}`);
    if (!this.completed.has(name)) counts.receiversCompleted += 1;
    this.completed.set(name, fence);
  }
}
