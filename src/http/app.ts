// The API on one screen: every route in one table, which serves the requests and makes the OpenAPI document.

import { createRoute, OpenAPIHono } from "@hono/zod-openapi";
import { RegExpRouter } from "hono/router/reg-exp-router";
import type { ZodObject } from "zod";
import { refuse } from "../errors";
import { type Runtime, systemRuntime } from "../runtime";
import { askRoutes } from "./ask-routes";
import { attemptRoutes } from "./attempt-routes";
import { auditLogRoute } from "./audit-log-routes";
import { auditRoutes } from "./audit-routes";
import { claimRoutes } from "./claim-routes";
import { deadLetterRoutes } from "./dead-letter-routes";
import { delayRoutes } from "./delay-routes";
import { filterRoutes } from "./filter-routes";
import { ledgerRoutes } from "./ledger-routes";
import { socketRoutes, streamRoutes, ticketRoutes } from "./live-routes";
import { messageRoutes } from "./message-routes";
import { metricsRoute } from "./metrics-routes";
import { operateRoutes } from "./operate-routes";
import { queuePlace, subscriptionPlace, topicPlace } from "./place-routes";
import { problemResponse } from "./problem";
import { producerRoutes } from "./producer-routes";
import { inboundRoute, publishRoutes } from "./publish-routes";
import { pullRoutes } from "./pull-routes";
import { replyRoutes } from "./reply-routes";
import { type HonoEnv, refusalOfFault, serve } from "./request-routes";
import type { Route } from "./route";
import { scheduleRoutes } from "./schedule-routes";
import { problem } from "./schemas";
import { secretRoutes, signingKeysRoute } from "./secret-routes";
import { seekRoutes } from "./seek-routes";
import { snapshotRoutes } from "./snapshot-routes";
import { strandedRoutes } from "./stranded-routes";
import { readerRoutes, subscriptionRoutes } from "./subscription-routes";
import { timelineRoutes } from "./timeline-routes";
import { tokenRoutes } from "./token-routes";
import { queueRoutes, topicRoutes } from "./topic-routes";
import { callbackRoutes, verifyRoutes } from "./verify-routes";

/** Every route, in the order of the page. What a topic and its subscription have, a queue has: the same functions. */
export const routes: readonly Route[] = [
  ...topicRoutes,
  ...[topicPlace, queuePlace].flatMap(publishRoutes),
  ...[topicPlace, queuePlace].flatMap(askRoutes),
  ...[topicPlace, queuePlace].flatMap(messageRoutes),
  ...[topicPlace, queuePlace].flatMap(timelineRoutes),
  ...[topicPlace, queuePlace].flatMap(delayRoutes),
  ...[topicPlace, queuePlace].flatMap(producerRoutes),
  ...[topicPlace, queuePlace].flatMap(streamRoutes),
  ...subscriptionRoutes,
  ...queueRoutes,
  ...[subscriptionPlace, queuePlace].flatMap(readerRoutes),
  ...[subscriptionPlace, queuePlace].flatMap(filterRoutes),
  ...[subscriptionPlace, queuePlace].flatMap(secretRoutes),
  signingKeysRoute,
  ...[subscriptionPlace, queuePlace].flatMap(verifyRoutes),
  ...callbackRoutes,
  ...[subscriptionPlace, queuePlace].flatMap(attemptRoutes),
  ...[subscriptionPlace, queuePlace].flatMap(auditRoutes),
  ...[subscriptionPlace, queuePlace].flatMap(seekRoutes),
  ...[subscriptionPlace, queuePlace].flatMap(snapshotRoutes),
  ...[subscriptionPlace, queuePlace].flatMap(pullRoutes),
  ...[subscriptionPlace, queuePlace].flatMap(replyRoutes),
  ...[subscriptionPlace, queuePlace].flatMap(socketRoutes),
  ...[topicPlace, subscriptionPlace, queuePlace].flatMap(ticketRoutes),
  ...[subscriptionPlace, queuePlace].flatMap(claimRoutes),
  ...[subscriptionPlace, queuePlace].flatMap(deadLetterRoutes),
  inboundRoute,
  ...ledgerRoutes,
  ...scheduleRoutes,
  ...tokenRoutes,
  auditLogRoute,
  ...strandedRoutes,
  metricsRoute,
  ...operateRoutes(openApi),
];

/** The application: one regular expression finds the route, whatever their number. */
export function createApp(runtime: Runtime = systemRuntime): OpenAPIHono<HonoEnv> {
  const app = new OpenAPIHono<HonoEnv>({ router: new RegExpRouter() });
  for (const route of routes) {
    app.on(route.method.toUpperCase(), honoPath(route.path), (c) => serve(route, c, runtime));
  }
  app.notFound((c) => refuseUnknown(c.req.path));
  app.onError((fault) => problemResponse(refusalOfFault(fault)));
  return app;
}

function honoPath(path: string): string {
  return path.replaceAll("{", ":").replaceAll("}", "");
}

/** No route is found: it may be there for another method, and then says which ones it takes. */
function refuseUnknown(path: string): Response {
  const methods = routes
    .filter((route) => patternOf(route).test(path))
    .map(({ method }) => method.toUpperCase());
  if (methods.length === 0) {
    return problemResponse(
      refuse("not-found", "There is no such route: /docs shows those that there are.").error,
    );
  }
  const allow = [...new Set(methods)].join(", ");
  const { error } = refuse("method-not-allowed", `This route takes ${allow}.`, { limit: allow });
  return problemResponse(error, {}, { allow });
}

function patternOf({ path }: Route): RegExp {
  return new RegExp(`^${path.replaceAll(".", "\\.").replaceAll(/\{\w+\}/g, "[^/]+")}$`);
}

// ── the OpenAPI document ─────────────────────────────────────────────────────────────────────────────

let document: string | undefined;

const HEADERS = {
  "RateLimit-Policy":
    'The limits that the token and the topic are held to, where they have any: `"token-rate";q=100;w=60` is 100 in windows of 60 s.',
  RateLimit: 'How they stand: `"token-rate";r=42;t=17` is 42 left for the next 17 s.',
  "Retry-After": "In how many seconds the request may be made again.",
};
const limitHeaders = {
  "RateLimit-Policy": { $ref: "#/components/headers/RateLimit-Policy" },
  RateLimit: { $ref: "#/components/headers/RateLimit" },
};

/** The OpenAPI document, made once. */
export function openApi(): string {
  document ??= JSON.stringify(makeDocument());
  return document;
}

function makeDocument() {
  const app = new OpenAPIHono();
  for (const [name, description] of Object.entries(HEADERS)) {
    app.openAPIRegistry.registerComponent("headers", name, { description, schema: { type: "string" } });
  }
  app.openAPIRegistry.registerComponent("securitySchemes", "bearer", { type: "http", scheme: "bearer" });
  for (const route of routes) app.openAPIRegistry.registerPath(createRoute(describe(route)));
  return app.getOpenAPI31Document({
    openapi: "3.1.0",
    info: {
      title: "Pennypost",
      version: "1",
      description: "A message broker on Cloudflare's edge.",
      license: { name: "MIT" },
    },
  });
}

function describe(route: Route) {
  const { method, path, tag, summary, description, access, answers } = route;
  const isLimited = access !== "public" || path === inboundRoute.path;
  const headers = isLimited ? { headers: { ...limitHeaders } } : {};
  const answered = Object.entries(answers).map(([status, { description, schema, contentType }]) => {
    const content = schema && { [contentType ?? "application/json"]: { schema } };
    return [status, { description, ...headers, ...(content && { content }) }] as const;
  });
  const content = { "application/problem+json": { schema: problem } };
  const waiting = { "Retry-After": { $ref: "#/components/headers/Retry-After" } };
  const refused = { description: "A problem.", headers: { ...limitHeaders, ...waiting }, content };
  return {
    ...{ method, path, summary, tags: [tag] },
    ...(description !== undefined && { description }),
    ...(access !== "public" && { security: [{ bearer: [] }] }),
    request: describeRequest(route),
    responses: { ...Object.fromEntries(answered), default: refused },
  };
}

function describeRequest({ params, query, headers, body, rawBody }: Route) {
  const raw = rawBody && {
    description: rawBody.description,
    content: Object.fromEntries(Object.entries(rawBody.content).map(([type, schema]) => [type, { schema }])),
  };
  const described = body ? { content: { "application/json": { schema: body } } } : raw;
  return {
    ...(params && { params: params as ZodObject }),
    ...(query && { query: query as ZodObject }),
    ...(headers && { headers }),
    ...(described && { body: described }),
  };
}
