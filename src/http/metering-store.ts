// What one request takes of the limits that its token and its topic are held to, and how they stand, for its answer. An
// isolate spends from blocks that limiters hand it (meter.ts); who has no limits asks nobody and pays nothing.

import type { TopicEntry } from "../catalog/catalog-entry";
import type { Env } from "../env";
import { ok, type Refused, type Result, refuse } from "../errors";
import { inTime, LATE } from "../in-time";
import {
  isQuota,
  type Policy,
  policyText,
  tokenQuota,
  tokenRate,
  tokenSubject,
  topicPolicies,
  topicSubject,
} from "../limit-policy";
import type { Block } from "../limiter-calls";
import { limits } from "../limits";
import type { Broker } from "./broker";
import {
  type Ask,
  endOf,
  fail,
  giveBack,
  grant,
  type Meter,
  newMeter,
  type Spending,
  type Standing,
  spend,
  standingOf,
} from "./meter";
import type { Principal } from "./scope";

/** How the limits stand that an answer is about, by the policy's name. */
export type Standings = Map<string, Standing>;

/** One limit of a token or a topic. */
type Limit = Readonly<{ subject: string; policy: Policy }>;

/** Of which limits units were taken, and in which windows: to be given back if what they were for is refused after all. */
export type Taken = readonly TakenOf[];
type TakenOf = Limit & Readonly<{ endsAt: number | undefined }>;

/** What this isolate holds of each limit. By environment: a test has several. */
const shelves = new WeakMap<Env, Map<string, Meter>>();
/** A block may be of a window that is over when it comes; that it is so twice in a row is no chance. */
const ROUNDS = 3;

export class Metering {
  private readonly meters: Map<string, Meter>;

  constructor(
    private readonly broker: Broker,
    private readonly standings: Standings,
  ) {
    this.meters = shelves.get(broker.env) ?? new Map();
    shelves.set(broker.env, this.meters);
  }

  /** A request of a token. Its quota of messages is shown beside its rate. */
  async takeRequest(principal: Principal): Promise<Result<Taken>> {
    if (principal.limits === undefined) return ok([]);
    const subject = tokenSubject(principal.id);
    for (const policy of tokenQuota(principal.limits)) this.show({ subject, policy });
    return this.takeAll(
      tokenRate(principal.limits).map((policy) => ({ subject, policy })),
      1,
    );
  }

  /**
   * Does `publish` once the token's quota and the topic's limits had room for all of its messages, and gives back those that it
   * did not come to, as `takenOf` counts them.
   */
  async forMessages<T>(
    { principal, topic, count }: Readonly<{ principal: Principal; topic: TopicEntry; count: number }>,
    publish: () => Promise<T>,
    takenOf: (published: T) => number,
  ): Promise<Result<T>> {
    const taken = await this.takeMessages(principal, topic, count);
    if (!taken.ok) return taken;
    const published = await publish();
    this.giveBack(taken.value, count - takenOf(published));
    return ok(published);
  }

  private async takeMessages(principal: Principal, topic: TopicEntry, count: number): Promise<Result<Taken>> {
    const ofToken = tokenQuota(principal.limits).map((policy) => ({
      subject: tokenSubject(principal.id),
      policy,
    }));
    const subject = topicSubject(topic.generation);
    const ofTopic = topicPolicies(topic.settings).map((policy) => ({ subject, policy }));
    return this.takeAll([...ofToken, ...ofTopic], count);
  }

  /** Gives `units` of each back: to this isolate, until the window ends. */
  private giveBack(taken: Taken, units: number): void {
    for (const limit of taken) {
      const now = this.broker.runtime.now();
      this.keep(limit, giveBack(this.meterOf(limit, now), units, limit.endsAt, now));
      this.show(limit);
    }
  }

  private async takeAll(asked: readonly Limit[], units: number): Promise<Result<Taken>> {
    const taken: TakenOf[] = [];
    for (const limit of asked) this.show(limit);
    for (const limit of units > 0 ? asked : []) {
      const one = await this.take(limit, units);
      this.show(limit);
      if (!one.ok) this.giveBack(taken, units);
      if (!one.ok) return one;
      taken.push(one.value);
    }
    return ok(taken);
  }

  private async take(limit: Limit, units: number): Promise<Result<TakenOf>> {
    const { policy } = limit;
    const { runtime } = this.broker;
    if (units > policy.limit) return largerThan(policy, units);
    for (let round = 0; round < ROUNDS; round++) {
      const now = runtime.now();
      const begun = this.keep(limit, spend(this.meterOf(limit, now), units, now));
      const spending = begun.outcome === "ask" ? await this.ask(limit, begun.ask) : begun;
      if (spending.outcome === "spent") return ok({ ...limit, endsAt: spending.meter.endsAt });
      if (spending.outcome === "refused") return spent(policy, units, leftMs(spending.meter, runtime.now()));
      if (spending.outcome === "away") break;
    }
    return refuse("unavailable", `What is left of the limit "${policy.name}" cannot be told now.`, {
      retryAfterMs: limits.limiterRetryMs,
      policies: [policy.name],
    });
  }

  /** Asks the limiter for a block and spends from it. The answer may find the meter changed: others spend meanwhile. */
  private async ask(limit: Limit, ask: Ask): Promise<Spending> {
    const block = await this.call(limit, ask);
    const now = this.broker.runtime.now();
    const meter = this.meterOf(limit, now);
    return this.keep(limit, block ? grant(meter, ask, block, now) : fail(meter, ask, now));
  }

  /** The limiter's block; undefined when it does not answer in time. Sent again, an ask has its id and counts once. */
  private async call({ subject, policy }: Limit, { need, want, owed }: Ask): Promise<Block | undefined> {
    const { env, runtime, log } = this.broker;
    const call = { askId: runtime.newId(), policy, need, want, owed };
    for (let tries = 1; tries <= limits.limiterTries; tries++) {
      try {
        const answer = await inTime(env.LIMITER.getByName(subject).take(call), limits.limiterWaitMs);
        if (answer === LATE) return undefined;
        if (answer.ok) return answer.value;
      } catch (fault) {
        if (log) console.warn(JSON.stringify({ at: "limiter", tries, fault: String(fault) }));
      }
    }
    return undefined;
  }

  private show(limit: Limit): void {
    const now = this.broker.runtime.now();
    this.standings.set(limit.policy.name, standingOf(this.meterOf(limit, now), now));
  }

  private meterOf(limit: Limit, now: number): Meter {
    return this.meters.get(keyOf(limit)) ?? newMeter(limit.policy, now);
  }

  private keep<T extends Spending | Meter>(limit: Limit, kept: T): T {
    // At the end of the row: what is in use is not the oldest.
    this.meters.delete(keyOf(limit));
    this.meters.set(keyOf(limit), "outcome" in kept ? kept.meter : kept);
    if (this.meters.size <= limits.metersKept) return kept;
    const oldest = this.meters.keys().next();
    if (!oldest.done) this.meters.delete(oldest.value);
    return kept;
  }
}

/** A limit that was changed is another one to this isolate; the limiter goes on counting where it was. */
function keyOf({ subject, policy: { name, period, limit } }: Limit): string {
  return `${subject} ${name} ${period} ${limit}`;
}

function leftMs(meter: Meter, now: number): number {
  return endOf(meter, now) - now;
}

function spent(policy: Policy, units: number, retryAfterMs: number): Refused {
  const code = isQuota(policy) ? "quota-exceeded" : "rate-limited";
  const less = units === 1 ? "none is left" : `fewer than ${units} are left`;
  const detail = `The limit "${policy.name}" is ${policyText(policy)}, and ${less} until it begins anew.`;
  const more = { limit: policy.limit, retryAfterMs, policies: [policy.name] };
  return refuse(code, detail, more);
}

function largerThan(policy: Policy, units: number): Refused {
  const detail = `The limit "${policy.name}" is ${policyText(policy)}, and this has ${units}: send fewer at once.`;
  return refuse("larger-than-limit", detail, {
    field: "messages",
    limit: policy.limit,
    policies: [policy.name],
  });
}
