// An endpoint is verified by what it answers, and by nothing else; how long it is asked, what is kept and what is not.

import { describe, expect, it, test } from "vitest";
import { mergeSettings } from "../../src/catalog/catalog-entry";
import {
  askedAnew,
  effectiveRate,
  isSameAsk,
  isUnverified,
  keepVerification,
  newVerification,
  noteTry,
  readAllowedRate,
  stateOf,
  type Verification,
} from "../../src/endpoint-verification";
import { type Env, settings } from "../../src/env";
import { limits } from "../../src/limits";
import { defaultSubscriptionSettings, type PushSettings } from "../../src/settings";

const NOW = 1_800_000_000_000;
const BASE = "https://broker.example.com";
const asked = newVerification("challenge", BASE, NOW);
const refusal = { granted: false, reason: "it answered 500" } as const;
const push: PushSettings = {
  ...{ url: "https://hooks.example.com/", headers: {}, timeoutMs: 1_000, secrets: [] },
  ...{ batchMaxMessages: 1, batchMaxWaitMs: 0, verification: asked },
};

describe("trying", () => {
  it("is done later and later, for a day, and then given up until somebody asks", () => {
    let verification: Verification = asked;
    const gaps: number[] = [];
    let now = asked.nextTryAt ?? 0;
    while (stateOf(verification) === "unverified") {
      verification = noteTry(verification, refusal, now);
      if (verification.nextTryAt === undefined) break;
      gaps.push(verification.nextTryAt - now);
      now = verification.nextTryAt;
    }
    expect(stateOf(verification)).toBe("given-up");
    expect(isUnverified({ verification })).toBe(true);
    expect(verification).toMatchObject({ tries: gaps.length + 1, reason: refusal.reason });
    expect(gaps).toEqual([...gaps].sort((a, b) => a - b));
    expect([gaps[0], gaps.at(-1)]).toEqual([limits.minVerifyAgainMs, limits.maxVerifyAgainMs]);
    expect(gaps.length).toBeLessThan(40);
    expect(now - NOW).toBeLessThanOrEqual(limits.verifyForMs + limits.maxVerifyAgainMs);
    const anew = noteTry(askedAnew(verification, now), refusal, now);
    expect([stateOf(anew), anew.nextTryAt, anew.since]).toEqual([
      "unverified",
      now + limits.minVerifyAgainMs,
      asked.since,
    ]);
  });

  it("ends with a grant, which no later failure takes back", () => {
    const granted = noteTry(
      noteTry(asked, refusal, NOW + 1),
      { granted: true, allowedPerMinute: 60 },
      NOW + 2,
    );
    expect(granted).toEqual({
      ...{ by: "challenge", base: BASE, since: NOW, askedAt: NOW, tries: 2, triedAt: NOW + 2 },
      ...{ verifiedAt: NOW + 2, allowedPerMinute: 60 },
    });
    expect(isUnverified({ verification: granted })).toBe(false);
    expect(noteTry(granted, refusal, NOW + 3)).toBe(granted);
    expect(askedAnew(granted, NOW + 3)).toBe(granted);
  });
});

describe("a repeated PUT", () => {
  const verified = noteTry(asked, { granted: true }, NOW + 1);
  const held = { ...push, verification: verified };
  const later = (more: Partial<PushSettings> = {}): PushSettings => ({
    ...{ ...push, verification: newVerification("challenge", BASE, NOW + 5) },
    ...more,
  });

  it("keeps what was verified while its URL and its way stay the same, whatever else changes", () => {
    expect(keepVerification(held, later({ timeoutMs: 2_000 })).verification).toBe(verified);
    const settings = { ...defaultSubscriptionSettings, type: "push" } as const;
    const merged = mergeSettings({ ...settings, push: held }, { ...settings, push: later() });
    expect(merged.push?.verification).toBe(verified);
  });

  test.each<[string, PushSettings]>([
    ["another URL", later({ url: "https://hooks.example.com/other" })],
    ["another way", later({ verification: newVerification("handshake", BASE, NOW + 5) })],
  ])("of %s is unverified again, and an answer from before counts for nothing", (_, wanted) => {
    const kept = keepVerification(held, wanted);
    expect(isUnverified(kept)).toBe(true);
    expect(isSameAsk(kept, held)).toBe(false);
  });

  it("that asks for none has none, and one that asks for it for the first time is unverified", () => {
    const { verification: _, ...none } = push;
    expect([isUnverified(keepVerification(held, none)), isUnverified(none), isUnverified(undefined)]).toEqual(
      [false, false, false],
    );
    expect(isUnverified(keepVerification(none, later()))).toBe(true);
  });
});

describe("a broker", () => {
  const chosen = (vars: object) => settings(vars as Env).verification;

  it("has endpoints verified unless it is local, or says otherwise", () => {
    expect([chosen({}), chosen({ ENVIRONMENT: "production" }), chosen({ ENVIRONMENT: "local" })]).toEqual([
      "challenge",
      "challenge",
      "none",
    ]);
    expect(chosen({ ENDPOINT_VERIFICATION: "none" })).toBe("none");
    expect(chosen({ ENVIRONMENT: "local", ENDPOINT_VERIFICATION: "handshake" })).toBe("handshake");
    expect(() => chosen({ ENDPOINT_VERIFICATION: "off" })).toThrow(/ENDPOINT_VERIFICATION/);
  });
});

describe("rates", () => {
  test.each([
    ["*", "any"],
    ["120", 120],
    [" 7 ", 7],
    ["999999999999", limits.rateRequests],
    ["0", undefined],
    ["-1", undefined],
    ["1.5", undefined],
    ["1e3", undefined],
    ["", undefined],
    ["10, 20", undefined],
    ["9".repeat(400), undefined],
  ])("WebHook-Allowed-Rate %j is read as %j", (text, rate) => {
    expect(readAllowedRate(text)).toBe(rate);
  });

  it("hold by the lower of what the subscription sets and what the endpoint allows", () => {
    const allowed = { ...asked, allowedPerMinute: 60 };
    const [slow, fast] = [
      { requests: 1, perMs: 60_000 },
      { requests: 100, perMs: 1_000 },
    ];
    expect(effectiveRate({ rate: slow, verification: allowed })).toBe(slow);
    expect(effectiveRate({ rate: fast, verification: allowed })).toEqual({ requests: 60, perMs: 60_000 });
    expect(effectiveRate({ verification: allowed })).toEqual({ requests: 60, perMs: 60_000 });
    expect(effectiveRate({ rate: fast, verification: asked })).toBe(fast);
    expect(effectiveRate({})).toBeUndefined();
  });
});
