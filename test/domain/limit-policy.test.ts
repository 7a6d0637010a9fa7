// The windows of limits: they lie side by side, and every instant is in exactly one.

import fc from "fast-check";
import { expect, test } from "vitest";
import { policyText, tokenQuota, tokenRate, topicPolicies, windowAt } from "../../src/limit-policy";

const PERIODS = ["perSecond", "perMinute", "perHour", "perDay", "perMonth"] as const;
const instants = fc.integer({ min: Date.UTC(2020, 0), max: Date.UTC(2100, 0) });

test.each(PERIODS)("%s: every instant is in one window, and the next begins where it ends", (period) => {
  fc.assert(
    fc.property(instants, fc.double({ min: 0, max: 1, noNaN: true }), (now, share) => {
      const window = windowAt(period, now);
      expect(window.startsAt).toBeLessThanOrEqual(now);
      expect(window.endsAt).toBeGreaterThan(now);
      const within = window.startsAt + Math.floor(share * (window.endsAt - window.startsAt - 1));
      expect(windowAt(period, within)).toEqual(window);
      expect(windowAt(period, window.endsAt).startsAt).toBe(window.endsAt);
      expect(window.startsAt % 1000).toBe(0);
    }),
  );
});

test("a month is the calendar's, in UTC", () => {
  const february = windowAt("perMonth", Date.UTC(2028, 1, 29, 23, 59, 59, 999));
  expect(february).toEqual({ startsAt: Date.UTC(2028, 1, 1), endsAt: Date.UTC(2028, 2, 1) });
  const december = windowAt("perMonth", Date.UTC(2026, 11, 5));
  expect(december).toEqual({ startsAt: Date.UTC(2026, 11, 1), endsAt: Date.UTC(2027, 0, 1) });
});

test("limits become policies by whose they are, and none become none", () => {
  const token = { rateLimit: { perMinute: 60 }, quota: { perMonth: 1_000 } };
  expect(tokenRate(token)).toEqual([{ name: "token-rate", period: "perMinute", limit: 60 }]);
  expect(tokenQuota(token)).toEqual([{ name: "token-quota", period: "perMonth", limit: 1_000 }]);
  const topic = { publishRateLimit: { perSecond: 5 }, publishQuota: { perDay: 9 } };
  expect(topicPolicies(topic).map(policyText)).toEqual(["5 messages per second", "9 messages per day"]);
  expect([tokenRate(undefined), tokenQuota({}), topicPolicies({})]).toEqual([[], [], []]);
});
