// The client credentials grant: what is asked, and which answers grant a token.

import { describe, expect, test } from "vitest";
import { limits } from "../../src/limits";
import {
  basicCredentials,
  type Oauth2,
  tokenGranted,
  tokenRefusal,
  tokenRequest,
} from "../../src/push/oauth";

const client: Omit<Oauth2, "secret"> = {
  ...{ type: "oauth2", tokenUrl: "https://id.example.com/token", clientId: "a:b" },
  clientAuthentication: "header",
};
const granted = (more: object) =>
  tokenGranted(JSON.stringify({ access_token: "t", token_type: "Bearer", ...more }));

describe("a token request", () => {
  test("has the client's credentials in its header, encoded as in a form, or in its body, and never in both", () => {
    const inHeader = tokenRequest(client, "s&c é");
    expect(inHeader.headers.authorization).toBe(`Basic ${btoa("a%3Ab:s%26c+%C3%A9")}`);
    expect(inHeader.body).toBe("grant_type=client_credentials");
    const inBody = tokenRequest({ ...client, clientAuthentication: "body" }, "s&c");
    expect(inBody.headers).not.toHaveProperty("authorization");
    expect(Object.fromEntries(new URLSearchParams(inBody.body))).toEqual({
      ...{ grant_type: "client_credentials", client_id: "a:b", client_secret: "s&c" },
    });
  });

  test("names scope and audience when they are set", () => {
    const { body } = tokenRequest({ ...client, scope: "a b", audience: "https://api" }, "s");
    expect(body).toBe("grant_type=client_credentials&scope=a+b&audience=https%3A%2F%2Fapi");
  });

  test("of basic is in UTF-8", () => {
    expect(basicCredentials("test", "123£")).toBe("Basic dGVzdDoxMjPCow==");
  });
});

describe("an answer", () => {
  test.each([
    ["in seconds", { expires_in: 60 }, 60_000],
    ["in seconds, as text", { expires_in: "60" }, 60_000],
    ["not at all", {}, limits.defaultTokenMs],
    ["as nonsense", { expires_in: "soon" }, limits.defaultTokenMs],
    ["below zero", { expires_in: -5 }, 0],
    ["as for ever", { expires_in: 1e12 }, limits.maxTokenMs],
  ])("that says its life %s is bounded", (_, more, lifeMs) => {
    expect(granted(more)).toEqual({ text: "t", lifeMs });
  });

  test.each([
    ["no JSON", "access_token=t"],
    ["no object", "null"],
    ["no token", JSON.stringify({ token_type: "bearer" })],
    ["another type", JSON.stringify({ access_token: "t", token_type: "mac" })],
    ["no type", JSON.stringify({ access_token: "t" })],
    [
      "a token that would break out of its header",
      JSON.stringify({ access_token: "t\r\nx: y", token_type: "bearer" }),
    ],
    [
      "a token too long for one",
      JSON.stringify({ access_token: "t".repeat(limits.accessTokenLength + 1), token_type: "bearer" }),
    ],
  ])("with %s grants nothing", (_, text) => {
    expect(tokenGranted(text)).toBeUndefined();
  });

  test("that refuses is told by its code, and never by its own words", () => {
    const text = JSON.stringify({ error: "invalid_client", error_description: "hunter2 is wrong" });
    expect(tokenRefusal(401, text)).toBe("it answered 401, invalid_client");
    expect(tokenRefusal(400, JSON.stringify({ error: "hunter2 IS WRONG" }))).toBe("it answered 400");
    expect(tokenRefusal(200, "{}")).toBe("its answer has no bearer token");
  });
});
