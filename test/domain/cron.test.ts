// Cron expressions: what is refused, and which instants are named when clocks change.

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { firstRun, newestRun, nextRun, type Timing } from "../../src/catalog/cron";

const at = (instant: string) => Date.parse(instant);
const iso = (instant: number | undefined) => instant !== undefined && new Date(instant).toISOString();
const berlin = (cron: string): Timing => ({ cron, timeZone: "Europe/Berlin" });

/** The runs after `from` and before `to`. */
function runsBetween(timing: Timing, from: string, to: string): string[] {
  const runs: string[] = [];
  for (let run = nextRun(timing, at(from)); run !== undefined && run < at(to); run = nextRun(timing, run)) {
    runs.push(new Date(run).toISOString());
  }
  return runs;
}

describe("an expression", () => {
  test.each([
    ["*/15 * * * *", "UTC", "2027-01-01T00:15:00.000Z"],
    ["30 9 * * MON-FRI", "Europe/Berlin", "2027-01-01T08:30:00.000Z"],
    ["0 0 1 * *", "America/New_York", "2027-01-01T05:00:00.000Z"],
    ["45 5 * * *", "Asia/Kathmandu", "2027-01-02T00:00:00.000Z"],
    ["@daily", "UTC", "2027-01-02T00:00:00.000Z"],
    ["0 0 L 2 *", "UTC", "2027-02-28T00:00:00.000Z"],
    ["0 0 29 2 *", "UTC", "2028-02-29T00:00:00.000Z"],
  ])("%s in %s names an instant", (cron, timeZone, expected) => {
    const first = firstRun({ cron, timeZone }, at("2027-01-01T00:00:10Z"));
    expect(first.ok && iso(first.value)).toBe(expected);
  });

  test.each([
    ["with seconds", "0 * * * * *", "cron"],
    ["with a year", "0 0 0 1 1 * 2030", "cron"],
    ["with too few fields", "* * * *", "cron"],
    ["that is empty", "", "cron"],
    ["that is a date", "2030-01-01T00:00:00", "cron"],
    ["of the machine's start", "@reboot", "cron"],
    ["out of its range", "60 * * * *", "cron"],
    ["with a step of nothing", "*/0 * * * *", "cron"],
    ["of a day that never comes", "0 0 30 2 *", "cron"],
    ["of words", "every day at nine please", "cron"],
  ])("%s is refused", (_, cron, field) => {
    expect(firstRun({ cron, timeZone: "UTC" }, 0)).toMatchObject({
      error: { code: "invalid-request", field },
    });
  });

  test.each(["Mars/Phobos", "", "+02:00", "Europe/Berlin\n", "x".repeat(65)])(
    "zone %j is refused",
    (timeZone) => {
      expect(firstRun({ cron: "* * * * *", timeZone }, 0)).toMatchObject({
        error: { code: "invalid-request", field: "timeZone" },
      });
    },
  );
});

// On 2027-03-28 Berlin's clocks go from 02:00 to 03:00, at 01:00 UTC.
describe("clause 7: when clocks go forward", () => {
  const day = (cron: string) => runsBetween(berlin(cron), "2027-03-27T23:30:00Z", "2027-03-28T03:30:00Z");

  test("clause 7: a time of day in the skipped hour runs at the first instant after it", () => {
    expect(day("30 2 * * *")).toEqual(["2027-03-28T01:00:00.000Z"]);
    expect(day("30 2,14 * * *")).toEqual(["2027-03-28T01:00:00.000Z"]);
  });

  test("clause 7: two times of day that fall together run once", () => {
    expect(day("0 2,3 * * *")).toEqual(["2027-03-28T01:00:00.000Z"]);
  });

  test("clause 7: an interval has no run in the hour that is not there", () => {
    expect(day("0 * * * *").map((run) => run.slice(11, 16))).toEqual(["00:00", "01:00", "02:00", "03:00"]);
    expect(day("*/20 2 * * *")).toEqual([]);
  });
});

// On 2027-10-31 Berlin's clocks go from 03:00 back to 02:00, at 01:00 UTC.
describe("clause 7: when clocks go back", () => {
  const day = (cron: string) => runsBetween(berlin(cron), "2027-10-30T23:30:00Z", "2027-10-31T03:30:00Z");

  test("clause 7: a time of day in the doubled hour runs the first time only", () => {
    expect(day("30 2 * * *")).toEqual(["2027-10-31T00:30:00.000Z"]);
    expect(day("30 2,14 * * *")).toEqual(["2027-10-31T00:30:00.000Z"]);
  });

  test("clause 7: an interval runs in both", () => {
    expect(day("30 * * * *").map((run) => run.slice(11, 16))).toEqual(["00:30", "01:30", "02:30"]);
    expect(day("*/30 2 * * *").map((run) => run.slice(11, 16))).toEqual(["00:00", "00:30", "01:00", "01:30"]);
  });
});

test("the newest run is the one with no other between it and now, in any zone and across changes of clocks", () => {
  const timing = fc.record({
    cron: fc.constantFrom(
      ...[
        "* * * * *",
        "*/7 * * * *",
        "30 2 * * *",
        "0 2,3 * * *",
        "15 1-3 * * *",
        "*/20 2 * * *",
        "0 3 * * SUN",
      ],
    ),
    timeZone: fc.constantFrom(
      "UTC",
      "Europe/Berlin",
      "America/New_York",
      "Australia/Lord_Howe",
      "Asia/Kathmandu",
    ),
  });
  const changes = ["2027-03-14", "2027-03-28", "2027-04-03", "2027-10-03", "2027-10-31", "2027-11-07"];
  const now = fc
    .tuple(fc.constantFrom(...changes), fc.integer({ min: 0, max: 36 * 3_600_000 }))
    .map(([day, ms]) => at(`${day}T00:00:00Z`) + ms);
  fc.assert(
    fc.property(timing, now, (timing, now) => {
      const newest = newestRun(timing, now) ?? Number.NaN;
      expect(newest).toBeLessThanOrEqual(now);
      expect(nextRun(timing, newest)).toBeGreaterThan(now);
      expect(nextRun(timing, newest - 1)).toBe(newest);
    }),
    { numRuns: 1_000 },
  );
});
