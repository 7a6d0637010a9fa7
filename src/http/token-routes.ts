// Bearer tokens: made with their scopes, shown once, listed without their text, deleted.

import { z } from "zod";
import type { Token } from "../catalog/catalog-entry";
import { limits } from "../limits";
import { newToken } from "./auth";
import { type Route, reply, route } from "./route";
import { instant, listOf, page, text, whole } from "./schemas";
import { parseScope, scopeText, verbs } from "./scope";

const tag = "Tokens";
const DAY_MS = 86_400_000;
const PATTERN = /^(?:[A-Za-z0-9][A-Za-z0-9._-]*\*?|\*)$/;

const scope = z
  .strictObject({
    verb: z.enum(verbs),
    topics: z
      .string()
      .max(limits.nameLength)
      .regex(PATTERN, "a name, or the beginning of names followed by '*', is needed")
      .meta({ description: "Of topics, queues and, to consume, ledgers.", example: "payments.*" }),
  })
  .refine(({ verb, topics }) => verb !== "admin" || topics === "*", {
    path: ["topics"],
    message: "an admin may do everything: topics is '*'",
  });

const tokenBody = z
  .strictObject({
    name: text(1, limits.tokenNameLength),
    scopes: z.array(scope).min(1).max(limits.tokenScopes),
    expiresAt: instant.optional(),
  })
  .meta({ id: "TokenToMake" });

const tokenView = z
  .object({
    id: z.string(),
    name: z.string(),
    scopes: z.array(z.object({ verb: z.enum(verbs), topics: z.string() })),
    createdAt: instant,
    expiresAt: instant.nullable().meta({
      description: `It is listed for ${limits.expiredTokenKeptMs / DAY_MS} days more, then removed.`,
    }),
    lastUsedAt: instant.nullable().meta({ description: "To the minute." }),
    previousUntil: instant
      .nullable()
      .meta({ description: "Until when the secret of before the last rotation is honoured too." }),
  })
  .meta({ id: "Token" });
const rotateBody = z
  .strictObject({
    overlapMs: whole(0, limits.maxTokenOverlapMs)
      .default(limits.defaultTokenOverlapMs)
      .meta({ description: "How long the secret of now is honoured beside the new one; 0 ends it at once." }),
  })
  .meta({ id: "TokenRotation" });
const id = z.object({ id: text(1, 128) });
const madeView = tokenView
  .extend({ token: z.string().meta({ description: "Shown here and never again." }) })
  .meta({ id: "MadeToken" });

/** An answer with a secret in it. */
const NOT_KEPT = { "cache-control": "no-store" };

export const tokenRoutes: readonly Route[] = [
  route({
    ...{ method: "post", path: "/v1/tokens", tag, access: ["admin"] },
    summary: "Make a token",
    body: tokenBody,
    answers: { 201: { description: "The token.", schema: madeView } },
    handle: async ({ broker: { catalog, runtime }, body }) => {
      const { token, hash } = await newToken();
      const scopes = body.scopes.map(scopeText);
      const row = { id: runtime.newId(), name: body.name, hash, scopes, expiresAt: body.expiresAt ?? null };
      const made = await catalog.store.tokens.insert(row, catalog.by);
      return made.ok ? reply(201, { ...showToken(made.value), token }, NOT_KEPT) : made;
    },
  }),
  route({
    ...{ method: "post", path: "/v1/tokens/{id}/rotate", tag, access: ["admin"] },
    summary: "Give a token another secret",
    description:
      "Its id, name, scopes and expiry stay. The secret of before is honoured for `overlapMs` more. While it is, another rotation needs `overlapMs` 0, which ends both former secrets.",
    params: id,
    body: rotateBody,
    answers: { 200: { description: "The token with its new secret.", schema: madeView } },
    handle: async ({ broker: { catalog }, params, body: { overlapMs } }) => {
      const { token, hash } = await newToken();
      const rotated = await catalog.store.tokens.rotate(params.id, { hash, overlapMs }, catalog.by);
      return rotated.ok ? reply(200, { ...showToken(rotated.value), token }, NOT_KEPT) : rotated;
    },
  }),
  route({
    ...{ method: "get", path: "/v1/tokens", tag, access: ["admin"] },
    summary: "List tokens",
    query: page,
    answers: { 200: { description: "A page of tokens, oldest first.", schema: listOf("tokens", tokenView) } },
    handle: async ({ broker: { catalog }, query: { after = "", limit } }) => {
      const tokens = await catalog.store.tokens.list({ after, limit });
      const next = tokens.length === limit ? (tokens.at(-1)?.id ?? null) : null;
      return reply(200, { tokens: tokens.map(showToken), next });
    },
  }),
  route({
    ...{ method: "delete", path: "/v1/tokens/{id}", tag, access: ["admin"] },
    summary: "Delete a token",
    description: `It may be honoured for ${limits.catalogRefreshMs / 1000} s more, and for ${limits.catalogStaleMs / 60_000} minutes while D1 is away.`,
    params: id,
    answers: { 204: { description: "It does not exist any more." } },
    handle: async ({ broker: { catalog }, params }) => {
      const deleted = await catalog.store.tokens.delete(params.id, catalog.by);
      return deleted.ok ? reply(204, undefined) : deleted;
    },
  }),
];

function showToken({ scopes, ...token }: Token) {
  return { ...token, scopes: scopes.flatMap((scope) => parseScope(scope) ?? []) };
}
