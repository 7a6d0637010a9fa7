// The fingerprint: equal for the same message, different for any other.

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { fingerprintBytes } from "../../src/fingerprint";
import type { AskedTiming, Message } from "../../src/message";

const utf8 = new TextEncoder();
const message: Message = {
  id: "m1",
  publishedAt: 1,
  contentType: "text/plain",
  body: utf8.encode("hello"),
  attributes: { b: "2", a: "1" },
};
const hexOf = (more: Partial<Message>) =>
  Buffer.from(fingerprintBytes({ ...message, ...more })).toString("hex");
const same = hexOf({});

describe("fingerprint", () => {
  test("the bytes are laid out as documented", () => {
    const bytes = fingerprintBytes({ id: "x", publishedAt: 1, contentType: "t", body: utf8.encode("b") });
    const absent = "ffffffff";
    const hex = (text: string) => Buffer.from(text).toString("hex");
    expect(Buffer.from(bytes).toString("hex")).toBe(
      hex("pennypost-fingerprint-1") +
        `01000000${hex("t")}${absent}${absent}01000000${hex("0")}${absent}${absent}${absent}01000000${hex("b")}`,
    );
  });

  test("the order in which attributes are written makes no difference", () => {
    expect(hexOf({ attributes: { a: "1", b: "2" } })).toBe(same);
  });

  test("times, traces and kept headers make no difference", () => {
    expect(hexOf({ publishedAt: 2, traceparent: "t", headers: { "x-a": "1" } })).toBe(same);
  });

  test.each<[string, Partial<Message>]>([
    ["body", { body: utf8.encode("hellO") }],
    ["content type", { contentType: "text/html" }],
    ["ordering key", { orderingKey: "k" }],
    ["subject", { subject: "k" }],
    ["an attribute's value", { attributes: { a: "1", b: "3" } }],
    ["an attribute's name", { attributes: { a: "1", c: "2" } }],
    ["an empty attribute", { attributes: { a: "1", b: "2", c: "" } }],
  ])("another %s makes another fingerprint", (_, more) => {
    expect(hexOf(more)).not.toBe(same);
  });

  test("the timing asked for is part of it, and each way to ask is another", () => {
    const timings: AskedTiming[] = [
      {},
      { delayMs: 5 },
      { deliverAt: 5 },
      { ttlMs: 5 },
      { delayMs: 5, ttlMs: 5 },
    ];
    const prints = timings.map((timing) => Buffer.from(fingerprintBytes(message, timing)).toString("hex"));
    expect(new Set(prints).size).toBe(timings.length);
    expect(prints[0]).toBe(same);
  });

  test("what came of the timing makes no difference: a retry comes later, and asks for the same", () => {
    expect(hexOf({ deliverAt: 7, expiresAt: 9 })).toBe(same);
  });

  test("no two contents share their bytes, however their fields run into each other", () => {
    const content = fc.record(
      {
        contentType: fc.string({ maxLength: 3 }),
        orderingKey: fc.string({ maxLength: 3 }),
        subject: fc.string({ maxLength: 3 }),
        attributes: fc.dictionary(fc.constantFrom("a", "b", "ab"), fc.string({ maxLength: 2 }), {
          maxKeys: 2,
        }),
        body: fc.string({ maxLength: 3 }),
      },
      { requiredKeys: ["contentType", "body"] },
    );
    const canonical = ({ attributes = {}, ...rest }: { attributes?: Record<string, string> }) =>
      JSON.stringify([Object.entries(rest).sort(), Object.entries(attributes).sort()]);
    fc.assert(
      fc.property(content, content, (one, other) => {
        const bytes = [one, other].map(({ body, ...rest }) => {
          const { contentType, orderingKey, subject, attributes } = rest;
          const optional = { orderingKey, subject, attributes };
          const present = Object.fromEntries(
            Object.entries(optional).filter(([, value]) => value !== undefined),
          );
          const all = { id: "m", publishedAt: 1, contentType, ...present, body: utf8.encode(body) };
          return Buffer.from(fingerprintBytes(all as Message)).toString("hex");
        });
        expect(bytes[0] === bytes[1]).toBe(canonical(one) === canonical(other));
      }),
      { numRuns: 2_000 },
    );
  });
});
