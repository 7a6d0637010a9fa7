// Clause 8: a webhook is signed so that its receiver can tell who sent it, also while keys are being exchanged; and
// nothing secret of an endpoint ever comes out.

import { Webhook } from "standardwebhooks";
import { expect, test } from "vitest";
import { codeOf } from "../support/contract-client";
import type { Hook } from "../support/contract-receiver";
import { pushTo } from "../support/contract-scenes";
import { brokerUnderTest } from "../support/contract-target";

type Shown = {
  endpoint: {
    signingSecret?: string;
    keysUrl?: string;
    signingKeys: { scheme: string; publicKey?: string; expiresAt?: number }[];
  };
};
type KeySet = { keys: { kty: string; crv: string; x: string; kid: string; whpk: string }[] };

const broker = await brokerUnderTest();
const utf8 = new TextEncoder();

/** A topic with a push subscription, the answer that made it, and its receiver. */
async function signed(endpoint: object = {}) {
  const [topic, receiver] = [await broker.topic(), await broker.receiver()];
  const path = `${topic.path}/subscriptions/billing`;
  const json = { ...pushTo(receiver), endpoint: { url: receiver.url, ...endpoint }, startAt: "earliest" };
  const put = () => broker.call<Shown>("PUT", path, { json });
  return { topic, receiver, path, json, put, made: await put() };
}

const verifies = (secret: string | undefined, hook: Hook | undefined) => {
  if (secret === undefined || hook === undefined) throw new Error("nothing to verify");
  try {
    new Webhook(secret).verify(hook.text, Object.fromEntries(hook.headers));
    return true;
  } catch {
    return false;
  }
};

/** Whether one of the hook's v1a signatures is made by the holder of the key, as a receiver checks it. */
async function verifiesWith(
  key: KeySet["keys"][number] | undefined,
  hook: Hook | undefined,
): Promise<boolean> {
  if (key === undefined || hook === undefined) throw new Error("nothing to verify");
  const jwk = { kty: key.kty, crv: key.crv, x: key.x };
  const publicKey = await crypto.subtle.importKey("jwk", jwk, { name: "Ed25519" }, false, ["verify"]);
  const { headers, text } = hook;
  const content = utf8.encode(`${headers.get("webhook-id")}.${headers.get("webhook-timestamp")}.${text}`);
  for (const each of headers.get("webhook-signature")?.split(" ") ?? []) {
    const [version, base64 = ""] = each.split(",");
    if (version !== "v1a") continue;
    const signature = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
    if (await crypto.subtle.verify("Ed25519", publicKey, signature, content)) return true;
  }
  return false;
}

const schemesOf = (hook: Hook | undefined) =>
  hook?.headers
    .get("webhook-signature")
    ?.split(" ")
    .map((each) => each.split(",")[0]);

test("clause 8: a v1a signature verifies with the public key that anyone finds at a URL, which tells no name", async () => {
  const { topic, receiver, made } = await signed({ signatures: ["v1a"] });
  expect(made.endpoint).not.toHaveProperty("signingSecret");
  const keysUrl = made.endpoint.keysUrl ?? "";
  const { status, headers, body } = await broker.send<KeySet>("GET", keysUrl, { token: null });
  expect([status, headers.get("cache-control")]).toEqual([200, "public, max-age=300"]);
  expect(body.keys.map(({ whpk }) => whpk)).toEqual(
    made.endpoint.signingKeys.map(({ publicKey }) => publicKey),
  );
  expect(keysUrl + JSON.stringify(body)).not.toMatch(/billing|topic-|"d":/);
  await topic.publish({ data: { n: 1 } });
  const [hook] = await receiver.first(1);
  expect(schemesOf(hook)).toEqual(["v1a"]);
  expect(await verifiesWith(body.keys[0], hook)).toBe(true);
  expect(await verifiesWith(body.keys[0], hook && { ...hook, text: '{"n":2}' })).toBe(false);
});

test("clause 8: with both schemes a receiver may check either", async () => {
  const { topic, receiver, made, put } = await signed({ signatures: ["v1a", "v1"] });
  await topic.publish({ data: 1 });
  const [hook] = await receiver.first(1);
  expect(schemesOf(hook)).toEqual(["v1", "v1a"]);
  expect(verifies(made.endpoint.signingSecret, hook)).toBe(true);
  const { keys } = await broker.call<KeySet>("GET", made.endpoint.keysUrl ?? "");
  expect(await verifiesWith(keys[0], hook)).toBe(true);
  expect((await put()).endpoint.signingKeys).toEqual(made.endpoint.signingKeys);
});

test("clause 8: keys that nobody has are not found, whatever is asked for", async () => {
  const { made } = await signed();
  expect(made.endpoint).not.toHaveProperty("keysUrl");
  const { status, body } = await broker.send("GET", `/v1/signing-keys/${crypto.randomUUID()}`, {
    token: null,
  });
  expect([status, codeOf(body)]).toEqual([404, "not-found"]);
});

test("clause 8: a rotated secret is answered once, and the old one verifies until its overlap is ended", async () => {
  const { topic, receiver, path, made } = await signed({ signatures: ["v1", "v1a"] });
  const oldKeys = await broker.call<KeySet>("GET", made.endpoint.keysUrl ?? "");
  const { headers, body } = await broker.send<Shown>("POST", `${path}/rotate-secret`);
  expect(headers.get("cache-control")).toBe("no-store");
  const fresh = body.endpoint.signingSecret;
  expect(fresh).toMatch(/^whsec_/);
  expect(fresh).not.toBe(made.endpoint.signingSecret);
  expect(body.endpoint.signingKeys.map(({ scheme, expiresAt }) => [scheme, expiresAt !== undefined])).toEqual(
    [
      ["v1", false],
      ["v1a", false],
      ["v1", true],
      ["v1a", true],
    ],
  );
  await topic.publish({ data: { n: 1 } });
  const [during] = await receiver.first(1);
  expect(schemesOf(during)).toEqual(["v1", "v1a", "v1", "v1a"]);
  expect([verifies(fresh, during), verifies(made.endpoint.signingSecret, during)]).toEqual([true, true]);
  expect(await verifiesWith(oldKeys.keys[0], during)).toBe(true);

  const ended = await broker.call<Shown>("POST", `${path}/expire-secrets`);
  expect(ended.endpoint).not.toHaveProperty("signingSecret");
  await topic.publish({ data: { n: 2 } });
  const [, after] = await receiver.first(2);
  expect([verifies(fresh, after), verifies(made.endpoint.signingSecret, after)]).toEqual([true, false]);
  expect(await verifiesWith(oldKeys.keys[0], after)).toBe(false);
});

test("clause 8: rotated twice within an overlap, the first secret still verifies; past the bound it is refused", async () => {
  const { topic, receiver, path, made } = await signed();
  const rotate = (json: object = {}) =>
    broker.send<Shown & { limit: number; type: string }>("POST", `${path}/rotate-secret`, { json });
  const secrets = [made.endpoint.signingSecret];
  for (const _ of [1, 2, 3]) secrets.unshift((await rotate()).body.endpoint.signingSecret);
  const { status, body } = await rotate();
  expect([status, codeOf(body), body.limit]).toEqual([409, "conflict", 4]);
  await topic.publish({ data: { n: 1 } });
  const [hook] = await receiver.first(1);
  expect(secrets.map((secret) => verifies(secret, hook))).toEqual([true, true, true, true]);
});

test("clause 8: a secret of one's own can be rotated in, and asking again changes nothing", async () => {
  const { topic, receiver, path, made } = await signed();
  const signingSecret = `whsec_${btoa("0123456789abcdef0123456789abcdef")}`;
  const rotate = () =>
    broker.call<Shown>("POST", `${path}/rotate-secret`, { json: { signingSecret, overlapMs: 60_000 } });
  const [once, twice] = [await rotate(), await rotate()];
  expect(twice).toEqual(once);
  await topic.publish({ data: { n: 1 } });
  const [hook] = await receiver.first(1);
  expect([verifies(signingSecret, hook), verifies(made.endpoint.signingSecret, hook)]).toEqual([true, true]);
});

test("clause 8: who has no endpoint has no secret to rotate", async () => {
  const queue = await broker.queue();
  const { status, body } = await broker.send("POST", `${queue.path}/rotate-secret`);
  expect([status, codeOf(body)]).toEqual([409, "conflict"]);
});

test("clause 8: an endpoint is shown who sends, by header, bearer, basic or an access token, and no answer tells it", async () => {
  const issuer = await broker.receiver();
  issuer.answer(({ text }) => {
    const grant = new URLSearchParams(text).get("grant_type") === "client_credentials";
    const answer = grant ? { access_token: "granted-1", token_type: "Bearer", expires_in: 3_600 } : {};
    return { status: 200, headers: { "content-type": "application/json" }, body: JSON.stringify(answer) };
  });
  const secret = "hunter2-hunter2";
  const client = { clientId: "pennypost", clientSecret: secret, scope: "hooks" };
  const cases = [
    [{ headers: { authorization: `Token ${secret}`, "X-Key": secret } }, `Token ${secret}`],
    [{ auth: { type: "bearer", token: secret } }, `Bearer ${secret}`],
    [{ auth: { type: "basic", username: "bob", password: secret } }, `Basic ${btoa(`bob:${secret}`)}`],
    [{ auth: { type: "oauth2", tokenUrl: issuer.url, ...client } }, "Bearer granted-1"],
  ] as const;
  for (const [endpoint, expected] of cases) {
    const { topic, receiver, path, json, made } = await signed(endpoint);
    await topic.publish({ data: 1 });
    const [hook] = await receiver.first(1);
    expect(hook?.headers.get("authorization")).toBe(expected);
    // The same again is no change: what is sealed is compared.
    const again = await broker.call<object>("PUT", path, { json });
    const shown = [
      made,
      again,
      await broker.call("GET", path),
      await broker.call("GET", `${topic.path}/subscriptions`),
    ];
    expect(JSON.stringify(shown)).not.toMatch(new RegExp(`${secret}|${btoa(secret)}|s1\\.`));
    expect(again).toMatchObject({ version: 1 });
  }
  expect(issuer.hooks[0]?.headers.get("authorization")).toBe(`Basic ${btoa(`pennypost:${secret}`)}`);
  expect(Object.fromEntries(new URLSearchParams(issuer.hooks[0]?.text))).toEqual({
    ...{ grant_type: "client_credentials", scope: "hooks" },
  });
});

test("clause 8: a secret that leaked is ended by a rotation without overlap, or by a PUT that names another", async () => {
  const { topic, receiver, path, json, made } = await signed();
  const rotated = await broker.call<Shown>("POST", `${path}/rotate-secret`, { json: { overlapMs: 0 } });
  await topic.publish({ data: { n: 1 } });
  const [first] = await receiver.first(1);
  const secrets = [made.endpoint.signingSecret, rotated.endpoint.signingSecret];
  expect(secrets.map((secret) => verifies(secret, first))).toEqual([false, true]);
  const signingSecret = `whsec_${btoa("fedcba9876543210fedcba9876543210")}`;
  await broker.call("PUT", path, { json: { ...json, endpoint: { ...json.endpoint, signingSecret } } });
  await topic.publish({ data: { n: 2 } });
  const [, second] = await receiver.first(2);
  expect([...secrets, signingSecret].map((secret) => verifies(secret, second))).toEqual([false, false, true]);
});

test("clause 8: an overlap ends by itself", async () => {
  const { topic, receiver, path, made } = await signed();
  const rotated = await broker.call<Shown>("POST", `${path}/rotate-secret`, { json: { overlapMs: 1_000 } });
  await broker.lapse(1_500);
  await topic.publish({ data: { n: 1 } });
  const [hook] = await receiver.first(1);
  expect(schemesOf(hook)).toEqual(["v1"]);
  expect(verifies(rotated.endpoint.signingSecret, hook)).toBe(true);
  expect(verifies(made.endpoint.signingSecret, hook)).toBe(false);
});
