// What a topic reads from a foreign sender's header or body: what wins, what is refused, and what counts as not given.

import { describe, expect, test } from "vitest";
import type { TopicEntry } from "../../src/catalog/catalog-entry";
import type { Result } from "../../src/errors";
import { fingerprintBytes } from "../../src/fingerprint";
import { takeInAll, takeInOne, valueAt } from "../../src/http/intake";
import { type Draft, readItem, readRaw } from "../../src/http/publish-items";
import { asksForDelay } from "../../src/http/timing";
import { limits } from "../../src/limits";
import { defaultTopicSettings, type TopicSettings } from "../../src/settings";
import { value } from "../support/result";

const stamp = { publishedAt: 5, newId: () => "made" };
const utf8 = new TextEncoder();

const topicWith = (settings: Partial<TopicSettings>): TopicEntry => ({
  ...{ name: "t", kind: "topic", generation: JSON.stringify(settings), version: 1, state: "active" },
  ...{ createdAt: 0, updatedAt: 0, partitions: 1, settings: { ...defaultTopicSettings, ...settings } },
});
const one = (settings: Partial<TopicSettings>, body: unknown, headers: Record<string, string> = {}) => {
  const bytes = utf8.encode(typeof body === "string" ? body : JSON.stringify(body));
  const topic = topicWith(settings);
  const read = value(readRaw(new Headers(headers), bytes, topic.settings, stamp));
  return takeInOne(read, topic, new Headers(headers));
};
const many = (settings: Partial<TopicSettings>, items: readonly unknown[]) => {
  const read = items.map((item, i) => readItem(item, i, stamp));
  return takeInAll(read, topicWith(settings), "messages");
};
const errorOf = (result: Result<Draft> | undefined) => (result?.ok === false ? result.error : undefined);

const id = { idFrom: { pointer: "/event/id" } } as const;
const key = { orderingKeyFrom: { pointer: "/key" } } as const;

describe("a value that a topic reads", () => {
  test("is the message's id, ordering key and subject, and an id so found is the sender's", () => {
    const settings = { ...id, ...key, subjectFrom: { header: "x-kind" } };
    const draft = value(one(settings, { event: { id: "e-1" }, key: "k" }, { "X-Kind": "order.paid" }));
    expect(draft.message).toMatchObject({ id: "e-1", orderingKey: "k", subject: "order.paid" });
    expect(draft.isClientId).toBe(true);
    expect(asksForDelay(draft.timing)).toBe(false);
  });

  test("makes the fingerprint that it makes when it is given", () => {
    const body = { event: { id: "e-1" }, key: "k" };
    const found = value(one({ ...id, ...key }, body));
    const given = value(one({}, body, { "Idempotency-Key": "e-1", "Pennypost-Ordering-Key": "k" }));
    expect(fingerprintBytes(found.message)).toEqual(fingerprintBytes(given.message));
    const otherKey = value(one({ ...id }, body));
    expect(fingerprintBytes(found.message)).not.toEqual(fingerprintBytes(otherKey.message));
  });

  test("gives way to what the publisher says", () => {
    const headers = { "Idempotency-Key": "mine", "Pennypost-Ordering-Key": "own", "Pennypost-Subject": "s" };
    const settings = { ...id, ...key, subjectFrom: { pointer: "/key", required: true } } as const;
    const { message } = value(one(settings, { event: { id: "e-1" }, key: { not: "text" } }, headers));
    expect(message).toMatchObject({ id: "mine", orderingKey: "own", subject: "s" });
    const [item] = many(settings, [
      { id: "i", orderingKey: "o", subject: "x", data: { event: { id: "e" } } },
    ]);
    expect(item && value(item).message).toMatchObject({ id: "i", orderingKey: "o", subject: "x" });
  });

  test.each([
    [42, "42"],
    [-0, "0"],
    [1.5, "1.5"],
    [true, "true"],
    [false, "false"],
    [Number.MAX_SAFE_INTEGER, "9007199254740991"],
    ["ключ", "ключ"],
  ])("%j becomes the text %s", (given, text) => {
    expect(value(one(key, { key: given })).message.orderingKey).toBe(text);
  });

  test.each([
    ["is not there", { other: 1 }],
    ["is null", { key: null }],
    ["lies below no object", "3"],
    ["lies in what is not JSON", "key=1"],
    ["lies in nothing", ""],
  ])("that %s counts as not given, unless it is required", (_, body) => {
    expect(value(one(key, body)).message).not.toHaveProperty("orderingKey");
    const required = { orderingKeyFrom: { pointer: "/key", required: true } } as const;
    expect(errorOf(one(required, body))).toMatchObject({ code: "source-mismatch", field: "orderingKey" });
    expect(errorOf(one(required, body))?.detail).toContain('"/key" of the body');
  });

  test("is not read from a header by a batch, whose items have none", () => {
    const header = { orderingKeyFrom: { header: "x-key", required: true } } as const;
    expect(errorOf(many(header, [{ data: 1 }])[0])?.field).toBe("messages[0].orderingKey");
    expect(value(one(header, "", { "X-Key": "k" })).message.orderingKey).toBe("k");
    expect(errorOf(one(header, "", { "X-Key": "" }))?.detail).toContain("the header x-key");
  });

  test.each([
    ["an object", {}, undefined],
    ["a list", [1], undefined],
    ["empty", "", undefined],
    ["half a character", "\ud800", undefined],
    ["a control character", "a\nb", undefined],
    ["too long", "x".repeat(limits.orderingKeyBytes + 1), limits.orderingKeyBytes],
    ["beyond exact numbers", 2 ** 53, Number.MAX_SAFE_INTEGER],
  ])("that is %s is refused with its field and limit", (_, given, limit) => {
    const error = errorOf(one(key, { key: given }));
    expect(error).toMatchObject({ code: "source-mismatch", field: "orderingKey" });
    expect(error?.limit).toBe(limit);
  });

  test("that is no message id is refused, with the limit of an id", () => {
    const error = errorOf(many(id, [{ data: 1 }, { data: { event: { id: "a.b" } } }])[1]);
    expect(error).toMatchObject({ field: "messages[1].id", limit: limits.messageIdLength });
  });
});

test("a topic that asks nothing leaves the messages as they are", () => {
  const items = [readItem({ data: 1 }, 0, stamp)];
  expect(takeInAll(items, topicWith({}), "messages")).toBe(items);
});

describe("a schema", () => {
  const schema = { type: "object", required: ["n"], properties: { n: { type: "number" } } };

  test("refuses each item for itself, naming the place and the keyword", () => {
    const items = many({ schema }, [{ data: { n: 1 } }, { data: { n: "1" } }, { data: {} }, { bad: 1 }]);
    expect(items.map((item) => errorOf(item)?.code)).toEqual([
      undefined,
      "schema-mismatch",
      "schema-mismatch",
      "invalid-request",
    ]);
    const faults = [{ field: "messages[1].data/n", detail: expect.stringMatching(/^type: /) }];
    expect(errorOf(items[1])).toMatchObject({ field: "messages[1].data/n", faults });
  });

  test.each(["text", "", "{", new Uint8Array([0xff])])("refuses what is not JSON: %j", (body) => {
    const bytes = typeof body === "string" ? utf8.encode(body) : body;
    const read = value(readRaw(new Headers(), bytes, defaultTopicSettings, stamp));
    const error = errorOf(takeInOne(read, topicWith({ schema }), new Headers()));
    expect(error).toMatchObject({ code: "schema-mismatch", field: "data" });
  });

  test("looks at JSON of any content type", () => {
    expect(one({ schema }, { n: 1 }, { "Content-Type": "text/plain" }).ok).toBe(true);
  });
});

describe("a JSON pointer", () => {
  const document = JSON.parse(
    '{"foo":["bar","baz"],"":0,"a/b":1,"c%d":2,"m~n":8,"~1":9,"__proto__":7}',
  ) as unknown;

  test.each([
    ["", document],
    ["/foo/0", "bar"],
    ["/", 0],
    ["/a~1b", 1],
    ["/c%d", 2],
    ["/m~0n", 8],
    ["/~01", 9],
    ["/__proto__", 7],
    ["/foo/-", undefined],
    ["/foo/01", undefined],
    ["/foo/2", undefined],
    ["/foo/length", undefined],
    ["/constructor", undefined],
    ["/foo/0/x", undefined],
  ])("%j", (pointer, expected) => {
    expect(valueAt(document, pointer)).toEqual(expected);
  });
});
