// A route of the table: who may call it, what it takes, what it answers, and the one call it makes. The same
// words make the OpenAPI page.

import type { ZodObject, ZodType, z } from "zod";
import type { Result } from "../errors";
import type { Broker } from "./broker";
import type { Metering } from "./metering-store";
import type { Principal, Verb } from "./scope";

export type Method = "get" | "put" | "post" | "patch" | "delete";

/** Nobody is asked for a token, any token will do, or one with one of these verbs on the name in the path. */
export type Access = "public" | "any-token" | readonly Verb[];

export type Reply = Readonly<{ status: number; body: unknown; headers?: Readonly<Record<string, string>> }>;

/** One request, parsed. */
export type Call<Params, Query, Body> = Readonly<{
  broker: Broker;
  principal: Principal;
  params: Params;
  query: Query;
  body: Body;
  request: Request;
  /** What the request takes of the limits that it is held to. */
  metering: Metering;
}>;

export type AnyCall = Call<unknown, unknown, unknown>;
export type Handled = Promise<Result<Reply> | Response> | Result<Reply> | Response;

type Described = Readonly<{
  method: Method;
  path: string;
  tag: string;
  summary: string;
  description?: string;
  access: Access;
  /** A ticket in the query may stand for the token. */
  takesTicket?: true;
  /** It ends a lease or keeps one: refused for a limit, what was done would be done again. It counts all the same. */
  settles?: true;
  /** What the answers are, by status; problems are added to every route. */
  answers: Readonly<
    Record<number, Readonly<{ description: string; schema?: ZodType; contentType?: string }>>
  >;
  /** The body is read by the route itself; described for the page only. */
  rawBody?: Readonly<{ description: string; content: Readonly<Record<string, ZodType>> }>;
  /** Headers that the route reads itself; described for the page only. */
  headers?: ZodObject;
}>;

type Parsed<P extends ZodType, Q extends ZodType, B extends ZodType> = Readonly<{
  params?: P;
  query?: Q;
  /** The JSON body; an empty one counts as `{}`. */
  body?: B;
}>;

export type Route = Described &
  Parsed<ZodType, ZodType, ZodType> &
  Readonly<{ handle(call: AnyCall): Handled }>;

/** Declares a route; its handler's call has the types of its schemas. */
export function route<P extends ZodType, Q extends ZodType, B extends ZodType>(
  declared: Described &
    Parsed<P, Q, B> &
    Readonly<{ handle(call: Call<z.output<P>, z.output<Q>, z.output<B>>): Handled }>,
): Route {
  return declared as unknown as Route;
}

/** A reply with a JSON body. */
export function reply(
  status: number,
  body: unknown,
  headers?: Readonly<Record<string, string>>,
): Result<Reply> {
  return { ok: true, value: { status, body, ...(headers && { headers }) } };
}
