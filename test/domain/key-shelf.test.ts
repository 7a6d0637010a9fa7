// What an isolate remembers of public keys, and what it forgets for it.

import { expect, test } from "vitest";
import { KeyShelf } from "../../src/http/key-shelf";
import { limits } from "../../src/limits";

const NOW = 1_800_000_000_000;
const keys = [{ scheme: "v1a", publicKey: "whpk_AAAA" }] as const;

test("keys are told from memory for a while, longer when D1 is away, and then not", () => {
  const shelf = new KeyShelf();
  expect(shelf.fresh("a", NOW)).toBeUndefined();
  shelf.keep("a", keys, NOW);
  expect(shelf.fresh("a", NOW + limits.keySetFreshMs - 1)).toBe(keys);
  expect(shelf.fresh("a", NOW + limits.keySetFreshMs)).toBeUndefined();
  expect(shelf.stale("a", NOW + limits.catalogStaleMs - 1)).toBe(keys);
  expect(shelf.stale("a", NOW + limits.catalogStaleMs)).toBeUndefined();
});

test("a name that nobody has is remembered for less, and is known once it has keys", () => {
  const shelf = new KeyShelf();
  shelf.keep("a", [], NOW);
  expect(shelf.fresh("a", NOW + limits.noKeySetFreshMs - 1)).toEqual([]);
  expect([shelf.fresh("a", NOW + limits.noKeySetFreshMs), shelf.stale("a", NOW)]).toEqual([
    undefined,
    undefined,
  ]);
  shelf.keep("a", keys, NOW);
  expect(shelf.fresh("a", NOW)).toBe(keys);
  shelf.keep("a", [], NOW + 1);
  expect(shelf.fresh("a", NOW + 1)).toEqual([]);
});

test("however many names are made up, they fill no memory and push out no keys", () => {
  const shelf = new KeyShelf();
  shelf.keep("known", keys, NOW);
  for (let made = 0; made < 3 * limits.keySetsKept; made++) shelf.keep(`made-up-${made}`, [], NOW);
  expect(shelf.fresh("known", NOW)).toBe(keys);
  expect(shelf.size).toBe(limits.keySetsKept + 1);
});
