// Every field of every request in the OpenAPI document has a bound: no route allocates by a number that a client sends,
// or keeps a text of any length.

import { expect, test } from "vitest";
import { openApi } from "../../src/http/app";

type Schema = Readonly<{
  $ref?: string;
  type?: string | readonly string[];
  enum?: readonly unknown[];
  const?: unknown;
  format?: string;
  pattern?: string;
  maxLength?: number;
  maximum?: number;
  maxItems?: number;
  items?: Schema;
  properties?: Readonly<Record<string, Schema>>;
  additionalProperties?: Schema | boolean;
  anyOf?: readonly Schema[];
  oneOf?: readonly Schema[];
  allOf?: readonly Schema[];
}>;
type Parameter = Readonly<{ name: string; in: string; schema: Schema }>;
type Operation = Readonly<{
  parameters?: readonly Parameter[];
  requestBody?: Readonly<{ content: Readonly<Record<string, Readonly<{ schema: Schema }>>> }>;
}>;

const document = JSON.parse(openApi()) as {
  paths: Record<string, Record<string, Operation>>;
  components: { schemas: Record<string, Schema> };
};

/** Texts of a form that is bounded, read into something else: their schema shows a mere text. */
const PLACES = /^(body\.(ackIds|ids)\[\]|body\.ackId|body\.claims\[\]\.claim|id|after)$/;

/** Bounded where a schema cannot say it, with where. */
const BOUNDED_ELSEWHERE: Readonly<Record<string, string>> = {
  "body.endpoint.url": "checkEndpointUrl",
  "body.endpoint.headers": "at most limits.endpointHeaders, a superRefine",
  "body.endpoint.auth.tokenUrl": "checkEndpointUrl",
  "body.endpoint.signatures": "each of the two once, a refine",
  "body.idHeader": "64 characters of HEADER_NAME",
  "body.idFrom.header": "64 characters of HEADER_NAME",
  "body.orderingKeyFrom.header": "64 characters of HEADER_NAME",
  "body.subjectFrom.header": "64 characters of HEADER_NAME",
  keySet: "a UUID",
  "body.keepHeaders": "at most limits.keptHeaderCount",
  "body.message.attributes": "checkMessage",
  "body.message.attributes.*": "checkMessage",
  "body.message.dataBase64": "the request's limits.jsonRequestBytes, then limits.scheduleMessageBytes",
  "body.startAt.offsets": "keys of two digits",
  "body.to.offsets": "keys of two digits",
  ticket: "readTicket",
  token: "mayBeToken",
};
const isPublish = (path: string) => /\/messages(\/batch)?$|\/request$|^\/v1\/in\//.test(path);

function* unbounded(schema: Schema, at: string): Generator<string> {
  const { $ref, type, items, properties = {}, additionalProperties } = schema;
  if (at in BOUNDED_ELSEWHERE || PLACES.test(at)) return;
  if ($ref) return yield* unbounded(document.components.schemas[$ref.split("/").at(-1) ?? ""] ?? {}, at);
  for (const part of [...(schema.anyOf ?? []), ...(schema.oneOf ?? []), ...(schema.allOf ?? [])]) {
    yield* unbounded(part, at);
  }
  const { maxLength, enum: words, format, pattern } = schema;
  const isClosed =
    words !== undefined || schema.const !== undefined || format === "date-time" || isShort(pattern);
  if (type === "string" && maxLength === undefined && !isClosed) yield at;
  if ((type === "integer" || type === "number") && schema.maximum === undefined) yield at;
  if (type === "array" && schema.maxItems === undefined) yield at;
  if (items) yield* unbounded(items, `${at}[]`);
  for (const [name, property] of Object.entries(properties)) yield* unbounded(property, `${at}.${name}`);
  if (typeof additionalProperties === "object") {
    yield at;
    yield* unbounded(additionalProperties, `${at}.*`);
  }
}

/** Whether a pattern is anchored and repeats nothing without an end. */
function isShort(pattern: string | undefined): boolean {
  if (pattern === undefined || !/^\^.*\$$/.test(pattern)) return false;
  return !/[*+]|\{\d+,\}/.test(pattern.replaceAll(/\[[^\]]*\]/g, ""));
}

test("every number, text, list and map that a request may hold has a bound", () => {
  const found = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).flatMap(([method, { parameters = [], requestBody }]) => {
      const inPlace = parameters.filter((each) => each.in !== "header");
      const faults = [
        ...inPlace.flatMap(({ name, schema }) => [...unbounded(schema, name)]),
        // A publish is read by hand and not by a schema: test/http/bad-input.test.ts has its limits.
        ...(isPublish(path) ? [] : Object.values(requestBody?.content ?? {})).flatMap(({ schema }) => [
          ...unbounded(schema, "body"),
        ]),
      ];
      return faults.map((field) => `${method} ${path} ${field}`);
    }),
  );
  expect([...new Set(found)]).toEqual([]);
});
