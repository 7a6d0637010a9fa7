// Knows how the endpoint of a push subscription fares, and says what it may be sent. It outlives what is in memory
// otherwise: a seek does not make an endpoint well. Saved with the change that moves it from state to state.

import { type EndpointSigns, isAway, NO_SIGNS, signsSince } from "../endpoint-signs";
import { effectiveRate, type Verification } from "../endpoint-verification";
import { type EndpointView, unverifiedView } from "../endpoint-view";
import { limits } from "../limits";
import type { Pace } from "../pace";
import type { ReportCall } from "../report-calls";
import type { SubscriptionSettings } from "../settings";
import { type Allowance, allowance } from "./allowance";
import {
  forgiven,
  type Health,
  type HealthMoment,
  judge,
  newHealth,
  sparesAttempts,
} from "./endpoint-health";
import type { HealthStore } from "./health-store";
import type { SubscriptionRow } from "./subscription-store";

export class EndpointDesk {
  private health: Health = newHealth;
  private saved: string | null = null;
  private nextSendAt = 0;
  /** When the newest dispatch began, and how fast the last that ended was. */
  private begunAt = 0;
  private lastPerSecond = 0;
  /** What the newest dispatches have told so far. */
  private readonly told = new Map<string, EndpointSigns>();

  constructor(private readonly store: HealthStore) {}

  /** Takes what is stored, and keeps what only memory has. */
  recall(): void {
    const stored = this.store.load();
    this.saved = stored ? JSON.stringify(stored) : null;
    if (this.saved !== kept(this.health)) this.health = stored ?? newHealth;
  }

  /** What may be sent at `now`. */
  allowance({ settings, partitions = 1 }: SubscriptionRow, now: number): Allowance {
    const { health, nextSendAt } = this;
    const { push } = settings;
    const rate = push && effectiveRate(push);
    const shared = isShared(settings, partitions) && { shared: { perSecond: this.lastPerSecond } };
    return allowance({ health, push: { ...push, rate }, partitions, nextSendAt, now, ...shared });
  }

  /** Every other probe is of a message that was never tried: those that wait may be what it fails on. */
  get probesLog(): boolean {
    return this.health.state === "open" && this.health.opens % 2 === 0;
  }

  /** A dispatch begins with `requests` at most: when it is paced they count as sent until it tells how far it came. */
  began(pace: Pace | undefined, requests: number, now: number): void {
    this.begunAt = now;
    if (pace === undefined) return;
    this.nextSendAt = Math.max(this.nextSendAt, now) + (requests * 1000) / pace.perSecond;
  }

  /** Whether a failure that was answered with `status`, or not at all, counts no attempt. */
  spares(): (status: number | undefined) => boolean {
    const isProbe = sparesAttempts(this.health);
    return (status) => isProbe && isAway(status);
  }

  /** Takes in what a report tells, within its change. Told twice, it counts once. */
  judge(
    { leaseId, signs, done }: ReportCall,
    { settings, partitions = 1 }: SubscriptionRow,
    isBehind: boolean,
    moment: HealthMoment,
  ): void {
    if (signs === undefined) return;
    const fresh = signsSince(this.told.get(leaseId) ?? NO_SIGNS, signs);
    this.remember(leaseId, signs);
    if (signs.nextSendAt !== undefined && done) this.nextSendAt = signs.nextSendAt;
    if (done) {
      const tookMs = Math.max(1_000, moment.now - this.begunAt);
      this.lastPerSecond = ((signs.worked + signs.ailed) * 1000) / tookMs;
    }
    const told = { signs: fresh, done, wasClean: signs.ailed === 0, isBehind };
    const drain = settings.push?.drainPerSecond;
    const parts = isShared(settings, partitions) ? 1 : partitions;
    const share = drain === undefined ? {} : { drainPerSecond: drain / parts };
    this.become(judge(this.health, { ...told, ...share }, moment));
  }

  /** Why a dispatch under way is to send nothing more. */
  stop(now: number): string | undefined {
    const { health } = this;
    return health.state === "open" && now < health.until ? "the endpoint is left alone" : undefined;
  }

  forgive(now: number): void {
    this.become(forgiven(this.health, now));
  }

  view(now: number, { verification }: Readonly<{ verification?: Verification }> = {}): EndpointView {
    const { health } = this;
    if (verification && verification.verifiedAt === undefined) return unverifiedView(verification);
    if (health.state === "closed") return { state: "closed" };
    const { since, reason } = health;
    if (health.state === "ramping") return { state: "ramping", since, reason, perSecond: health.perSecond };
    return { state: now < health.until ? "open" : "probing", since, until: health.until, reason };
  }

  private remember(leaseId: string, signs: EndpointSigns): void {
    this.told.delete(leaseId);
    this.told.set(leaseId, signs);
    const [oldest] = this.told.keys();
    if (this.told.size > limits.dispatchesTold && oldest !== undefined) this.told.delete(oldest);
  }

  private become(health: Health): void {
    this.health = health;
    const now = kept(health);
    if (now === this.saved) return;
    this.store.save(now);
    this.saved = now;
  }
}

/**
 * Whether its partitions divide among them what is set for all. Not under at-most-once: what is settled before it is sent
 * would wait for its part outside of any lease.
 */
function isShared({ guarantee }: SubscriptionSettings, partitions: number): boolean {
  return partitions > 1 && guarantee !== "at-most-once";
}

/** What of a health is stored. */
function kept(health: Health): string | null {
  if (health.state === "closed") return null;
  return JSON.stringify(
    health.state === "open" ? health : { ...health, tally: { failing: 0, deliveries: [] } },
  );
}
