// How many subscriptions a message matches: their filters, each compiled once, asked of each message. Pure.

import { Candidate, type Judged } from "../filter/candidate";
import { compileFilter } from "../filter/matcher";
import type { Filter } from "../filter-form";
import { limits } from "../limits";

/**
 * For each message how many of `filters` let it through; null lets everything through. Undefined when it would be too much to
 * look at for one request.
 */
export function countMatches(
  messages: readonly Judged[],
  filters: readonly (Filter | null)[],
): readonly number[] | undefined {
  const given = filters.filter((filter) => filter !== null);
  if (given.length * messages.length > limits.matchedLooks) return undefined;
  const matchers = given.map(compileFilter);
  const open = filters.length - given.length;
  return messages.map((message) => {
    const candidate = new Candidate(message);
    return open + matchers.filter((matcher) => matcher.matches(candidate)).length;
  });
}
