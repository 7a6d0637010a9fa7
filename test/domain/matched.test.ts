// Counting the filters that a message matches.

import { expect, test } from "vitest";
import { countMatches } from "../../src/http/matched";
import { limits } from "../../src/limits";

const utf8 = new TextEncoder();
const message = (subject: string) => ({ subject, body: utf8.encode("{}") });

test("a subscription without a filter matches everything", () => {
  expect(countMatches([message("a"), message("b")], [null, { subject: ["a"] }, null])).toEqual([3, 2]);
  expect(countMatches([message("a")], [])).toEqual([0]);
});

test("what is too much to look at for one request is not looked at", () => {
  const many = Array.from({ length: 1_000 }, () => message("a"));
  const enough = Math.floor(limits.matchedLooks / many.length);
  const filters = (count: number) => Array.from({ length: count }, () => ({ subject: ["a"] }));
  expect(countMatches(many, filters(enough))?.[0]).toBe(enough);
  expect(countMatches(many, filters(enough + 1))).toBeUndefined();
  expect(
    countMatches(
      many,
      Array.from({ length: 1_000 }, () => null),
    )?.[0],
  ).toBe(1_000);
});
