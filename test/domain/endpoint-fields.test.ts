// What an endpoint may not ask for, by the field that is named; and that no refusal quotes a secret.

import { describe, expect, test } from "vitest";
import { parse } from "../../src/http/parse";
import { checkSubscription, subscriptionBody } from "../../src/http/subscription-schemas";

const signingSecret = `whsec_${btoa("hunter2-".repeat(4))}`;
const bearer = { type: "bearer", token: "hunter2" };
const basic = { type: "basic", username: "bob", password: "hunter2" };
const oauth2 = {
  ...{ type: "oauth2", tokenUrl: "https://id.example.com/token", clientId: "c", clientSecret: "hunter2" },
};

function refusalOf(endpoint: object, { local } = { local: false }) {
  const json = { type: "push", endpoint: { url: "https://hooks.example.com", ...endpoint } };
  const body = parse(subscriptionBody, json);
  const checked = body.ok ? checkSubscription(body.value, { local }) : body;
  return checked.ok ? undefined : checked.error;
}

describe("an endpoint", () => {
  test.each<[string, object, string, number?]>([
    ["no signature at all", { signatures: [] }, "endpoint.signatures", 1],
    ["a signature twice", { signatures: ["v1", "v1"] }, "endpoint.signatures"],
    ["a signature that is none", { signatures: ["v2"] }, "endpoint.signatures[0]"],
    ["a secret that signs nothing", { signatures: ["v1a"], signingSecret }, "endpoint.signingSecret"],
    ["a private key of its own", { signingSecret: "whsk_hunter2" }, "endpoint.signingSecret"],
    ["a header twice", { headers: { a: "hunter2", A: "y" } }, "endpoint.headers"],
    ["the trace's header", { headers: { TraceParent: "hunter2" } }, "endpoint.headers.TraceParent"],
    ["the host's header", { headers: { host: "hunter2" } }, "endpoint.headers.host"],
    ["two authorizations", { auth: bearer, headers: { Authorization: "hunter2" } }, "endpoint.auth"],
    ["a token that splits", { auth: { ...bearer, token: "hunter2\r\nb" } }, "endpoint.auth.token"],
    ["a token without end", { auth: { ...bearer, token: "x".repeat(4_097) } }, "endpoint.auth.token", 4_096],
    ["a user with a colon", { auth: { ...basic, username: "a:b" } }, "endpoint.auth.username"],
    ["a password that splits", { auth: { ...basic, password: "hunter2\n" } }, "endpoint.auth.password"],
    ["basic with a token", { auth: { ...basic, token: "hunter2" } }, "endpoint.auth.token"],
    ["an authentication that is none", { auth: { type: "digest" } }, "endpoint.auth.type"],
    ["a client without a secret", { auth: { ...oauth2, clientSecret: "" } }, "endpoint.auth.clientSecret", 1],
    [
      "a token URL over http",
      { auth: { ...oauth2, tokenUrl: "http://a.example.com/" } },
      "endpoint.auth.tokenUrl",
    ],
    [
      "a token URL of the metadata",
      { auth: { ...oauth2, tokenUrl: "https://169.254.169.254/" } },
      "endpoint.auth.tokenUrl",
    ],
  ])("with %s is refused, and nothing is quoted", (_, endpoint, field, limit) => {
    const refusal = refusalOf(endpoint);
    expect(refusal).toMatchObject({ code: "invalid-request", field, ...(limit !== undefined && { limit }) });
    expect(JSON.stringify(refusal)).not.toMatch(/hunter2/);
  });

  test.each([
    ["every sort of signature", { signatures: ["v1a", "v1"], signingSecret }],
    ["a bearer token", { auth: bearer }],
    ["an empty password", { auth: { ...basic, password: "" } }],
    [
      "a client",
      { auth: { ...oauth2, scope: "a b", audience: "https://api", clientAuthentication: "body" } },
    ],
  ])("with %s is taken", (_, endpoint) => {
    expect(refusalOf(endpoint)).toBeUndefined();
  });

  test("may be left unverified only where the broker does not ask for it", () => {
    const json = { type: "push", endpoint: { url: "https://hooks.example.com", verification: "none" } };
    const body = parse(subscriptionBody, json);
    if (!body.ok) throw new Error(body.error.detail);
    const refusals = (["none", "challenge", "handshake"] as const).map((verification) => {
      const checked = checkSubscription(body.value, { local: false, verification });
      return checked.ok ? undefined : checked.error.field;
    });
    expect(refusals).toEqual([undefined, "endpoint.verification", "endpoint.verification"]);
  });

  test("may have its token URL on this machine in local development only", () => {
    const auth = { ...oauth2, tokenUrl: "http://127.0.0.1:9000/token" };
    expect([refusalOf({ auth }, { local: true }), refusalOf({ auth })?.field]).toEqual([
      undefined,
      "endpoint.auth.tokenUrl",
    ]);
  });
});
