// Sealing under Node's WebCrypto: what opens, what does not, and what the settings of a subscription keep of it.

import { describe, expect, test } from "vitest";
import type { SigningKey } from "../../src/endpoint-secrets";
import { opener, sealPush } from "../../src/sealed-push";
import { isFresh, keyringOf, open, SealFault, seal } from "../../src/sealing";
import type { PushSettings } from "../../src/settings";

const KEY = "one-secrets-key-0123456789abcdefgh";
const NEW_KEY = "two-secrets-key-0123456789abcdefgh";
const push = (more: Partial<PushSettings> = {}): PushSettings => ({
  ...{ url: "https://hooks.example.com/", timeoutMs: 1_000, batchMaxMessages: 1, batchMaxWaitMs: 0 },
  ...{ headers: {}, secrets: [] },
  ...more,
});
const failureOf = (work: Promise<unknown>) => work.then(() => undefined).catch((fault: unknown) => fault);

describe("what is sealed", () => {
  test("opens at its place, and its text is nowhere in it", async () => {
    const keyring = await keyringOf([KEY]);
    const sealed = await seal(keyring, "g1 signing v1", "whsec_hunter2");
    expect(sealed).toMatch(/^s1\.[0-9a-f]{8}\.[A-Za-z0-9+/]+=*$/);
    expect(atob(sealed.split(".")[2] ?? "")).not.toContain("hunter2");
    expect(await open(keyring, "g1 signing v1", sealed)).toBe("whsec_hunter2");
  });

  test("does not open at another place, also where it was opened before", async () => {
    const keyring = await keyringOf([KEY]);
    const sealed = await seal(keyring, "g1 signing v1", "hunter2");
    await open(keyring, "g1 signing v1", sealed);
    for (const place of ["g2 signing v1", "g1 auth bearer", "g1 signing v1a"]) {
      expect(await failureOf(open(keyring, place, sealed))).toBeInstanceOf(SealFault);
    }
  });

  test("does not open once a bit of it was changed, whichever", async () => {
    const keyring = await keyringOf([KEY]);
    const [version, id, base64 = ""] = (await seal(keyring, "p", "x")).split(".");
    const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
    for (let at = 0; at < bytes.length; at++) {
      const changed = bytes.map((byte, index) => (index === at ? byte ^ 1 : byte));
      const text = [version, id, btoa(String.fromCharCode(...changed))].join(".");
      expect(await failureOf(open(keyring, "p", text))).toBeInstanceOf(SealFault);
    }
    for (const text of ["", "s1", `s2.${id}.${base64}`, `s1.${id}.`, `s1.${id}.!`]) {
      expect(await failureOf(open(keyring, "p", text))).toBeInstanceOf(SealFault);
    }
  });

  test("is the same for one text at one place, and shares no nonce with any other", async () => {
    const keyring = await keyringOf([KEY]);
    const nonceOf = async (place: string, text: string) =>
      atob((await seal(keyring, place, text)).split(".")[2] ?? "").slice(0, 12);
    expect(await seal(keyring, "p", "x")).toBe(await seal(keyring, "p", "x"));
    const nonces = [
      await nonceOf("p", "x"),
      await nonceOf("p", "y"),
      await nonceOf("q", "x"),
      await nonceOf("p x", ""),
    ];
    expect(new Set(nonces).size).toBe(4);
  });

  test("opens with an older key while that is configured, and not after", async () => {
    const sealed = await seal(await keyringOf([KEY]), "p", "x");
    const both = await keyringOf([NEW_KEY, KEY]);
    expect(await open(both, "p", sealed)).toBe("x");
    expect([isFresh(both, sealed), isFresh(both, await seal(both, "p", "x"))]).toEqual([false, true]);
    expect(await failureOf(open(await keyringOf([NEW_KEY]), "p", sealed))).toBeInstanceOf(SealFault);
  });

  test("cannot be, without a key", async () => {
    expect(await failureOf(keyringOf([]))).toBeInstanceOf(SealFault);
  });
});

describe("the settings of a push subscription", () => {
  const whole = push({
    headers: { "X-Api-Key": "hunter2" },
    secrets: ["whsec_hunter2"],
    auth: { type: "basic", username: "bob", secret: { plain: "hunter2" } },
    signatures: ["v1", "v1a"],
    signingKeys: [{ scheme: "v1a", secret: { plain: "whsk_hunter2" }, publicKey: "whpk_x" }],
  });

  test("keep no secret in plain, and open to the same", async () => {
    const keyring = await keyringOf([KEY]);
    const sealed = await sealPush(whole, keyring, "g1");
    expect(JSON.stringify(sealed)).not.toContain("hunter2");
    const secrets = opener(async () => keyring, "g1");
    expect(await secrets.headers(sealed)).toEqual({ "X-Api-Key": "hunter2" });
    expect(sealed.auth && (await secrets.auth(sealed.auth))).toBe("hunter2");
    expect(await Promise.all((sealed.signingKeys ?? []).map(secrets.signingKey))).toEqual([
      "whsec_hunter2",
      "whsk_hunter2",
    ]);
  });

  test("sealed again are the same, and under a new key are all under that", async () => {
    const sealed = await sealPush(whole, await keyringOf([KEY]), "g1");
    expect(await sealPush(sealed, await keyringOf([KEY]), "g1")).toEqual(sealed);
    const both = await keyringOf([NEW_KEY, KEY]);
    const anew = await sealPush(sealed, both, "g1");
    const texts = JSON.stringify(anew).match(/s1\.[0-9a-f]{8}\./g) ?? [];
    expect(texts.map((text) => isFresh(both, text))).toEqual([true, true, true, true]);
    expect(await opener(() => keyringOf([NEW_KEY]), "g1").headers(anew)).toEqual({ "X-Api-Key": "hunter2" });
  });

  test("of one subscription are worthless to another", async () => {
    const keyring = await keyringOf([KEY]);
    const sealed = await sealPush(whole, keyring, "g1");
    const secrets = opener(async () => keyring, "g2");
    expect(await failureOf(secrets.headers(sealed))).toBeInstanceOf(SealFault);
  });

  test("of which a client's secret is for one token URL only", async () => {
    const keyring = await keyringOf([KEY]);
    const client = { clientId: "c", clientAuthentication: "header", secret: { plain: "hunter2" } } as const;
    const auth = { type: "oauth2", tokenUrl: "https://id.example.com/token", ...client } as const;
    const sealed = (await sealPush(push({ auth }), keyring, "g1")).auth;
    const secrets = opener(async () => keyring, "g1");
    if (sealed?.type !== "oauth2") throw new Error("no oauth2");
    expect(await secrets.auth(sealed)).toBe("hunter2");
    const elsewhere = { ...sealed, tokenUrl: "https://evil.example.com/token" };
    expect(await failureOf(secrets.auth(elsewhere))).toBeInstanceOf(SealFault);
  });

  test("given the secret that signs already keep what overlaps with it, and another replaces all", async () => {
    const keyring = await keyringOf([KEY]);
    const old: SigningKey = { scheme: "v1", secret: { plain: "whsec_old" }, expiresAt: 9 };
    const held = await sealPush(
      push({ signingKeys: [{ scheme: "v1", secret: { plain: "whsec_now" } }, old] }),
      keyring,
      "g1",
    );
    const same = await sealPush({ ...held, secrets: ["whsec_now"] }, keyring, "g1");
    expect(same.signingKeys).toEqual(held.signingKeys);
    const other = await sealPush({ ...held, secrets: ["whsec_new"] }, keyring, "g1");
    expect(other.signingKeys).toHaveLength(1);
  });

  test("whose key is lost stay as they are, for a PUT to mend", async () => {
    const sealed = await sealPush(whole, await keyringOf([KEY]), "g1");
    expect(await sealPush(sealed, await keyringOf([NEW_KEY]), "g1")).toEqual(sealed);
  });
});
