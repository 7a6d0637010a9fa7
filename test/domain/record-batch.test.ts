// Packing and unpacking, partitions, and what makes a message valid.

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { checkMessage, type Message } from "../../src/message";
import {
  deliveryTerms,
  joinBytes,
  packRecordBatch,
  packRecords,
  partitionOf,
  recordSpans,
  unpackRecord,
  unpackRecordBatch,
  unpackRecords,
} from "../../src/record-batch";

const optional = <T>(arbitrary: fc.Arbitrary<T>) => fc.option(arbitrary, { nil: undefined });
const messages: fc.Arbitrary<Message> = fc
  .record({
    id: fc.uuid(),
    publishedAt: fc.nat(),
    contentType: fc.string({ minLength: 1, unit: "grapheme" }),
    body: fc.uint8Array({ maxLength: 300 }),
    orderingKey: optional(fc.string({ minLength: 1, unit: "grapheme" })),
    subject: optional(fc.string({ minLength: 1 })),
    attributes: optional(fc.dictionary(fc.string({ minLength: 1 }), fc.string())),
  })
  .map((message) => JSON.parse(JSON.stringify(message, (_, v) => (v instanceof Uint8Array ? [...v] : v))))
  .map((message) => ({ ...message, body: new Uint8Array(message.body) }));

describe("records", () => {
  test("what is unpacked is what was packed, byte for byte", () => {
    fc.assert(
      fc.property(fc.array(messages, { maxLength: 10 }), (list) => {
        expect(unpackRecords(packRecords(list))).toEqual(list);
      }),
    );
  });

  test("the terms of delivery are those of the whole record, whatever its texts quote", () => {
    const quoting = fc.constantFrom('"k":', '"x":', '\\"k":"v"', "k", "x", "plain");
    const record = fc.tuple(messages, quoting, optional(fc.nat())).map(([message, text, expiresAt]) => ({
      ...{ ...message, contentType: text, attributes: { k: text, [text]: text } },
      ...(expiresAt !== undefined && { expiresAt }),
    }));
    fc.assert(
      fc.property(fc.array(fc.oneof(messages, record), { maxLength: 5 }), (list) => {
        const packed = packRecords(list);
        const terms = recordSpans(packed).map((span) => deliveryTerms(packed, span));
        const whole = list.map(({ orderingKey, expiresAt }: Message) => ({ orderingKey, expiresAt }));
        expect(terms.map(({ orderingKey, expiresAt }) => ({ orderingKey, expiresAt }))).toEqual(whole);
      }),
    );
  });

  test("records can be cut and joined without being read", () => {
    fc.assert(
      fc.property(fc.array(messages, { minLength: 1, maxLength: 10 }), fc.nat(), (list, n) => {
        const packed = packRecords(list);
        const spans = recordSpans(packed);
        const at = n % list.length;
        const kept = spans.filter((_, i) => i !== at).map(({ start, end }) => packed.subarray(start, end));
        expect(unpackRecords(joinBytes(kept))).toEqual(list.filter((_, i) => i !== at));
      }),
    );
  });

  test("records that are cut short are corruption, not fewer records", () => {
    const packed = packRecords([{ id: "a", publishedAt: 1, contentType: "t", body: new Uint8Array(10) }]);
    expect(() => recordSpans(packed.subarray(0, packed.byteLength - 1))).toThrow("cut short");
  });

  test("a body is a view of the records it came in", () => {
    const packed = packRecords([{ id: "a", publishedAt: 1, contentType: "t", body: new Uint8Array(10) }]);
    const [span] = recordSpans(packed);
    expect(span && unpackRecord(packed, span).body.buffer).toBe(packed.buffer);
  });

  test("a record batch survives its way through a Cloudflare Queue", () => {
    const batch = {
      batchId: "b",
      generation: "g",
      partition: 3,
      count: 2,
      clientIds: [{ index: 1, id: "ü", fingerprint: "f" }],
      records: new Uint8Array([1, 2, 3]),
    };
    expect(unpackRecordBatch(packRecordBatch(batch))).toEqual(batch);
  });

  test("a record batch of an unknown version is refused", () => {
    expect(() => unpackRecordBatch(new Uint8Array([9, 0, 0, 0, 0]))).toThrow("version 9");
  });
});

describe("partitions", () => {
  test("a key always has the same partition, and it exists", () => {
    fc.assert(
      fc.property(fc.string({ unit: "grapheme" }), fc.integer({ min: 1, max: 64 }), (key, partitions) => {
        const partition = partitionOf(key, partitions);
        expect(partition).toBe(partitionOf(key, partitions));
        expect(partition >= 0 && partition < partitions).toBe(true);
      }),
    );
  });

  test("keys spread evenly: no partition of 16 has half or twice its share of 16,000 keys", () => {
    const counts = new Array<number>(16).fill(0);
    for (let i = 0; i < 16_000; i++) {
      const partition = partitionOf(`customer-${i}`, 16);
      counts[partition] = (counts[partition] ?? 0) + 1;
    }
    expect(Math.min(...counts)).toBeGreaterThan(500);
    expect(Math.max(...counts)).toBeLessThan(2_000);
  });
});

describe("a message", () => {
  const valid: Message = { id: "a", publishedAt: 1, contentType: "text/plain", body: new Uint8Array() };
  const refusals: [string, Partial<Message>, string][] = [
    ["an empty id", { id: "" }, "id"],
    ["an id with a dot", { id: "a.b" }, "id"],
    ["an id with a space", { id: "a b" }, "id"],
    ["an id of 129 characters", { id: "x".repeat(129) }, "id"],
    ["an id outside ASCII", { id: "ü" }, "id"],
    ["an empty ordering key", { orderingKey: "" }, "orderingKey"],
    ["an ordering key of 129 bytes", { orderingKey: `${"ü".repeat(64)}x` }, "orderingKey"],
    ["a control character in the ordering key", { orderingKey: "a\nb" }, "orderingKey"],
    [
      "65 attributes",
      { attributes: Object.fromEntries(Array.from({ length: 65 }, (_, i) => [`a${i}`, ""])) },
      "attributes",
    ],
    ["an attribute name with a space", { attributes: { "a b": "" } }, "attributes.a b"],
    ["attributes of more than 64 KiB", { attributes: { a: "x".repeat(65_536) } }, "attributes"],
    ["a body of more than 1 MiB", { body: new Uint8Array(1_048_577) }, "data"],
  ];

  test.each(refusals)("%s is refused, and the refusal names the field", (_, part, field) => {
    const result = checkMessage({ ...valid, ...part }, "messages[0].");
    expect(!result.ok && result.error.field).toBe(`messages[0].${field}`);
  });

  test("one at every limit is accepted", () => {
    const message = {
      ...valid,
      id: "x".repeat(128),
      orderingKey: "ü".repeat(64),
      body: new Uint8Array(1_048_576),
    };
    expect(checkMessage(message).ok).toBe(true);
  });
});
