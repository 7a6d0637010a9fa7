// `Retry-After` in all its spellings, and what only looks like it.

import { describe, expect, it } from "vitest";
import { retryAfterMs } from "../../src/push/retry-after";

const now = Date.UTC(1994, 10, 6, 8, 49, 7);
const ask = (header: string | null, minMs = 0, maxMs = 86_400_000) =>
  retryAfterMs(header, { now, minMs, maxMs });

describe("Retry-After", () => {
  it.each([
    ["120", 120_000],
    [" 3 ", 3_000],
    ["0", 0],
    ["1.5", 1_500],
    ["Sun, 06 Nov 1994 08:49:37 GMT", 30_000],
    ["Sunday, 06-Nov-94 08:49:37 GMT", 30_000],
    ["Sun Nov  6 08:49:37 1994", 30_000],
    ["Sun, 06 Nov 1994 08:00:00 GMT", 0],
  ])("understands %j", (header, ms) => {
    expect(ask(header)).toBe(ms);
  });

  it.each([
    null,
    "",
    "soon",
    "-1",
    "1e3",
    "0x10",
    "12 seconds",
    "2027-01-01",
    "Sunny day",
    "Sun, 99 Foo 1994 08:49:37 GMT",
  ])("ignores %j", (header) => {
    expect(ask(header)).toBeUndefined();
  });

  it("is kept within its bounds", () => {
    expect(ask("0", 5_000)).toBe(5_000);
    expect(ask("9".repeat(400), 0, 86_400_000)).toBe(86_400_000);
    expect(ask("Sat, 06 Nov 2094 08:49:37 GMT", 0, 86_400_000)).toBe(86_400_000);
  });
});
