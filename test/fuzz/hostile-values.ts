// What no client should send, as texts, numbers, values and whole bodies.

import fc from "fast-check";

export const NASTY_STRINGS = [
  "",
  " ",
  ".",
  "..",
  "../../etc/passwd",
  "\0",
  "\r\nx: y",
  "\ud800",
  "\udfff\ud800",
  "\u202e",
  "\ufeff",
  "🦆".repeat(50),
  "é".normalize("NFD"),
  "x".repeat(300),
  "'; DROP TABLE topics; --",
  "1' OR '1'='1",
  "..%2f..%2fv1",
  "a/../b",
  "a\u0000b",
  "\u0001\u001f\u007f",
  "*",
  "?",
  "#",
  "{}",
  "null",
  "undefined",
  "Infinity",
  "hasOwnProperty",
  "prototype",
  "NaN",
  "-1",
  "1e999",
  "99999999999999999999",
  "0x10",
  "true",
  "__proto__",
  "constructor",
  "toString",
  "%",
  "%00",
  "%ff%fe",
  "%2e%2e%2f",
  "0.-1",
  "0.0.0",
  "99.0",
  "0.9007199254740993",
];
export const NASTY_NUMBERS = [-1, -0, 0.5, 1e308, -1e308, 2 ** 53, 2 ** 53 + 2, 2 ** 31, 1e15];
export const NASTY_JSON = [
  "",
  "{",
  "[",
  "nul",
  '"',
  "\ufeff{}",
  '{"a":1,"a":2}',
  '{"__proto__":{"x":1}}',
  '{"constructor":{"prototype":1}}',
  "[".repeat(100_000),
  `{"messages":[{"data":${"[".repeat(5_000)}${"]".repeat(5_000)}}]}`,
  `{"fence":1,"result":${'{"a":'.repeat(5_000)}1${"}".repeat(5_000)}}`,
  `{"ackIds":[${"0,".repeat(5_000)}0]}`,
  '{"max":1e999}',
  '{"max":1,"max":-1}',
  '{"data":"\\ud800"}',
  "1",
  "null",
  '"text"',
  "[]",
  "{}\n{}\n",
  "\0",
];
export const NASTY_TYPES = [
  "application/json",
  "application/json; charset=utf-7",
  "application/x-ndjson",
  "application/x-www-form-urlencoded",
  "multipart/form-data",
  "text/plain",
  "application/cloudevents+json",
  "nonsense",
  "",
  "application/json;".repeat(200),
];
/** Bytes that are no UTF-8, alone and inside JSON. */
export const NASTY_BYTES: readonly Uint8Array[] = [
  new Uint8Array([0xff, 0xfe]),
  new Uint8Array([0xc3, 0x28]),
  new Uint8Array([0xed, 0xa0, 0x80]),
  new Uint8Array([0x7b, 0x22, 0x61, 0x22, 0x3a, 0x22, 0xff, 0x22, 0x7d]),
];
/** Above what a request may carry. */
export const OVERSIZED = "x".repeat(9 * 1024 * 1024);

const deepValue = JSON.parse(`${"[".repeat(2_000)}${"]".repeat(2_000)}`) as unknown;
export const nastyString: fc.Arbitrary<string> = fc.oneof(
  { weight: 30, arbitrary: fc.constantFrom(...NASTY_STRINGS) },
  { weight: 1, arbitrary: fc.constant("a".repeat(70_000)) },
  { weight: 10, arbitrary: fc.string({ unit: "binary", maxLength: 40 }) },
  {
    weight: 10,
    arbitrary: fc.string({ unit: fc.nat(0xffff).map((code) => String.fromCharCode(code)), maxLength: 20 }),
  },
);
export const nastyValue: fc.Arbitrary<unknown> = fc.oneof(
  nastyString,
  fc.constantFrom<unknown>(...NASTY_NUMBERS, null, true, false, [], {}, [null], [[]], deepValue),
  fc.jsonValue({ maxDepth: 3 }),
  fc.constant(JSON.parse('{"__proto__":{"a":1},"b":2}') as unknown),
);
