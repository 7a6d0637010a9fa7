// The secrets in push settings, sealed before they are written and opened before a request is made. Each is bound to its
// subscription (by generation) and to its use: no row opens what was sealed for another, nor as anything else.

import { type EndpointAuth, keysOf, type Secret, type SigningKey, takeGiven } from "./endpoint-secrets";
import { isFresh, type Keyring, open, SealFault, seal } from "./sealing";
import type { PushSettings } from "./settings";

/** `push` with every secret sealed under the newest key; what is sealed under another is sealed anew. Idempotent. */
export async function sealPush(
  push: PushSettings,
  keyring: Keyring,
  generation: string,
): Promise<PushSettings> {
  const { secrets, headers, signingKeys = [], sealedHeaders = {}, auth, ...rest } = push;
  const sealed = (use: string, secret: Secret) => sealSecret(keyring, placeOf(generation, use), secret);
  const plain = keysOf({ secrets });
  const [given, held] = [
    await sealKeys(plain, keyring, generation),
    await sealKeys(signingKeys, keyring, generation),
  ];
  const keys = takeGiven(held, given);
  const values: Record<string, string> = {};
  for (const [name, secret] of headerSecrets(headers, sealedHeaders)) {
    const { sealed: text } = await sealed(headerUse(name), secret);
    values[name] = text;
  }
  return {
    ...rest,
    ...{ secrets: [], headers: {} },
    ...(keys.length > 0 && { signingKeys: keys }),
    ...(Object.keys(values).length > 0 && { sealedHeaders: values }),
    ...(auth && { auth: { ...auth, secret: await sealed(authUse(auth), auth.secret) } }),
  };
}

/** `keys`, sealed for the subscription of `generation`. */
export function sealKeys(
  keys: readonly SigningKey[],
  keyring: Keyring,
  generation: string,
): Promise<readonly SigningKey[]> {
  const sealed = async (key: SigningKey) => {
    const secret = await sealSecret(keyring, placeOf(generation, signingUse(key)), key.secret);
    return { ...key, secret };
  };
  return Promise.all(keys.map(sealed));
}

/** Opens the secrets of one subscription. What is plain needs no keyring. Throws a SealFault when one cannot be opened. */
export function opener(keyring: () => Promise<Keyring>, generation: string) {
  const text = async (use: string, secret: Secret) =>
    "plain" in secret ? secret.plain : open(await keyring(), placeOf(generation, use), secret.sealed);
  return {
    signingKey: (key: SigningKey) => text(signingUse(key), key.secret),
    auth: (auth: EndpointAuth) => text(authUse(auth), auth.secret),
    headers: async ({
      headers,
      sealedHeaders = {},
    }: PushSettings): Promise<Readonly<Record<string, string>>> => {
      const secrets = headerSecrets(headers, sealedHeaders);
      const values = secrets.map(
        async ([name, secret]) => [name, await text(headerUse(name), secret)] as const,
      );
      return Object.fromEntries(await Promise.all(values));
    },
  };
}

/** Sealed, unless it is already; what is sealed under a key that nobody has stays as it is, for the dispatcher to tell. */
async function sealSecret(keyring: Keyring, place: string, secret: Secret): Promise<{ sealed: string }> {
  if ("plain" in secret) return { sealed: await seal(keyring, place, secret.plain) };
  if (isFresh(keyring, secret.sealed)) return secret;
  try {
    return { sealed: await seal(keyring, place, await open(keyring, place, secret.sealed)) };
  } catch (fault) {
    if (fault instanceof SealFault) return secret;
    throw fault;
  }
}

/** Those that are plain win: they were given last. */
function headerSecrets(
  plain: PushSettings["headers"],
  sealed: PushSettings["headers"],
): readonly (readonly [string, Secret])[] {
  const all: [string, Secret][] = [
    ...Object.entries(sealed).map(([name, text]): [string, Secret] => [name, { sealed: text }]),
    ...Object.entries(plain).map(([name, text]): [string, Secret] => [name, { plain: text }]),
  ];
  return [...new Map(all)];
}

function placeOf(generation: string, use: string): string {
  return `${generation} ${use}`;
}

function signingUse({ scheme }: SigningKey): string {
  return `signing ${scheme}`;
}

function headerUse(name: string): string {
  return `header ${name.toLowerCase()}`;
}

/** A client's secret is for its token URL only. */
function authUse(auth: EndpointAuth): string {
  return auth.type === "oauth2" ? `auth oauth2 ${auth.tokenUrl}` : `auth ${auth.type}`;
}
