// A topic's JSON Schema at work: what of a message does not match it. Compiled once, and remembered in the isolate. The
// work that one request causes has a bound, whatever the schema and the messages are.

import { dereference, type OutputUnit, type Schema, validate } from "@cfworker/json-schema";
import type { JsonSchema } from "../intake-form";
import { limits } from "../limits";
import { shapeOf } from "./instance-shape";
import { applicators, inPlace, isObject } from "./keywords";
import {
  Exhausted,
  type Node,
  type Path,
  type Prepared,
  prepareSchema,
  type SchemaFault,
} from "./schema-form";

/** What does not match: where in the message (a JSON pointer), by which keyword, and a sentence for a person. */
export type Mismatch = Readonly<{ path: string; keyword: string; detail: string }>;

/** Steps that a request may still take; one step is one schema held against one value. */
export type Work = { left: number };

type Lookup = Record<string, Schema | boolean>;

const TEXT_LENGTH = 200;
const UNADDRESSABLE: SchemaFault = {
  path: [],
  detail: "a name or a reference in it cannot be written as an address",
};
const compiled = new Map<string, Validator>();

/** Everything that is wrong with a schema; none when it can be used. */
export function schemaFaults(schema: unknown): readonly SchemaFault[] {
  const prepared = prepareSchema(schema);
  if (!("root" in prepared)) return prepared;
  const lookup = lookupOf(prepared);
  return lookup ? referenceFaults(prepared, lookup) : [UNADDRESSABLE];
}

/** The validator of `schema`, which `key` names: it is compiled when this isolate has not met it. */
export function validatorOf(key: string, schema: JsonSchema): Validator {
  const known = compiled.get(key);
  if (known) return known;
  const [oldest] = compiled.keys();
  if (oldest !== undefined && compiled.size >= limits.schemasKept) compiled.delete(oldest);
  const validator = new Validator(schema);
  compiled.set(key, validator);
  return validator;
}

export class Validator {
  private readonly prepared: Prepared;
  private readonly lookup: Lookup;

  /** Throws when `schema` has faults: they are to be found before it is set. */
  constructor(schema: JsonSchema) {
    const prepared = prepareSchema(schema);
    if (!("root" in prepared)) throw new Error("the schema of the topic cannot be used");
    this.prepared = prepared;
    this.lookup = dereference(prepared.root as Schema);
  }

  /** What of `value` does not match, the first few; none when it matches. What it takes is taken from `work`. */
  mismatches(value: unknown, work: Work): readonly Mismatch[] {
    const shape = shapeOf(value, limits.jsonDepth);
    if (!shape) return [beyond(`It is nested more than ${limits.jsonDepth} deep.`)];
    if (shape.longestName > limits.schemaTextLength) {
      return [beyond(`A property has a name of more than ${limits.schemaTextLength} characters.`)];
    }
    const { root, draft, meter } = this.prepared;
    meter.left = work.left - shape.values;
    meter.widest = shape.widest;
    try {
      const endEarly = shape.values > limits.schemaThoroughValues;
      const { valid, errors } = validate(value, root as Schema, draft, this.lookup, endEarly);
      return valid ? [] : tell(errors);
    } catch (fault) {
      return [faultOf(fault)];
    } finally {
      work.left = Math.max(0, meter.left);
    }
  }
}

/** The validator recurses with the value and the schema, and cannot name a property that has no UTF-8. */
function faultOf(fault: unknown): Mismatch {
  if (fault instanceof Exhausted || fault instanceof RangeError) {
    return beyond(`Validating takes more than the ${limits.schemaSteps} steps that a request has.`);
  }
  if (fault instanceof URIError) return beyond("A property's name has half of a character.");
  throw fault;
}

function beyond(detail: string): Mismatch {
  return { path: "", keyword: "limits", detail };
}

// ── what is said of a message ────────────────────────────────────────────────────────────────────────

function tell(errors: readonly OutputUnit[]): readonly Mismatch[] {
  const told = new Map<string, Mismatch>();
  for (const [i, error] of errors.entries()) {
    if (told.size === limits.schemaFaultsShown) break;
    if (isToldBelow(error, errors[i + 1])) continue;
    // A schema that is `false` has no keyword of its own: the one that holds it is the reason.
    const keyword = error.keyword === "false" ? (errors[i - 1]?.keyword ?? "false") : error.keyword;
    const path = pathOf(error.instanceLocation);
    told.set(`${keyword} ${path}`, { path, keyword, detail: short(error.error) });
  }
  return [...told.values()];
}

function isToldBelow({ keyword, keywordLocation }: OutputUnit, next: OutputUnit | undefined): boolean {
  if (!applicators.has(keyword) || keyword === "oneOf" || next === undefined) return false;
  // Under `if` stands what its branches say, which lie beside it.
  return (
    keyword === "if" || next.keyword === "false" || next.keywordLocation.startsWith(`${keywordLocation}/`)
  );
}

function pathOf(location: string): string {
  const encoded = location.replace(/^#/, "");
  try {
    return short(decodeURI(encoded));
  } catch {
    return short(encoded);
  }
}

function short(text: string): string {
  return text.slice(0, TEXT_LENGTH).toWellFormed();
}

// ── references ───────────────────────────────────────────────────────────────────────────────────────

function lookupOf({ root }: Prepared): Lookup | undefined {
  try {
    return dereference(root as Schema);
  } catch {
    return undefined;
  }
}

function referenceFaults({ references }: Prepared, lookup: Lookup): readonly SchemaFault[] {
  const lost = references.filter(({ node }) => targetOf(node, lookup) === undefined);
  if (lost.length > 0) return lost.map(({ path }) => ({ path, detail: "there is no schema at this place" }));
  const done = new Set<Node>();
  const endless = references.filter(({ node }) => returns(node, lookup, done, new Set()));
  const detail = "it leads back to itself without going into the value";
  return endless.map(({ path }: { path: Path }) => ({ path, detail }));
}

function targetOf(node: Node, lookup: Lookup): Schema | boolean | undefined {
  return lookup[String(node.__absolute_ref__)];
}

/** Whether the same value would be held against `node` again on the way down from it. */
function returns(node: Node, lookup: Lookup, done: Set<Node>, trail: Set<Node>): boolean {
  if (trail.has(node)) return true;
  if (done.has(node)) return false;
  trail.add(node);
  const found = beside(node, lookup).some((next) => returns(next, lookup, done, trail));
  trail.delete(node);
  if (!found) done.add(node);
  return found;
}

/** The schemas that are held against the same value as `node`. */
function beside(node: Node, lookup: Lookup): Node[] {
  const target = node.$ref === undefined ? [] : [targetOf(node, lookup)];
  const below = inPlace.flatMap((keyword) => {
    const value = node[keyword];
    return Array.isArray(value) || keyword === "dependentSchemas" ? Object.values(value ?? {}) : [value];
  });
  return [...target, ...below].filter((each): each is Node => isObject(each));
}
