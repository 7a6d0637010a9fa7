// Which regular expressions may stand in a schema: what backtracking could be made to do is counted, not met.

import { expect, test } from "vitest";
import { limits } from "../../src/limits";
import { patternFault } from "../../src/schema/pattern-guard";

const L = limits.schemaTextLength;

test.each([
  "^[a-z0-9._%+-]+@[a-z0-9.-]+\\.[a-z]{2,}$",
  "^[a-z0-9]+(?:-[a-z0-9]+)*$",
  "^\\d+\\.\\d+\\.\\d+$",
  "^(?:\\d{1,3}\\.){3}\\d{1,3}$",
  "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$",
  "^(EUR|USD|GBP)$",
  "^[A-Z]{2}\\d{2}[A-Z0-9]{1,30}$",
  "[0-9]+",
  "^\\p{Lu}\\p{Ll}*$",
  "^x|^y+",
  "",
])("%s can take a text apart in few ways, and may be used", (pattern) => {
  expect(patternFault(pattern, L)).toBeUndefined();
});

test.each([
  ["(a+)+$", "several ways"],
  ["^(a|a)*$", "several ways"],
  ["^(a|ab)*c$", "several ways"],
  ["^(a?)*$", "several ways"],
  ["^(?:a+b*)+$", "several ways"],
  ["^(?:.*,)*x$", "several ways"],
  ["^([a-z]+){40}$", "too many"],
  ["^(a|a){20}$", "too many"],
  ["^a*a*a*$", "too many"],
  ["a*a*b", "too many"],
  ["^.*.*=.*$", "too many"],
  ["^a?a?a?a?a?a?a?a?a?a?a?a?a?a?aaaaaaaaaaaaaa$", "too many"],
  ["(?=a)b", "ahead"],
  ["(?<!a)b", "behind"],
  ["(a)\\1", "back"],
  ["(?<x>a)\\k<x>", "back"],
  ["[a-", "not a regular expression"],
  ["a{2", "not a regular expression"],
  ["x".repeat(limits.schemaPatternLength + 1), "at most"],
])("%s is refused", (pattern, why) => {
  expect(patternFault(pattern, L)).toContain(why);
});

test("a shorter text leaves fewer ways", () => {
  expect(patternFault("^[a-z]+[a-z]+\\d$", 64)).toBeUndefined();
  expect(patternFault("^[a-z]+[a-z]+\\d$", L)).toContain("maxLength");
});
