// What an endpoint sees of the broker before it is verified, and what of its answers the broker looks at.

import { Webhook } from "standardwebhooks";
import { describe, expect, it, test } from "vitest";
import { callbackText, readCallback } from "../../src/callback-token";
import type { EndpointAuth } from "../../src/endpoint-secrets";
import { newVerification, type VerificationWay } from "../../src/endpoint-verification";
import { limits } from "../../src/limits";
import { type Asked, askEndpoint, type Verifying } from "../../src/push/verifying";
import { defaultSubscriptionSettings, type PushSettings } from "../../src/settings";

const NOW = 1_800_000_000_000;
const SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const CHALLENGE = "one-challenge-that-nobody-can-guess";
const CALLBACK = "https://broker.example.com/v1/verifications/x";
type Sent = Readonly<{ url: string; method: string; headers: Headers; body: string; redirect: unknown }>;

function scene(by: VerificationWay, more: Partial<PushSettings> = {}) {
  const sent: Sent[] = [];
  const timeouts: number[] = [];
  const verification = newVerification(by, "https://broker.example.com", NOW);
  const push: PushSettings = {
    ...{ url: "https://hooks.example.com/in?token=hunter2", timeoutMs: 300_000, secrets: [SECRET] },
    ...{ headers: { "x-api-key": "hunter2" }, auth: { type: "bearer", secret: { plain: "hunter3" } } },
    ...{ batchMaxMessages: 1, batchMaxWaitMs: 0, verification },
    ...more,
  };
  const settings = { ...defaultSubscriptionSettings, type: "push", push } as const;
  const names = { topic: "orders", subscription: "billing", generation: "g" };
  const asked: Asked = { ...names, settings, push, verification };
  const ask = (answer: () => Response | Promise<Response>) => {
    const world: Verifying = {
      runtime: { now: () => NOW, random: () => 0.5, newId: () => "id-1" },
      ...{ local: false, ownHosts: ["broker.example.com"], secretsKeys: [] },
      sleep: async () => undefined,
      timeout: (ms) => {
        timeouts.push(ms);
        return new AbortController().signal;
      },
      newChallenge: () => CHALLENGE,
      callbackFor: async () => CALLBACK,
      fetch: async (url, init) => {
        const body = await new Response((init.body ?? null) as BodyInit | null).text();
        const { method = "GET", redirect } = init;
        sent.push({ url, method, redirect, body, headers: new Headers(init.headers as HeadersInit) });
        return answer();
      },
    };
    return askEndpoint(asked, world);
  };
  return { sent, timeouts, ask };
}

const granting = () =>
  new Response(null, { headers: { "webhook-allowed-origin": "*", "webhook-allowed-rate": "60" } });

describe("a handshake", () => {
  it("is one OPTIONS request, with nothing of the endpoint's headers and credentials", async () => {
    const { sent, ask, timeouts } = scene("handshake");
    expect(await ask(granting)).toEqual({ granted: true, allowedPerMinute: 60 });
    const [request] = sent;
    expect(sent).toHaveLength(1);
    expect(request).toMatchObject({ method: "OPTIONS", redirect: "manual", body: "" });
    expect(Object.fromEntries(request?.headers ?? [])).toEqual({
      "user-agent": "Pennypost",
      "webhook-request-callback": CALLBACK,
      "webhook-request-origin": "broker.example.com",
    });
    expect(timeouts).toEqual([limits.verifyTimeoutMs]);
  });
});

describe("a challenge", () => {
  it("is signed and let in as a delivery is, and met by its text alone", async () => {
    const { sent, ask } = scene("challenge");
    expect(await ask(() => new Response(CHALLENGE))).toEqual({ granted: true });
    const [request] = sent;
    expect(request).toMatchObject({ method: "POST", redirect: "manual" });
    const headers = Object.fromEntries(request?.headers ?? []);
    expect(headers).toMatchObject({
      ...{ authorization: "Bearer hunter3", "x-api-key": "hunter2" },
      ...{ "pennypost-verification": "challenge", "webhook-id": "id-1" },
    });
    const data = { challenge: CHALLENGE, topic: "orders", subscription: "billing" };
    const timestamp = new Date(NOW).toISOString();
    expect(JSON.parse(request?.body ?? "")).toEqual({ type: "pennypost.verification", timestamp, data });
    const good = { now: NOW, headers, body: request?.body ?? "" };
    expect(signedBy(SECRET, good)).toBe(true);
    expect(signedBy(SECRET, { ...good, body: `${good.body} ` })).toBe(false);
  });

  const oauth2: EndpointAuth = {
    ...{ type: "oauth2", tokenUrl: "https://id.example.com/token", clientId: "pennypost" },
    ...{ clientAuthentication: "header", secret: { plain: "hunter5" } },
  };

  it("goes without an access token, and the token URL is not asked, unless the endpoint refuses it for want of one", async () => {
    for (const answer of [
      new Response(CHALLENGE),
      new Response("what?"),
      new Response(null, { status: 404 }),
    ]) {
      const { sent, ask } = scene("challenge", { auth: oauth2 });
      expect((await ask(() => answer.clone())).granted).toBe((await answer.text()) === CHALLENGE);
      expect(sent.map(({ url, headers }) => [url, headers.get("authorization")])).toEqual([
        ["https://hooks.example.com/in?token=hunter2", null],
      ]);
    }
  });

  it.each([401, 403])("that is answered %i is sent once more with an access token", async (status) => {
    const { sent, ask } = scene("challenge", { auth: { ...oauth2, clientId: `client-${status}` } });
    const answers = [
      new Response(null, { status }),
      Response.json({ access_token: "t0k", token_type: "Bearer", expires_in: 3_600 }),
      new Response(CHALLENGE),
    ];
    expect(await ask(() => answers.shift() ?? new Response(null, { status: 500 }))).toEqual({
      granted: true,
    });
    expect(sent.map(({ headers }) => headers.get("authorization"))).toEqual([
      null,
      expect.stringMatching(/^Basic /),
      "Bearer t0k",
    ]);
    const again = scene("challenge", { auth: { ...oauth2, clientId: `client-${status}` } });
    const grant = await again.ask(() => new Response(null, { status }));
    expect([grant.granted, again.sent.length]).toEqual([false, 2]);
  });

  it("without an access token that it was asked for is no grant, and says why", async () => {
    const { sent, ask } = scene("challenge", { auth: { ...oauth2, clientId: "nobody" } });
    const grant = await ask(() => new Response(null, { status: 401 }));
    expect(grant).toEqual({ granted: false, reason: "no access token from the token URL: it answered 401" });
    expect(sent).toHaveLength(2);
  });

  it("that cannot be signed is not sent", async () => {
    const signingKeys = [{ scheme: "v1", secret: { sealed: "s1.00000000.AAAA" } }] as const;
    const { sent, ask } = scene("challenge", { secrets: [], signingKeys });
    const grant = await ask(() => new Response(CHALLENGE));
    expect([grant.granted, sent.length]).toEqual([false, 0]);
    expect(JSON.stringify(grant)).toContain("cannot be opened");
  });
});

describe.each(["handshake", "challenge"] as const)("whatever the %s is answered", (by) => {
  test.each<[string, () => Response | Promise<Response>]>([
    [
      "a redirect",
      () => new Response(CHALLENGE, { status: 307, headers: { location: "https://a.example.com" } }),
    ],
    ["a refusal", () => new Response("hunter4", { status: 500 })],
    ["a fault that quotes the URL", () => Promise.reject(new Error("no route to https://x/?token=hunter2"))],
    ["an answer without end", () => new Response("x".repeat(1_000_000))],
    ["a time that ran out", () => Promise.reject(new DOMException("late", "TimeoutError"))],
  ])("%s is no grant, is not followed and quotes nothing", async (_, answer) => {
    const { sent, ask } = scene(by);
    const grant = await ask(answer);
    expect([grant.granted, sent.length]).toEqual([false, 1]);
    expect(JSON.stringify(grant)).not.toMatch(/hunter|one-challenge/);
  });

  test.each([
    "http://hooks.example.com/",
    "https://10.0.0.1/",
    "https://broker.example.com/",
    "https://metadata.google.internal/",
  ])("%s is sent nothing, though it was set once", async (url) => {
    const { sent, ask } = scene(by, { url });
    expect([(await ask(granting)).granted, sent.length]).toEqual([false, 0]);
  });
});

describe("a callback", () => {
  const keys = ["one-secrets-key-0123456789abcdefgh"];
  const callback = { generation: crypto.randomUUID(), since: NOW, until: NOW + 1_000 };

  it("says what it was made for, to whoever has the key, until its time is over", async () => {
    const text = await callbackText(callback, keys);
    expect(text).toMatch(/^[A-Za-z0-9._-]+$/);
    expect(text).not.toContain(callback.generation);
    expect(await readCallback(text, keys, NOW)).toEqual(callback);
    expect(await readCallback(text, ["another-secrets-key-0123456789abcd", ...keys], NOW)).toEqual(callback);
    expect(await readCallback(text, keys, callback.until)).toBeUndefined();
  });

  it("that was changed, cut, made up or made under another key is none", async () => {
    const text = await callbackText(callback, keys);
    const [head = "", id = "", body = ""] = text.split(".");
    const flipped = `${body.slice(0, 40)}${body[40] === "A" ? "B" : "A"}${body.slice(41)}`;
    const bad = [
      ...[`${head}.${id}.${flipped}`, text.slice(0, -2), `${text}AA`, "", "s1.x.y", `${head}.${id}.`],
      `s1.00000000.${"A".repeat(80)}`,
      await callbackText(callback, ["another-secrets-key-0123456789abcd"]),
    ];
    for (const each of bad) expect(await readCallback(each, keys, NOW)).toBeUndefined();
    expect(await readCallback(text, [], NOW)).toBeUndefined();
  });
});

/** Whether a receiver's library would take the request for good: its clock is ours. */
function signedBy(
  secret: string,
  { now, headers, body }: Readonly<{ now: number; headers: Record<string, string>; body: string }>,
): boolean {
  const webhook = new Webhook(secret);
  const { "webhook-id": id = "", "webhook-signature": signature = "" } = headers;
  return webhook.sign(id, new Date(now), body) === signature;
}
