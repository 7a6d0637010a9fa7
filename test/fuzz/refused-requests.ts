// Requests that must be refused whatever the broker holds: hostile ones with one thing more that no route forgives.
// What is stored is the same after a burst of them as it was before.

import fc from "fast-check";
import {
  type HostileRequest,
  hostileRequest,
  type OpenApi,
  type Route,
  routesOf,
  type World,
} from "./hostile-requests.ts";
import { referred, type Schema, sample } from "./schema-samples.ts";

const NOBODY = ["Bearer nonsense", "Basic x", "Bearer ", "", "Bearer ' OR 1=1 --"];
/** None is empty: where a body may be left out, that is none. */
const NO_JSON = ["{", "nul", '{"a":', "[}", "\0", "{}{}"];
const NAMES = ["topic", "queue", "subscription"];
const TOO_LONG = "a".repeat(300);
type Spoil = (request: fc.Arbitrary<HostileRequest>) => fc.Arbitrary<HostileRequest>;

/** Requests to any route that can be spoiled for certain. */
export function refusedRequests(document: OpenApi, world: World): fc.Arbitrary<HostileRequest> {
  const each = routesOf(document).flatMap((route) => {
    const request = hostileRequest(route, document, world).map((made) => ({
      ...made,
      method: route.method.toUpperCase(),
    }));
    return spoilsOf(route, document, world).map((spoil) => spoil(request));
  });
  return fc.oneof(...each);
}

function spoilsOf({ path, operation }: Route, document: OpenApi, world: World): Spoil[] {
  const spoils: Spoil[] = [otherMethod];
  if (operation.security) spoils.push(nobodys);
  if (NAMES.some((name) => path.includes(`{${name}}`))) spoils.push(tooLong(path));
  const contents = Object.entries(operation.requestBody?.content ?? {});
  const [only, ...others] = contents;
  if (only && others.length === 0 && only[0] === "application/json") {
    spoils.push(noJson, wrongFields(referred(only[1].schema, document), document, world));
  }
  return spoils;
}

const otherMethod: Spoil = (request) => request.map((made) => ({ ...made, method: "LOCK" }));

const nobodys: Spoil = (request) =>
  fc.tuple(request, fc.constantFrom(...NOBODY)).map(([made, nobody]) => ({
    ...withoutTicket(made),
    headers: withHeader(made, "authorization", nobody),
  }));

const noJson: Spoil = (request) =>
  fc.tuple(request, fc.constantFrom(...NO_JSON)).map(([made, body]) => withBody(made, body));

function tooLong(path: string): Spoil {
  const longer = NAMES.reduce((text, name) => text.replace(`{${name}}`, TOO_LONG), path);
  return (request) => request.map((made) => ({ ...made, path: longer.replaceAll(/\{\w+\}/g, "x") }));
}

/** A field that is not there, or one of those that must be there with a value that cannot be. */
function wrongFields(schema: Schema, document: OpenApi, { known }: World): Spoil {
  const { properties = {}, required = [] } = schema;
  const plain = required.filter((name) => {
    const { type } = referred(properties[name] ?? {}, document);
    return type === "string" || type === "integer" || type === "number" || type === "boolean";
  });
  const wrong = plain.map((name) => ({ [name]: { x: [1] } }));
  const stray = schema.additionalProperties === false ? ["nobodyKnows", "constructor"] : [];
  const spoils: Record<string, unknown>[] = [...wrong, ...stray.map((name) => ({ [name]: 1 }))];
  if (spoils.length === 0) return noJson;
  const body = sample(schema, "", { document, known, isCalm: false });
  return (request) =>
    fc
      .tuple(request, body, fc.constantFrom(...spoils))
      .map(([made, value, spoil]) => withBody(made, JSON.stringify({ ...(value as object), ...spoil })));
}

function withBody(made: HostileRequest, body: string): HostileRequest {
  return { ...made, headers: withHeader(made, "content-type", "application/json"), body };
}

function withHeader({ headers }: HostileRequest, name: string, value: string): HostileRequest["headers"] {
  const others = headers.filter(([other]) => other !== name);
  return value === "" ? others : [...others, [name, value]];
}

/** A ticket in the query is another way to say who asks. */
function withoutTicket(made: HostileRequest): HostileRequest {
  return { ...made, path: made.path.replaceAll(/ticket=/g, "no=") };
}
