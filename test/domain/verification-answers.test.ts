// What counts as a grant, of a handshake and of a challenge, and what only looks like one.

import { describe, expect, it, test } from "vitest";
import { challengeBody, readChallenge } from "../../src/push/challenge";
import { handshakeHeaders, handshakeOf, readHandshake } from "../../src/push/handshake";
import { sameText } from "../../src/same-text";

const handshake = handshakeOf("https://broker.example.com", undefined, undefined);
const paced = handshakeOf("https://broker.example.com", { requests: 2, perMs: 1_000 }, undefined);
const answer = (headers: Record<string, string>, status = 200) => ({ status, headers: new Headers(headers) });
const origin = (value: string) => ({ "webhook-allowed-origin": value });
const rated = (rate: string) => ({ ...origin("*"), "webhook-allowed-rate": rate });

describe("a handshake", () => {
  it("says who asks, at which rate, and where it may be granted later", () => {
    expect(handshakeHeaders(handshakeOf("http://localhost:8787", undefined, undefined))).toEqual({
      "user-agent": "Pennypost",
      "webhook-request-origin": "localhost",
    });
    const whole = handshakeOf("https://broker.example.com", { requests: 2, perMs: 1_000 }, "https://b/v1/x");
    expect(handshakeHeaders(whole)).toMatchObject({
      "webhook-request-rate": "120",
      "webhook-request-callback": "https://b/v1/x",
    });
    expect(handshakeOf("https://b.example.com", { requests: 1, perMs: 3_600_000 }, undefined).perMinute).toBe(
      1,
    );
  });

  test.each([
    ["our origin", answer(origin("broker.example.com")), handshake, { granted: true }],
    ["our origin in other letters", answer(origin("Broker.Example.COM")), handshake, { granted: true }],
    ["any origin", answer(origin("*"), 204), handshake, { granted: true }],
    ["any rate", answer(rated("*")), paced, { granted: true }],
    ["a rate", answer(rated("100")), paced, { granted: true, allowedPerMinute: 100 }],
    ["a rate that was not asked for", answer(rated("5")), handshake, { granted: true, allowedPerMinute: 5 }],
  ])("is granted by %s", (_, given, asked, grant) => {
    expect(readHandshake(given, asked)).toEqual(grant);
  });

  test.each([
    ["a 200 alone", answer({}), handshake, /no WebHook-Allowed-Origin/],
    ["CORS", answer({ "access-control-allow-origin": "*" }), handshake, /no WebHook-Allowed-Origin/],
    ["another origin", answer(origin("other.example.com")), handshake, /neither/],
    ["an origin that ends alike", answer(origin("evil-broker.example.com")), handshake, /neither/],
    ["two origins", answer(origin("broker.example.com, *")), handshake, /neither/],
    ["nothing", answer(origin("")), handshake, /neither/],
    ["no rate though one was asked for", answer(origin("*")), paced, /no WebHook-Allowed-Rate/],
    ["a rate of none", answer(rated("0")), paced, /whole number/],
    ["a redirect", answer(origin("*"), 307), handshake, /307/],
    ["a refusal with the header of a proxy", answer(origin("*"), 403), handshake, /403/],
  ])("is not granted by %s", (_, given, asked, reason) => {
    expect(readHandshake(given, asked)).toEqual({ granted: false, reason: expect.stringMatching(reason) });
  });
});

describe("a challenge", () => {
  const text = "Zk3+/challenge=";
  const sent = challengeBody({ text, topic: "orders", subscription: "billing", at: 0 });

  test.each([
    ["the text", text],
    ["the text on a line", `\r\n${text}\n`],
    ["JSON", JSON.stringify({ challenge: text })],
    ["JSON with more in it", ` {"ok":true,"challenge":"${text}"} `],
  ])("is met by %s", (_, body) => {
    expect(readChallenge({ status: 200, body }, text)).toEqual({ granted: true });
  });

  test.each([
    ["nothing", 204, ""],
    ["ok", 200, "ok"],
    ["an echo of the whole request", 200, sent],
    ["the text among others", 200, `the challenge is ${text}`],
    ["a part of the text", 200, text.slice(0, -1)],
    ["more than the text", 200, `${text}x`],
    ["another challenge", 200, JSON.stringify({ challenge: "other" })],
    ["a challenge that is no text", 200, '{"challenge":["x"]}'],
    ["JSON that breaks off", 200, `{"challenge":"${text}"`],
    ["the text with a status of failure", 500, text],
    ["the text with a redirect", 302, text],
  ])("is not met by %s", (_, status, body) => {
    expect(readChallenge({ status, body }, text).granted).toBe(false);
  });

  it("is compared whole, wherever the difference is", () => {
    expect([sameText("abc", "abc"), sameText("", "")]).toEqual([true, true]);
    expect(["xbc", "axc", "abx", "ab", "abcd", ""].some((other) => sameText(other, "abc"))).toBe(false);
  });
});
