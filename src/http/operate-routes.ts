// What an operator and a newcomer look at first: is it up, and how is it used.

import { z } from "zod";
import { docsPage, problemsPage } from "./docs-page";
import { type Route, reply, route } from "./route";

const tag = "Operate";
const html = (body: string) =>
  new Response(body, {
    headers: {
      "content-type": "text/html; charset=utf-8",
      "content-security-policy":
        "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; base-uri 'none'; frame-ancestors 'none'",
    },
  });

/** `openApi` makes the document; it is asked once it is wanted. */
export function operateRoutes(openApi: () => string): readonly Route[] {
  return [
    route({
      ...{ method: "get", path: "/healthz", tag, access: "public" },
      summary: "Is the broker up",
      answers: { 200: { description: "It is.", schema: z.object({ status: z.literal("ok") }) } },
      handle: () => reply(200, { status: "ok" }),
    }),
    route({
      ...{ method: "get", path: "/openapi.json", tag, access: "public" },
      summary: "This document",
      answers: { 200: { description: "OpenAPI 3.1.", schema: z.record(z.string(), z.unknown()) } },
      handle: () => new Response(openApi(), { headers: { "content-type": "application/json" } }),
    }),
    route({
      ...{ method: "get", path: "/docs", tag, access: "public" },
      summary: "The API as a page",
      answers: { 200: { description: "A page.", schema: z.string(), contentType: "text/html" } },
      handle: () => html(docsPage),
    }),
    route({
      ...{ method: "get", path: "/docs/problems", tag, access: "public" },
      summary: "The problems as a page",
      answers: { 200: { description: "A page.", schema: z.string(), contentType: "text/html" } },
      handle: () => html(problemsPage),
    }),
  ];
}
