// Requests that nobody should send, made from the OpenAPI document: near-valid input with one thing wrong, and input
// that is wrong altogether.

import fc from "fast-check";
import {
  NASTY_BYTES,
  NASTY_JSON,
  NASTY_NUMBERS,
  NASTY_TYPES,
  nastyString,
  nastyValue,
  OVERSIZED,
} from "./hostile-values.ts";

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
  maxLength?: number;
  example?: unknown;
}>;
type Parameter = Readonly<{ name: string; in: "path" | "query" | "header"; schema: Schema }>;
export type Operation = Readonly<{
  security?: readonly unknown[];
  parameters?: readonly Parameter[];
  requestBody?: Readonly<{ content: Readonly<Record<string, Readonly<{ schema: Schema }>>> }>;
}>;
export type OpenApi = Readonly<{
  paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
  components: Readonly<{ schemas: Readonly<Record<string, Schema>> }>;
}>;

export type Header = readonly [name: string, value: string];
export type HostileRequest = Readonly<{
  /** The route that it is made from, such as `PUT /v1/topics/{topic}`. */
  route: string;
  method: string;
  path: string;
  /** Some twice. */
  headers: readonly Header[];
  body?: string | Uint8Array;
}>;

export type World = Readonly<{
  /** Names that exist, by the parameter that takes them. */
  known: Readonly<Record<string, readonly string[]>>;
  /** Values of the Authorization header; the first is good. */
  authorizations: readonly string[];
}>;

/** Nobody listens there, so what the broker is told to send goes nowhere. */
const REFUSED_URL = "http://127.0.0.1:9/hook";
/** What is put behind a path. */
const SUFFIXES = ["/", "//", "/..", "/..%2f..%2fv1", "%00", "%2f", "/.", ";x=1", "%c0%af", "/__proto__"];
/** A valid wait would be waited for, and a valid number of partitions made. */
const NEVER_LARGE = new Set(["waitMs", "partitions"]);
/** A valid request would be waited for, by default for half a minute. */
const NOT_WAITED_FOR: readonly Header[] = [["prefer", "wait=0"]];

export type Route = Readonly<{ path: string; method: string; operation: Operation }>;

/** The operations of the document. */
export function routesOf(document: OpenApi): Route[] {
  return Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ path, method, operation })),
  );
}

/** Requests to any route of the document, each route as often as another. */
export function hostileRequests(document: OpenApi, world: World): fc.Arbitrary<HostileRequest> {
  return fc.oneof(...routesOf(document).map((each) => hostileRequest(each, document, world)));
}

/** Requests to one route. */
export function hostileRequest(
  { path, method, operation }: Route,
  document: OpenApi,
  world: World,
): fc.Arbitrary<HostileRequest> {
  const context = { document, known: world.known };
  const parameters = operation.parameters ?? [];
  const named = (place: Parameter["in"]) => parameters.filter((parameter) => parameter.in === place);
  return fc
    .record({
      method: fc.oneof(
        { weight: 30, arbitrary: fc.constant(method.toUpperCase()) },
        { weight: 1, arbitrary: fc.constantFrom("PATCH", "OPTIONS", "POST", "PUT", "GET", "HEAD") },
      ),
      path: hostilePath(path, method, world),
      query: hostileQuery(named("query"), context),
      headers: hostileHeaders(named("header"), world),
      body: hostileBody(operation, context),
    })
    .map(({ body, ...request }) => ({
      route: `${method.toUpperCase()} ${path}`,
      method: request.method,
      path: `${request.path}${request.query}`,
      headers: [
        ...(body ? [["content-type", body.type] as const] : []),
        ...(path.endsWith("/request") ? NOT_WAITED_FOR : []),
        ...request.headers,
      ],
      ...(body && { body: body.bytes }),
    }));
}

type Context = Readonly<{ document: OpenApi; known: World["known"] }>;

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
  const suffix = fc.oneof(
    { weight: 40, arbitrary: fc.constant("") },
    { weight: 1, arbitrary: fc.constantFrom(...SUFFIXES) },
  );
  // What is deleted by a shorter path than was meant would be missing under those that come after.
  const end = method === "delete" ? fc.constant("") : suffix;
  return fc.tuple(fc.tuple(...parts), end).map(([each, more]) => `${each.join("/")}${more}`);
}

function hostileQuery(parameters: readonly Parameter[], context: Context): fc.Arbitrary<string> {
  const value = (schema: Schema, name: string) => sample(schema, name, context, 0).map(String);
  const pairs = parameters.map(({ name, schema }) =>
    fc.option(
      fc
        .oneof({ weight: 1, arbitrary: nastyString }, { weight: 2, arbitrary: value(schema, name) })
        .map((text) => `${name}=${encodeURIComponent(text.toWellFormed().slice(0, 500))}`),
      { freq: 2, nil: null },
    ),
  );
  const stray = nastyString.map((text) => encodeURIComponent(text.toWellFormed().slice(0, 200)));
  const unknown = oneIn(12).chain((has) => (has ? stray : fc.constant(null)));
  return fc.tuple(fc.tuple(...pairs), unknown, oneIn(20)).map(([each, more, twice]) => {
    const all = [...each, ...(twice ? each : []), more].filter((pair) => pair !== null);
    return all.length > 0 ? `?${all.join("&")}` : "";
  });
}

function hostileHeaders(
  parameters: readonly Parameter[],
  { authorizations }: World,
): fc.Arbitrary<readonly Header[]> {
  const [good = "", ...others] = authorizations;
  const authorization = fc.oneof(
    { weight: 12, arbitrary: fc.constant(good) },
    { weight: 1, arbitrary: fc.constantFrom("", ...others) },
    { weight: 1, arbitrary: nastyString.map((text) => `Bearer ${headerText(text)}`) },
  );
  const names = parameters.map(({ name }) => name.replace(/\{\w+\}/, "a"));
  const extra = [
    "Idempotency-Key",
    "Prefer",
    "traceparent",
    "Pennypost-Delay-Ms",
    "Content-Encoding",
    "Range",
    "If-Match",
    "Last-Event-ID",
    "Upgrade",
    "X-Forwarded-For",
  ];
  const values = [...names, ...extra].map((name) =>
    oneIn(12).chain((has) =>
      has
        ? nastyString.map((text) => [name.toLowerCase(), headerText(text)] as const)
        : fc.constant(undefined),
    ),
  );
  return fc.tuple(authorization, fc.tuple(...values), oneIn(4)).map(([auth, pairs, twice]) => {
    const chosen = pairs.filter((pair) => pair !== undefined);
    const first: Header[] = auth === "" ? [] : [["authorization", auth]];
    return [...first, ...chosen, ...(twice ? chosen : [])];
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

function hostileBody({ requestBody }: Operation, context: Context): fc.Arbitrary<Body | undefined> {
  const stray = fc.constantFrom({ type: "application/json", bytes: "{}" }, { type: "", bytes: "x" });
  if (!requestBody) return oneIn(20).chain((has) => (has ? stray : fc.constant(undefined)));
  const type = fc.constantFrom(...NASTY_TYPES);
  const contents = Object.entries(requestBody.content);
  const shaped = fc.constantFrom(...contents).chain(([contentType, { schema }]) =>
    fc.oneof(sample(schema, "", context, 0), mutated(sample(schema, "", context, 0))).map((value) => ({
      type: contentType,
      bytes: typeof value === "string" ? value : (JSON.stringify(value) ?? ""),
    })),
  );
  return fc.oneof(
    { weight: 400, arbitrary: shaped },
    { weight: 10, arbitrary: fc.constant(undefined) },
    { weight: 1, arbitrary: fc.record({ type, bytes: fc.constant(OVERSIZED) }) },
    { weight: 40, arbitrary: fc.record({ type, bytes: fc.constantFrom(...NASTY_JSON) }) },
    { weight: 20, arbitrary: fc.record({ type, bytes: fc.constantFrom(...NASTY_BYTES) }) },
    { weight: 40, arbitrary: fc.record({ type, bytes: fc.uint8Array({ maxLength: 60 }) }) },
    {
      weight: 60,
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
export function sample(schema: Schema, name: string, context: Context, depth: number): fc.Arbitrary<unknown> {
  const { $ref, anyOf, oneOf, allOf } = schema;
  const inner = (other: Schema, at = name) => sample(other, at, context, depth + 1);
  if (depth > 8) return fc.constant(null);
  if ($ref) return inner(referred(schema, context.document));
  if ("const" in schema) return fc.constant(schema.const);
  if (schema.enum) return fc.constantFrom(...schema.enum);
  const [first, ...others] = anyOf ?? oneOf ?? allOf ?? [];
  if (first) return fc.oneof(inner(first), ...others.map((other) => inner(other)));
  if (schema.type === "object") return objectOf(schema, inner);
  if (schema.type === "array") return fc.array(inner(schema.items ?? {}), { maxLength: 4 });
  if (schema.type === "integer" || schema.type === "number") return numberOf(schema, name);
  if (schema.type === "boolean") return fc.boolean();
  if (schema.type === "string") return stringOf(schema, name, context.known);
  return nastyValue;
}

/** The schema itself, behind any references. */
export function referred(schema: Schema, document: OpenApi): Schema {
  if (!schema.$ref) return schema;
  return referred(document.components.schemas[schema.$ref.split("/").pop() ?? ""] ?? {}, document);
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
  return fc.oneof({ weight: 4, arbitrary: within }, { weight: 1, arbitrary: beyond });
}

function stringOf(
  { maxLength, example }: Schema,
  name: string,
  known: World["known"],
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

function oneIn(times: number): fc.Arbitrary<boolean> {
  return fc.nat(times - 1).map((number) => number === 0);
}
