// A schema as it was given, made into one that the validator can be trusted with: every keyword has the form that it must
// have, and what could keep the validator busy without a bound is refused or put behind a condition. Each schema in it
// counts how often it is held against a value, so that the whole work has a bound.

import type { JsonSchema } from "../intake-form";
import { limits } from "../limits";
import { shapeOf } from "./instance-shape";
import {
  type Draft,
  type Form,
  formFault,
  isObject,
  isSchema,
  isTexts,
  keywords,
  refusedKeywords,
} from "./keywords";
import { patternFault } from "./pattern-guard";

export type Path = readonly (string | number)[];
export type SchemaFault = Readonly<{ path: Path; detail: string; limit?: number }>;
export type Node = Record<string, unknown>;

/** What the validator may still do, in steps, and how many names the widest object before it has. */
export type Meter = { left: number; widest: number };
/** The validator has spent what it may. */
export class Exhausted extends Error {}

export type Prepared = Readonly<{
  root: Node;
  draft: Draft;
  meter: Meter;
  /** Every schema in it that has a reference, with its place. */
  references: readonly Readonly<{ node: Node; path: Path }>[];
}>;

const DRAFTS: ReadonlyMap<unknown, Draft> = new Map<unknown, Draft>([
  [undefined, "2020-12"],
  ["https://json-schema.org/draft/2020-12/schema", "2020-12"],
  ["https://json-schema.org/draft/2020-12/schema#", "2020-12"],
  ["http://json-schema.org/draft-07/schema", "7"],
  ["http://json-schema.org/draft-07/schema#", "7"],
]);
const utf8 = new TextEncoder();

/** Makes `schema` ready, or says all that is wrong with its form. References are not yet followed. */
export function prepareSchema(schema: unknown): Prepared | readonly SchemaFault[] {
  if (!isObject(schema)) return [{ path: [], detail: "a JSON Schema, an object, is needed" }];
  const tooLarge = sizeFault(schema);
  if (tooLarge) return [tooLarge];
  const draft = DRAFTS.get(schema.$schema);
  if (draft === undefined) {
    return [{ path: ["$schema"], detail: "2020-12 and draft 7 are understood, by their addresses" }];
  }
  const preparing = new Preparing(draft);
  const root = preparing.schema(schema, []) as Node;
  const { faults, meter, references } = preparing;
  return faults.length > 0 ? faults : { root, draft, meter, references };
}

function sizeFault(schema: JsonSchema): SchemaFault | undefined {
  if (!shapeOf(schema, limits.schemaDepth)) {
    return {
      path: [],
      detail: `it is nested more than ${limits.schemaDepth} deep`,
      limit: limits.schemaDepth,
    };
  }
  if (utf8.encode(JSON.stringify(schema)).byteLength <= limits.schemaBytes) return undefined;
  return {
    path: [],
    detail: `as JSON it is longer than ${limits.schemaBytes} bytes`,
    limit: limits.schemaBytes,
  };
}

class Preparing {
  readonly faults: SchemaFault[] = [];
  readonly meter: Meter = { left: 0, widest: 0 };
  readonly references: { node: Node; path: Path }[] = [];
  private readonly anchors = new Set<string>();

  constructor(private readonly draft: Draft) {}

  schema(given: unknown, path: Path): Node | boolean {
    if (typeof given === "boolean") return given;
    const node: Node = {};
    for (const [name, value] of Object.entries(given as JsonSchema)) this.keyword(node, name, value, path);
    const ready = this.metered(this.guarded(node, path));
    if (typeof ready.$ref === "string") this.reference(ready, path);
    if (typeof ready.$anchor === "string") this.anchor(ready.$anchor, path);
    return ready;
  }

  private keyword(node: Node, name: string, value: unknown, path: Path): void {
    const at = [...path, name];
    if (refusedKeywords.has(name) || (name === "$id" && path.length > 0)) {
      this.complain(at, "this keyword is not understood");
      return;
    }
    const form = this.draft === "7" && name === "items" && Array.isArray(value) ? "schemas" : this.form(name);
    if (form === undefined) return;
    const wanted = formFault(form, value);
    if (wanted !== undefined) this.complain(at, `${wanted} is needed`);
    else this.keep(node, name, form, value, at);
  }

  private keep(node: Node, name: string, form: Form, value: unknown, at: Path): void {
    if (form === "schema") node[name] = this.schema(value, at);
    else if (form === "schemas")
      node[name] = (value as unknown[]).map((each, i) => this.schema(each, [...at, i]));
    else if (name === "dependencies") this.dependencies(node, value as JsonSchema, at);
    else if (form === "named schemas") node[name] = this.named(value as JsonSchema, at);
    else node[name] = value;
  }

  private form(name: string) {
    return keywords[this.draft].get(name);
  }

  private named(schemas: JsonSchema, path: Path): Node {
    const isOfPatterns = path.at(-1) === "patternProperties";
    const named = Object.entries(schemas).map(([name, value]): [string, unknown] => {
      const at = [...path, name];
      if (isOfPatterns) this.pattern(name, limits.schemaTextLength, at);
      if (isSchema(value)) return [name, this.schema(value, at)];
      this.complain(at, "a schema is needed");
      return [name, true];
    });
    return Object.fromEntries(named);
  }

  /** What draft 7 has in one keyword, newer ones have in two. */
  private dependencies(node: Node, value: JsonSchema, path: Path): void {
    const entries = Object.entries(value);
    node.dependentRequired = Object.fromEntries(entries.filter(([, each]) => isTexts(each)));
    node.dependentSchemas = this.named(
      Object.fromEntries(entries.filter(([, each]) => !isTexts(each))),
      path,
    );
  }

  private reference(node: Node, path: Path): void {
    this.references.push({ node, path: [...path, "$ref"] });
    if (!String(node.$ref).startsWith("#")) {
      this.complain([...path, "$ref"], "only what is in this schema can be referred to: begin with #");
    }
  }

  private anchor(name: string, path: Path): void {
    if (this.anchors.has(name)) this.complain([...path, "$anchor"], "another schema has this anchor");
    this.anchors.add(name);
  }

  /**
   * Puts what takes longer than the size of its value behind a condition: the validator goes on after `maxLength` has
   * failed, so that alone would not keep it from a pattern.
   */
  private guarded(node: Node, path: Path): Node {
    // In draft 7 nothing counts beside a reference.
    if (this.draft === "7" && node.$ref !== undefined) return node;
    const { pattern, format, uniqueItems, ...rest } = node;
    const guards: unknown[] = [];
    if (pattern !== undefined || format !== undefined) {
      const maxLength = Math.min(limits.schemaTextLength, Number(node.maxLength ?? Infinity));
      if (typeof pattern === "string") this.pattern(pattern, maxLength, [...path, "pattern"]);
      const texts = { ...(pattern !== undefined && { pattern }), ...(format !== undefined && { format }) };
      guards.push(this.when({ maxLength }, texts, { maxLength }));
    }
    if (uniqueItems === true) {
      const maxItems = Number(node.maxItems ?? Infinity);
      if (maxItems > limits.schemaUniqueItems) this.tooManyUnique([...path, "uniqueItems"]);
      guards.push(this.when({ maxItems }, { uniqueItems }));
    }
    if (guards.length === 0) return rest;
    return { ...rest, allOf: [...((rest.allOf as unknown[] | undefined) ?? []), ...guards] };
  }

  private when(condition: Node, met: Node, unmet?: Node): Node {
    const [yes, no] = [this.metered(met), unmet && this.metered(unmet)];
    const branches = new Map<string, unknown>([["if", this.metered(condition)]]);
    branches.set("then", yes);
    if (no) branches.set("else", no);
    return this.metered(Object.fromEntries(branches));
  }

  private tooManyUnique(path: Path): void {
    const limit = limits.schemaUniqueItems;
    this.complain(path, `beside it a maxItems of at most ${limit} is needed`, limit);
  }

  private pattern(pattern: string, length: number, path: Path): void {
    const fault = patternFault(pattern, length);
    if (fault !== undefined) this.complain(path, fault);
  }

  /** The validator reads `$recursiveAnchor` exactly once for each schema that it holds against a value. */
  private metered(node: Node): Node {
    const { meter } = this;
    const weight = weightOf(node);
    const patterns = Object.keys(node.patternProperties ?? {}).length;
    return Object.defineProperty(node, "$recursiveAnchor", {
      get() {
        meter.left -= weight + patterns * meter.widest;
        if (meter.left < 0) throw new Exhausted();
        return undefined;
      },
    });
  }

  private complain(path: Path, detail: string, limit?: number): void {
    this.faults.push({ path, detail, ...(limit !== undefined && { limit }) });
  }
}

/** Steps: one, and one more for eight names or values that are gone through; unique items are held against each other. */
function weightOf(node: Node): number {
  const { required, enum: values, properties, dependentRequired, uniqueItems } = node;
  const lists = [required, values, properties, dependentRequired];
  const entries = lists.reduce<number>((sum, list) => sum + Object.keys(list ?? {}).length, 0);
  return 1 + Math.floor(entries / 8) + (uniqueItems === true ? limits.schemaUniqueItems : 0);
}
