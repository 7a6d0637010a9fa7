// Values made from the schemas of the OpenAPI document: ones that fit, at their bounds and beyond, and ones with a part that does
// not.

import fc from "fast-check";
import { NASTY_NUMBERS, nastyString, nastyValue } from "./hostile-values.ts";

export type Schema = Readonly<{
  $ref?: string;
  type?: string;
  enum?: readonly unknown[];
  const?: unknown;
  anyOf?: readonly Schema[];
  oneOf?: readonly Schema[];
  allOf?: readonly Schema[];
  properties?: Readonly<Record<string, Schema>>;
  required?: readonly string[];
  additionalProperties?: Schema | boolean;
  items?: Schema;
  minimum?: number;
  maximum?: number;
  minLength?: number;
  maxLength?: number;
  pattern?: string;
  example?: unknown;
  default?: unknown;
}>;
export type Components = Readonly<{ schemas: Readonly<Record<string, Schema>> }>;

export type Context = Readonly<{
  document: Readonly<{ components: Components }>;
  /** Names that exist, by the field or parameter that takes them. */
  known: Readonly<Record<string, readonly string[]>>;
  /** Only what fits, as far as the schema tells. */
  isCalm: boolean;
}>;

const MAX_DEPTH = 8;
/** One of them fits most patterns. */
const PLAIN = ["a", "a1", "/a", "a.b"];
/** Nobody listens there, so what the broker is told to send goes nowhere. */
export const REFUSED_URL = "http://127.0.0.1:9/hook";
/** A valid wait would be waited for, and a valid number of partitions made. */
const NEVER_LARGE = new Set(["waitMs", "partitions"]);

/** A value with one of its parts replaced, left out, or added. */
export function mutated(value: fc.Arbitrary<unknown>): fc.Arbitrary<unknown> {
  const how = fc.record({
    at: fc.nat(),
    nasty: nastyValue,
    name: nastyString,
    kind: fc.constantFrom("set", "drop", "add"),
  });
  return fc.tuple(value, fc.array(how, { minLength: 1, maxLength: 2 })).map(([original, changes]) => {
    const copy = structuredClone(original);
    for (const { at, nasty, name, kind } of changes) {
      const places = placesIn(copy);
      const place = places[at % Math.max(1, places.length)];
      if (!place) return nasty;
      const [holder, key] = place;
      if (kind === "drop") delete holder[key];
      else
        Object.defineProperty(holder, kind === "add" && !Array.isArray(holder) ? name : key, {
          value: structuredClone(nasty),
          enumerable: true,
          configurable: true,
          writable: true,
        });
    }
    return copy;
  });
}

type Holder = Record<string, unknown>;

function placesIn(value: unknown, depth = 0): [Holder, string][] {
  if (value === null || typeof value !== "object" || depth > 6) return [];
  const holder = value as Holder;
  return Object.keys(holder).flatMap((key) => [
    [holder, key] as [Holder, string],
    ...placesIn(holder[key], depth + 1),
  ]);
}

type Inner = (schema: Schema, name?: string) => fc.Arbitrary<unknown>;

/** A value that fits `schema`, or more or less: numbers also at and beyond their bounds. */
export function sample(schema: Schema, name: string, context: Context, depth = 0): fc.Arbitrary<unknown> {
  const inner: Inner = (other, at = name) => sample(other, at, context, depth + 1);
  if (depth > MAX_DEPTH) return fc.constant(null);
  const { $ref, anyOf, oneOf, allOf } = schema;
  if ($ref) return inner(referred(schema, context.document));
  if ("const" in schema) return fc.constant(schema.const);
  if (schema.enum) return fc.constantFrom(...schema.enum);
  const [first, ...others] = anyOf ?? oneOf ?? allOf ?? [];
  if (first) return fc.oneof(inner(first), ...others.map((other) => inner(other)));
  if (schema.type === "object") return objectOf(schema, inner, context.isCalm);
  if (schema.type === "array") return fc.array(inner(schema.items ?? {}), { maxLength: 4 });
  if (schema.type === "boolean") return fc.boolean();
  if (schema.type === "integer" || schema.type === "number") {
    return context.isCalm ? fittingNumber(schema, name, context) : numberOf(schema, name);
  }
  if (schema.type === "string") {
    return context.isCalm ? fittingString(schema, name, context) : stringOf(schema, name, context.known);
  }
  return context.isCalm ? fc.constantFrom<unknown>("a", 1, { a: [1] }) : nastyValue;
}

/** The schema itself, behind any references. */
export function referred(schema: Schema, document: Context["document"]): Schema {
  if (!schema.$ref) return schema;
  return referred(document.components.schemas[schema.$ref.split("/").pop() ?? ""] ?? {}, document);
}

function objectOf(
  { properties = {}, required = [], additionalProperties }: Schema,
  inner: Inner,
  isCalm: boolean,
): fc.Arbitrary<unknown> {
  if (typeof additionalProperties === "object" && Object.keys(properties).length === 0) {
    return fc.dictionary(
      fc.oneof(nastyString, fc.constantFrom("a", "0", "x-y")),
      inner(additionalProperties, ""),
      {
        maxKeys: 3,
      },
    );
  }
  const fields = Object.fromEntries(
    Object.entries(properties).map(([name, schema]) => [name, inner(schema, name)]),
  );
  if (!isCalm) return fc.record(fields, { requiredKeys: [...required] });
  // Few at once: what may stand alone often may not stand together.
  const sparse = Object.entries(fields).map(([name, field]) => [
    name,
    required.includes(name)
      ? field
      : fc.oneof({ weight: 3, arbitrary: fc.constant(undefined) }, { weight: 1, arbitrary: field }),
  ]);
  return fc.record(Object.fromEntries(sparse) as typeof fields);
}

function fittingNumber(
  { minimum = 0, maximum = 10, ...schema }: Schema,
  name: string,
  context: Context,
): fc.Arbitrary<unknown> {
  if (NEVER_LARGE.has(name)) return fc.constantFrom(minimum, Math.min(minimum + 1, maximum));
  const known = context.known[name]?.map(Number);
  if (known) return fc.constantFrom(...known);
  const shown = [schema.example, schema.default].filter((each) => typeof each === "number");
  return fc.constantFrom(minimum, maximum, ...shown);
}

function fittingString(
  { example, pattern, minLength = 0, ...schema }: Schema,
  name: string,
  { known }: Context,
): fc.Arbitrary<unknown> {
  const shown = [...(known[name] ?? []), example, schema.default].filter((each) => typeof each === "string");
  const isUrl = /url$/i.test(name) || shown.some((text) => /^(https?|wss?):/i.test(text));
  if (isUrl) return fc.constant(REFUSED_URL);
  if (shown.length > 0) return fc.constantFrom(...shown);
  const texts = PLAIN.map((text) => text.padEnd(minLength, "z"));
  const fitting = texts.filter((text) => pattern === undefined || new RegExp(pattern, "u").test(text));
  return fc.constantFrom(...(fitting.length > 0 ? fitting : texts));
}

function numberOf({ minimum = 0, maximum = 10 }: Schema, name: string): fc.Arbitrary<unknown> {
  const beyond = fc.constantFrom(minimum - 1, maximum + 1, minimum + 0.5, ...NASTY_NUMBERS);
  const within = NEVER_LARGE.has(name) ? fc.constant(minimum) : fc.constantFrom(minimum, maximum);
  return fc.oneof({ weight: 4, arbitrary: within }, { weight: 1, arbitrary: beyond });
}

function stringOf(
  { maxLength, example }: Schema,
  name: string,
  known: Context["known"],
): fc.Arbitrary<unknown> {
  const bounds = maxLength === undefined ? [] : ["a".repeat(maxLength), "a".repeat(maxLength + 1)];
  const text = typeof example === "string" ? example : "a";
  const isUrl = /url$/i.test(name) || /^(https?|wss?):/i.test(text);
  return fc.oneof(
    { weight: 1, arbitrary: nastyString },
    { weight: 2, arbitrary: fc.constantFrom("a", isUrl ? REFUSED_URL : text, ...bounds) },
    { weight: 3, arbitrary: fc.constantFrom(...(known[name] ?? [isUrl ? REFUSED_URL : text])) },
  );
}
