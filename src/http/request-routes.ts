// How a route of the table is served: who asks, may they, what do they ask, one call, the reply. Every way out is
// an answer: refusals as problems, and faults as `unavailable` when they pass and `internal` when they are bugs.

import type { Context } from "hono";
import type { ZodType } from "zod";
import { CatalogFault } from "../catalog/catalog-store";
import type { Env } from "../env";
import { type BrokerError, ok, type Result, refuse } from "../errors";
import { inTime, LATE } from "../in-time";
import { limits } from "../limits";
import { joinBytes } from "../record-batch";
import type { Runtime } from "../runtime";
import { authenticate, authenticateTicket } from "./auth";
import { type Broker, brokerOf } from "./broker";
import { isTooDeep, parseBody } from "./json";
import { BODY_DEPTH, TOO_DEEP } from "./json-scan";
import { Metering, type Standings } from "./metering-store";
import { parse } from "./parse";
import { problemResponse } from "./problem";
import { rateLimitHeaders } from "./rate-limit-headers";
import type { AnyCall, Handled, Reply, Route } from "./route";
import { mayDo, type Principal } from "./scope";

export type HonoEnv = { Bindings: Env };

const WHOLE_NUMBER = /^\d+$/;
const NOBODY: Principal = { id: "nobody", scopes: [] };

/** Serves one request of `route`. */
export async function serve(route: Route, c: Context<HonoEnv>, runtime: Runtime): Promise<Response> {
  const standings: Standings = new Map();
  const response = await respond(route, c, runtime, standings);
  const headers = Object.entries(rateLimitHeaders([...standings.values()]));
  if (headers.length === 0) return response;
  // A socket's answer came from its object, and its headers cannot be changed.
  const answer = response.webSocket ? socketResponse(response.webSocket) : response;
  for (const [name, value] of headers) answer.headers.set(name, value);
  return answer;
}

function socketResponse(webSocket: WebSocket): Response {
  return new Response(null, { status: 101, webSocket });
}

async function respond(
  route: Route,
  c: Context<HonoEnv>,
  runtime: Runtime,
  standings: Standings,
): Promise<Response> {
  try {
    const call = await open(route, c, runtime, standings);
    if (!call.ok) return problemResponse(call.error);
    const { by } = call.value.broker.catalog;
    const response = responseOf(await route.handle(call.value));
    if (by) response.headers.set("pennypost-request-id", by.requestId);
    return response;
  } catch (fault) {
    return problemResponse(refusalOfFault(fault));
  }
}

function responseOf(handled: Awaited<Handled>): Response {
  if (handled instanceof Response) return handled;
  return handled.ok ? replyResponse(handled.value) : problemResponse(handled.error);
}

async function open(
  route: Route,
  c: Context<HonoEnv>,
  runtime: Runtime,
  standings: Standings,
): Promise<Result<AnyCall>> {
  const broker = brokerOf(c.env, runtime);
  if (!broker.ok) return broker;
  const request = c.req.raw;
  const rawParams: Record<string, string> = c.req.param();
  const principal = await principalOf(route, broker.value, request);
  if (!principal.ok) return principal;
  const refused = checkAccess(route, principal.value, rawParams);
  if (refused) return { ok: false, error: refused };
  // Who may not ask is no charge on the token, and is told nothing by it; what is asked for is not looked at before.
  const metering = new Metering(broker.value, standings);
  const taken = await metering.takeRequest(principal.value);
  if (!taken.ok && !route.settles) return taken;
  const params = route.params ? parse(route.params, rawParams) : ok(rawParams);
  if (!params.ok) return params;
  const query = route.query ? parse(route.query, c.req.query()) : ok({});
  if (!query.ok) return query;
  const body = route.body ? await readJson(route.body, request) : ok({});
  if (!body.ok) return body;
  const inputs = { params: params.value, query: query.value, body: body.value };
  const acting = isAdministrative(route) ? as(principal.value, broker.value, request) : broker.value;
  return ok({ broker: acting, principal: principal.value, ...inputs, request, metering });
}

/** Whether a route changes what exists, and not what a publisher or a consumer works with. */
export function isAdministrative({ method, access }: Route): boolean {
  if (method === "get" || access === "public") return false;
  if (access === "any-token") return true;
  return access.every((verb) => verb === "manage" || verb === "admin");
}

/** The broker as it works for somebody: what is changed goes by their name into the audit log. */
function as({ id, name }: Principal, broker: Broker, request: Request): Broker {
  const requestId = (request.headers.get("cf-ray") ?? "").slice(0, limits.messageIdLength);
  const by = { id, name: name ?? id, requestId: requestId || broker.runtime.newId() };
  return { ...broker, catalog: { ...broker.catalog, by } };
}

async function principalOf(route: Route, broker: Broker, request: Request): Promise<Result<Principal>> {
  if (route.access === "public") return ok(NOBODY);
  const ticket = route.takesTicket ? new URL(request.url).searchParams.get("ticket") : null;
  if (ticket !== null) return authenticateTicket(broker, ticket, request);
  return authenticate(broker, request.headers.get("authorization"));
}

async function readJson(schema: ZodType, request: Request): Promise<Result<unknown>> {
  const bytes = await readBody(request, limits.jsonRequestBytes);
  if (!bytes.ok) return bytes;
  const value = parseBody(bytes.value, request.headers.get("content-type"));
  if (!value.ok) return value;
  if (!isTooDeep(value.value, BODY_DEPTH)) return parse(schema, value.value);
  return refuse("invalid-request", TOO_DEEP.detail, { field: "body", limit: TOO_DEEP.limit });
}

function checkAccess(
  { access }: Route,
  principal: Principal,
  { topic, queue, ledger }: Readonly<Record<string, string>>,
): BrokerError | undefined {
  if (access === "public" || access === "any-token") return undefined;
  const name = topic ?? queue ?? ledger ?? "*";
  if (mayDo(principal, access, name)) return undefined;
  return refuse(
    "forbidden",
    `This needs the scope ${access.join(" or ")} on "${name.slice(0, limits.nameLength)}".`,
  ).error;
}

function replyResponse({ status, body, headers }: Reply): Response {
  if (body === undefined) return new Response(null, { status, headers: { ...headers } });
  return new Response(JSON.stringify(body), {
    status,
    headers: { "content-type": "application/json", ...headers },
  });
}

/** What a fault is to whoever made the request: passing, when storage or the way to an object failed. */
export function refusalOfFault(fault: unknown): BrokerError {
  if (isPassing(fault)) {
    return refuse("unavailable", "Storage or a partition could not be reached; try again.", {
      retryAfterMs: limits.catalogRetryMs,
    }).error;
  }
  console.error(JSON.stringify({ at: "http", fault: fault instanceof Error ? fault.stack : String(fault) }));
  return refuse("internal", "The broker met a fault of its own. It is logged.").error;
}

function isPassing(fault: unknown): boolean {
  if (fault instanceof CatalogFault) return true;
  if (!(fault instanceof Error)) return false;
  const { retryable, overloaded } = fault as Error & Record<string, unknown>;
  return retryable === true || overloaded === true || fault.message.startsWith("D1_");
}

// ── bodies ───────────────────────────────────────────────────────────────────────────────────────────

/**
 * The bytes of a body, never more than about `limitBytes` of them in memory, and for no longer than `withinMs`. What
 * says that it is larger is refused unread.
 */
export async function readBody(
  request: Request,
  limitBytes: number,
  withinMs: number = limits.bodyMs,
): Promise<Result<Uint8Array>> {
  if (request.body === null) return ok(new Uint8Array());
  const announced = request.headers.get("content-length");
  if (announced !== null && Number(announced) > limitBytes) return tooLarge(limitBytes);
  // What announces its length is held to it by HTTP; what does not is counted while it comes.
  const isAnnounced = announced !== null && WHOLE_NUMBER.test(announced);
  try {
    const reading = isAnnounced ? request.bytes() : readStream(request.body, limitBytes);
    const body = await inTime(reading, withinMs);
    if (body === LATE) return tooSlow(withinMs);
    return body === undefined || body.byteLength > limitBytes ? tooLarge(limitBytes) : ok(body);
  } catch {
    return refuse("malformed-body", "The body broke off.", { field: "body" });
  }
}

async function readStream(stream: ReadableStream, limitBytes: number): Promise<Uint8Array | undefined> {
  const parts: Uint8Array[] = [];
  let bytes = 0;
  for await (const part of stream as ReadableStream<Uint8Array>) {
    bytes += part.byteLength;
    if (bytes > limitBytes) return undefined;
    parts.push(part);
  }
  return joinBytes(parts);
}

function tooSlow(withinMs: number): Result<never> {
  return refuse("body-too-slow", `The body did not come within ${withinMs} ms.`, {
    field: "body",
    limit: withinMs,
  });
}

function tooLarge(limitBytes: number): Result<never> {
  return refuse("payload-too-large", `The body is at most ${limitBytes} bytes.`, {
    field: "body",
    limit: limitBytes,
  });
}
