// When a publisher wants a message delivered, and until when: `delayMs` or `deliverAt`, and `ttlMs`. Read by hand and
// not by a schema: it is the hot path.

import { ok, type Refused, type Result, refuse } from "../errors";
import { limits } from "../limits";
import type { AskedTiming } from "../message";

type Asked = Readonly<Record<"delayMs" | "deliverAt" | "ttlMs", unknown>>;

const DIGITS = /^\d{1,16}$/;
/** ISO 8601 with the offset from UTC: a time without one is another instant to everybody. */
const ISO = /^(\d{4})-(\d{2})-(\d{2})T\d{2}:\d{2}(?::\d{2}(?:\.\d{1,9})?)?(?:Z|[+-]\d{2}:\d{2})$/;

/** Reads the timing of one message from its headers; undefined when there is none. */
export function headerTiming(
  header: (name: string) => string | null,
  now: number,
): Result<AskedTiming | undefined> {
  const delayMs = header("pennypost-delay-ms");
  const deliverAt = header("pennypost-deliver-at");
  const ttlMs = header("pennypost-ttl-ms");
  if (delayMs === null && deliverAt === null && ttlMs === null) return ok(undefined);
  return readTiming(
    { delayMs: numberIn(delayMs), deliverAt: numberIn(deliverAt), ttlMs: numberIn(ttlMs) },
    "",
    now,
  );
}

/** Reads a timing; undefined when nothing is asked for. `at` prefixes the names of its fields. */
export function readTiming(
  { delayMs, deliverAt, ttlMs }: Asked,
  at: string,
  now: number,
): Result<AskedTiming | undefined> {
  if (delayMs === undefined && deliverAt === undefined && ttlMs === undefined) return ok(undefined);
  if (delayMs !== undefined && deliverAt !== undefined) {
    return refuse("invalid-request", "A message has delayMs or deliverAt, not both.", {
      field: `${at}deliverAt`,
    });
  }
  const delay = readSpan(delayMs, `${at}delayMs`, 0, limits.maxDelayMs);
  if (!delay.ok) return delay;
  const instant = readInstant(deliverAt, `${at}deliverAt`, now);
  if (!instant.ok) return instant;
  const ttl = readSpan(ttlMs, `${at}ttlMs`, limits.minTtlMs, limits.maxTtlMs);
  if (!ttl.ok) return ttl;
  return ok({
    ...(delay.value !== undefined && { delayMs: delay.value }),
    ...(instant.value !== undefined && { deliverAt: instant.value }),
    ...(ttl.value !== undefined && { ttlMs: ttl.value }),
  });
}

/** Whether a delay is asked for, be it over already: such a message is stored before it is answered. */
export function asksForDelay(timing: AskedTiming | undefined): boolean {
  return timing?.delayMs !== undefined || timing?.deliverAt !== undefined;
}

/** When a message that is published `now` is due, in epoch milliseconds: an instant that is past is now. */
export function dueAt({ delayMs = 0, deliverAt }: AskedTiming, now: number): number {
  return Math.max(now, deliverAt ?? now + delayMs);
}

/** What the message says of it: when it is due, unless that is now, and when it expires. */
export function timedFields(timing: AskedTiming | undefined, publishedAt: number) {
  if (timing === undefined) return {};
  const due = dueAt(timing, publishedAt);
  return {
    ...(due > publishedAt && { deliverAt: due }),
    ...(timing.ttlMs !== undefined && { expiresAt: due + timing.ttlMs }),
  };
}

function numberIn(text: string | null): unknown {
  if (text === null) return undefined;
  return DIGITS.test(text) ? Number(text) : text;
}

function readSpan(value: unknown, field: string, min: number, max: number): Result<number | undefined> {
  if (value === undefined) return ok(undefined);
  if (isWhole(value) && value >= min && value <= max) return ok(value);
  const limit = isWhole(value) && value < min ? min : max;
  return refuse("invalid-request", `${field} is a whole number of milliseconds, ${min} to ${max}.`, {
    field,
    limit,
  });
}

function readInstant(value: unknown, field: string, now: number): Result<number | undefined> {
  if (value === undefined) return ok(undefined);
  const instant = typeof value === "string" ? parseIso(value) : value;
  if (!isWhole(instant) || instant < 0) return noInstant(field);
  if (instant <= now + limits.maxDelayMs) return ok(instant);
  return refuse("invalid-request", `${field} is at most ${limits.maxDelayMs} ms ahead: 365 days.`, {
    field,
    limit: limits.maxDelayMs,
  });
}

/** The instant that ISO 8601 text names; undefined when there is no such day, or no offset. */
function parseIso(text: string): number | undefined {
  const [, year, month, day] = ISO.exec(text) ?? [];
  if (day === undefined) return undefined;
  const isDay = new Date(Date.UTC(Number(year), Number(month) - 1, Number(day))).getUTCDate() === Number(day);
  return isDay ? Math.floor(Date.parse(text)) : undefined;
}

function noInstant(field: string): Refused {
  return refuse(
    "invalid-request",
    `${field} is an instant: epoch milliseconds, or ISO 8601 with its offset, like 2027-03-01T09:00:00+01:00.`,
    { field },
  );
}

function isWhole(value: unknown): value is number {
  return typeof value === "number" && Number.isSafeInteger(value);
}
