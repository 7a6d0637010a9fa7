// Standard Webhooks signatures, version 1: HMAC-SHA256 over `id.timestamp.body`, one for each secret, so that a
// receiver may hold either of two while they are being exchanged.

import { toBase64 } from "../message-json";

const SECRET_PREFIX = "whsec_";
const HMAC = { name: "HMAC", hash: "SHA-256" };
const utf8 = new TextEncoder();

/** Imports `whsec_…` secrets, once for many signatures. Throws when one is not base64. */
export async function importSecrets(secrets: readonly string[]): Promise<readonly CryptoKey[]> {
  return Promise.all(
    secrets.map((secret) => {
      const base64 = secret.startsWith(SECRET_PREFIX) ? secret.slice(SECRET_PREFIX.length) : secret;
      return crypto.subtle.importKey("raw", fromBase64(base64), HMAC, false, ["sign"]);
    }),
  );
}

/** The `webhook-signature` header: `v1,…` for each key, separated by spaces. */
export async function sign(
  keys: readonly CryptoKey[],
  { id, timestamp, body }: Readonly<{ id: string; timestamp: number; body: Uint8Array }>,
): Promise<string> {
  const head = utf8.encode(`${id}.${timestamp}.`);
  const signed = new Uint8Array(head.byteLength + body.byteLength);
  signed.set(head);
  signed.set(body, head.byteLength);
  const signatures = await Promise.all(keys.map((key) => crypto.subtle.sign("HMAC", key, signed)));
  return signatures.map((signature) => `v1,${toBase64(new Uint8Array(signature))}`).join(" ");
}

/** A `webhook-id` for several messages: 128 bits of SHA-256 over what they are. */
export async function batchId(composition: string): Promise<string> {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", utf8.encode(composition)));
  const hex = [...digest.subarray(0, 16)].map((byte) => byte.toString(16).padStart(2, "0"));
  return `batch_${hex.join("")}`;
}

function fromBase64(base64: string): Uint8Array {
  return Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
}
