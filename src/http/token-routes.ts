// Bearer tokens: made with their scopes and limits, shown once, listed without their text, limited anew, deleted.

import { z } from "zod";
import { limits } from "../limits";
import { newToken } from "./auth";
import { tokenLimits } from "./limit-schemas";
import { tokenLimitsLeft } from "./limits-left-store";
import { type Route, reply, route } from "./route";
import { listOf, page, text } from "./schemas";
import { scopeText } from "./scope";
import {
  madeView,
  rotateBody,
  showToken,
  tokenBody,
  tokenLimitsBody,
  tokenShown,
  tokenView,
} from "./token-schemas";

const tag = "Tokens";
const id = z.object({ id: text(1, 128) });

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
      const expiresAt = body.expiresAt ?? null;
      const row = {
        id: runtime.newId(),
        name: body.name,
        hash,
        scopes,
        expiresAt,
        limits: tokenLimits(body),
      };
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
    ...{ method: "get", path: "/v1/tokens/{id}", tag, access: ["admin"] },
    summary: "Show a token, and how its limits stand",
    params: id,
    answers: { 200: { description: "The token.", schema: tokenShown } },
    handle: async ({ broker, params }) => {
      const token = await broker.catalog.store.tokens.get(params.id);
      if (!token.ok) return token;
      return reply(200, { ...showToken(token.value), ...(await tokenLimitsLeft(broker, token.value)) });
    },
  }),
  route({
    ...{ method: "put", path: "/v1/tokens/{id}/limits", tag, access: ["admin"] },
    summary: "Hold a token to limits",
    description: `What is not given is taken away. Isolates learn of it within ${limits.catalogRefreshMs / 1000} s, or ${limits.catalogStaleMs / 60_000} minutes while D1 is away; what was taken in a window goes on counting.`,
    params: id,
    body: tokenLimitsBody,
    answers: { 200: { description: "The token with these limits.", schema: tokenView } },
    handle: async ({ broker: { catalog }, params, body }) => {
      const limited = await catalog.store.tokens.limit(params.id, tokenLimits(body), catalog.by);
      return limited.ok ? reply(200, showToken(limited.value)) : limited;
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
