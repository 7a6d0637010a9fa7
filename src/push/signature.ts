// Standard Webhooks signatures over `id.timestamp.body`: `v1` is HMAC-SHA256 under a secret that the receiver has too,
// `v1a` is ed25519, for which the receiver needs the public key only. One for each key, so that a receiver may hold
// any of those that are being exchanged.

import { fromBase64, toBase64 } from "../message-json";

const HMAC = { name: "HMAC", hash: "SHA-256" };
const ED25519 = { name: "Ed25519" };
const SECRET_PREFIX = "whsec_";
const PRIVATE_PREFIX = "whsk_";
/** What PKCS #8 has before the 32 bytes of an ed25519 key (RFC 8410): the one form in which WebCrypto takes it. */
const PKCS8_HEAD = [48, 46, 2, 1, 0, 48, 5, 6, 3, 43, 101, 112, 4, 34, 4, 32];
const SEED_BYTES = 32;
const utf8 = new TextEncoder();

/** Imports `whsec_…` and `whsk_…` secrets, once for many signatures. Throws when one is not base64. */
export async function importSecrets(secrets: readonly string[]): Promise<readonly CryptoKey[]> {
  return Promise.all(secrets.map((secret) => importSecret(secret)));
}

/** The `webhook-signature` header: `v1,…` or `v1a,…` for each key, separated by spaces. */
export async function sign(
  keys: readonly CryptoKey[],
  { id, timestamp, body }: Readonly<{ id: string; timestamp: number; body: Uint8Array }>,
): Promise<string> {
  const head = utf8.encode(`${id}.${timestamp}.`);
  const signed = new Uint8Array(head.byteLength + body.byteLength);
  signed.set(head);
  signed.set(body, head.byteLength);
  const signatures = keys.map(async (key) => {
    const { name } = key.algorithm;
    const signature = new Uint8Array(await crypto.subtle.sign(name, key, signed));
    return `${name === ED25519.name ? "v1a" : "v1"},${toBase64(signature)}`;
  });
  return (await Promise.all(signatures)).join(" ");
}

/** A `webhook-id` for several messages: 128 bits of SHA-256 over what they are. */
export async function batchId(composition: string): Promise<string> {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", utf8.encode(composition)));
  const hex = [...digest.subarray(0, 16)].map((byte) => byte.toString(16).padStart(2, "0"));
  return `batch_${hex.join("")}`;
}

function importSecret(secret: string): Promise<CryptoKey> {
  if (!secret.startsWith(PRIVATE_PREFIX)) {
    const base64 = secret.startsWith(SECRET_PREFIX) ? secret.slice(SECRET_PREFIX.length) : secret;
    return crypto.subtle.importKey("raw", fromBase64(base64), HMAC, false, ["sign"]);
  }
  // The private key is followed by the public one, as other senders keep it.
  const seed = fromBase64(secret.slice(PRIVATE_PREFIX.length)).subarray(0, SEED_BYTES);
  return crypto.subtle.importKey("pkcs8", new Uint8Array([...PKCS8_HEAD, ...seed]), ED25519, false, ["sign"]);
}
