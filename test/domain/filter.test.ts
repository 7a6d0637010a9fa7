// What filters match, held to a table; what they refuse to be; and that they never throw nor take long.

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Candidate } from "../../src/filter/candidate";
import { compileFilter, filterFaults } from "../../src/filter/matcher";
import { subjectTest, wordsOf } from "../../src/filter/subject-pattern";
import { wildcardParts, wildcardTest } from "../../src/filter/wildcard";
import type { Filter } from "../../src/filter-form";
import { limits } from "../../src/limits";
import { filterCases, type Sample } from "../support/filter-cases";

const utf8 = new TextEncoder();
const candidate = ({ subject, attributes, body, text }: Sample) =>
  new Candidate({
    body: utf8.encode(text ?? (body === undefined ? "no JSON" : JSON.stringify(body))),
    ...(subject !== undefined && { subject }),
    ...(attributes !== undefined && { attributes }),
  });
const matches = (filter: Filter, sample: Sample) => compileFilter(filter).matches(candidate(sample));
const shown = (sample: Sample) => JSON.stringify(sample).slice(0, 80);

test.each(filterCases().map((each) => [each.group, each.claim, each] as const))(
  "%s: %s",
  (_group, _claim, { filter, matched, left }) => {
    expect(filterFaults(filter)).toEqual([]);
    for (const sample of matched) {
      expect([shown(sample), matches(filter, sample)]).toEqual([shown(sample), true]);
      expect(compileFilter(filter).explain(candidate(sample))).toEqual([]);
    }
    for (const sample of left) {
      expect([shown(sample), matches(filter, sample)]).toEqual([shown(sample), false]);
      expect(compileFilter(filter).explain(candidate(sample))).not.toEqual([]);
    }
  },
);

test("the table has at least 150 messages to judge", () => {
  const samples = filterCases().flatMap(({ matched, left }) => [...matched, ...left]);
  expect(samples.length).toBeGreaterThan(150);
});

test("a body nested past all bounds matches nothing, and neither does one that is too long", () => {
  const nested = (levels: number) => `${"[".repeat(levels)}{"a":"x"}${"]".repeat(levels)}`;
  const onA: Filter = { body: { a: ["x"] } };
  expect([60, 70, 100_000].map((levels) => matches(onA, { text: nested(levels) }))).toEqual([
    true,
    false,
    false,
  ]);
  expect(matches(onA, { text: "[".repeat(100_000) })).toBe(false);
  const sized = (bytes: number) => `{"a":"x"}`.padEnd(bytes);
  const { filterBodyBytes } = limits;
  expect([0, 1].map((more) => matches(onA, { text: sized(filterBodyBytes + more) }))).toEqual([true, false]);
});

describe("a filter is refused, with the place and the limit", () => {
  const deep = (levels: number): unknown => (levels === 0 ? ["x"] : { a: deep(levels - 1) });
  const many = <T>(count: number, of: (i: number) => T) => Array.from({ length: count }, (_, i) => of(i));
  const refusals: readonly (readonly [what: unknown, field: string, limit?: number])[] = [
    [{}, "filter"],
    [[], "filter"],
    ["a.b", "filter"],
    [null, "filter"],
    [{ topic: ["x"] }, "filter.topic"],
    [{ subject: "orders.#" }, "filter.subject"],
    [{ subject: [] }, "filter.subject"],
    [{ subject: [""] }, "filter.subject[0]"],
    [{ subject: ["a", 5] }, "filter.subject[1]"],
    [{ subject: ["ord*.x"] }, "filter.subject[0]"],
    [{ subject: ["a.##"] }, "filter.subject[0]"],
    [{ subject: [{ prefix: "a" }] }, "filter.subject[0]"],
    [{ subject: [{ exists: "yes" }] }, "filter.subject[0]"],
    [{ subject: [{ "anything-but": [] }] }, "filter.subject[0].anything-but"],
    [{ subject: ["x".repeat(513)] }, "filter.subject[0]", 512],
    [{ attributes: {} }, "filter.attributes"],
    [{ attributes: ["a"] }, "filter.attributes"],
    [{ attributes: { a: "x" } }, "filter.attributes.a"],
    [{ attributes: { a: { b: ["x"] } } }, "filter.attributes.a"],
    [{ attributes: { a: [] } }, "filter.attributes.a"],
    [{ attributes: { a: [1] } }, "filter.attributes.a[0]"],
    [{ attributes: { a: [null] } }, "filter.attributes.a[0]"],
    [{ attributes: { a: [{ "anything-but": [1] }] } }, "filter.attributes.a[0].anything-but[0]"],
    [{ body: { a: 5 } }, "filter.body.a"],
    [{ body: { a: {} } }, "filter.body.a"],
    [{ body: { a: { b: [] } } }, "filter.body.a.b"],
    [{ body: { a: [["x"]] } }, "filter.body.a[0]"],
    [{ body: { a: [{}] } }, "filter.body.a[0]"],
    [{ body: { a: [{ prefix: "a", suffix: "b" }] } }, "filter.body.a[0]"],
    [{ body: { a: [{ regex: ".*" }] } }, "filter.body.a[0]"],
    [{ body: { a: [{ constructor: "x" }] } }, "filter.body.a[0]"],
    [{ body: { a: [{ exists: 1 }] } }, "filter.body.a[0].exists"],
    [{ body: { a: [{ prefix: 1 }] } }, "filter.body.a[0].prefix"],
    [
      { body: { a: [{ suffix: { "equals-ignore-case": 1 } }] } },
      "filter.body.a[0].suffix.equals-ignore-case",
    ],
    [{ body: { a: [{ wildcard: "a\\b" }] } }, "filter.body.a[0].wildcard"],
    [{ body: { a: [{ wildcard: "a\\" }] } }, "filter.body.a[0].wildcard"],
    [{ body: { a: [{ numeric: [">"] }] } }, "filter.body.a[0].numeric"],
    [{ body: { a: [{ numeric: [">", "5"] }] } }, "filter.body.a[0].numeric"],
    [{ body: { a: [{ numeric: ["!=", 5] }] } }, "filter.body.a[0].numeric"],
    [{ body: { a: [{ numeric: [">", 5, "<", 5] }] } }, "filter.body.a[0].numeric"],
    [{ body: { a: [{ numeric: [">", 5, ">", 6] }] } }, "filter.body.a[0].numeric"],
    [{ body: { a: [{ numeric: ["=", 5, "<", 6] }] } }, "filter.body.a[0].numeric"],
    [{ body: { a: [{ cidr: "10.0.0.0" }] } }, "filter.body.a[0].cidr"],
    [{ body: { a: [{ cidr: "10.0.0.0/33" }] } }, "filter.body.a[0].cidr"],
    [{ body: { a: [{ cidr: "10.0.0/8" }] } }, "filter.body.a[0].cidr"],
    [{ body: { a: [{ cidr: "::/129" }] } }, "filter.body.a[0].cidr"],
    [{ body: { a: [{ "anything-but": [] }] } }, "filter.body.a[0].anything-but"],
    [{ body: { a: [{ "anything-but": { numeric: [">", 1] } }] } }, "filter.body.a[0].anything-but"],
    [{ body: { a: [{ "anything-but": [{}] }] } }, "filter.body.a[0].anything-but[0]"],
    [{ body: { $or: { a: ["x"] } } }, "filter.body.$or"],
    [{ body: { $or: [] } }, "filter.body.$or"],
    [{ body: { $or: [{}] } }, "filter.body.$or[0]"],
    [
      { body: deep(limits.filterDepth + 1) },
      `filter.body${".a".repeat(limits.filterDepth)}`,
      limits.filterDepth,
    ],
    [{ body: { a: many(201, (i) => i) } }, "filter.body.a[200]", 200],
    [{ body: { a: [{ "anything-but": many(202, (i) => i) }] } }, "filter.body.a[0].anything-but[200]", 200],
    [{ body: Object.fromEntries(many(101, (i) => [`f${i}`, ["x"]])) }, "filter.body.f100", 100],
    [{ subject: many(51, (i) => `a.${i}.*`) }, "filter.subject[50]", 50],
    [{ body: { a: many(51, (i) => ({ wildcard: `${i}*` })) } }, "filter.body.a[50].wildcard", 50],
    [{ body: { a: many(40, (i) => `${i}`.padEnd(500, "x")) } }, "filter", limits.filterBytes],
  ];

  test.each(
    refusals.map(([what, field, limit]) => [JSON.stringify(what).slice(0, 60), what, field, limit] as const),
  )("%s", (_, what, field, limit) => {
    const [fault, ...more] = filterFaults(what);
    expect([fault?.field, fault?.limit]).toEqual([field, limit]);
    expect(more).toEqual([]);
  });

  test("all that is wrong is said together, and a name cannot make the place long", () => {
    const name = "n".repeat(400);
    const faults = filterFaults({ subject: [""], body: { [name]: 5, b: [] } });
    expect(faults.map(({ field }) => field)).toEqual([
      "filter.subject[0]",
      `filter.body.${"n".repeat(64)}`,
      "filter.body.b",
    ]);
  });

  test("one that is nested without end is refused before it is looked at", () => {
    const text = `${'{"a":'.repeat(100_000)}1${"}".repeat(100_000)}`;
    const [fault] = filterFaults({ body: JSON.parse(text) as unknown });
    expect(fault).toMatchObject({ field: "filter", limit: limits.filterDepth });
  });

  test("a filter that was set before a limit sank still compiles", () => {
    const filter: Filter = { body: { a: many(300, (i) => i) } };
    expect(filterFaults(filter)).toHaveLength(1);
    expect(matches(filter, { body: { a: 299 } })).toBe(true);
  });

  test("what is no filter at all does not compile", () => {
    expect(() => compileFilter({ body: 5 } as unknown as Filter)).toThrow("not a filter");
  });
});

describe("a dry run says what does not match", () => {
  const why = (filter: Filter, sample: Sample) => compileFilter(filter).explain(candidate(sample));

  test("each place, with what it is and what was wanted", () => {
    const filter: Filter = {
      subject: ["orders.*"],
      attributes: { tenant: ["acme"] },
      body: { order: { total: [{ numeric: [">", 100] }], state: ["paid"], note: [{ exists: false }] } },
    };
    const body = { order: { total: 5, note: "x" }, more: 1 };
    expect(why(filter, { subject: "orders", body })).toEqual([
      { field: "subject", detail: 'it is "orders"; wanted: ["orders.*"]' },
      { field: "attributes.tenant", detail: 'it is not there; wanted: ["acme"]' },
      { field: "body.order.total", detail: 'it is 5; wanted: [{"numeric":[">",100]}]' },
      { field: "body.order.state", detail: 'it is not there; wanted: ["paid"]' },
      { field: "body.order.note", detail: 'it is "x"; wanted: nothing, or [{"exists":false}]' },
    ]);
  });

  test("a body that is no JSON, or too long, and a list of which no element does", () => {
    expect(why({ body: { a: [1] } }, { text: "{" })).toEqual([{ field: "body", detail: "it is not JSON" }]);
    const long = { text: `"${"x".repeat(limits.filterBodyBytes)}"` };
    expect(why({ body: { a: [1] } }, long)[0]?.detail).toContain(String(limits.filterBodyBytes));
    expect(why({ body: { a: { b: [1] } } }, { body: { a: [{ b: 2 }, {}] } })).toEqual([
      { field: "body.a", detail: "none of its 2 elements matches" },
    ]);
    expect(why({ body: { $or: [{ a: [1] }, { b: [1] }] } }, { body: {} })).toEqual([
      { field: "body", detail: "none of the 2 patterns of $or matches" },
    ]);
  });
});

describe("against a naive reference", () => {
  /** Tries everything. */
  const naiveWords = (pattern: readonly string[], words: readonly string[]): boolean => {
    const [first, ...rest] = pattern;
    if (first === undefined) return words.length === 0;
    if (first === "#") return words.some((_, i) => naiveWords(rest, words.slice(i))) || naiveWords(rest, []);
    return words.length > 0 && (first === "*" || first === words[0]) && naiveWords(rest, words.slice(1));
  };
  const naiveText = (pattern: string, text: string): boolean => {
    if (pattern === "") return text === "";
    if (pattern[0] !== "*")
      return pattern[0] === text[0] && text !== "" && naiveText(pattern.slice(1), text.slice(1));
    return Array.from({ length: text.length + 1 }).some((_, i) => naiveText(pattern.slice(1), text.slice(i)));
  };
  const word = fc.constantFrom("a", "b", "ab", "");

  test("subjects", () => {
    const pattern = fc.array(fc.constantFrom("a", "b", "ab", "*", "#"), { minLength: 1, maxLength: 7 });
    const words = fc.array(word, { minLength: 1, maxLength: 7 });
    fc.assert(
      fc.property(pattern, words, (pattern, words) => {
        const subject = words.join(".");
        expect(subjectTest(pattern.join("."))(wordsOf(subject))).toBe(naiveWords(pattern, words));
      }),
      { numRuns: 3_000 },
    );
  });

  test("wildcards", () => {
    const letters = (of: string) =>
      fc.array(fc.constantFrom(...of), { maxLength: 9 }).map((all) => all.join(""));
    fc.assert(
      fc.property(letters("ab*"), letters("ab"), (pattern, text) => {
        expect(wildcardTest(wildcardParts(pattern) ?? [])(text)).toBe(naiveText(pattern, text));
      }),
      { numRuns: 3_000 },
    );
  });

  test("what it escapes, a wildcard takes as it is", () => {
    fc.assert(
      fc.property(fc.string(), fc.string(), (text, other) => {
        const test = wildcardTest(wildcardParts(text.replace(/[*\\]/g, "\\$&")) ?? []);
        expect([test(text), test(`${text}${other}`)]).toEqual([true, other === ""]);
      }),
    );
  });

  test("patterns of bodies: every name, any value, any element", () => {
    type Tree = { [name: string]: Tree | number[] };
    const names = fc.constantFrom("a", "b", "c");
    const { tree } = fc.letrec<{ tree: Tree; node: Tree | number[] }>((tie) => ({
      tree: fc.dictionary(names, tie("node"), { minKeys: 1, maxKeys: 2 }),
      node: fc.oneof({ maxDepth: 3 }, fc.array(fc.nat(3), { minLength: 1, maxLength: 2 }), tie("tree")),
    }));
    const value = fc.letrec<{ value: unknown }>((tie) => ({
      value: fc.oneof(
        { maxDepth: 4 },
        fc.nat(3),
        fc.array(tie("value"), { maxLength: 3 }),
        fc.dictionary(names, tie("value"), { maxKeys: 3 }),
      ),
    })).value;
    const naive = (pattern: Tree | number[], value: unknown): boolean => {
      if (Array.isArray(value)) return value.some((element) => naive(pattern, element));
      if (Array.isArray(pattern)) return pattern.includes(value as number);
      const of = (value ?? {}) as Record<string, unknown>;
      return Object.entries(pattern).every(([name, below]) => naive(below, of[name]));
    };
    fc.assert(
      fc.property(tree, value, (pattern, body) => {
        expect(matches({ body: pattern }, { body })).toBe(naive(pattern, body));
      }),
      { numRuns: 2_000 },
    );
  });
});

describe("whatever comes", () => {
  test("reading a filter never throws, and one without faults compiles", () => {
    const names = fc.constantFrom(
      "prefix",
      "numeric",
      "anything-but",
      "wildcard",
      "exists",
      "cidr",
      "$or",
      "a",
    );
    const { tree } = fc.letrec<{ tree: unknown }>((tie) => ({
      tree: fc.oneof(
        { maxDepth: 4 },
        fc.constantFrom<unknown>("a.*", "x", 1, null, true, ">", "10.0.0.0/8", {}, []),
        fc.array(tie("tree"), { maxLength: 3 }),
        fc.dictionary(names, tie("tree"), { maxKeys: 2 }),
      ),
    }));
    const alternative = fc.oneof(fc.constantFrom<unknown>("a.*", { exists: true }, { prefix: "a" }), tree);
    const leaf = fc.array(alternative, { minLength: 1, maxLength: 2 });
    const filter = fc.dictionary(
      fc.constantFrom("subject", "attributes", "body"),
      fc.oneof(leaf, fc.dictionary(fc.constantFrom("a", "b", "$or"), fc.oneof(leaf, tree), { minKeys: 1 })),
      { minKeys: 1 },
    );
    let compiled = 0;
    fc.assert(
      fc.property(filter, tree, (filter, body) => {
        if (filterFaults(filter).length > 0) return;
        compiled += 1;
        expect(typeof matches(filter as Filter, { body, subject: "a.b" })).toBe("boolean");
      }),
      { numRuns: 5_000 },
    );
    expect(compiled).toBeGreaterThan(10);
  });

  test("matching never throws, and what explains is what decides", () => {
    const everyOperator: Filter = {
      subject: ["a.#", { "anything-but": "b" }],
      body: {
        a: [
          "x",
          1,
          { prefix: "a" },
          { suffix: "b" },
          { "equals-ignore-case": "c" },
          { wildcard: "*d*" },
          { cidr: "::/0" },
        ],
        b: { c: [{ "anything-but": ["x", null] }, { exists: false }] },
        $or: [{ d: [{ numeric: ["<", 5] }] }, { e: [{ exists: false }] }],
      },
    };
    const matcher = compileFilter(everyOperator);
    const body = fc.oneof(fc.jsonValue(), fc.dictionary(fc.constantFrom("a", "b", "d", "e"), fc.jsonValue()));
    fc.assert(
      fc.property(
        body,
        fc.option(fc.string(), { nil: undefined }),
        fc.uint8Array(),
        (body, subject, bytes) => {
          const sample = candidate({ body, ...(subject !== undefined && { subject }) });
          expect(matcher.matches(sample)).toBe(matcher.explain(sample).length === 0);
          expect(typeof matcher.matches(new Candidate({ body: bytes }))).toBe("boolean");
        },
      ),
      { numRuns: 2_000 },
    );
  });

  test("the worst body against the worst filter is judged in bounded time", () => {
    const long = "a".repeat(limits.filterBodyBytes - 20);
    const wildcards = Array.from({ length: limits.filterWildcards }, (_, i) => ({
      wildcard: `*${"a".repeat(150 + i)}b*`,
    }));
    const started = performance.now();
    expect(matches({ body: { a: wildcards } }, { body: { a: long } })).toBe(false);
    const list = Array.from({ length: 60_000 }, () => "a");
    const prefixes = Array.from({ length: limits.filterValues }, (_, i) => ({ prefix: `a${i}` }));
    expect(matches({ body: { a: prefixes } }, { body: { a: list } })).toBe(false);
    const subject = `${"a.".repeat(120)}b`;
    const hashes = Array.from({ length: limits.filterWildcards }, (_, i) => `${"#.a.*.".repeat(20)}c${i}`);
    expect(matches({ subject: hashes }, { subject })).toBe(false);
    // About 0.2 s on an idle machine; backtracking would take longer than anybody waits.
    expect(performance.now() - started).toBeLessThan(10_000);
  });
});
