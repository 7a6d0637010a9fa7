// Every pattern of the OpenAPI document is one that its readers can hold a text against: a regular expression and nothing
// more, which the example beside it fits.

import { expect, test } from "vitest";
import { openApi } from "../../src/http/app";

type Patterned = Readonly<{ at: string; pattern: string; example: unknown }>;

function* patternsIn(value: unknown, at: string): Generator<Patterned> {
  if (typeof value !== "object" || value === null) return;
  const { pattern, example } = value as { pattern?: unknown; example?: unknown };
  if (typeof pattern === "string") yield { at, pattern, example };
  for (const [name, part] of Object.entries(value)) yield* patternsIn(part, `${at}/${name}`);
}

const patterns = [...patternsIn(JSON.parse(openApi()), "")];

function faultOf({ pattern, example }: Patterned): string | undefined {
  // A flag cannot be said in a JSON Schema: behind the end it makes a pattern that nothing fits.
  if (!/^\^.*\$$/s.test(pattern)) return "is more than a pattern";
  const fits = new RegExp(pattern, "u");
  return typeof example === "string" && !fits.test(example) ? `is not fitted by ${example}` : undefined;
}

test("a pattern of the OpenAPI document is a regular expression without flags, which its example fits", () => {
  expect(patterns.length).toBeGreaterThan(100);
  const faults = patterns.flatMap((each) => {
    const fault = faultOf(each);
    return fault === undefined ? [] : [`${each.at}: ${each.pattern} ${fault}`];
  });
  expect(faults).toEqual([]);
});
