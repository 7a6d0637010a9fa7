// Requests that nobody should send, made from the OpenAPI document: near-valid input with one thing wrong, and input
// that is wrong altogether.

import fc from "fast-check";
import {
  NASTY_BYTES,
  NASTY_JSON,
  NASTY_TYPES,
  nastyString,
  nastyValue,
  OVERSIZED,
} from "./hostile-values.ts";
import { type Components, type Context, mutated, type Schema, sample } from "./schema-samples.ts";

type Parameter = Readonly<{ name: string; in: "path" | "query" | "header"; schema: Schema }>;
export type Operation = Readonly<{
  security?: readonly unknown[];
  parameters?: readonly Parameter[];
  requestBody?: Readonly<{ content: Readonly<Record<string, Readonly<{ schema: Schema }>>> }>;
}>;
export type OpenApi = Readonly<{
  paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
  components: Components;
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
  known: Context["known"];
  /** Names that are made and deleted again, by the parameter that takes them. */
  spares: Context["known"];
  /** Values of the Authorization header; the first is good. */
  authorizations: readonly string[];
}>;

/** What is put behind a path. */
const SUFFIXES = ["/", "//", "/..", "/..%2f..%2fv1", "%00", "%2f", "/.", ";x=1", "%c0%af", "/__proto__"];
/** A valid request would be waited for, by default for half a minute. */
const NOT_WAITED_FOR: Header = ["prefer", "wait=0"];

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

/** Requests to one route: wild ones, ones with one thing wrong, and ones with which nothing need be wrong. */
export function hostileRequest(route: Route, document: OpenApi, world: World): fc.Arbitrary<HostileRequest> {
  const wild = wildParts(route, document, world);
  const calm = calmParts(route, document, world);
  const one = fc.constantFrom<keyof Parts>("method", "path", "query", "headers", "body", "body");
  const nearly = one.chain((part) => fc.record({ ...calm, [part]: { ...wild, ...nearParts(calm) }[part] }));
  return fc
    .oneof(
      { weight: 3, arbitrary: fc.record(wild) },
      { weight: 2, arbitrary: nearly as fc.Arbitrary<Made> },
      { weight: 1, arbitrary: fc.record(calm) },
    )
    .map((made) => asRequest(route, made));
}

type Body = Readonly<{ type: string; bytes: string | Uint8Array }>;
/** What a request is put together from. */
type Made = Readonly<{
  method: string;
  path: string;
  query: string;
  headers: readonly Header[];
  body: Body | undefined;
}>;
type Parts = { readonly [Part in keyof Made]: fc.Arbitrary<Made[Part]> };

function asRequest({ method, path }: Route, { body, ...made }: Made): HostileRequest {
  return {
    route: `${method.toUpperCase()} ${path}`,
    method: made.method,
    path: `${made.path}${made.query}`,
    headers: [...(body ? [["content-type", body.type] as const] : []), ...patient(path, made.headers)],
    ...(body && { body: body.bytes }),
  };
}

function patient(path: string, headers: readonly Header[]): readonly Header[] {
  if (!path.endsWith("/request")) return headers;
  return [
    NOT_WAITED_FOR,
    ...headers.filter(([name, value]) => name.toLowerCase() !== "prefer" || !/wait/i.test(value)),
  ];
}

function inPlace({ operation }: Route, place: Parameter["in"]): readonly Parameter[] {
  return (operation.parameters ?? []).filter((parameter) => parameter.in === place);
}

function wildParts(route: Route, document: OpenApi, world: World): Parts {
  const { path, method, operation } = route;
  const context = { document, known: world.known, isCalm: false };
  return {
    method: fc.oneof(
      { weight: 30, arbitrary: fc.constant(method.toUpperCase()) },
      { weight: 1, arbitrary: fc.constantFrom("PATCH", "OPTIONS", "POST", "PUT", "GET", "HEAD") },
    ),
    path: hostilePath(path, method, world),
    query: hostileQuery(inPlace(route, "query"), context),
    headers: hostileHeaders(inPlace(route, "header"), world),
    body: hostileBody(operation, context),
  };
}

// ── what fits ────────────────────────────────────────────────────────────────────────────────────────

function calmParts(route: Route, document: OpenApi, world: World): Parts {
  const context = { document, known: world.known, isCalm: true };
  const value = ({ name, schema }: Parameter) =>
    sample(schema, name, context).map(
      (one) => [name.replace(/\{\w+\}/, "a"), headerText(String(one))] as const,
    );
  const some = (place: Parameter["in"], times: number) =>
    fc
      .tuple(...inPlace(route, place).map((each) => fc.option(value(each), { freq: times, nil: undefined })))
      .map((pairs) => pairs.filter((pair) => pair !== undefined));
  const [good = ""] = world.authorizations;
  const contents = Object.entries(route.operation.requestBody?.content ?? {});
  const bodies = contents.map(([type, { schema }]) => shapedBody(type, sample(schema, "", context)));
  return {
    method: fc.constant(route.method.toUpperCase()),
    path: calmPath(route, world),
    query: some("query", 1).map((pairs) => {
      const text = pairs.map(([name, each]) => `${name}=${encodeURIComponent(each)}`).join("&");
      return text === "" ? "" : `?${text}`;
    }),
    headers: some("header", 1).map((pairs) => [["authorization", good], ...pairs]),
    body: bodies.length > 0 ? fc.oneof(...bodies) : fc.constant(undefined),
  };
}

/** What is one step from what fits, for the parts that are built of several. */
function nearParts({ body }: Parts): Pick<Parts, "body"> {
  const isText = (made: Body | undefined): made is Body & { bytes: string } =>
    typeof made?.bytes === "string";
  return {
    body: body.chain((made): fc.Arbitrary<Body | undefined> => {
      const value = isText(made) && parsed(made.bytes);
      if (!made || !value) return fc.constant(made);
      return mutated(fc.constant(value)).map((other) => ({ ...made, bytes: JSON.stringify(other) ?? "" }));
    }),
  };
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}

/** Only a spare is deleted; what is above it stays. */
function calmPath({ path, method }: Route, { known, spares }: World): fc.Arbitrary<string> {
  const parts = path.split("/").map((part, index, all) => {
    const name = /^\{(.+)\}$/.exec(part)?.[1];
    if (name === undefined) return fc.constant(part);
    const isDeleted = method === "delete" && index === all.length - 1;
    const names = [...(isDeleted ? [] : (known[name] ?? [])), ...(spares[name] ?? [])];
    return fc.constantFrom(...(names.length > 0 ? names : ["a"]));
  });
  return fc.tuple(...parts).map((each) => each.join("/"));
}

// ── what does not ────────────────────────────────────────────────────────────────────────────────────

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
  const value = (schema: Schema, name: string) => sample(schema, name, context).map(String);
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

function hostileBody({ requestBody }: Operation, context: Context): fc.Arbitrary<Body | undefined> {
  const stray = fc.constantFrom({ type: "application/json", bytes: "{}" }, { type: "", bytes: "x" });
  if (!requestBody) return oneIn(20).chain((has) => (has ? stray : fc.constant(undefined)));
  const type = fc.constantFrom(...NASTY_TYPES);
  const contents = Object.entries(requestBody.content);
  const shaped = fc
    .constantFrom(...contents)
    .chain(([contentType, { schema }]) =>
      shapedBody(contentType, fc.oneof(sample(schema, "", context), mutated(sample(schema, "", context)))),
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

function shapedBody(type: string, value: fc.Arbitrary<unknown>): fc.Arbitrary<Body> {
  return value.map((one) => ({
    type,
    bytes: typeof one === "string" ? one : (JSON.stringify(one) ?? ""),
  }));
}

function oneIn(times: number): fc.Arbitrary<boolean> {
  return fc.nat(times - 1).map((number) => number === 0);
}
