// What an operator says of one value that is there: a string, a number, true, false or null. Attributes are always
// strings; there `numeric` reads the number that one spells.

import { cidrTest } from "./cidr";
import { type FilterReading, isObject, onlyMember } from "./filter-reading";
import { wildcardParts, wildcardTest } from "./wildcard";

/** Judges a value that is there. Never throws. */
export type Test = (value: unknown) => boolean;
export type Scalar = string | number | boolean | null;
/** Where values come from: `attributes` has strings only. */
export type Realm = "attributes" | "body";

type Read = (argument: unknown, place: string, reading: FilterReading, realm: Realm) => Test | undefined;
type TextTest = (text: string) => boolean;

const IGNORING_CASE = "equals-ignore-case";
/** A decimal number as JSON writes it. */
const DECIMAL = /^-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?$/;
/** Longer texts are no numbers that a double tells apart. */
const DECIMAL_LENGTH = 64;

const OPERATORS: Readonly<Record<string, Read>> = {
  prefix: (argument, place, reading) =>
    affix(argument, place, reading, (text, part) => text.startsWith(part)),
  suffix: (argument, place, reading) => affix(argument, place, reading, (text, part) => text.endsWith(part)),
  [IGNORING_CASE]: (argument, place, reading) => {
    const wanted = reading.text(argument, place)?.toLowerCase();
    return wanted === undefined ? undefined : ofText((text) => text.toLowerCase() === wanted);
  },
  wildcard: (argument, place, reading) => {
    const test = wildcard(argument, place, reading);
    return test && ofText(test);
  },
  numeric,
  cidr: (argument, place, reading) => {
    const range = reading.text(argument, place);
    if (range === undefined) return undefined;
    const test = cidrTest(range);
    return test ? ofText(test) : reading.complain(place, "a range such as `10.0.0.0/8` is needed");
  },
  "anything-but": anythingBut,
};

/** The names of all operators, `exists` first: that one is about what may not be there. */
export const OPERATOR_NAMES: readonly string[] = ["exists", ...Object.keys(OPERATORS)];

/** Reads an operator other than `exists`. Undefined when something is wrong with it, which was complained of. */
export function readOperator(
  value: unknown,
  place: string,
  reading: FilterReading,
  realm: Realm,
): Test | undefined {
  const [name, argument] = onlyMember(value) ?? [];
  const read = name !== undefined && Object.hasOwn(OPERATORS, name) ? OPERATORS[name] : undefined;
  if (name !== undefined && read) return read(argument, `${place}.${name}`, reading, realm);
  return reading.complain(place, `an operator has exactly one of: ${OPERATOR_NAMES.join(", ")}`);
}

/** Whether a value may stand in a list by itself. */
export function readScalar(
  value: unknown,
  place: string,
  reading: FilterReading,
  realm: Realm,
): Scalar | undefined {
  if (typeof value === "string") return reading.text(value, place);
  if (realm === "attributes") {
    return reading.complain(place, 'attributes are strings: write "…", or {"numeric": ["=", …]}');
  }
  return value === null || typeof value === "boolean" || typeof value === "number"
    ? value
    : reading.complain(place, "a string, a number, true, false or null is needed");
}

function ofText(test: TextTest): Test {
  return (value) => typeof value === "string" && test(value);
}

function affix(
  argument: unknown,
  place: string,
  reading: FilterReading,
  has: (text: string, part: string) => boolean,
): Test | undefined {
  const [name, folded] = onlyMember(argument) ?? [];
  if (name === IGNORING_CASE) {
    const part = reading.text(folded, `${place}.${name}`)?.toLowerCase();
    return part === undefined ? undefined : ofText((text) => has(text.toLowerCase(), part));
  }
  const part = reading.text(argument, place, `a string, or {"${IGNORING_CASE}": "…"},`);
  return part === undefined ? undefined : ofText((text) => has(text, part));
}

function wildcard(argument: unknown, place: string, reading: FilterReading): TextTest | undefined {
  const pattern = reading.text(argument, place);
  if (pattern === undefined) return undefined;
  reading.count("wildcards", place);
  const parts = wildcardParts(pattern);
  return parts ? wildcardTest(parts) : reading.complain(place, "after a backslash only * or \\ may stand");
}

// ── numbers ──────────────────────────────────────────────────────────────────────────────────────────

type Comparison = Readonly<{ sign: string; bound: number }>;

const COMPARES: Readonly<Record<string, (number: number, bound: number) => boolean>> = {
  "=": (number, bound) => number === bound,
  "<": (number, bound) => number < bound,
  "<=": (number, bound) => number <= bound,
  ">": (number, bound) => number > bound,
  ">=": (number, bound) => number >= bound,
};

function numeric(argument: unknown, place: string, reading: FilterReading, realm: Realm): Test | undefined {
  const comparisons = comparisonsOf(argument);
  if (!comparisons) {
    return reading.complain(place, 'it is [sign, number], or a range such as [">=", 0, "<", 100]');
  }
  const [one, other] = comparisons;
  if (other && !isRange(one, other)) return reading.complain(place, "no number is in this range");
  return (value) => {
    const number = numberOf(value, realm);
    return (
      number !== undefined && comparisons.every(({ sign, bound }) => COMPARES[sign]?.(number, bound) === true)
    );
  };
}

/** One comparison, or two. */
function comparisonsOf(argument: unknown): readonly [Comparison, ...Comparison[]] | undefined {
  if (!Array.isArray(argument) || (argument.length !== 2 && argument.length !== 4)) return undefined;
  const [one, other] = [comparisonOf(argument[0], argument[1]), comparisonOf(argument[2], argument[3])];
  if (!one || (argument.length === 4 && !other)) return undefined;
  return other ? [one, other] : [one];
}

function comparisonOf(sign: unknown, bound: unknown): Comparison | undefined {
  if (typeof sign !== "string" || !Object.hasOwn(COMPARES, sign)) return undefined;
  return typeof bound === "number" && Number.isFinite(bound) ? { sign, bound } : undefined;
}

/** Whether one comparison is from below and the other from above, and something lies between. */
function isRange(one: Comparison, other: Comparison): boolean {
  const [low, high] = one.sign.startsWith(">") ? [one, other] : [other, one];
  if (!low.sign.startsWith(">") || !high.sign.startsWith("<")) return false;
  return low.bound < high.bound || (low.bound === high.bound && low.sign === ">=" && high.sign === "<=");
}

function numberOf(value: unknown, realm: Realm): number | undefined {
  if (typeof value === "number") return value;
  if (realm === "body" || typeof value !== "string" || value.length > DECIMAL_LENGTH) return undefined;
  return DECIMAL.test(value) ? Number(value) : undefined;
}

// ── anything but ─────────────────────────────────────────────────────────────────────────────────────

/** Any string, number, true, false or null that is there, but none of these. */
function anythingBut(
  argument: unknown,
  place: string,
  reading: FilterReading,
  realm: Realm,
): Test | undefined {
  const excluded = isObject(argument)
    ? excludedByOperator(argument, place, reading)
    : excludedValues(argument, place, reading, realm);
  return excluded && ((value) => isScalar(value) && !excluded(value));
}

function excludedValues(
  argument: unknown,
  place: string,
  reading: FilterReading,
  realm: Realm,
): Test | undefined {
  const list = Array.isArray(argument) ? argument : [argument];
  if (list.length === 0) return reading.complain(place, "an empty list excludes nothing");
  const values = new Set<unknown>();
  for (const [i, each] of list.entries()) {
    const at = Array.isArray(argument) ? `${place}[${i}]` : place;
    if (i > 0) reading.count("values", at);
    values.add(readScalar(each, at, reading, realm));
  }
  return (value) => values.has(value);
}

const EXCLUDING: readonly string[] = ["prefix", "suffix", IGNORING_CASE, "wildcard"];

function excludedByOperator(argument: unknown, place: string, reading: FilterReading): Test | undefined {
  const [name = "", texts] = onlyMember(argument) ?? [];
  const read = EXCLUDING.includes(name) ? OPERATORS[name] : undefined;
  if (!read) return reading.complain(place, `it excludes values, or one of: ${EXCLUDING.join(", ")}`);
  const at = `${place}.${name}`;
  const tests = (reading.texts(texts, at) ?? []).flatMap((text) => read(text, at, reading, "body") ?? []);
  return (value) => tests.some((test) => test(value));
}

export function isScalar(value: unknown): value is Scalar {
  return value === null || (typeof value !== "object" && value !== undefined);
}
