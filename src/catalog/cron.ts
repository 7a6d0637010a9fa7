// Cron expressions in a time zone: which instants they name. croner reads them; this says what of it is offered.
//
// An expression without `*` and without a step in minute and hour names times of day. When clocks go forward, one
// that falls into the skipped hour runs at the first instant after it; when they go back, one in the doubled hour
// runs the first time only. Every other expression runs as the clock on the wall shows it: not in the skipped
// hour, and twice in the doubled one.

import { Cron } from "croner";
import { ok, type Result, refuse } from "../errors";
import { limits } from "../limits";

/** When something recurs: five fields, or one of `@hourly` to `@yearly`, on the clock of an IANA time zone. */
export type Timing = Readonly<{ cron: string; timeZone: string }>;

const CRON_FIELDS = 5;
const NICKNAME = /^@\w+$/;
const ZONE_NAME = /^[A-Za-z][A-Za-z0-9_+/-]*$/;

/** The first run after `now`. Refused when the expression or the zone is unknown, or names no instant at all. */
export function firstRun(timing: Timing, now: number): Result<number> {
  const fault = checkTimeZone(timing.timeZone) ?? checkFields(timing.cron);
  if (fault) return fault;
  try {
    const next = nextRun(timing, now);
    return next === undefined ? wrongCron("It names a day that never comes.") : ok(next);
  } catch (fault) {
    return wrongCron(fault instanceof Error ? fault.message : String(fault));
  }
}

/** The first run after the instant `after`; undefined when there is none. Throws on what firstRun refuses. */
export function nextRun(timing: Timing, after: number): number | undefined {
  return clockOf(timing).nextRun(new Date(after))?.getTime();
}

/** The newest run that is not later than `now`; undefined when there is none. Throws on what firstRun refuses. */
export function newestRun(timing: Timing, now: number): number | undefined {
  // croner looks strictly before the instant it is given.
  return clockOf(timing)
    .previousRuns(1, new Date(now + 1))[0]
    ?.getTime();
}

function clockOf({ cron, timeZone }: Timing): Cron {
  return new Cron(cron, { timezone: timeZone, mode: "5-part", fixedTimeRule: "no-wildcard" });
}

function checkFields(cron: string) {
  const fields = cron.trim().split(/\s+/);
  if (fields.length === CRON_FIELDS || NICKNAME.test(cron.trim())) return undefined;
  return refuse(
    "invalid-request",
    "cron has five fields: minute, hour, day of the month, month, day of the week. A schedule runs at most once a minute, so there is none for seconds.",
    { field: "cron", limit: CRON_FIELDS },
  );
}

function checkTimeZone(timeZone: string) {
  if (timeZone.length <= limits.timeZoneLength && ZONE_NAME.test(timeZone) && isKnown(timeZone)) {
    return undefined;
  }
  return refuse("invalid-request", 'timeZone is the IANA name of a time zone, like "Europe/Berlin".', {
    field: "timeZone",
  });
}

function isKnown(timeZone: string): boolean {
  try {
    new Intl.DateTimeFormat("en", { timeZone });
    return true;
  } catch {
    return false;
  }
}

function wrongCron(detail: string) {
  return refuse("invalid-request", `cron is not an expression that can be kept: ${detail}`, {
    field: "cron",
  });
}
