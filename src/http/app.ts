// The API on one screen: every route in one table, which serves the requests and makes the OpenAPI document.

import { createRoute, OpenAPIHono } from "@hono/zod-openapi";
import type { ZodObject } from "zod";
import { refuse } from "../errors";
import { type Runtime, systemRuntime } from "../runtime";
import { deadLetterRoutes } from "./dead-letter-routes";
import { ledgerRoutes } from "./ledger-routes";
import { messageRoutes } from "./message-routes";
import { metricsRoute } from "./metrics-routes";
import { operateRoutes } from "./operate-routes";
import { queuePlace, subscriptionPlace, topicPlace } from "./place-routes";
import { problemResponse } from "./problem";
import { inboundRoute, publishRoutes } from "./publish-routes";
import { pullRoutes } from "./pull-routes";
import { type HonoEnv, refusalOfFault, serve } from "./request-routes";
import type { Route } from "./route";
import { problem } from "./schemas";
import { strandedRoutes } from "./stranded-routes";
import { readerRoutes, subscriptionRoutes } from "./subscription-routes";
import { tokenRoutes } from "./token-routes";
import { queueRoutes, topicRoutes } from "./topic-routes";

/** Every route, in the order of the page. What a topic and its subscription have, a queue has: the same functions. */
export const routes: readonly Route[] = [
  ...topicRoutes,
  ...[topicPlace, queuePlace].flatMap(publishRoutes),
  ...[topicPlace, queuePlace].flatMap(messageRoutes),
  ...subscriptionRoutes,
  ...queueRoutes,
  ...[subscriptionPlace, queuePlace].flatMap(readerRoutes),
  ...[subscriptionPlace, queuePlace].flatMap(pullRoutes),
  ...[subscriptionPlace, queuePlace].flatMap(deadLetterRoutes),
  inboundRoute,
  ...ledgerRoutes,
  ...tokenRoutes,
  ...strandedRoutes,
  metricsRoute,
  ...operateRoutes(openApi),
];

/** The application. A route that is there for another method says which ones it takes. */
export function createApp(runtime: Runtime = systemRuntime): OpenAPIHono<HonoEnv> {
  const app = new OpenAPIHono<HonoEnv>();
  const methods = new Map<string, string[]>();
  for (const route of routes) {
    const path = honoPath(route.path);
    methods.set(path, [...(methods.get(path) ?? []), route.method.toUpperCase()]);
    app.on(route.method.toUpperCase(), path, (c) => serve(route, c, runtime));
  }
  for (const [path, allowed] of methods) app.all(path, () => wrongMethod(allowed));
  app.notFound(() =>
    problemResponse(refuse("not-found", "There is no such route: /docs shows those that there are.").error),
  );
  app.onError((fault) => problemResponse(refusalOfFault(fault)));
  return app;
}

function honoPath(path: string): string {
  return path.replaceAll("{", ":").replaceAll("}", "");
}

function wrongMethod(allowed: readonly string[]): Response {
  const allow = allowed.join(", ");
  const { error } = refuse("method-not-allowed", `This route takes ${allow}.`, { limit: allow });
  return problemResponse(error, {}, { allow });
}

// ── the OpenAPI document ─────────────────────────────────────────────────────────────────────────────

let document: string | undefined;

/** The OpenAPI document, made once. */
export function openApi(): string {
  document ??= JSON.stringify(makeDocument());
  return document;
}

function makeDocument() {
  const app = new OpenAPIHono();
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
  const answered = Object.entries(answers).map(([status, { description, schema, contentType }]) => {
    const content = schema && { [contentType ?? "application/json"]: { schema } };
    return [status, { description, ...(content && { content }) }] as const;
  });
  const refused = { description: "A problem.", content: { "application/problem+json": { schema: problem } } };
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
