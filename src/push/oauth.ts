// OAuth 2.0 client credentials (RFC 6749, section 4.4): the request for an access token, and what the answer says.

import type { EndpointAuth } from "../endpoint-secrets";
import { limits } from "../limits";
import { toBase64 } from "../message-json";

export type Oauth2 = Extract<EndpointAuth, { type: "oauth2" }>;
export type AccessToken = Readonly<{ text: string; lifeMs: number }>;
export type TokenRequest = Readonly<{ headers: Readonly<Record<string, string>>; body: string }>;

/** What a header can carry after `Bearer `. */
const TOKEN = /^[\x21-\x7e]+$/;
const utf8 = new TextEncoder();

/** The POST that asks for a token. */
export function tokenRequest(auth: Omit<Oauth2, "secret">, clientSecret: string): TokenRequest {
  const { clientId, clientAuthentication, scope, audience } = auth;
  const inBody = clientAuthentication === "body";
  const fields = {
    grant_type: "client_credentials",
    ...(scope !== undefined && { scope }),
    ...(audience !== undefined && { audience }),
    ...(inBody && { client_id: clientId, client_secret: clientSecret }),
  };
  const basic = basicCredentials(formEncoded(clientId), formEncoded(clientSecret));
  return {
    headers: {
      ...{ accept: "application/json", "content-type": "application/x-www-form-urlencoded" },
      ...{ "user-agent": "Pennypost" },
      ...(!inBody && { authorization: basic }),
    },
    body: new URLSearchParams(fields).toString(),
  };
}

/** The token that an answer grants; undefined when it grants none that can be used. */
export function tokenGranted(text: string): AccessToken | undefined {
  const json = parse(text);
  if (typeof json !== "object" || json === null) return undefined;
  const { access_token, token_type, expires_in } = json as Readonly<Record<string, unknown>>;
  if (typeof access_token !== "string" || !TOKEN.test(access_token)) return undefined;
  if (access_token.length > limits.accessTokenLength) return undefined;
  if (typeof token_type !== "string" || token_type.toLowerCase() !== "bearer") return undefined;
  return { text: access_token, lifeMs: lifeMs(expires_in) };
}

/** Why an answer grants none, in the error code that it names. Never its description, which may quote the request. */
export function tokenRefusal(status: number, text: string): string {
  const json = parse(text);
  const named = typeof json === "object" && json !== null ? (json as { error?: unknown }).error : undefined;
  const code = typeof named === "string" && /^[a-z_]{1,40}$/.test(named) ? `, ${named}` : "";
  return status >= 200 && status < 300 ? "its answer has no bearer token" : `it answered ${status}${code}`;
}

/** `Basic …` (RFC 7617), in UTF-8. */
export function basicCredentials(username: string, password: string): string {
  return `Basic ${toBase64(utf8.encode(`${username}:${password}`))}`;
}

/** Some servers say the seconds in a string. */
function lifeMs(seconds: unknown): number {
  const ms = (typeof seconds === "string" ? Number.parseInt(seconds, 10) : Number(seconds)) * 1000;
  if (seconds === undefined || seconds === null || Number.isNaN(ms)) return limits.defaultTokenMs;
  return Math.min(Math.max(ms, 0), limits.maxTokenMs);
}

/** As RFC 6749, section 2.3.1 has it: encoded as in a form, before it is put into Basic. */
function formEncoded(text: string): string {
  return new URLSearchParams({ "": text }).toString().slice(1);
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
