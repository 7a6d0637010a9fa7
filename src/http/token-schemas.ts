// Tokens as the API takes and shows them. Their text is shown once, where they are made.

import { z } from "zod";
import type { Token } from "../catalog/catalog-entry";
import { limits } from "../limits";
import { limitsLeft, tokenLimitFields, tokenLimitsShown } from "./limit-schemas";
import { instant, text, whole } from "./schemas";
import { parseScope, verbs } from "./scope";

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

export const tokenBody = z
  .strictObject({
    name: text(1, limits.tokenNameLength),
    scopes: z.array(scope).min(1).max(limits.tokenScopes),
    expiresAt: instant.optional(),
    ...tokenLimitFields,
  })
  .meta({ id: "TokenToMake" });

export const tokenLimitsBody = z.strictObject(tokenLimitFields).meta({ id: "TokenLimits" });

export const rotateBody = z
  .strictObject({
    overlapMs: whole(0, limits.maxTokenOverlapMs)
      .default(limits.defaultTokenOverlapMs)
      .meta({ description: "How long the secret of now is honoured beside the new one; 0 ends it at once." }),
  })
  .meta({ id: "TokenRotation" });

export const tokenView = z
  .object({
    id: z.string(),
    name: z.string(),
    scopes: z.array(z.object({ verb: z.enum(verbs), topics: z.string() })),
    ...tokenLimitsShown,
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

export const tokenShown = tokenView.extend({ limits: limitsLeft }).meta({ id: "TokenWithLimits" });
export const madeView = tokenView
  .extend({ token: z.string().meta({ description: "Shown here and never again." }) })
  .meta({ id: "MadeToken" });

export function showToken({ scopes, limits: held, ...token }: Token) {
  return { ...token, ...held, scopes: scopes.flatMap((each) => parseScope(each) ?? []) };
}
