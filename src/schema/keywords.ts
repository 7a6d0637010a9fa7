// The keywords of JSON Schema that the broker knows, each with the form of its value. Others say nothing about a message,
// as the standard has it.

export type Draft = "7" | "2020-12";

export type Form =
  | "schema"
  | "schemas"
  | "named schemas"
  | "texts"
  | "named texts"
  | "text"
  | "count"
  | "number"
  | "positive"
  | "flag"
  | "types"
  | "values"
  | "value";

const shared: Readonly<Record<string, Form>> = {
  $ref: "text",
  $defs: "named schemas",
  definitions: "named schemas",
  type: "types",
  enum: "values",
  const: "value",
  allOf: "schemas",
  anyOf: "schemas",
  oneOf: "schemas",
  not: "schema",
  if: "schema",
  else: "schema",
  properties: "named schemas",
  patternProperties: "named schemas",
  additionalProperties: "schema",
  propertyNames: "schema",
  required: "texts",
  minProperties: "count",
  maxProperties: "count",
  items: "schema",
  contains: "schema",
  minItems: "count",
  maxItems: "count",
  uniqueItems: "flag",
  minimum: "number",
  maximum: "number",
  exclusiveMinimum: "number",
  exclusiveMaximum: "number",
  multipleOf: "positive",
  minLength: "count",
  maxLength: "count",
  pattern: "text",
  format: "text",
};
/** Apart, because an object with this name looks like a promise. */
const THEN: readonly [string, Form] = ["then", "schema"];

export const keywords: Readonly<Record<Draft, ReadonlyMap<string, Form>>> = {
  "7": new Map<string, Form>([
    THEN,
    ...Object.entries<Form>({ ...shared, additionalItems: "schema", dependencies: "named schemas" }),
  ]),
  "2020-12": new Map<string, Form>([
    THEN,
    ...Object.entries<Form>({
      ...shared,
      $anchor: "text",
      prefixItems: "schemas",
      minContains: "count",
      maxContains: "count",
      dependentRequired: "named texts",
      dependentSchemas: "named schemas",
      unevaluatedItems: "schema",
      unevaluatedProperties: "schema",
    }),
  ]),
};

/** They move the ground on which a reference stands, and what a reference means could no longer be told by looking. */
export const refusedKeywords: ReadonlySet<string> = new Set([
  "$dynamicRef",
  "$dynamicAnchor",
  "$recursiveRef",
  "$recursiveAnchor",
  "$vocabulary",
]);

/** Keywords whose schemas are held against the same value as the schema that they stand in. */
export const inPlace: readonly string[] = [
  ...["allOf", "anyOf", "oneOf", "not", "if", "then", "else"],
  "dependentSchemas",
];

/** Keywords whose failure is that of a schema below them, which says it better. */
export const applicators: ReadonlySet<string> = new Set([
  ...inPlace,
  ...["$ref", "properties", "patternProperties", "additionalProperties", "unevaluatedProperties"],
  ...["propertyNames", "items", "prefixItems", "additionalItems", "unevaluatedItems", "contains"],
]);
const TYPES: ReadonlySet<unknown> = new Set([
  ...["null", "boolean", "object", "array", "number", "string", "integer"],
]);

/** What a keyword's value must be, in words; undefined when it is. Schemas are looked at one by one, elsewhere. */
export function formFault(form: Form, value: unknown): string | undefined {
  switch (form) {
    case "schema":
      return isSchema(value) ? undefined : "a schema";
    case "schemas":
      return Array.isArray(value) && value.length > 0 && value.every(isSchema)
        ? undefined
        : "an array of schemas";
    case "named schemas":
      return isObject(value) && Object.values(value).every((each) => isSchema(each) || isTexts(each))
        ? undefined
        : "an object of schemas";
    case "texts":
      return isTexts(value) ? undefined : "an array of strings";
    case "named texts":
      return isObject(value) && Object.values(value).every(isTexts)
        ? undefined
        : "an object of arrays of strings";
    case "text":
      return typeof value === "string" && value.isWellFormed() ? undefined : "a string";
    case "count":
      return Number.isSafeInteger(value) && Number(value) >= 0 ? undefined : "a whole number";
    case "number":
      return typeof value === "number" ? undefined : "a number";
    case "positive":
      return typeof value === "number" && value > 0 ? undefined : "a number above 0";
    case "flag":
      return typeof value === "boolean" ? undefined : "true or false";
    case "types":
      return isTypes(value) ? undefined : "a type's name, or an array of them";
    case "values":
      return Array.isArray(value) ? undefined : "an array";
    case "value":
      return undefined;
  }
}

export function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return value !== null && typeof value === "object" && !Array.isArray(value);
}

export function isSchema(value: unknown): value is Readonly<Record<string, unknown>> | boolean {
  return typeof value === "boolean" || isObject(value);
}

export function isTexts(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every((each) => typeof each === "string");
}

function isTypes(value: unknown): boolean {
  return (
    TYPES.has(value) || (Array.isArray(value) && value.length > 0 && value.every((each) => TYPES.has(each)))
  );
}
