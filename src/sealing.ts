// Sealing: secrets are encrypted before they are stored (AES-256-GCM), under keys that are derived from SECRETS_KEY.
//
// A sealed text is `s1.<key id>.<base64 of nonce and ciphertext>`. It opens only at the place that it was sealed for,
// which is its associated data: moved to another row it is worthless. The nonce is made from place and text (HMAC under a key
// of its own), so that one text at one place is always sealed alike, and a repeated PUT is seen to change nothing;
// two different texts have different nonces but for one chance in 2^96.

import { limits } from "./limits";
import { fromBase64, toBase64 } from "./message-json";

/** The keys of one value of SECRETS_KEY: the newest seals, all open. */
export type Keyring = Readonly<{ newest: SealingKey; byId: ReadonlyMap<string, SealingKey> }>;
type SealingKey = Readonly<{ id: string; cipher: CryptoKey; nonces: CryptoKey }>;

const VERSION = "s1";
const NONCE_BYTES = 12;
const ID_BYTES = 4;
const utf8 = new TextEncoder();

/** What is sealed cannot be opened: its key is not among those that are configured, or it was changed or moved. */
export class SealFault extends Error {}

/** By the configured keys. Values, not promises: one request's promise is not another's to wait for. */
const keyrings = new Map<string, Keyring>();

/** The keyring of the configured keys, newest first. Made once for each isolate. Throws when there is none. */
export async function keyringOf(keys: readonly string[]): Promise<Keyring> {
  const name = keys.join("\n");
  const held = keyrings.get(name);
  if (held) return held;
  const made = await Promise.all(keys.map(deriveKey));
  const [newest] = made;
  if (newest === undefined) throw new SealFault("SECRETS_KEY is not set");
  const keyring = { newest, byId: new Map(made.map((key) => [key.id, key])) };
  keyrings.set(name, keyring);
  return keyring;
}

/** `text`, sealed for `place` under the newest key. */
export async function seal({ newest }: Keyring, place: string, text: string): Promise<string> {
  const plain = utf8.encode(text);
  const nonce = await nonceOf(newest, place, text);
  const cipher = { name: "AES-GCM", iv: nonce, additionalData: placeBytes(newest.id, place) };
  const sealed = new Uint8Array(await crypto.subtle.encrypt(cipher, newest.cipher, plain));
  const both = new Uint8Array(nonce.byteLength + sealed.byteLength);
  both.set(nonce);
  both.set(sealed, nonce.byteLength);
  return [VERSION, newest.id, toBase64(both)].join(".");
}

/** The text that was sealed for `place`. Throws a SealFault when it cannot be opened. */
export async function open({ byId }: Keyring, place: string, sealed: string): Promise<string> {
  const [version, id = "", base64 = ""] = sealed.split(".");
  const key = byId.get(id);
  if (version !== VERSION || key === undefined) throw new SealFault("it was sealed under another key");
  const memory = opened.get(`${id} ${place} ${base64}`);
  if (memory !== undefined) return memory;
  const text = await decrypt(key, place, base64);
  if (opened.size >= limits.openedSecretsKept) opened.clear();
  opened.set(`${id} ${place} ${base64}`, text);
  return text;
}

/** Whether `sealed` is under the newest key. */
export function isFresh({ newest }: Keyring, sealed: string): boolean {
  return sealed.startsWith(`${VERSION}.${newest.id}.`);
}

/** What this isolate has opened, so that not every dispatch does it again. */
const opened = new Map<string, string>();

async function decrypt({ id, cipher }: SealingKey, place: string, base64: string): Promise<string> {
  try {
    const bytes = fromBase64(base64);
    const iv = bytes.subarray(0, NONCE_BYTES);
    const how = { name: "AES-GCM", iv, additionalData: placeBytes(id, place) };
    return new TextDecoder().decode(await crypto.subtle.decrypt(how, cipher, bytes.subarray(NONCE_BYTES)));
  } catch {
    throw new SealFault("it was changed, or sealed for another place");
  }
}

async function nonceOf({ nonces }: SealingKey, place: string, text: string): Promise<Uint8Array> {
  const said = utf8.encode(JSON.stringify([place, text]));
  return new Uint8Array(await crypto.subtle.sign("HMAC", nonces, said)).slice(0, NONCE_BYTES);
}

function placeBytes(id: string, place: string): Uint8Array {
  return utf8.encode(`pennypost ${VERSION} ${id} ${place}`);
}

/** HKDF-SHA256: one configured text makes a key to encrypt, a key to make nonces, and a name that tells nothing of it. */
async function deriveKey(text: string): Promise<SealingKey> {
  const master = await crypto.subtle.importKey("raw", utf8.encode(text), "HKDF", false, [
    "deriveBits",
    "deriveKey",
  ]);
  const derived = (info: string) => ({
    ...{ name: "HKDF", hash: "SHA-256" },
    ...{ salt: utf8.encode("pennypost"), info: utf8.encode(`secrets ${VERSION} ${info}`) },
  });
  const [cipher, nonces, id] = await Promise.all([
    crypto.subtle.deriveKey(derived("cipher"), master, { name: "AES-GCM", length: 256 }, false, [
      "encrypt",
      "decrypt",
    ]),
    crypto.subtle.deriveKey(
      derived("nonces"),
      master,
      { name: "HMAC", hash: "SHA-256", length: 256 },
      false,
      ["sign"],
    ),
    crypto.subtle.deriveBits(derived("id"), master, ID_BYTES * 8),
  ]);
  return {
    id: Array.from(new Uint8Array(id), (byte) => byte.toString(16).padStart(2, "0")).join(""),
    cipher,
    nonces,
  };
}
