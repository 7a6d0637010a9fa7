// Patterns of attributes and of JSON bodies, compiled. Every name must match; what stands in a list is one of
// several; `$or` is any of several patterns. A list in the message matches when one of its elements does.
//
// One look visits a value at most once for each place of the pattern. Neither throws, whatever the value is.

import { limits } from "../limits";
import { type FilterReading, isObject, onlyMember } from "./filter-reading";
import { type Realm, readOperator, readScalar, type Test } from "./operators";

/** What may stand at one place: one of these values, what a test says, anything at all, or nothing. */
export type Leaf = Readonly<{
  kind: "leaf";
  exact: ReadonlySet<unknown>;
  tests: readonly Test[];
  takesAny: boolean;
  takesNone: boolean;
  /** As it was written, for people. */
  written: string;
}>;
export type Fields = Readonly<{
  kind: "fields";
  fields: readonly (readonly [name: string, node: Node])[];
  /** Of each, one must match. */
  choices: readonly (readonly Fields[])[];
}>;
export type Node = Leaf | Fields;

const OR = "$or";
const WRITTEN_LENGTH = 200;
const NOTHING: Leaf = {
  ...{ kind: "leaf", exact: new Set(), tests: [], takesAny: false, takesNone: false, written: "" },
};

/** A list of alternatives as it was written, cut short. */
export function written(list: readonly unknown[]): string {
  return JSON.stringify(list).slice(0, WRITTEN_LENGTH).toWellFormed();
}

// ── reading ──────────────────────────────────────────────────────────────────────────────────────────

/** Reads a pattern. What is wrong is complained of; what comes back is then of no use. */
export function readPattern(value: unknown, place: string, reading: FilterReading, realm: Realm): Fields {
  return readFields(value, { place, reading, realm, depth: 1 });
}

type At = Readonly<{ place: string; reading: FilterReading; realm: Realm; depth: number }>;

function readFields(value: unknown, at: At): Fields {
  const { place, reading } = at;
  const fields: [string, Node][] = [];
  const choices: (readonly Fields[])[] = [];
  const none: Fields = { kind: "fields", fields, choices };
  if (!reading.mayDescend(at.depth, place)) return none;
  const members = isObject(value) ? Object.entries(value) : [];
  if (members.length === 0) reading.complain(place, "an object with at least one name is needed");
  for (const [name, below] of members) {
    const inner = { ...at, place: `${place}.${name.slice(0, limits.attributeNameLength)}` };
    if (name === OR) {
      choices.push(readChoice(below, inner));
      continue;
    }
    reading.count("fields", inner.place);
    reading.text(name, inner.place);
    fields.push([name, readNode(below, inner)]);
  }
  return none;
}

function readChoice(value: unknown, at: At): readonly Fields[] {
  if (!Array.isArray(value) || value.length === 0) {
    at.reading.complain(at.place, "a list of patterns is needed");
    return [];
  }
  return value.map((pattern: unknown, i) =>
    readFields(pattern, { ...at, place: `${at.place}[${i}]`, depth: at.depth + 1 }),
  );
}

function readNode(value: unknown, at: At): Node {
  if (Array.isArray(value)) return readLeaf(value, at);
  if (isObject(value) && at.realm === "body") return readFields(value, { ...at, depth: at.depth + 1 });
  const what = at.realm === "body" ? "a list of values, or an object one level down," : "a list of values";
  at.reading.complain(at.place, `${what} is needed`);
  return NOTHING;
}

function readLeaf(list: readonly unknown[], { place, reading, realm }: At): Leaf {
  const [exact, tests] = [new Set<unknown>(), [] as Test[]];
  let [takesAny, takesNone] = [false, false];
  if (list.length === 0) reading.complain(place, "an empty list matches nothing");
  for (const [i, value] of list.entries()) {
    const at = `${place}[${i}]`;
    reading.count("values", at);
    const [name, argument] = onlyMember(value) ?? [];
    if (name === "exists") {
      if (typeof argument !== "boolean") reading.complain(`${at}.exists`, "true or false is needed");
      if (argument === true) takesAny = true;
      else takesNone = true;
    } else if (value !== null && typeof value === "object") {
      const test = readOperator(value, at, reading, realm);
      if (test) tests.push(test);
    } else exact.add(readScalar(value, at, reading, realm));
  }
  return { kind: "leaf", exact, tests, takesAny, takesNone, written: written(list) };
}

// ── matching ─────────────────────────────────────────────────────────────────────────────────────────

/** Whether a value matches; `undefined` is one that is not there. */
export function matchesNode(node: Node, value: unknown): boolean {
  return node.kind === "leaf" ? matchesLeaf(node, value) : matchesFields(node, value, 0);
}

function matchesLeaf(leaf: Leaf, value: unknown): boolean {
  if (value === undefined) return leaf.takesNone;
  return leaf.takesAny || matchesScalar(leaf, value, 0);
}

/** Lists within lists are looked into as far as any JSON is. */
function matchesScalar(leaf: Leaf, value: unknown, depth: number): boolean {
  if (Array.isArray(value)) {
    return depth < limits.jsonDepth && value.some((element) => matchesScalar(leaf, element, depth + 1));
  }
  return leaf.exact.has(value) || leaf.tests.some((test) => test(value));
}

function matchesFields(node: Fields, value: unknown, depth: number): boolean {
  // An empty list has no names, as a number has none.
  if (Array.isArray(value) && value.length > 0) {
    return depth < limits.jsonDepth && value.some((element) => matchesFields(node, element, depth + 1));
  }
  return (
    node.fields.every(([name, below]) => matchesNode(below, memberOf(value, name))) &&
    node.choices.every((choice) => choice.some((pattern) => matchesFields(pattern, value, depth)))
  );
}

/** What lies under a name of a value; undefined when there is nothing. */
export function memberOf(value: unknown, name: string): unknown {
  return isObject(value) && Object.hasOwn(value, name) ? value[name] : undefined;
}
