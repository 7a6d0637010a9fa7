// Tokens: found by their hash, refused when unknown or expired, and never guessed at while D1 is away.

import { beforeEach, expect, test } from "vitest";
import { limits } from "../../src/limits";
import { codeOf, emptyCatalog, fakeCatalog, must } from "./fakes";

beforeEach(emptyCatalog);

const HASH = "a".repeat(64);

async function withToken(expiresAt: number | null = null) {
  const fakes = fakeCatalog();
  const tokens = fakes.store.tokens;
  const token = { id: "t1", name: "ci", hash: HASH, scopes: ["publish:orders.*"], expiresAt };
  await tokens.insert(token);
  return { ...fakes, tokens };
}

test("a token is found by its hash and listed without it", async () => {
  const { tokens, runtime } = await withToken();
  const shown = { id: "t1", name: "ci", scopes: ["publish:orders.*"], expiresAt: null, lastUsedAt: null };
  expect(await tokens.list({ limit: 10 })).toEqual([{ ...shown, createdAt: runtime.at }]);
  expect(await tokens.list({ after: "t1", limit: 10 })).toEqual([]);
  expect(must(await tokens.find(HASH))).toEqual({ ...shown, createdAt: runtime.at });
});

test("an unknown token is unauthenticated, and unavailable while D1 is away", async () => {
  const { tokens, d1 } = await withToken();
  expect(codeOf(await tokens.find("b".repeat(64)))).toBe("unauthenticated");
  d1.mode = "down";
  expect(codeOf(await tokens.find("b".repeat(64)))).toBe("unavailable");
});

test("a known token works while D1 is away, for ten minutes", async () => {
  const { tokens, d1, runtime } = await withToken();
  must(await tokens.find(HASH));
  d1.mode = "down";
  runtime.at += limits.catalogStaleMs - 1;
  expect(must(await tokens.find(HASH)).id).toBe("t1");
  runtime.at += 1;
  expect(codeOf(await tokens.find(HASH))).toBe("unavailable");
});

test("an expired token is unauthenticated, also when it is remembered", async () => {
  const { tokens, runtime } = await withToken(1_800_000_000_500);
  must(await tokens.find(HASH));
  runtime.at += 500;
  expect(codeOf(await tokens.find(HASH))).toBe("unauthenticated");
});

test("a deleted token is unauthenticated at once where it was deleted; deleted again it is not found", async () => {
  const { tokens } = await withToken();
  must(await tokens.find(HASH));
  expect(must(await tokens.delete("t1"))).toBeNull();
  expect(codeOf(await tokens.find(HASH))).toBe("unauthenticated");
  expect(codeOf(await tokens.delete("t1"))).toBe("token-not-found");
});

test("the last use is written down behind the request, at most once a minute", async () => {
  const { tokens, runtime, behind } = await withToken();
  const first = runtime.at;
  for (let i = 0; i < 3; i++) must(await tokens.find(HASH));
  await Promise.all(behind);
  expect(behind).toHaveLength(1);
  expect(await tokens.list({ limit: 1 })).toMatchObject([{ lastUsedAt: first }]);

  runtime.at += limits.tokenUsedEveryMs;
  must(await tokens.find(HASH));
  await Promise.all(behind);
  expect(await tokens.list({ limit: 1 })).toMatchObject([{ lastUsedAt: runtime.at }]);
});

test("a last use that cannot be written down does not refuse the token", async () => {
  const { tokens, d1, behind, runtime } = await withToken();
  must(await tokens.find(HASH));
  d1.mode = "down";
  runtime.at += limits.tokenUsedEveryMs;
  expect(codeOf(await tokens.find(HASH))).toBe("ok");
  await Promise.all(behind);
});
