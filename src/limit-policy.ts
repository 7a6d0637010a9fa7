// Limits that a token or a topic may be held to: at most so many units in a window. Windows lie side by side as UTC's
// calendar cuts time, the same for everybody, so that their ends can be told and need no row to begin at.

/** At most one of them is given. */
export type RateLimit = Readonly<{
  perSecond?: number | undefined;
  perMinute?: number | undefined;
  perHour?: number | undefined;
}>;
export type Quota = Readonly<{ perDay?: number | undefined; perMonth?: number | undefined }>;

/** Of a token: requests that it makes, and messages that it publishes. */
export type TokenLimits = Readonly<{ rateLimit?: RateLimit | undefined; quota?: Quota | undefined }>;

/** Of a topic: messages that are published to it, by whomever. */
export type TopicLimits = Readonly<{
  publishRateLimit?: RateLimit | undefined;
  publishQuota?: Quota | undefined;
}>;

const PERIODS = ["perSecond", "perMinute", "perHour", "perDay", "perMonth"] as const;
export type Period = (typeof PERIODS)[number];
export type PolicyName = "token-rate" | "token-quota" | "topic-rate" | "topic-quota";

/** One limit, as it is told in headers: `limit` units in each window of its period. */
export type Policy = Readonly<{ name: PolicyName; period: Period; limit: number }>;

/** From its first millisecond to the first that is no longer in it. */
export type Window = Readonly<{ startsAt: number; endsAt: number }>;

const LENGTHS_MS: Readonly<Record<Exclude<Period, "perMonth">, number>> = {
  perSecond: 1_000,
  perMinute: 60_000,
  perHour: 3_600_000,
  perDay: 86_400_000,
};

/** The window of a period that an instant lies in. */
export function windowAt(period: Period, now: number): Window {
  if (period === "perMonth") return monthAt(new Date(now));
  const lengthMs = LENGTHS_MS[period];
  const startsAt = Math.floor(now / lengthMs) * lengthMs;
  return { startsAt, endsAt: startsAt + lengthMs };
}

function monthAt(date: Date): Window {
  const [year, month] = [date.getUTCFullYear(), date.getUTCMonth()];
  return { startsAt: Date.UTC(year, month), endsAt: Date.UTC(year, month + 1) };
}

export function tokenRate(held: TokenLimits | undefined): readonly Policy[] {
  return policiesOf("token-rate", held?.rateLimit);
}

export function tokenQuota(held: TokenLimits | undefined): readonly Policy[] {
  return policiesOf("token-quota", held?.quota);
}

export function topicPolicies({ publishRateLimit, publishQuota }: TopicLimits): readonly Policy[] {
  return [...policiesOf("topic-rate", publishRateLimit), ...policiesOf("topic-quota", publishQuota)];
}

function policiesOf(name: PolicyName, units: RateLimit & Quota = {}): readonly Policy[] {
  return PERIODS.flatMap((period) => {
    const limit = units[period];
    return limit === undefined ? [] : [{ name, period, limit }];
  });
}

/** A rate protects the broker for a moment; a quota is what was agreed for long. */
export function isQuota({ name }: Policy): boolean {
  return name === "token-quota" || name === "topic-quota";
}

/** A policy for people: `100 requests per minute`. */
export function policyText({ name, period, limit }: Policy): string {
  const unit = name === "token-rate" ? "requests" : "messages";
  return `${limit} ${unit} per ${period.slice("per".length).toLowerCase()}`;
}

/** The name of the limiter that counts for a token, or for one life of a topic. */
export function tokenSubject(id: string): string {
  return `token:${id}`;
}

export function topicSubject(generation: string): string {
  return `topic:${generation}`;
}
