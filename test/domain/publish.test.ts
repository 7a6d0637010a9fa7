// From what a publisher sent to record batches, and back to one result per message.

import { describe, expect, test } from "vitest";
import { type BrokerError, ok, type Result, refuse } from "../../src/errors";
import {
  bind,
  cutToRows,
  type Entry,
  itemResults,
  mayAccept,
  noteAll,
  noteStored,
  type Outcomes,
  packAll,
  refusalOf,
  refuseTogether,
  statusOf,
} from "../../src/http/publish";
import { readAtomic, readBatch } from "../../src/http/publish-body";
import {
  type Draft,
  prefersMatched,
  prefersWait,
  readItem,
  readRaw,
  traceOf,
} from "../../src/http/publish-items";
import { limits } from "../../src/limits";
import type { Message } from "../../src/message";
import { partitionOf, unpackRecords } from "../../src/record-batch";
import { defaultTopicSettings, type TopicSettings } from "../../src/settings";

const utf8 = new TextEncoder();
const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
let serial = 0;
const newId = () => `made-${++serial}`;
const stamp = { publishedAt: 5, newId };

const value = <T>(result: Result<T>): T => {
  if (!result.ok) throw new Error(result.error.detail);
  return result.value;
};
const errorOf = (result: Result<unknown>): BrokerError => {
  if (result.ok) throw new Error("it was not refused");
  return result.error;
};
const raw = (headers: Record<string, string>, settings: Partial<TopicSettings> = {}, body = "hi") =>
  readRaw(new Headers(headers), utf8.encode(body), { ...defaultTopicSettings, ...settings }, stamp);
const item = (fields: unknown) => readItem(fields, 3, stamp);

describe("one message from headers and a raw body", () => {
  test("headers carry everything but the body, which is taken byte for byte", () => {
    const { message, isClientId } = value(
      raw({
        "Content-Type": "text/csv",
        "Idempotency-Key": "order-1",
        "Pennypost-Ordering-Key": "k",
        "Pennypost-Subject": "a.b",
        "Pennypost-Attr-Tenant": "acme",
      }),
    );
    expect(isClientId).toBe(true);
    expect(text(message.body)).toBe("hi");
    expect(message).toMatchObject({
      id: "order-1",
      publishedAt: 5,
      contentType: "text/csv",
      orderingKey: "k",
      subject: "a.b",
      attributes: { tenant: "acme" },
    });
  });

  test("without an id one is made, and it is not the client's", () => {
    const { message, isClientId } = value(raw({}));
    expect(isClientId).toBe(false);
    expect(message.id).toMatch(/^made-/);
    expect(message.contentType).toBe("application/octet-stream");
  });

  test("an Idempotency-Key may be a quoted string, and its escapes are undone", () => {
    expect(value(raw({ "Idempotency-Key": '"a\\"b\\\\c"' })).message.id).toBe('a"b\\c');
    expect(value(raw({ "Idempotency-Key": "bare" })).message.id).toBe("bare");
  });

  test.each(['"open', '"a"b"', '"a\\x"', '""'])("the Idempotency-Key %s is refused", (key) => {
    expect(errorOf(raw({ "Idempotency-Key": key }))).toMatchObject({ code: "invalid-request", field: "id" });
  });

  test("the topic says which header of a foreign sender is the id, and which are kept", () => {
    const headers = { "X-GitHub-Delivery": "d-1", "X-GitHub-Event": "push", "X-Other": "no" };
    const settings = { idHeader: "x-github-delivery", keepHeaders: ["x-github-event", "x-absent"] };
    const { message, isClientId } = value(raw(headers, settings));
    expect([message.id, isClientId]).toEqual(["d-1", true]);
    expect(message.headers).toEqual({ "x-github-event": "push" });
    expect(value(raw({ ...headers, "Idempotency-Key": "mine" }, settings)).message.id).toBe("mine");
  });

  test.each([
    ["Pennypost-Delay-Ms", "delayMs"],
    ["Pennypost-Deliver-At", "deliverAt"],
    ["Pennypost-Ttl-Ms", "ttlMs"],
  ])("%s that cannot be read is refused by name rather than ignored", (header, field) => {
    expect(errorOf(raw({ [header]: "soon" }))).toMatchObject({ code: "invalid-request", field });
  });

  test("headers delay the message and let it expire", () => {
    const draft = value(raw({ "Pennypost-Delay-Ms": "100", "Pennypost-Ttl-Ms": "10" }));
    expect(draft.message).toMatchObject({ deliverAt: 105, expiresAt: 115 });
    expect(draft.timing).toEqual({ delayMs: 100, ttlMs: 10 });
    expect(value(raw({}))).not.toHaveProperty("timing");
  });

  test("a message that is larger than the limit is refused with the limit", () => {
    const error = errorOf(raw({}, {}, "x".repeat(limits.messageBytes + 1)));
    expect(error).toMatchObject({ code: "payload-too-large", field: "data", limit: limits.messageBytes });
  });

  test.each([
    ["wait", true],
    ["respond-async, wait=10", true],
    ["Wait; x=1", true],
    ["nowait", false],
    ["waiting", false],
  ])("Prefer: %s asks to wait: %s", (prefer, expected) => {
    expect(prefersWait(new Headers({ prefer }))).toBe(expected);
  });

  test.each([
    ["matched", true],
    ["wait, Matched", true],
    ["wait=10,matched;x", true],
    ["wait", false],
    ["unmatched", false],
  ])("Prefer: %s asks what it matched: %s", (prefer, expected) => {
    expect(prefersMatched(new Headers({ prefer }))).toBe(expected);
  });

  test("a traceparent that is not well formed counts as absent", () => {
    const good = `00-${"a".repeat(32)}-${"b".repeat(16)}-01`;
    expect(traceOf(new Headers({ traceparent: good }))).toEqual({ traceparent: good });
    expect(traceOf(new Headers({ traceparent: "x" }))).toEqual({});
  });
});

describe("an item of a batch", () => {
  test("a string is its UTF-8 bytes, any other value its JSON, and base64 what it encodes", () => {
    const bodies = [{ data: "é" }, { data: { a: [1, null] } }, { data: null }, { dataBase64: "/wA=" }].map(
      (fields) => value(item(fields)).message,
    );
    expect(bodies.map(({ body }) => [...body])).toEqual([
      [...utf8.encode("é")],
      [...utf8.encode('{"a":[1,null]}')],
      [...utf8.encode("null")],
      [0xff, 0x00],
    ]);
    expect(bodies.map(({ contentType }) => contentType)).toEqual([
      "text/plain; charset=utf-8",
      "application/json",
      "application/json",
      "application/octet-stream",
    ]);
  });

  test.each<[string, unknown, string]>([
    ["no object", 7, "messages[3]"],
    ["an array", [], "messages[3]"],
    ["nothing to say", {}, "messages[3].data"],
    ["two bodies", { data: "a", dataBase64: "YQ==" }, "messages[3].data"],
    ["bad base64", { dataBase64: "*" }, "messages[3].dataBase64"],
    ["base64 that is no string", { dataBase64: 1 }, "messages[3].dataBase64"],
    ["half a character", { data: "\ud800" }, "messages[3].data"],
    ["half a character in its key", { data: "", orderingKey: "\udc00" }, "messages[3].orderingKey"],
    ["an id that is no string", { data: "", id: 7 }, "messages[3].id"],
    ["an id with a dot", { data: "", id: "a.b" }, "messages[3].id"],
    ["an empty id", { data: "", id: "" }, "messages[3].id"],
    ["an empty key", { data: "", orderingKey: "" }, "messages[3].orderingKey"],
    ["a null key", { data: "", orderingKey: null }, "messages[3].orderingKey"],
    ["attributes that are no object", { data: "", attributes: [] }, "messages[3].attributes"],
    ["an attribute that is no string", { data: "", attributes: { a: 1 } }, "messages[3].attributes"],
    ["an attribute with a bad name", { data: "", attributes: { "a b": "" } }, "messages[3].attributes.a b"],
    ["a delay of text", { data: "", delayMs: "5" }, "messages[3].delayMs"],
    ["a delay of two sorts", { data: "", delayMs: 5, deliverAt: 5 }, "messages[3].deliverAt"],
    ["a typo", { dta: "" }, "messages[3].dta"],
  ])("%s is refused, naming the field", (_, fields, field) => {
    expect(errorOf(item(fields))).toMatchObject({ code: "invalid-request", field });
  });

  test("JSON nested beyond the limit is refused with the limit", () => {
    const deep = JSON.parse(`${"[".repeat(50_000)}${"]".repeat(50_000)}`);
    expect(errorOf(item({ data: deep }))).toMatchObject({
      field: "messages[3].data",
      limit: limits.jsonDepth,
    });
    const fits = JSON.parse(`${"[".repeat(limits.jsonDepth)}${"]".repeat(limits.jsonDepth)}`);
    expect(item({ data: fits }).ok).toBe(true);
  });
});

describe("the body of a batch", () => {
  const read = (body: string, type = "application/json", atomic: string | null = null) => {
    const asked = readAtomic(atomic);
    return asked.ok ? readBatch(utf8.encode(body), type, asked.value) : asked;
  };

  test("JSON has messages, and may be atomic", () => {
    expect(value(read('{"messages":[1,2],"atomic":true}'))).toEqual({ values: [ok(1), ok(2)], atomic: true });
  });

  test("NDJSON has one message a line; blank lines are none, and a bad line refuses itself", () => {
    const batch = value(read('{"a":1}\r\n\n{bad\n  \n"x"', "application/x-ndjson", "true"));
    expect(batch.atomic).toBe(true);
    expect(batch.values.map((each) => each.ok)).toEqual([true, false, true]);
    expect(batch.values[1]).toMatchObject({ error: { code: "malformed-body", field: "messages[1]" } });
  });

  test.each<[string, string, string | undefined]>([
    ["[]", "invalid-request", "body"],
    ["{}", "invalid-request", "messages"],
    ["", "invalid-request", "messages"],
    ['{"messages":{}}', "invalid-request", "messages"],
    ['{"messages":[]}', "invalid-request", "messages"],
    ['{"messages":[1],"atomic":1}', "invalid-request", "atomic"],
    ['{"messages":[1],"atmic":true}', "invalid-request", "atmic"],
    ['{"messages":', "malformed-body", "body"],
  ])("the batch %s is refused", (body, code, field) => {
    expect(errorOf(read(body))).toMatchObject({ code, field });
  });

  test("more messages than the limit are refused with the limit", () => {
    const lines = "1\n".repeat(limits.publishMessages + 1);
    expect(errorOf(read(lines, "application/x-ndjson"))).toMatchObject({ limit: limits.publishMessages });
  });

  test("another content type than JSON is refused", () => {
    expect(errorOf(read("a=1", "application/x-www-form-urlencoded")).code).toBe("unsupported-content-type");
  });
});

describe("record batches", () => {
  const message = (id: string, more: Partial<Message> = {}): Message => ({
    ...{ id, publishedAt: 1, contentType: "t", body: utf8.encode(id) },
    ...more,
  });
  const topic = { generation: "g", partitions: 8 };
  const entries = (...messages: Message[]): Entry[] =>
    messages.map((each, index) => ({ index, message: each }));

  test("messages go by their ordering key, else by their client's id, else all to one partition of choice", () => {
    const mixed: Entry[] = [
      { index: 0, message: message("a", { orderingKey: "k" }), fingerprint: "f" },
      { index: 1, message: message("b"), fingerprint: "f" },
      { index: 2, message: message("c") },
      { index: 3, message: message("d") },
    ];
    const bounds = bind(mixed, topic, { choice: 0.9999, newId });
    const partitionOfIndex = (index: number) =>
      bounds.find(({ indexes }) => indexes.includes(index))?.batch.partition;
    expect([0, 1, 2, 3].map(partitionOfIndex)).toEqual([partitionOf("k", 8), partitionOf("b", 8), 7, 7]);
  });

  test("each partition gets one record batch, in order, with the fingerprints of client ids", () => {
    const [bound] = bind(
      [
        { index: 4, message: message("a") },
        { index: 6, message: message("b"), fingerprint: "f" },
      ],
      { generation: "g", partitions: 1 },
      { choice: 0, newId },
    );
    expect(bound?.indexes).toEqual([4, 6]);
    expect(bound?.batch).toMatchObject({ generation: "g", partition: 0, count: 2 });
    expect(bound?.batch.clientIds).toEqual([{ index: 1, id: "b", fingerprint: "f" }]);
    expect(unpackRecords(bound?.batch.records ?? new Uint8Array()).map(({ id }) => id)).toEqual(["a", "b"]);
  });

  test("an ordering key, or more bytes than a Cloudflare Queue message holds, may not be accepted", () => {
    const how = { choice: 0, newId };
    const keyed = entries(message("a", { orderingKey: "k" }));
    const large = entries(message("a", { body: new Uint8Array(limits.acceptedRecordsBytes) }));
    const small = entries(message("a"));
    expect([keyed, large, small].map((each) => mayAccept(bind(each, topic, how), each))).toEqual([
      false,
      false,
      true,
    ]);
  });

  test("ids that make a record batch too large for the Cloudflare Queue send it the stored way", () => {
    const many = Array.from({ length: limits.publishMessages }, (_, index): Entry => {
      const id = `${index}`.padStart(limits.messageIdLength, "x");
      return {
        index,
        message: { ...message("m"), body: new Uint8Array(), id: "m" },
        fingerprint: `${id}${id}`,
      };
    });
    const bounds = bind(many, { generation: "g", partitions: 1 }, { choice: 0, newId });
    expect(mayAccept(bounds, many)).toBe(true);
    expect(packAll(bounds)).toBeUndefined();
  });

  test("a record batch larger than a row is cut into rows, in order, and loses nothing", () => {
    const third = Math.floor(limits.rowBytes / 3);
    const large = Array.from({ length: 7 }, (_, index): Entry => {
      return {
        index,
        message: message(`m${index}`, { body: new Uint8Array(third) }),
        fingerprint: `f${index}`,
      };
    });
    const [bound] = bind(large, { generation: "g", partitions: 1 }, { choice: 0, newId });
    if (!bound) throw new Error("no record batch");
    const cuts = cutToRows(bound, newId);
    expect(cuts.flatMap(({ indexes }) => indexes)).toEqual([0, 1, 2, 3, 4, 5, 6]);
    expect(cuts.every(({ batch }) => batch.records.byteLength <= limits.rowBytes)).toBe(true);
    expect(new Set(cuts.map(({ batch }) => batch.batchId)).size).toBe(cuts.length);
    for (const { batch } of cuts) {
      const messages = unpackRecords(batch.records);
      expect(batch.count).toBe(messages.length);
      expect(batch.clientIds.map(({ index }) => messages[index]?.id)).toEqual(messages.map(({ id }) => id));
    }
  });
});

describe("the answer", () => {
  const draft = (id: string): Result<Draft> =>
    ok({ message: { id, publishedAt: 1, contentType: "t", body: new Uint8Array() }, isClientId: true });
  const bound = {
    batch: {
      batchId: "b",
      generation: "g",
      partition: 2,
      count: 4,
      clientIds: [],
      records: new Uint8Array(),
    },
    indexes: [1, 3, 4, 6],
  };

  test("what is no exception took the next offset, in the order it was sent", () => {
    const outcomes: Outcomes = new Map();
    const error = refuse("id-reused", "No.").error;
    const exceptions = [
      { index: 1, duplicateOf: 2 },
      { index: 2, error },
    ];
    noteStored(outcomes, bound, { batchId: "b", firstOffset: 10, count: 4, exceptions });
    expect(Object.fromEntries(outcomes)).toEqual({
      1: { status: "stored", partition: 2, offset: 10, duplicate: false },
      3: { status: "stored", partition: 2, offset: 2, duplicate: true },
      4: { status: "refused", error },
      6: { status: "stored", partition: 2, offset: 11, duplicate: false },
    });
  });

  test("one bad item refuses itself and not its neighbours", () => {
    const items = [draft("a"), refuse("invalid-request", "No.", { field: "messages[1].id" })];
    const outcomes: Outcomes = new Map();
    noteAll(outcomes, { ...bound, indexes: [0] });
    outcomes.set(1, { status: "refused", error: errorOf(items[1] as Result<Draft>) });
    expect(statusOf(outcomes)).toBe("accepted");
    expect(itemResults(items, outcomes)).toMatchObject([
      { id: "a" },
      { error: { status: 400, field: "messages[1].id" } },
    ]);
  });

  test("atomic: one refused item refuses all, and only it says why", () => {
    const items = [draft("a"), refuse("invalid-request", "No."), draft("c")];
    const outcomes = refuseTogether(items) ?? new Map();
    expect(itemResults(items, outcomes)).toMatchObject([
      { id: "a", error: { type: "/docs/problems#atomic-refused" } },
      { error: { type: "/docs/problems#invalid-request" } },
      { id: "c", error: { type: "/docs/problems#atomic-refused" } },
    ]);
    expect(refusalOf(outcomes, true).code).toBe("atomic-refused");
    expect(refuseTogether([draft("a")])).toBeUndefined();
  });

  test("a reason that all items share because the broker is busy is the request's own", () => {
    const outcomes: Outcomes = new Map();
    noteAll(outcomes, bound, { code: "too-many-requests", detail: "Wait.", retryAfterMs: 9 });
    expect(refusalOf(outcomes, false)).toMatchObject({ code: "too-many-requests", retryAfterMs: 9 });
    noteAll(outcomes, bound, { code: "id-reused", detail: "No." });
    expect(refusalOf(outcomes, false).code).toBe("all-refused");
  });
});
