// Which keys sign, and how they come and go.

import { describe, expect, test } from "vitest";
import { mergeSettings, withKeys } from "../../src/catalog/catalog-entry";
import {
  expireOld,
  keysOf,
  rotate,
  type Signing,
  type SigningKey,
  signingAt,
  takeOffered,
} from "../../src/endpoint-secrets";
import { keySet } from "../../src/http/key-set";
import { limits } from "../../src/limits";
import { defaultSubscriptionSettings, type PushSettings } from "../../src/settings";
import { value } from "../support/result";

const key = (text: string, scheme: SigningKey["scheme"] = "v1"): SigningKey => ({
  ...{ scheme, secret: { sealed: text } },
  ...(scheme === "v1a" && { publicKey: `whpk_${text}` }),
});
const both = { secrets: [], signatures: ["v1", "v1a"] } as const;
const textsOf = (keys: readonly SigningKey[]) =>
  keys.map(({ secret }) => ("sealed" in secret ? secret.sealed : secret.plain));
const rotated = (signing: Signing, fresh: SigningKey[], now: number, overlapMs = 100) =>
  value(rotate(signing, fresh, { now, overlapMs }));

describe("offered keys", () => {
  test("are taken by a scheme that has none, and by no other", () => {
    const offered = [key("one"), key("pair", "v1a")];
    expect(textsOf(keysOf(takeOffered({ secrets: [] }, offered)))).toEqual(["one"]);
    expect(textsOf(keysOf(takeOffered(both, offered)))).toEqual(["one", "pair"]);
    const held = { ...both, signingKeys: [key("held")] };
    expect(textsOf(keysOf(takeOffered(held, offered)))).toEqual(["pair", "held"]);
    const plain = { secrets: ["whsec_plain"] };
    expect(takeOffered(plain, offered)).toBe(plain);
  });

  test("are what a PUT of another scheme adds, and what rests signs nothing and is kept", () => {
    const push: PushSettings = {
      ...{ url: "", headers: {}, timeoutMs: 1, batchMaxMessages: 1, batchMaxWaitMs: 0, secrets: [] },
      signingKeys: [key("held")],
    };
    const held = { ...defaultSubscriptionSettings, type: "push" as const, push };
    const { signingKeys: _, ...bare } = push;
    const wanted = { ...held, push: { ...bare, signatures: ["v1a"] as const } };
    const merged = withKeys(mergeSettings(held, wanted), [key("new"), key("pair", "v1a")]);
    if (!merged.push) throw new Error("no push");
    expect(textsOf(keysOf(merged.push))).toEqual(["pair", "held"]);
    expect(textsOf(signingAt(merged.push, 0))).toEqual(["pair"]);
  });
});

describe("a rotation", () => {
  test("signs with both keys, the newest first, until the overlap ends, to the millisecond", () => {
    const after = rotated({ secrets: [], signingKeys: [key("old")] }, [key("new")], 1_000);
    expect(textsOf(signingAt(after, 1_000))).toEqual(["new", "old"]);
    expect(textsOf(signingAt(after, 1_099))).toEqual(["new", "old"]);
    expect(textsOf(signingAt(after, 1_100))).toEqual(["new"]);
  });

  test("of both schemes exchanges both", () => {
    const held = { ...both, signingKeys: [key("a"), key("b", "v1a")] };
    const after = rotated(held, [key("c"), key("d", "v1a")], 0);
    expect(textsOf(signingAt(after, 0))).toEqual(["c", "d", "a", "b"]);
  });

  test("of one scheme takes no key of another, and forgets what rests", () => {
    const held = {
      secrets: [],
      signatures: ["v1a"] as const,
      signingKeys: [key("pair", "v1a"), key("rests")],
    };
    const after = rotated(held, [key("x"), key("next", "v1a")], 0);
    expect(textsOf(keysOf(after))).toEqual(["next", "pair"]);
  });

  test("within an overlap keeps every secret that is still good, and lengthens none", () => {
    const once = rotated({ secrets: [], signingKeys: [key("one")] }, [key("two")], 0, 100);
    const twice = rotated(once, [key("three")], 50, 100);
    expect(textsOf(signingAt(twice, 60))).toEqual(["three", "two", "one"]);
    expect(textsOf(signingAt(twice, 100))).toEqual(["three", "two"]);
    expect(textsOf(signingAt(twice, 150))).toEqual(["three"]);
  });

  test("is refused when too many would overlap, and possible again when one has ended", () => {
    let signing: Signing = { secrets: [], signingKeys: [key("0")] };
    for (let n = 1; n < limits.signingKeys; n++) signing = rotated(signing, [key(`${n}`)], n, 100);
    expect(rotate(signing, [key("more")], { now: 50, overlapMs: 100 })).toMatchObject({
      error: { code: "conflict", limit: limits.signingKeys },
    });
    expect(textsOf(signingAt(rotated(signing, [key("more")], 101, 100), 101))[0]).toBe("more");
    expect(rotate(expireOld(signing), [key("more")], { now: 50, overlapMs: 100 }).ok).toBe(true);
  });

  test("without an overlap ends the old key at once", () => {
    const after = rotated({ secrets: [], signingKeys: [key("old")] }, [key("new")], 5, 0);
    expect(textsOf(keysOf(after))).toEqual(["new"]);
  });

  test("of a plain secret, from before they were sealed, lets it overlap like any other", () => {
    const after = rotated({ secrets: ["whsec_plain"] }, [key("new")], 0);
    expect([after.secrets, textsOf(signingAt(after, 1))]).toEqual([[], ["new", "whsec_plain"]]);
  });

  test("can be ended early: the newest of each scheme is left", () => {
    const held = { ...both, signingKeys: [key("a"), key("b", "v1a"), key("c"), key("d", "v1a")] };
    expect(textsOf(keysOf(expireOld(held)))).toEqual(["a", "b"]);
    expect(expireOld(expireOld(held))).toEqual(expireOld(held));
  });
});

test("a key set has the public keys only, in both of their forms", () => {
  const shown = keySet([key("shared"), key("ab+/", "v1a")]);
  expect(shown).toEqual([
    { kty: "OKP", crv: "Ed25519", alg: "EdDSA", use: "sig", kid: "ab-_", x: "ab-_", whpk: "whpk_ab+/" },
  ]);
});
