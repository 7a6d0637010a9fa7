// The text of a token: `pennypost_`, 43 letters and digits of a 256-bit secret, and 6 of a checksum. The prefix lets
// scanners of source code find one that leaked, and the checksum lets them, and the broker, tell at once what is none.

const PREFIX = "pennypost_";
const DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/** 62^43 is just above 2^256. */
const SECRET_LENGTH = 43;
/** 62^6 is above 2^32. */
const CHECK_LENGTH = 6;
const FORM = /^pennypost_([0-9A-Za-z]{43})([0-9A-Za-z]{6})$/;
/** Tokens of before there was a checksum. */
const FORMER_FORM = /^pp_[\w-]{43}$/;
const CRC32 = 0xedb88320;

/** The bytes of chance in a token. */
export const TOKEN_SECRET_BYTES = 32;

/** The text of the token with this secret of TOKEN_SECRET_BYTES bytes. */
export function tokenText(secret: Uint8Array): string {
  const number = secret.reduce((sum, byte) => sum * 256n + BigInt(byte), 0n);
  const text = inDigits(number, SECRET_LENGTH);
  return `${PREFIX}${text}${checkOf(text)}`;
}

/** Whether a text can be a token at all: what cannot is not worth a question to D1. */
export function mayBeToken(text: string): boolean {
  const [, secret, check] = FORM.exec(text) ?? [];
  if (secret === undefined) return FORMER_FORM.test(text);
  return checkOf(secret) === check;
}

function checkOf(text: string): string {
  return inDigits(BigInt(crc32(text)), CHECK_LENGTH);
}

function inDigits(number: bigint, length: number): string {
  let text = "";
  for (let rest = number; text.length < length; rest /= 62n) text = DIGITS.charAt(Number(rest % 62n)) + text;
  return text;
}

/** CRC-32 of ASCII text, as in zlib: anybody can compute it. */
function crc32(text: string): number {
  let crc = 0xffffffff;
  for (let index = 0; index < text.length; index++) {
    crc ^= text.charCodeAt(index);
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? CRC32 : 0);
  }
  return (crc ^ 0xffffffff) >>> 0;
}
