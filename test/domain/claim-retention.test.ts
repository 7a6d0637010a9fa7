// How long the ledger remembers a push claim, and how long a 202 keeps it.

import { describe, expect, it } from "vitest";
import { limits } from "../../src/limits";
import { claimRetentionMs } from "../../src/push/claim-retention";
import { handOverMs } from "../../src/push/hand-over";
import { defaultSubscriptionSettings } from "../../src/settings";

const day = 24 * 60 * 60_000;
const { retry } = defaultSubscriptionSettings;
const settings = (more: Partial<typeof retry> = {}, ackDeadlineMs = 60_000) => ({
  ackDeadlineMs,
  retry: { ...retry, ...more },
});

describe("the ledger remembers a push claim", () => {
  it("for its usual time, when that is past the last redelivery", () => {
    expect(claimRetentionMs(settings(), 7 * day)).toBe(limits.ledgerRetentionMs);
  });

  it("past the retention of the topic, and what its removal may lag behind", () => {
    const keptMs = claimRetentionMs(settings({ maxAttempts: 1, maxDelayMs: 0 }), 365 * day);
    expect(keptMs).toBeGreaterThan(365 * day * (1 + 1 / limits.segmentsPerRetention));
  });

  it("past another run of every attempt, for a dead letter that is redriven", () => {
    const many = settings({ maxAttempts: 60, maxDelayMs: day }, day / 2);
    expect(claimRetentionMs(many, day)).toBeGreaterThanOrEqual(60 * (day + day / 2) + day);
  });

  it("as if the topic kept messages longest, when nobody can tell", () => {
    expect(claimRetentionMs(settings(), undefined)).toBe(claimRetentionMs(settings(), limits.maxRetentionMs));
  });

  it("for a bounded time, which covers the longest retention with the default retries", () => {
    const absurd = settings({ maxAttempts: limits.maxAttempts, maxDelayMs: day });
    expect(claimRetentionMs(absurd, 365 * day)).toBe(limits.maxLedgerRetentionMs);
    expect(claimRetentionMs(settings(), limits.maxRetentionMs)).toBeLessThan(limits.maxLedgerRetentionMs);
  });

  it("no shorter than a claim can be held", () => {
    expect(limits.minLedgerRetentionMs).toBeGreaterThan(limits.maxClaimLeaseMs);
  });
});

describe("a 202 keeps the claim", () => {
  it("as long as it asks for, within the bounds of a claim", () => {
    expect(handOverMs("5000")).toBe(5_000);
    expect(handOverMs(" 5000 ")).toBe(5_000);
    expect(handOverMs("0")).toBe(limits.minClaimLeaseMs);
    expect(handOverMs("999999999999")).toBe(limits.maxClaimLeaseMs);
  });

  it("for a default time when it asks for nothing that can be understood", () => {
    for (const header of [null, "", "soon", "-1", "1e9", "1.5"]) {
      expect([header, handOverMs(header)]).toEqual([header, limits.handOverMs]);
    }
  });
});
