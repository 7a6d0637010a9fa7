// A filter, compiled: the whole of it read once, then asked of each message. Whoever holds many filters makes one
// Candidate of a message and asks all of them, so that its body is parsed at most once.

import type { FieldFault } from "../errors";
import type { Filter } from "../filter-form";
import { limits } from "../limits";
import { utf8Bytes } from "../message";
import type { Candidate } from "./candidate";
import {
  FILTER_BOUNDS,
  type FilterBounds,
  FilterReading,
  isDeeperThan,
  isObject,
  onlyMember,
  UNBOUNDED,
} from "./filter-reading";
import { type Mismatch, mismatches } from "./mismatch";
import { type Fields, matchesNode, readPattern, written } from "./pattern";
import { hasWildcard, partialWildcard, subjectTest, type WordsTest } from "./subject-pattern";

export type Matcher = Readonly<{
  /** Whether the message matches. Never throws, and takes no longer than the limits of filters allow. */
  matches(candidate: Candidate): boolean;
  /** Why it does not match, part by part; nothing when it does. */
  explain(candidate: Candidate): readonly Mismatch[];
}>;

type SubjectRule = Readonly<{
  exact: ReadonlySet<string>;
  tests: readonly WordsTest[];
  takesAny: boolean;
  takesNone: boolean;
  written: string;
}>;
type Rules = Readonly<{ subject?: SubjectRule; attributes?: Fields; body?: Fields; unmatched?: true }>;

const PARTS = ["subject", "attributes", "body", "unmatched"] as const;

/** What is wrong with a filter that somebody sets, with the places below `field`; nothing when it may be set. */
export function filterFaults(filter: unknown, field = "filter"): readonly FieldFault[] {
  if (isDeeperThan(filter, limits.jsonDepth)) {
    const limit = limits.filterDepth;
    return [{ field, detail: `a filter is nested at most ${limit} deep`, limit }];
  }
  const bytes = utf8Bytes(JSON.stringify(filter) ?? "");
  if (bytes > limits.filterBytes) {
    const limit = limits.filterBytes;
    return [{ field, detail: `a filter is at most ${limit} bytes of JSON`, limit }];
  }
  return read(filter, FILTER_BOUNDS, field).faults;
}

/** Compiles a filter that was found to have no faults. Throws on one that is none at all: that is corruption. */
export function compileFilter(filter: Filter): Matcher {
  const { rules, faults } = read(filter, UNBOUNDED, "filter");
  if (faults.length > 0) throw new Error(`not a filter: ${JSON.stringify(faults)}`);
  return {
    matches: (candidate) => matches(rules, candidate),
    explain: (candidate) => explain(rules, candidate),
  };
}

// ── reading ──────────────────────────────────────────────────────────────────────────────────────────

function read(filter: unknown, bounds: FilterBounds, field: string) {
  const reading = new FilterReading(bounds);
  const { faults } = reading;
  if (!isObject(filter) || Object.keys(filter).length === 0) {
    reading.complain(field, `at least one part is needed: ${PARTS.join(", ")}`);
    return { rules: {}, faults };
  }
  for (const name of Object.keys(filter)) {
    if (!PARTS.some((part) => part === name)) reading.complain(`${field}.${name}`, "there is no such field");
  }
  const { subject, attributes, body, unmatched } = filter;
  if (unmatched !== undefined && unmatched !== true) {
    reading.complain(`${field}.unmatched`, "it is true, or left out");
  }
  const rules: Rules = {
    ...(subject !== undefined && { subject: readSubject(subject, `${field}.subject`, reading) }),
    ...(attributes !== undefined && {
      attributes: readPattern(attributes, `${field}.attributes`, reading, "attributes"),
    }),
    ...(body !== undefined && { body: readPattern(body, `${field}.body`, reading, "body") }),
    ...(unmatched === true && { unmatched }),
  };
  return { rules, faults };
}

function readSubject(value: unknown, place: string, reading: FilterReading): SubjectRule {
  const [exact, tests] = [new Set<string>(), [] as WordsTest[]];
  let [takesAny, takesNone] = [false, false];
  const list = Array.isArray(value) ? value : [];
  if (list.length === 0) reading.complain(place, "a list of patterns is needed");
  for (const [i, each] of list.entries()) {
    const at = `${place}[${i}]`;
    reading.count("values", at);
    const [name, argument] = onlyMember(each) ?? [];
    if (name === "exists" && typeof argument === "boolean") {
      if (argument) takesAny = true;
      else takesNone = true;
    } else if (name === "anything-but") {
      const excluded = (reading.texts(argument, `${at}.${name}`) ?? []).flatMap(
        (text) => readSubjectPattern(text, `${at}.${name}`, reading) ?? [],
      );
      tests.push((words) => !excluded.some((test) => test(words)));
    } else if (typeof each === "string" && !hasWildcard(each)) {
      if (readSubjectPattern(each, at, reading)) exact.add(each);
    } else tests.push(readSubjectPattern(each, at, reading) ?? (() => false));
  }
  return { exact, tests, takesAny, takesNone, written: written(list) };
}

function readSubjectPattern(value: unknown, place: string, reading: FilterReading): WordsTest | undefined {
  const pattern = reading.text(value, place, 'a pattern, {"exists": …} or {"anything-but": …}');
  if (pattern === undefined) return undefined;
  if (pattern === "") return reading.complain(place, "no subject is empty");
  const partial = partialWildcard(pattern);
  if (partial !== undefined) {
    return reading.complain(place, `a wildcard is a word of its own, between dots: "${partial}" is not`);
  }
  if (hasWildcard(pattern)) reading.count("wildcards", place);
  return subjectTest(pattern);
}

// ── matching ─────────────────────────────────────────────────────────────────────────────────────────

/** What is cheap comes first: a body is parsed only when all else matches. */
function matches({ subject, attributes, body, unmatched }: Rules, candidate: Candidate): boolean {
  if (unmatched && !candidate.isUnmatched) return false;
  if (subject && !matchesSubject(subject, candidate)) return false;
  if (attributes && !matchesNode(attributes, candidate.attributes)) return false;
  return !body || (candidate.body.ok && matchesNode(body, candidate.body.value));
}

function matchesSubject({ exact, tests, takesAny, takesNone }: SubjectRule, candidate: Candidate): boolean {
  const { subject } = candidate;
  if (subject === undefined) return takesNone;
  return takesAny || exact.has(subject) || tests.some((test) => test(candidate.words));
}

function explain({ subject, attributes, body, unmatched }: Rules, candidate: Candidate): readonly Mismatch[] {
  const found: Mismatch[] = [];
  if (unmatched && !candidate.isUnmatched) {
    found.push({ field: "unmatched", detail: "another subscription matched it when it was stored" });
  }
  if (subject && !matchesSubject(subject, candidate)) {
    const it = candidate.subject === undefined ? "it is not there" : `it is "${candidate.subject}"`;
    found.push({ field: "subject", detail: `${it}; wanted: ${subject.written}` });
  }
  if (attributes) found.push(...mismatches(attributes, candidate.attributes, "attributes"));
  if (body) {
    const parsed = candidate.body;
    if (parsed.ok) found.push(...mismatches(body, parsed.value, "body"));
    else found.push({ field: "body", detail: parsed.reason });
  }
  return found;
}
