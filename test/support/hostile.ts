// Requests that nobody should send, made from the OpenAPI document: near-valid input with one thing wrong, and input
// that is wrong altogether.

import fc from "fast-check";

type Schema = Readonly<{
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
  maxLength?: number;
  example?: unknown;
}>;
type Parameter = Readonly<{ name: string; in: "path" | "query" | "header"; schema: Schema }>;
type Operation = Readonly<{
  parameters?: readonly Parameter[];
  requestBody?: Readonly<{ content: Readonly<Record<string, Readonly<{ schema: Schema }>>> }>;
}>;
export type OpenApi = Readonly<{
  paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
  components: Readonly<{ schemas: Readonly<Record<string, Schema>> }>;
}>;

export type HostileRequest = Readonly<{
  method: string;
  path: string;
  headers: Readonly<Record<string, string>>;
  body?: string | Uint8Array;
}>;

export type World = Readonly<{
  /** Names that exist, by the parameter that takes them. */
  known: Readonly<Record<string, readonly string[]>>;
  /** Values of the Authorization header; the first is good. */
  authorizations: readonly string[];
}>;

const NASTY_STRINGS = [
  "",
  " ",
  ".",
  "..",
  "../../etc/passwd",
  "\0",
  "\r\nx: y",
  "\ud800",
  "\udfff\ud800",
  "\u202e",
  "\ufeff",
  "🦆".repeat(50),
  "é".normalize("NFD"),
  "x".repeat(300),
  "'; DROP TABLE topics; --",
  "{}",
  "null",
  "NaN",
  "-1",
  "1e999",
  "99999999999999999999",
  "0x10",
  "true",
  "__proto__",
  "constructor",
  "toString",
  "%",
  "%00",
  "%ff%fe",
  "%2e%2e%2f",
  "0.-1",
  "0.0.0",
  "99.0",
  "0.9007199254740993",
];
const NASTY_NUMBERS = [-1, -0, 0.5, 1e308, -1e308, 2 ** 53, 2 ** 53 + 2, 2 ** 31, 1e15];
const NASTY_JSON = [
  "",
  "{",
  "[",
  "nul",
  '"',
  "\ufeff{}",
  '{"a":1,"a":2}',
  '{"__proto__":{"x":1}}',
  '{"constructor":{"prototype":1}}',
  "[".repeat(100_000),
  `{"messages":[{"data":${"[".repeat(5_000)}${"]".repeat(5_000)}}]}`,
  `{"fence":1,"result":${'{"a":'.repeat(5_000)}1${"}".repeat(5_000)}}`,
  `{"ackIds":[${"0,".repeat(5_000)}0]}`,
  '{"max":1e999}',
  "1",
  "null",
  '"text"',
  "[]",
  "{}\n{}\n",
  "\0",
];
const NASTY_TYPES = [
  "application/json",
  "application/json; charset=utf-7",
  "application/x-ndjson",
  "application/x-www-form-urlencoded",
  "multipart/form-data",
  "text/plain",
  "application/cloudevents+json",
  "nonsense",
  "",
  "application/json;".repeat(200),
];
/** A valid wait would be waited for, and a valid number of partitions made. */
const NEVER_LARGE = new Set(["waitMs", "partitions"]);

const deepValue = JSON.parse(`${"[".repeat(2_000)}${"]".repeat(2_000)}`) as unknown;
const nastyString = fc.oneof(
  { weight: 30, arbitrary: fc.constantFrom(...NASTY_STRINGS) },
  { weight: 1, arbitrary: fc.constant("a".repeat(70_000)) },
  { weight: 10, arbitrary: fc.string({ unit: "binary", maxLength: 40 }) },
  {
    weight: 10,
    arbitrary: fc.string({ unit: fc.nat(0xffff).map((code) => String.fromCharCode(code)), maxLength: 20 }),
  },
);
const nastyValue: fc.Arbitrary<unknown> = fc.oneof(
  nastyString,
  fc.constantFrom<unknown>(...NASTY_NUMBERS, null, true, false, [], {}, [null], [[]], deepValue),
  fc.jsonValue({ maxDepth: 3 }),
  fc.constant(JSON.parse('{"__proto__":{"a":1},"b":2}') as unknown),
);

/** Requests to any route of the document. */
export function hostileRequests(document: OpenApi, world: World): fc.Arbitrary<HostileRequest> {
  const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ path, method, operation })),
  );
  return fc.constantFrom(...operations).chain(({ path, method, operation }) => {
    const parameters = operation.parameters ?? [];
    const named = (place: Parameter["in"]) => parameters.filter((parameter) => parameter.in === place);
    return fc
      .record({
        method: fc.oneof(
          { weight: 30, arbitrary: fc.constant(method.toUpperCase()) },
          { weight: 1, arbitrary: fc.constantFrom("PATCH", "OPTIONS", "POST", "PUT", "DELETE", "GET") },
        ),
        path: hostilePath(path, method, world),
        query: hostileQuery(named("query"), document),
        headers: hostileHeaders(named("header"), world),
        body: hostileBody(operation, document),
      })
      .map(({ body, ...request }) => ({
        method: request.method,
        path: `${request.path}${request.query}`,
        headers: { ...(body && { "content-type": body.type }), ...request.headers },
        ...(body && request.method !== "GET" && { body: body.bytes }),
      }));
  });
}

function hostilePath(path: string, method: string, { known }: World): fc.Arbitrary<string> {
  const parts = path.split("/").map((part) => {
    const name = /^\{(.+)\}$/.exec(part)?.[1];
    if (name === undefined) return fc.constant(part);
    const hostile = nastyString.chain((text) =>
      fc.constantFrom(
        encodeURIComponent(text.toWellFormed().slice(0, 2_000)),
        encodeURI(text.toWellFormed().slice(0, 200)),
      ),
    );
    const names = known[name];
    // What exists is not to be deleted under those that come after.
    if (!names || method === "delete") return hostile;
    return fc.oneof({ weight: 4, arbitrary: fc.constantFrom(...names) }, { weight: 1, arbitrary: hostile });
  });
  return fc.tuple(...parts).map((each) => each.join("/"));
}

function hostileQuery(parameters: readonly Parameter[], document: OpenApi): fc.Arbitrary<string> {
  const pairs = parameters.map(({ name, schema }) =>
    fc.option(
      fc
        .oneof(nastyString, sample(schema, name, document, 0).map(String))
        .map((value) => `${name}=${encodeURIComponent(value.toWellFormed().slice(0, 500))}`),
    ),
  );
  const unknown = fc.option(nastyString.map((text) => encodeURIComponent(text.toWellFormed().slice(0, 200))));
  return fc.tuple(fc.tuple(...pairs), unknown).map(([each, more]) => {
    const all = [...each, more].filter((pair) => pair !== null);
    return all.length > 0 ? `?${all.join("&")}` : "";
  });
}

function hostileHeaders(parameters: readonly Parameter[], { authorizations }: World) {
  const [good = "", ...others] = authorizations;
  const authorization = fc.oneof(
    { weight: 12, arbitrary: fc.constant(good) },
    { weight: 1, arbitrary: fc.constantFrom("", ...others) },
    { weight: 1, arbitrary: nastyString.map((text) => `Bearer ${headerText(text)}`) },
  );
  const names = parameters.flatMap(({ name }) =>
    name.includes("{") ? [name.replace(/\{\w+\}/, "a")] : [name],
  );
  const extra = [
    "Idempotency-Key",
    "Prefer",
    "traceparent",
    "Pennypost-Delay-Ms",
    "Content-Length",
    "Expect",
  ];
  const values = [...names, ...extra].map((name) =>
    fc.option(
      nastyString.map((text) => [name.toLowerCase(), headerText(text)] as const),
      { freq: 2, nil: undefined },
    ),
  );
  return fc.tuple(authorization, fc.tuple(...values)).map(([auth, pairs]) => {
    const chosen = pairs.filter((pair) => pair !== undefined).filter(([name]) => name !== "content-length");
    return { authorization: auth, ...Object.fromEntries(chosen) } as Record<string, string>;
  });
}

/** What a header may carry at all. */
function headerText(text: string): string {
  return text
    .replace(/[^\x20-\x7e]/g, "")
    .slice(0, 8_000)
    .trim();
}

type Body = Readonly<{ type: string; bytes: string | Uint8Array }>;

function hostileBody({ requestBody }: Operation, document: OpenApi): fc.Arbitrary<Body | undefined> {
  if (!requestBody) return fc.constant(undefined);
  const type = fc.constantFrom(...NASTY_TYPES);
  const contents = Object.entries(requestBody.content);
  const shaped = fc.constantFrom(...contents).chain(([contentType, { schema }]) =>
    fc.oneof(sample(schema, "", document, 0), mutated(sample(schema, "", document, 0))).map((value) => ({
      type: contentType,
      bytes: typeof value === "string" ? value : (JSON.stringify(value) ?? ""),
    })),
  );
  return fc.oneof(
    { weight: 6, arbitrary: shaped },
    { weight: 1, arbitrary: fc.record({ type, bytes: fc.constantFrom(...NASTY_JSON) }) },
    { weight: 1, arbitrary: fc.record({ type, bytes: fc.uint8Array({ maxLength: 60 }) }) },
    {
      weight: 1,
      arbitrary: fc.record({ type, bytes: nastyValue.map((value) => JSON.stringify(value) ?? "") }),
    },
  );
}

/** A value with one of its parts replaced, left out, or added. */
function mutated(value: fc.Arbitrary<unknown>): fc.Arbitrary<unknown> {
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

/** A value that fits `schema`, more or less: numbers also at and beyond their bounds. */
function sample(schema: Schema, name: string, document: OpenApi, depth: number): fc.Arbitrary<unknown> {
  const { $ref, anyOf, oneOf, allOf } = schema;
  const inner = (other: Schema, at = name) => sample(other, at, document, depth + 1);
  if (depth > 8) return fc.constant(null);
  if ($ref) return inner(document.components.schemas[$ref.split("/").pop() ?? ""] ?? {});
  if ("const" in schema) return fc.constant(schema.const);
  if (schema.enum) return fc.constantFrom(...schema.enum);
  const [first, ...others] = anyOf ?? oneOf ?? allOf ?? [];
  if (first) return fc.oneof(inner(first), ...others.map((other) => inner(other)));
  if (schema.type === "object") return objectOf(schema, inner);
  if (schema.type === "array") return fc.array(inner(schema.items ?? {}), { maxLength: 4 });
  if (schema.type === "integer" || schema.type === "number") return numberOf(schema, name);
  if (schema.type === "boolean") return fc.boolean();
  if (schema.type === "string") return stringOf(schema);
  return nastyValue;
}

function objectOf(
  { properties = {}, required = [], additionalProperties }: Schema,
  inner: (schema: Schema, name: string) => fc.Arbitrary<unknown>,
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
  return fc.record(fields, { requiredKeys: [...required] });
}

function numberOf({ minimum = 0, maximum = 10 }: Schema, name: string): fc.Arbitrary<unknown> {
  const beyond = fc.constantFrom(minimum - 1, maximum + 1, minimum + 0.5, ...NASTY_NUMBERS);
  const within = NEVER_LARGE.has(name) ? fc.constant(minimum) : fc.constantFrom(minimum, maximum);
  return fc.oneof(within, beyond);
}

function stringOf({ maxLength, example }: Schema): fc.Arbitrary<unknown> {
  const bounds = maxLength === undefined ? [] : ["a".repeat(maxLength), "a".repeat(maxLength + 1)];
  return fc.oneof(
    nastyString,
    fc.constantFrom("a", ...(typeof example === "string" ? [example] : []), ...bounds),
  );
}
