// `v1a` signatures as a receiver checks them: with Node's own crypto, and the public key alone.

import { createPrivateKey, createPublicKey, generateKeyPairSync, verify } from "node:crypto";
import { expect, test } from "vitest";
import { importSecrets, sign } from "../../src/push/signature";

const utf8 = new TextEncoder();
const message = { id: "msg_1", timestamp: 1_800_000_000, body: utf8.encode('{"grün":"📮"}') };

/** RFC 8032, 7.1, test 2: a private key and its public one. */
const SEED = "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb";
const PUBLIC = "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c";

const whsk = (...hex: string[]) => `whsk_${Buffer.from(hex.join(""), "hex").toString("base64")}`;
const publicKey = createPublicKey({
  key: { kty: "OKP", crv: "Ed25519", x: Buffer.from(PUBLIC, "hex").toString("base64url") },
  format: "jwk",
});

function verified(signature: string, { id, timestamp, body }: typeof message): boolean {
  const [version, base64 = ""] = signature.split(",");
  const signed = Buffer.concat([Buffer.from(`${id}.${timestamp}.`), body]);
  return version === "v1a" && verify(null, signed, publicKey, Buffer.from(base64, "base64"));
}

test("a v1a signature verifies with the public key, for this id, time and body only", async () => {
  const signature = await sign(await importSecrets([whsk(SEED, PUBLIC)]), message);
  expect(signature).toMatch(/^v1a,[A-Za-z0-9+/]{86}==$/);
  expect(verified(signature, message)).toBe(true);
  expect(verified(signature, { ...message, id: "msg_2" })).toBe(false);
  expect(verified(signature, { ...message, timestamp: message.timestamp + 1 })).toBe(false);
  expect(verified(signature, { ...message, body: utf8.encode("{}") })).toBe(false);
});

test("a private key may come without its public half", async () => {
  expect(verified(await sign(await importSecrets([whsk(SEED)]), message), message)).toBe(true);
});

test("signatures of both sorts stand in one list, in the order of their keys", async () => {
  const secret = `whsec_${Buffer.alloc(32, 7).toString("base64")}`;
  const list = await sign(await importSecrets([secret, whsk(SEED)]), message);
  expect(list.split(" ").map((each) => each.split(",")[0])).toEqual(["v1", "v1a"]);
});

test("the form of a private key is the one that Node makes too", async () => {
  const { privateKey } = generateKeyPairSync("ed25519");
  const seed = privateKey.export({ format: "der", type: "pkcs8" }).subarray(-32).toString("hex");
  const [made] = (await sign(await importSecrets([whsk(seed)]), message)).split(" ");
  const signed = Buffer.concat([Buffer.from(`${message.id}.${message.timestamp}.`), message.body]);
  const own = createPublicKey(createPrivateKey(privateKey.export({ format: "pem", type: "pkcs8" })));
  expect(verify(null, signed, own, Buffer.from(made?.slice(4) ?? "", "base64"))).toBe(true);
});
