// What an endpoint's settings mean once a request is to be made: the keys that sign, the headers in plain, and who the
// request says it is from. Secrets are opened here and nowhere else.

import type { DispatchCall } from "../dispatch-calls";
import { type EndpointAuth, signingAt } from "../endpoint-secrets";
import { opener } from "../sealed-push";
import { keyringOf, SealFault } from "../sealing";
import type { PushSettings } from "../settings";
import { AccessTokenStore, type TokenAnswer, type TokenWire } from "./access-token-store";
import type { Item, WebhookAnswer } from "./dispatch-plan";
import type { Claims } from "./hand-over";
import { basicCredentials } from "./oauth";
import { importSecrets } from "./signature";
import { type Endpoint, sendWebhook } from "./webhook";

export type Credentials = Readonly<{
  keys: readonly CryptoKey[];
  /** With the headers that the endpoint asked for, in plain. */
  push: PushSettings;
  /** Only when requests carry an access token. */
  tokens?: AccessTokenStore;
}>;

/** Settings that cannot work until they are changed, or secrets that cannot be opened until the operator has the key. */
export type Unusable = Readonly<{ unusable: "settings" | "sealed"; reason: string }>;
export type Unsent = Readonly<{ unsent: true; reason: string; waitMs: number }>;

/** Opens what the subscription of `call` sends with. */
export async function openCredentials(
  wire: TokenWire,
  secretsKeys: readonly string[],
  { generation, settings: { push } }: Pick<DispatchCall, "generation" | "settings">,
): Promise<Credentials | Unusable> {
  if (push === undefined) return { unusable: "settings", reason: "the subscription has no endpoint" };
  const secrets = opener(() => keyringOf(secretsKeys), generation);
  try {
    const signing = signingAt(push, wire.runtime.now());
    const texts = await Promise.all(signing.map((key) => secrets.signingKey(key)));
    const headers = {
      ...(await secrets.headers(push)),
      ...(await ownAuthorization(push.auth, secrets.auth)),
    };
    const keys = await importSecrets(texts).catch(() => undefined);
    if (!keys) return { unusable: "settings", reason: "a signing secret of the subscription is not base64" };
    const { auth } = push;
    const tokens =
      auth?.type === "oauth2" && new AccessTokenStore(wire, generation, auth, () => secrets.auth(auth));
    return { keys, push: { ...push, headers }, ...(tokens && { tokens }) };
  } catch (fault) {
    if (!(fault instanceof SealFault)) throw fault;
    return { unusable: "sealed", reason: `its secrets cannot be opened: ${fault.message}` };
  }
}

/**
 * Sends one parcel with an access token, if the endpoint asks for one. A token that is refused (401) is asked for anew,
 * once, and the parcel sent again within the same attempt. Without a token nothing is sent.
 */
export async function sendAuthorized(
  wire: TokenWire,
  endpoint: Endpoint,
  tokens: AccessTokenStore | undefined,
  parcel: readonly Item[],
  claims?: Claims,
): Promise<WebhookAnswer | Unsent> {
  if (tokens === undefined) return sendWebhook(wire, endpoint, parcel, claims);
  const first = await tokens.token();
  if (!first.ok) return { unsent: true, reason: first.reason, waitMs: first.waitMs };
  const answer = await sendWebhook(wire, withToken(endpoint, first.token), parcel, claims);
  if (answer.delivered || answer.note.status !== 401) return answer;
  const fresh: TokenAnswer = await tokens.token(first.token);
  return fresh.ok ? sendWebhook(wire, withToken(endpoint, fresh.token), parcel, claims) : answer;
}

function withToken(endpoint: Endpoint, token: string): Endpoint {
  const headers = { ...endpoint.push.headers, authorization: `Bearer ${token}` };
  return { ...endpoint, push: { ...endpoint.push, headers } };
}

/** The header of bearer and basic. */
async function ownAuthorization(
  auth: EndpointAuth | undefined,
  opened: (auth: EndpointAuth) => Promise<string>,
): Promise<Readonly<Record<string, string>>> {
  if (auth?.type === "bearer") return { authorization: `Bearer ${await opened(auth)}` };
  if (auth?.type === "basic") return { authorization: basicCredentials(auth.username, await opened(auth)) };
  return {};
}
