// What a publisher asks of time: how it is read, what it comes to, and what is refused.

import { describe, expect, test } from "vitest";
import { asksForDelay, dueAt, headerTiming, readTiming, timedFields } from "../../src/http/timing";
import { limits } from "../../src/limits";

const NOW = Date.parse("2027-01-01T00:00:00Z");
const read = (fields: Record<string, unknown>) =>
  readTiming({ delayMs: fields.delayMs, deliverAt: fields.deliverAt, ttlMs: fields.ttlMs }, "m.", NOW);
const header = (fields: Record<string, string>) => headerTiming((name) => fields[name] ?? null, NOW);

describe("reading", () => {
  test("nothing asked for is nothing", () => {
    expect(read({})).toEqual({ ok: true, value: undefined });
    expect(header({})).toEqual({ ok: true, value: undefined });
  });

  test("headers and fields say the same", () => {
    const asked = { deliverAt: NOW + 5, ttlMs: 7 };
    expect(read(asked)).toEqual({ ok: true, value: asked });
    expect(header({ "pennypost-deliver-at": String(NOW + 5), "pennypost-ttl-ms": "7" })).toEqual(read(asked));
    expect(header({ "pennypost-delay-ms": "5" })).toEqual(read({ delayMs: 5 }));
  });

  test.each([
    ["2027-03-01T09:00:00+01:00", Date.UTC(2027, 2, 1, 8)],
    ["2027-03-01T09:00Z", Date.UTC(2027, 2, 1, 9)],
    ["2027-03-01T09:00:00.250Z", Date.UTC(2027, 2, 1, 9, 0, 0, 250)],
    ["2027-02-28T23:30:00-05:00", Date.UTC(2027, 2, 1, 4, 30)],
  ])("%s is an instant", (text, instant) => {
    expect(read({ deliverAt: text })).toEqual({ ok: true, value: { deliverAt: instant } });
    expect(header({ "pennypost-deliver-at": text })).toEqual(read({ deliverAt: instant }));
  });

  test.each([
    "tomorrow",
    "2027-03-01",
    "2027-03-01T09:00:00",
    "2027-02-30T09:00:00Z",
    "2027-13-01T09:00:00Z",
    "2027-03-01T25:00:00Z",
    "",
    "-5",
    "1e15",
  ])("the instant '%s' is refused by name", (text) => {
    for (const read of [header({ "pennypost-deliver-at": text })]) {
      expect(read).toMatchObject({ ok: false, error: { code: "invalid-request", field: "deliverAt" } });
    }
    expect(read({ deliverAt: text })).toMatchObject({ ok: false, error: { field: "m.deliverAt" } });
  });

  test.each<[string, Record<string, unknown>, string, number | undefined]>([
    ["a delay of text", { delayMs: "5" }, "m.delayMs", limits.maxDelayMs],
    ["a delay of null", { delayMs: null }, "m.delayMs", limits.maxDelayMs],
    ["a negative delay", { delayMs: -1 }, "m.delayMs", 0],
    ["half a millisecond", { delayMs: 0.5 }, "m.delayMs", limits.maxDelayMs],
    ["more than a year", { delayMs: limits.maxDelayMs + 1 }, "m.delayMs", limits.maxDelayMs],
    [
      "an instant more than a year ahead",
      { deliverAt: NOW + limits.maxDelayMs + 1 },
      "m.deliverAt",
      limits.maxDelayMs,
    ],
    ["an instant of half a millisecond", { deliverAt: NOW + 0.5 }, "m.deliverAt", undefined],
    ["both", { delayMs: 1, deliverAt: NOW }, "m.deliverAt", undefined],
    ["no time to live", { ttlMs: 0 }, "m.ttlMs", limits.minTtlMs],
    ["a life of more than a year", { ttlMs: limits.maxTtlMs + 1 }, "m.ttlMs", limits.maxTtlMs],
  ])("%s is refused, naming the field and the limit", (_, fields, field, limit) => {
    const refused = read(fields);
    expect(refused).toMatchObject({ ok: false, error: { code: "invalid-request", field } });
    expect(!refused.ok && refused.error.limit).toBe(limit);
  });

  test("exactly a year is fine", () => {
    expect(read({ delayMs: limits.maxDelayMs }).ok).toBe(true);
    expect(read({ deliverAt: NOW + limits.maxDelayMs }).ok).toBe(true);
  });
});

describe("what it comes to", () => {
  test("an instant that is past is now: the message is not delayed, and it was asked for all the same", () => {
    expect(timedFields({ deliverAt: NOW - 5 }, NOW)).toEqual({});
    expect(timedFields({ delayMs: 0 }, NOW)).toEqual({});
    expect(dueAt({ deliverAt: NOW - 5 }, NOW)).toBe(NOW);
    expect(asksForDelay({ deliverAt: NOW - 5 })).toBe(true);
    expect(asksForDelay({ delayMs: 0 })).toBe(true);
  });

  test("the time to live counts from when it is due", () => {
    expect(timedFields({ delayMs: 100, ttlMs: 7 }, NOW)).toEqual({
      deliverAt: NOW + 100,
      expiresAt: NOW + 107,
    });
    expect(timedFields({ ttlMs: 7 }, NOW)).toEqual({ expiresAt: NOW + 7 });
    expect(timedFields({ deliverAt: NOW - 5, ttlMs: 7 }, NOW)).toEqual({ expiresAt: NOW + 7 });
    expect(timedFields(undefined, NOW)).toEqual({});
    expect(asksForDelay({ ttlMs: 7 })).toBe(false);
  });
});
