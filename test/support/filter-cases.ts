// The table of what filters match (filter-cases.jsonl): each line a claim of docs/filters.md, with messages that match
// and messages that do not. Those of the groups "SNS" and "EventBridge" are facts of their documentation, said of
// filters in the form of this broker. A line with `body` is short for a filter of bodies, and messages that are those.

import type { Filter, Pattern } from "../../src/filter-form";
import { readText } from "./source-tree";

/** A message to be judged. `body` is JSON; `text` is the body as it is. */
export type Sample = Readonly<{
  subject?: string;
  attributes?: Readonly<Record<string, string>>;
  body?: unknown;
  text?: string;
}>;
export type FilterCase = Readonly<{
  group: string;
  claim: string;
  filter: Filter;
  matched: readonly Sample[];
  left: readonly Sample[];
}>;

type Line = Readonly<{ group: string; claim: string }> &
  Readonly<
    { filter: Filter; yes: Sample[]; no: Sample[] } | { body: Pattern; yes: unknown[]; no: unknown[] }
  >;

export function filterCases(): FilterCase[] {
  const lines = readText("test/support/filter-cases.jsonl").trim().split("\n");
  return lines.map((line) => toCase(JSON.parse(line) as Line));
}

function toCase(line: Line): FilterCase {
  const { group, claim } = line;
  if ("filter" in line) return { group, claim, filter: line.filter, matched: line.yes, left: line.no };
  const bodies = (all: readonly unknown[]) => all.map((body) => ({ body }));
  return { group, claim, filter: { body: line.body }, matched: bodies(line.yes), left: bodies(line.no) };
}
