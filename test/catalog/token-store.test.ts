// Tokens: found by their hash, refused when unknown or expired, and never guessed at while D1 is away.

import { beforeEach, expect, test } from "vitest";
import { AuditLogStore } from "../../src/catalog/audit-log-store";
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
  const life = { expiresAt: null, lastUsedAt: null, previousUntil: null };
  const shown = { id: "t1", name: "ci", scopes: ["publish:orders.*"], ...life };
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

const OTHER = "b".repeat(64);
const THIRD = "c".repeat(64);
const HOUR = 3_600_000;

test("a rotated token has another secret, and the one of before for as long as was asked", async () => {
  const { tokens, runtime } = await withToken();
  must(await tokens.find(HASH));
  const until = runtime.at + HOUR;
  expect(must(await tokens.rotate("t1", { hash: OTHER, overlapMs: HOUR }))).toMatchObject({
    id: "t1",
    previousUntil: until,
  });
  expect(must(await tokens.find(OTHER))).toMatchObject({ id: "t1", expiresAt: null });
  expect(must(await tokens.find(HASH))).toMatchObject({ id: "t1", scopes: ["publish:orders.*"] });
  runtime.at = until - 1;
  expect(codeOf(await tokens.find(HASH))).toBe("ok");
  runtime.at = until;
  expect(codeOf(await tokens.find(HASH))).toBe("unauthenticated");
  expect(codeOf(await tokens.find(OTHER))).toBe("ok");
});

test("a former secret does not outlive its token", async () => {
  const { tokens, runtime } = await withToken(1_800_000_000_500);
  must(await tokens.rotate("t1", { hash: OTHER, overlapMs: HOUR }));
  runtime.at += 500;
  expect(codeOf(await tokens.find(HASH))).toBe("unauthenticated");
  expect(codeOf(await tokens.rotate("t1", { hash: THIRD, overlapMs: HOUR }))).toBe("conflict");
});

test("a rotation that comes twice changes nothing the second time", async () => {
  const { tokens } = await withToken();
  must(await tokens.rotate("t1", { hash: OTHER, overlapMs: HOUR }));
  expect(codeOf(await tokens.rotate("t1", { hash: THIRD, overlapMs: HOUR }))).toBe("conflict");
  expect(codeOf(await tokens.find(THIRD))).toBe("unauthenticated");
  for (const hash of [HASH, OTHER]) expect(codeOf(await tokens.find(hash))).toBe("ok");
});

test("a rotation without overlap ends every former secret at once, also one that is remembered", async () => {
  const { tokens } = await withToken();
  must(await tokens.rotate("t1", { hash: OTHER, overlapMs: HOUR }));
  for (const hash of [HASH, OTHER]) must(await tokens.find(hash));
  must(await tokens.rotate("t1", { hash: THIRD, overlapMs: 0 }));
  for (const hash of [HASH, OTHER]) expect(codeOf(await tokens.find(hash))).toBe("unauthenticated");
  expect(codeOf(await tokens.find(THIRD))).toBe("ok");
  expect(codeOf(await tokens.rotate("absent", { hash: HASH, overlapMs: 0 }))).toBe("token-not-found");
});

test("of two rotations at one moment one wins, and both answers are true", async () => {
  const { tokens } = await withToken();
  const both = await Promise.all(
    [OTHER, THIRD].map((hash) => tokens.rotate("t1", { hash, overlapMs: HOUR })),
  );
  expect(both.map(codeOf).sort()).toEqual(["conflict", "ok"]);
  const works = await Promise.all([OTHER, THIRD].map((hash) => tokens.find(hash)));
  expect(works.map((found) => found.ok)).toEqual(both.map((rotated) => rotated.ok));
});

test("expired tokens are listed for thirty days, then purged with the hashes of former secrets", async () => {
  const { tokens, runtime } = await withToken(1_800_000_000_500);
  await tokens.insert({ id: "t2", name: "kept", hash: OTHER, scopes: [], expiresAt: null });
  must(await tokens.rotate("t2", { hash: THIRD, overlapMs: HOUR }));
  expect(await tokens.purge()).toBe(0);
  runtime.at = 1_800_000_000_500 + limits.expiredTokenKeptMs - 1;
  expect(await tokens.purge()).toBe(1);
  expect(await tokens.list({ limit: 10 })).toMatchObject([{ id: "t1" }, { id: "t2", previousUntil: null }]);
  runtime.at += 1;
  expect(await tokens.purge()).toBe(1);
  expect(await tokens.list({ limit: 10 })).toMatchObject([{ id: "t2" }]);
});

test("what is done to a token is in the audit log, each change once, and no hash", async () => {
  const { tokens, d1, runtime } = await withToken();
  const by = { id: "t9", name: "ops", requestId: "r1" };
  must(await tokens.rotate("t1", { hash: OTHER, overlapMs: HOUR }, by));
  await tokens.rotate("t1", { hash: THIRD, overlapMs: HOUR }, by);
  await tokens.rotate("absent", { hash: THIRD, overlapMs: 0 }, by);
  await tokens.delete("t1", by);
  await tokens.delete("t1", by);
  const records = await new AuditLogStore(d1, runtime).list({ limit: 10 });
  expect(records.map(({ actor, action, resource }) => [actor, action, resource])).toEqual([
    ["t9", "delete", "tokens/t1"],
    ["t9", "rotate", "tokens/t1"],
    ["broker", "create", "tokens/t1"],
  ]);
  expect(records[2]?.details).toEqual({ name: "ci", scopes: "publish:orders.*", expiresAt: null });
  expect(JSON.stringify(records)).not.toMatch(/a{64}|b{64}|c{64}/);
});
