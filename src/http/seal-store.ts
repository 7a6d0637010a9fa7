// Where secrets come from and how they go into the catalog: signing keys are made here, and everything secret that a
// request brings is sealed before it is written.

import type { SubscriptionEntry } from "../catalog/catalog-entry";
import type { SealSettings, SecretsWanted } from "../catalog/subscription-lifecycle";
import { newestOf, type SigningKey } from "../endpoint-secrets";
import { ok, type Result, refuse } from "../errors";
import { toBase64 } from "../message-json";
import { sealKeys, sealPush } from "../sealed-push";
import { type Keyring, keyringOf } from "../sealing";
import type { DeliveryKind } from "../settings";
import type { Broker } from "./broker";

export type Secrets = Required<SecretsWanted> &
  Readonly<{
    keyring: Keyring;
    /** The plain secret of `v1` that signs now, if it is the one that was made or given here. */
    shown(entry: SubscriptionEntry): Promise<string | undefined>;
  }>;

const SECRET_BYTES = 32;
const SEED_BYTES = 32;

/** What a request that sets secrets works with: `given` is its own secret of v1. Refused while nothing can be sealed. */
export async function secretsFor(broker: Broker, given?: string): Promise<Result<Secrets>> {
  if (broker.secretsKeys.length === 0) {
    return refuse(
      "not-configured",
      "Set the secret SECRETS_KEY, under which secrets are stored: `npx wrangler secret put SECRETS_KEY`.",
    );
  }
  const keyring = await keyringOf(broker.secretsKeys);
  const offeredKeys = [sharedKey(given ?? newSigningSecret()), await newKeyPair()];
  const seal: SealSettings = async (settings, generation) => {
    const { push } = settings;
    return push ? { ...settings, push: await sealPush(push, keyring, generation) } : settings;
  };
  return ok({ keyring, offeredKeys, seal, shown: (entry) => shownIn(entry, offeredKeys, keyring) });
}

/** What a PUT of a subscription works with. One that is pulled from has no secrets, and needs none to be sealed. */
export async function secretsOf(
  broker: Broker,
  {
    type,
    endpoint,
  }: Readonly<{ type: DeliveryKind; endpoint?: { signingSecret?: string | undefined } | undefined }>,
): Promise<Result<Partial<Secrets>>> {
  return type === "push" ? secretsFor(broker, endpoint?.signingSecret) : ok({});
}

async function shownIn(
  { generation, settings: { push } }: SubscriptionEntry,
  offered: readonly SigningKey[],
  keyring: Keyring,
): Promise<string | undefined> {
  const key = offered.find(({ scheme }) => scheme === "v1");
  const newest = push && newestOf(push, "v1");
  if (key === undefined || newest === undefined || !("plain" in key.secret)) return undefined;
  const [sealed] = await sealKeys([key], keyring, generation);
  return JSON.stringify(sealed?.secret) === JSON.stringify(newest.secret) ? key.secret.plain : undefined;
}

/** A new signing secret of an endpoint (Standard Webhooks). */
function newSigningSecret(): string {
  return `whsec_${toBase64(crypto.getRandomValues(new Uint8Array(SECRET_BYTES)))}`;
}

function sharedKey(secret: string): SigningKey {
  return { scheme: "v1", secret: { plain: secret } };
}

/** A new ed25519 key pair: the private key with the public one behind it, as other senders keep it. */
async function newKeyPair(): Promise<SigningKey> {
  const pair = (await crypto.subtle.generateKey({ name: "Ed25519" }, true, [
    "sign",
    "verify",
  ])) as CryptoKeyPair;
  const pkcs8 = new Uint8Array((await crypto.subtle.exportKey("pkcs8", pair.privateKey)) as ArrayBuffer);
  const publicKey = new Uint8Array((await crypto.subtle.exportKey("raw", pair.publicKey)) as ArrayBuffer);
  const both = new Uint8Array([...pkcs8.subarray(-SEED_BYTES), ...publicKey]);
  return {
    scheme: "v1a",
    secret: { plain: `whsk_${toBase64(both)}` },
    publicKey: `whpk_${toBase64(publicKey)}`,
  };
}
