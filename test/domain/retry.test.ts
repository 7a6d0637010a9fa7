// When an attempt is made again.

import fc from "fast-check";
import { expect, test } from "vitest";
import { defaultSubscriptionSettings } from "../../src/settings";
import { firstLease, release } from "../../src/subscription/delivery";
import { noteAttempt, retryDelayMs } from "../../src/subscription/retry";

const policy = { maxAttempts: 20, minDelayMs: 5_000, maxDelayMs: 12 * 3_600_000 };

test("a delay is never shorter than the least nor longer than the longest, whatever the attempt and the chance", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 1_000 }),
      fc.double({ min: 0, max: 0.999999, noNaN: true }),
      (attempts, jitter) => {
        const delay = retryDelayMs(policy, attempts, jitter);
        expect(delay >= policy.minDelayMs && delay <= policy.maxDelayMs).toBe(true);
      },
    ),
  );
});

test("the default schedule lasts days, not seconds", () => {
  let total = 0;
  for (let attempts = 1; attempts < policy.maxAttempts; attempts++)
    total += retryDelayMs(policy, attempts, 0.5);
  expect(total).toBeGreaterThan(1.5 * 24 * 3_600_000);
});

test("delays grow with the attempts until they reach the longest", () => {
  const delays = [1, 2, 3, 4, 5].map((attempts) => retryDelayMs(policy, attempts, 0.99));
  expect(delays).toEqual([...delays].sort((a, b) => a - b));
  expect(new Set(delays).size).toBe(delays.length);
});

test("failures of one moment do not come back in one moment: the whole range is used", () => {
  const delays = [0, 0.25, 0.5, 0.75].map((jitter) => retryDelayMs(policy, 8, jitter));
  const ceiling = policy.minDelayMs * 2 ** 8;
  expect(delays).toEqual([policy.minDelayMs, ceiling / 4, ceiling / 2, (ceiling * 3) / 4]);
});

test("with no delay at all, an attempt is made again at once", () => {
  expect(retryDelayMs({ maxAttempts: 3, minDelayMs: 0, maxDelayMs: 0 }, 2, 0.9)).toBe(0);
});

test("a failure that names no delay waits by the policy, and by default never comes straight back", () => {
  const { retry } = defaultSubscriptionSettings;
  const leased = firstLease(0, undefined, "lease");
  expect(retry.minDelayMs).toBeGreaterThan(0);
  for (const jitter of [0, 0.5, 0.99]) {
    const failed = release(leased, { note: { at: 7 } }, retry, "park", { now: 7, jitter });
    expect(failed).toMatchObject({ state: "waiting", availableAt: 7 + retryDelayMs(retry, 1, jitter) });
  }
});

test("only the newest attempts are kept", () => {
  let history: readonly { at: number }[] = [];
  for (let at = 0; at < 25; at++) history = noteAttempt(history, { at });
  expect(history.map(({ at }) => at)).toEqual([15, 16, 17, 18, 19, 20, 21, 22, 23, 24]);
});
