// A topic's JSON Schema: which may be set, what it says of a message, and how much work it can be made to do.

import { describe, expect, test } from "vitest";
import type { JsonSchema } from "../../src/intake-form";
import { limits } from "../../src/limits";
import { schemaFaults, Validator, validatorOf, type Work } from "../../src/schema/schema-validator";

const DRAFT_7 = "http://json-schema.org/draft-07/schema#";
const order: JsonSchema = {
  type: "object",
  required: ["id", "lines"],
  properties: {
    id: { type: "string", pattern: "^o-\\d+$" },
    lines: { type: "array", minItems: 1, items: { $ref: "#/$defs/line" } },
    note: { type: "string", format: "email" },
  },
  additionalProperties: false,
  $defs: { line: { type: "object", properties: { price: { type: "number", minimum: 0 } } } },
};

const check = (schema: JsonSchema, value: unknown, work: Work = { left: limits.schemaSteps }) => {
  expect(schemaFaults(schema)).toEqual([]);
  return new Validator(schema).mismatches(value, work).map(({ path, keyword }) => `${keyword} ${path}`);
};

describe("what a schema says of a message", () => {
  test("nothing when it matches", () => {
    expect(check(order, { id: "o-1", lines: [{ price: 1 }], note: "a@example.com" })).toEqual([]);
  });

  test.each([
    [{ lines: [{}] }, ["required "]],
    [{ id: 1, lines: [{}] }, ["type /id"]],
    [{ id: "x", lines: [{}] }, ["pattern /id"]],
    [{ id: "o-1", lines: [] }, ["minItems /lines"]],
    [{ id: "o-1", lines: [{ price: 1 }, { price: -1 }] }, ["minimum /lines/1/price"]],
    [{ id: "o-1", lines: [{}], "a/b": 1 }, ["additionalProperties /a~1b"]],
    [{ id: "o-1", lines: [{}], note: "x" }, ["format /note"]],
    [{ id: "x", lines: [{ price: -1 }] }, ["pattern /id", "minimum /lines/0/price"]],
    [[], ["type "]],
    ["o-1", ["type "]],
  ])("%j: the keyword and the place", (value, expected) => {
    expect(check(order, value)).toEqual(expected);
  });

  test("the first few of many", () => {
    const names = Array.from({ length: 20 }, (_, i) => `p${i}`);
    expect(check({ required: names }, {})).toEqual(["required "]);
    const properties = Object.fromEntries(names.map((name) => [name, { type: "string" }]));
    const value = Object.fromEntries(names.map((name) => [name, 1]));
    expect(check({ properties }, value)).toHaveLength(limits.schemaFaultsShown);
  });

  test("of oneOf, that several matched", () => {
    expect(check({ oneOf: [{ type: "number" }, { minimum: 1 }] }, 2)).toEqual(["oneOf "]);
  });

  test.each([
    ["2020-12", { prefixItems: [{ type: "string" }], items: false }, ["a", 1], ["items /1"]],
    ["2020-12", { dependentRequired: { a: ["b"] } }, { a: 1 }, ["dependentRequired "]],
    ["2020-12", { $ref: "#x", $defs: { a: { $anchor: "x", type: "null" } } }, 1, ["type "]],
    [
      "2020-12",
      { allOf: [{ properties: { a: true } }], unevaluatedProperties: false },
      { b: 1 },
      ["unevaluatedProperties /b"],
    ],
    [
      "draft 7",
      { $schema: DRAFT_7, items: [{ type: "string" }], additionalItems: false },
      ["a", 1],
      ["additionalItems /1"],
    ],
    ["draft 7", { $schema: DRAFT_7, dependencies: { a: ["b"] } }, { a: 1 }, ["dependentRequired "]],
    [
      "draft 7",
      {
        $schema: DRAFT_7,
        dependencies: { type: { $ref: "#/definitions/n" } },
        definitions: { n: { minProperties: 2 } },
      },
      { type: 1 },
      ["minProperties "],
    ],
    ["draft 7", { $schema: DRAFT_7, $ref: "#/definitions/n", minimum: 5, definitions: { n: {} } }, 1, []],
    ["2020-12", { maxItems: 3, uniqueItems: true }, [1, { a: 1 }, { a: 1 }], ["uniqueItems "]],
    ["2020-12", { maxItems: 1, uniqueItems: true }, [1, 1], ["maxItems "]],
  ] as const)("%s: %j", (_, schema, value, expected) => {
    expect(check(schema, value)).toEqual(expected);
  });

  test("of a condition, what its branch says", () => {
    const schema = JSON.parse('{"if": {"required": ["a"]}, "then": {"required": ["b"]}}') as JsonSchema;
    expect(check(schema, { a: 1 })).toEqual(["required "]);
    expect(check(schema, { c: 1 })).toEqual([]);
  });

  test("what the message calls a property does not matter", () => {
    const value = JSON.parse('{"__proto__": 1, "constructor": 2}') as unknown;
    expect(check({ required: ["__proto__", "constructor"] }, value)).toEqual([]);
    expect(check({ required: ["toString"] }, {})).toEqual(["required "]);
    const schema = JSON.parse('{"properties": {"__proto__": {"type": "string"}}}') as JsonSchema;
    expect(check(schema, value)).toEqual(["type /__proto__"]);
    expect(check({ additionalProperties: false }, { "\ud800": 1 })).toEqual(["limits "]);
  });
});

describe("a schema is refused", () => {
  test.each([
    ["a reference to elsewhere", { $ref: "https://example.com/x.json" }, "$ref"],
    ["a reference to a file", { properties: { a: { $ref: "x.json#/a" } } }, "properties.a.$ref"],
    ["a reference to nothing", { $ref: "#/$defs/none" }, "$ref"],
    ["a reference that leads to itself", { $ref: "#" }, "$ref"],
    [
      "references that go round",
      { $defs: { a: { allOf: [{ $ref: "#/$defs/b" }] }, b: { not: { $ref: "#/$defs/a" } } } },
      "$defs.a.allOf.0.$ref",
    ],
    ["another draft", { $schema: "http://json-schema.org/draft-04/schema#" }, "$schema"],
    ["a base inside", { properties: { a: { $id: "https://example.com/" } } }, "properties.a.$id"],
    ["a dynamic reference", { $dynamicRef: "#a" }, "$dynamicRef"],
    ["two of one anchor", { $defs: { a: { $anchor: "x" }, b: { $anchor: "x" } } }, "$defs.b.$anchor"],
    ["a type that is none", { type: "text" }, "type"],
    ["a keyword of another form", { required: "a" }, "required"],
    ["a number that is none", { maxLength: -1 }, "maxLength"],
    ["a schema that is none", { properties: { a: 1 } }, "properties"],
    ["a list of names for properties", { properties: { a: ["b"] } }, "properties.a"],
    ["a list of items in 2020-12", { items: [{}] }, "items"],
    ["a pattern that could take for ever", { pattern: "(a+)+$" }, "pattern"],
    ["the same in a name", { patternProperties: { "(a+)+$": {} } }, "patternProperties.(a+)+$"],
    ["unique items without an end", { uniqueItems: true }, "uniqueItems"],
    ["what is too long", { description: "x".repeat(limits.schemaBytes) }, ""],
    ["what is too deep", JSON.parse(`${'{"not":'.repeat(50)}{}${"}".repeat(50)}`) as JsonSchema, ""],
    ["no object", [] as unknown as JsonSchema, ""],
  ])("%s", (_, schema, path) => {
    expect(schemaFaults(schema).map((fault) => fault.path.join("."))).toContain(path);
  });

  test("with all of its faults together", () => {
    expect(schemaFaults({ type: "text", minimum: "1", pattern: "[" })).toHaveLength(3);
  });
});

describe("the work has a bound", () => {
  test("a schema that goes into the value may refer to itself", () => {
    const tree = { properties: { next: { $ref: "#" }, n: { type: "number" } } };
    expect(check(tree, { next: { next: { n: "x" } } })).toEqual(["type /next/next/n"]);
  });

  test("schemas that double on every level end when the request's steps are spent", () => {
    const $defs = Object.fromEntries(
      Array.from({ length: 40 }, (_, i) => [`d${i}`, { allOf: [ref(i + 1), ref(i + 1)] }]),
    );
    const work = { left: 10_000 };
    expect(check({ ...ref(0), $defs: { ...$defs, d40: {} } }, 1, work)).toEqual(["limits "]);
    expect(work.left).toBe(0);
    const twice = { allOf: [{ properties: { a: { $ref: "#" } } }, { properties: { a: { $ref: "#" } } }] };
    const deep = JSON.parse(`${'{"a":'.repeat(60)}1${"}".repeat(60)}`) as unknown;
    expect(check(twice, deep, { left: 10_000 })).toEqual(["limits "]);
  });

  test("one request's messages share its steps, and the next request has its own", () => {
    const schema = { items: { type: "number" } };
    const work = { left: 50 };
    expect(check(schema, [1, 2, 3, 4, 5, 6, 7, 8, 9], work)).toEqual([]);
    expect(work.left).toBeLessThan(35);
    expect(check(schema, Array(50).fill(1), work)).toEqual(["limits "]);
    expect(check(schema, Array(50).fill(1))).toEqual([]);
  });

  test("a text with a pattern or a format is no longer than the limit", () => {
    const long = "1".repeat(limits.schemaTextLength + 1);
    expect(check({ pattern: "^\\d+$" }, long)).toEqual(["maxLength "]);
    expect(check({ pattern: "^\\d+$" }, long.slice(1))).toEqual([]);
    expect(check({ format: "email" }, long)).toEqual(["maxLength "]);
    expect(check({ patternProperties: { "^a": {} } }, { [long]: 1 })).toEqual(["limits "]);
  });

  test("a message nested too deep is not looked at", () => {
    const deep = JSON.parse(`${"[".repeat(100)}${"]".repeat(100)}`) as unknown;
    expect(check({}, deep)).toEqual(["limits "]);
  });

  test("a hundred thousand values that do not match end the search, and are no fault", () => {
    const value = Array(100_000).fill("x");
    expect(check({ items: { type: "number" } }, value)).toEqual(["type /0"]);
    expect(check({ contains: { type: "number" } }, [...value, 1])).toEqual([]);
    expect(check({ contains: { type: "number" } }, value)).toHaveLength(1);
  });
});

test("a validator is compiled once for each version of its topic, and old ones make room", () => {
  const first = validatorOf("g 1", order);
  expect(validatorOf("g 1", {})).toBe(first);
  expect(validatorOf("g 2", order)).not.toBe(first);
  for (let i = 0; i < limits.schemasKept; i++) validatorOf(`other ${i}`, {});
  expect(validatorOf("g 1", order)).not.toBe(first);
});

function ref(i: number) {
  return { $ref: `#/$defs/d${i}` };
}
