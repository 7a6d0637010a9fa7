// Public keys as a JSON Web Key Set (RFC 7517, RFC 8037).

import { urlSafe } from "../message-json";
import type { PublicKey } from "./key-shelf";

const PREFIX = "whpk_";

/** Those of the keys that have a public half. */
export function keySet(keys: readonly PublicKey[]) {
  return keys.flatMap(({ publicKey }) => {
    if (publicKey === undefined) return [];
    const x = urlSafe(publicKey.slice(PREFIX.length));
    // The key names itself: it is unique, and a receiver that was given it by hand finds it.
    return { kty: "OKP", crv: "Ed25519", alg: "EdDSA", use: "sig", kid: x, x, whpk: publicKey } as const;
  });
}
