// The text of tokens: found by scanners, and told from what is none without asking anybody.

import { crc32 } from "node:zlib";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { mayBeToken, TOKEN_SECRET_BYTES, tokenText } from "../../src/http/token-text";

const DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const secrets = fc.uint8Array({ minLength: TOKEN_SECRET_BYTES, maxLength: TOKEN_SECRET_BYTES });

describe("the text of a token", () => {
  it("has a form that a scanner can look for, whatever its secret", () => {
    fc.assert(fc.property(secrets, (secret) => /^pennypost_[0-9A-Za-z]{49}$/.test(tokenText(secret))));
    for (const byte of [0, 255]) {
      expect(tokenText(new Uint8Array(TOKEN_SECRET_BYTES).fill(byte))).toMatch(/^pennypost_\w{49}$/);
    }
  });

  it("ends in the CRC-32 of its secret, in base 62, which anybody can compute", () => {
    fc.assert(
      fc.property(secrets, (bytes) => {
        const [secret, check] = [tokenText(bytes).slice(10, 53), tokenText(bytes).slice(53)];
        const number = [...check].reduce((sum, digit) => sum * 62 + DIGITS.indexOf(digit), 0);
        expect(number).toBe(crc32(secret));
      }),
    );
  });

  it("is another for another secret", () => {
    fc.assert(
      fc.property(secrets, secrets, (one, other) => {
        const same = one.every((byte, index) => byte === other[index]);
        expect(tokenText(one) === tokenText(other)).toBe(same);
      }),
    );
  });
});

describe("what can be a token", () => {
  it("is every token, and not one with a letter changed", () => {
    fc.assert(
      fc.property(secrets, fc.nat(48), fc.constantFrom(...DIGITS), (secret, place, digit) => {
        const token = tokenText(secret);
        expect(mayBeToken(token)).toBe(true);
        const at = 10 + place;
        const changed = token.slice(0, at) + digit + token.slice(at + 1);
        expect(mayBeToken(changed)).toBe(changed === token);
      }),
    );
  });

  it("is a token of before there was a checksum", () => {
    expect(mayBeToken(`pp_${"aB3_-".repeat(9).slice(0, 43)}`)).toBe(true);
  });

  it.each(["", "pp_", "pennypost_", "pp_unknown", `pennypost_${"a".repeat(49)}`, "Bearer x", "a".repeat(59)])(
    "is not %j",
    (text) => {
      expect(mayBeToken(text)).toBe(false);
    },
  );

  it("is not a token with something around it", () => {
    const token = tokenText(new Uint8Array(TOKEN_SECRET_BYTES));
    for (const text of [` ${token}`, `${token}\n`, `${token}x`, token.toUpperCase()]) {
      expect(mayBeToken(text)).toBe(false);
    }
  });
});
