// CloudEvents in and out, without the network: what each mode is read as, that it goes out as it came, and that the
// SDK of the specification's authors, as a client and as a receiver, agrees.

import { CloudEvent, type CloudEventV1, HTTP, type Message as Wire } from "cloudevents";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { eventOf, messageIdOf } from "../../src/cloud-event";
import { eventBatchJson, eventJson } from "../../src/cloud-event-json";
import { fingerprintBytes } from "../../src/fingerprint";
import { eventMode, readEventBatch, readOne } from "../../src/http/event-items";
import { elementSources, memberSources } from "../../src/http/json-source";
import type { Message } from "../../src/message";
import { eventContent } from "../../src/push/webhook-event";
import { packRecords, unpackRecords } from "../../src/record-batch";
import { defaultTopicSettings } from "../../src/settings";
import { refusalOf, value } from "../support/result";

const utf8 = new TextEncoder();
const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
const PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const origin = { topic: "orders", subscription: "s", partition: 0 };
const stamp = { publishedAt: 1_000, newId: () => "made" };
const BASE = { specversion: "1.0", id: "e-1", source: "/shop", type: "order.created" };

function read(headers: Readonly<Record<string, string>>, body: string | Uint8Array = "") {
  const list = new Headers(headers);
  const mode = value(eventMode(list));
  if (mode === "batched") throw new Error("one is read here");
  const bytes = typeof body === "string" ? utf8.encode(body) : body;
  return readOne(mode, list, bytes, defaultTopicSettings, stamp);
}
const structured = (event: object, headers: Readonly<Record<string, string>> = {}) =>
  read({ "content-type": "application/cloudevents+json", ...headers }, JSON.stringify(event));
/** As a partition keeps it. */
const kept = (message: Message): Message => unpackRecords(packRecords([message]))[0] as Message;
const out = (message: Message) => eventJson(kept(message), "orders");
const binaryOut = (message: Message) => {
  const item = { offset: 1, attempt: 1, message: kept(message) };
  const { headers, fixed, body } = eventContent(origin, item, "cloudevents-binary");
  return { headers: new Headers({ ...headers, ...fixed }), body };
};

describe("the message of an event", () => {
  test("has its id, subject and content type in their places, and the rest as attributes", () => {
    const event = {
      ...BASE,
      subject: "o.7",
      time: "2026-11-24T00:00:00.123456Z",
      tenant: "acme",
      data: { a: 1 },
    };
    const { message, isClientId } = value(structured(event));
    expect(isClientId).toBe(true);
    expect({ ...message, body: text(message.body) }).toEqual({
      id: "e-1",
      publishedAt: 1_000,
      contentType: "application/json",
      subject: "o.7",
      body: '{"a":1}',
      attributes: {
        "ce-specversion": "1.0",
        "ce-source": "/shop",
        "ce-type": "order.created",
        "ce-time": "2026-11-24T00:00:00.123456Z",
        "ce-tenant": "acme",
      },
      eventShape: { untyped: true },
    });
  });

  test("is the same, by its fingerprint, in binary and in structured mode", () => {
    const event = { ...BASE, datacontenttype: "application/json", count: 5, on: true, data: { a: 1 } };
    const headers = Object.entries({ ...BASE, count: "5", on: "true" }).map(
      ([n, v]) => [`ce-${n}`, v] as const,
    );
    const binary = read({ ...Object.fromEntries(headers), "content-type": "application/json" }, '{"a":1}');
    const print = (draft: typeof binary) => fingerprintBytes(value(draft).message);
    expect(print(binary)).toEqual(print(structured(event)));
    expect(print(binary)).not.toEqual(print(structured({ ...event, count: 6 })));
    expect(value(structured(event)).message.eventShape).toEqual({ bare: ["count", "on"] });
  });

  test("has an id that a message can have, and one event id never becomes another's", () => {
    expect(messageIdOf("a.b c%é")).toBe("a%2Eb%20c%25%C3%A9");
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 0xd7ff }), { minLength: 1, maxLength: 20 }), (units) => {
        const id = String.fromCharCode(...units);
        return /^[\x21-\x2d\x2f-\x7e]+$/.test(messageIdOf(id)) && decodeURIComponent(messageIdOf(id)) === id;
      }),
    );
    expect(JSON.parse(out(value(structured({ ...BASE, id: "a.b" })).message)).id).toBe("a.b");
    expect(refusalOf(structured({ ...BASE, id: "x".repeat(129) })).field).toBe("id");
  });

  test("takes Idempotency-Key in the place of its id, and goes out with its own", () => {
    const { message } = value(structured({ ...BASE, id: "x".repeat(200) }, { "idempotency-key": "k" }));
    expect(message.id).toBe("k");
    expect(JSON.parse(out(message)).id).toBe("x".repeat(200));
    expect(eventOf(kept(message), "orders").id).toBe("x".repeat(200));
  });

  test("has the ordering key that partitionkey says, unless the header says another", () => {
    expect(value(structured({ ...BASE, partitionkey: "p" })).message.orderingKey).toBe("p");
    const { message } = value(structured({ ...BASE, partitionkey: "p" }, { "pennypost-ordering-key": "k" }));
    expect([message.orderingKey, JSON.parse(out(message)).partitionkey]).toEqual(["k", "p"]);
  });

  test("is of the trace that the event brings along, unless the request has one", () => {
    const { message } = value(structured({ ...BASE, traceparent: PARENT, tracestate: "a=b" }));
    expect(message).toMatchObject({ traceparent: PARENT, tracestate: "a=b" });
    expect(value(structured({ ...BASE, traceparent: "x" })).message.traceparent).toBeUndefined();
  });
});

describe("what is no event", () => {
  const cases: readonly (readonly [object, string])[] = [
    [{ ...BASE, specversion: "0.3" }, "specversion"],
    [{ ...BASE, id: "" }, "id"],
    [{ ...BASE, type: undefined }, "type"],
    [{ ...BASE, source: "a b" }, "source"],
    [{ ...BASE, time: "yesterday" }, "time"],
    [{ ...BASE, dataschema: "/relative" }, "dataschema"],
    [{ ...BASE, tenantId: "a" }, "tenantId"],
    [{ ...BASE, nested: {} }, "nested"],
    [{ ...BASE, ratio: 0.5 }, "ratio"],
    [{ ...BASE, big: 2 ** 31 }, "big"],
    [{ ...BASE, data: 1, data_base64: "AA==" }, "data"],
    [{ ...BASE, data_base64: "?" }, "data_base64"],
    [{ ...BASE, subject: "" }, "subject"],
    [[BASE], "body"],
  ];
  test.each(cases)("is refused by the name of its fault: %j", (event, field) => {
    expect(refusalOf(structured(event))).toMatchObject({ code: "invalid-request", field });
  });

  test("in binary mode the headers are named, and data has none", () => {
    expect(refusalOf(read({ "ce-id": "1" })).field).toBe("ce-specversion");
    const whole = { "ce-specversion": "1.0", "ce-id": "1", "ce-source": "/", "ce-type": "t" };
    expect(refusalOf(read({ ...whole, "ce-data": "x" })).field).toBe("ce-data");
    expect(refusalOf(read({ ...whole, "ce-my-name": "x" })).field).toBe("ce-my-name");
  });

  test("a format that is not JSON is refused; what only looks like one is a message", () => {
    const mode = (type: string) => eventMode(new Headers({ "content-type": type }));
    expect(refusalOf(mode("application/cloudevents+avro")).code).toBe("unsupported-content-type");
    expect(refusalOf(mode("application/cloudevents")).code).toBe("unsupported-content-type");
    expect(value(mode("application/cloudeventsish+json"))).toBeUndefined();
    expect(value(mode("Application/CloudEvents+JSON; charset=UTF-8"))).toBe("structured");
  });

  test("of a batch it refuses itself, and not its neighbours", () => {
    const items = value(readEventBatch(utf8.encode(JSON.stringify([BASE, { ...BASE, type: 1 }, 7])), stamp));
    expect(items.map((item) => (item.ok ? item.value.message.id : item.error.field))).toEqual([
      "e-1",
      "e-1",
      "[2]",
    ]);
    expect(refusalOf(readEventBatch(utf8.encode("[]"), stamp)).field).toBe("body");
    expect(refusalOf(readEventBatch(utf8.encode("{}"), stamp)).field).toBe("body");
  });
});

const ascii = fc.string({ minLength: 1, maxLength: 20 }).filter((each) => !/\p{Cc}/u.test(each));
const words = fc
  .string({ unit: "grapheme", minLength: 1, maxLength: 12 })
  .filter((each) => !/\p{Cc}/u.test(each));
const context = fc.record(
  {
    specversion: fc.constant("1.0"),
    id: fc.oneof(
      fc.uuid(),
      ascii.filter((each) => each.length < 30),
    ),
    source: fc.constantFrom("/a", "urn:x:1", "https://e.example/a?b#c", "a%20b"),
    type: words,
    subject: words,
    time: fc.constantFrom("2026-11-24T01:02:03Z", "2026-11-24t01:02:03.123456789+05:30"),
    dataschema: fc.constantFrom("https://e.example/s", "urn:s"),
    tenant: words,
    number: fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }),
    flag: fc.boolean(),
  },
  { requiredKeys: ["specversion", "id", "source", "type"] },
);
const data = fc.oneof(
  fc.record({ data: fc.jsonValue().filter((each) => !JSON.stringify(each).includes("\\ud")) }),
  fc.record({
    data: fc.jsonValue(),
    datacontenttype: fc.constantFrom("application/json", "application/x+json"),
  }),
  fc.record({
    data: words,
    datacontenttype: fc.constantFrom("text/plain", "application/xml", "application/odd"),
  }),
  fc.record({ data: fc.constant(""), datacontenttype: fc.constant("text/plain") }),
  fc
    .record({
      bytes: fc.uint8Array(),
      datacontenttype: fc.constantFrom("image/png", "text/plain", "application/json"),
    })
    .map(({ bytes, datacontenttype }) => ({
      data_base64: Buffer.from(bytes).toString("base64"),
      datacontenttype,
    })),
  fc.constant({}),
);

describe("an event goes out as it came", () => {
  test("structured: member by member", () => {
    fc.assert(
      fc.property(context, data, (attributes, content) => {
        const event = JSON.parse(JSON.stringify({ ...attributes, ...content }));
        expect(JSON.parse(out(value(structured(event)).message))).toEqual(event);
      }),
    );
  });

  test("its JSON data byte for byte, numbers that a double cannot hold among them", () => {
    const source = '{ "big": 12345678901234567890, "x": 1.10, "s": "a\\u0062,]}" }';
    const event = `{"specversion":"1.0","data":1,"id":"1","source":"/","type":"t", "data" : ${source} }`;
    const { message } = value(read({ "content-type": "application/cloudevents+json" }, event));
    expect(text(message.body)).toBe(source);
    expect(out(message)).toContain(`"data":${source}`);
  });

  test("binary: header by header and byte by byte", () => {
    fc.assert(
      fc.property(
        context,
        fc.uint8Array(),
        fc.constantFrom("text/plain", undefined),
        (attributes, body, type) => {
          const encoded = Object.entries(attributes).map(
            ([name, each]) => [`ce-${name}`, encodeURIComponent(String(each))] as const,
          );
          const headers = { ...Object.fromEntries(encoded), ...(type && { "content-type": type }) };
          const sent = binaryOut(value(read(headers, body)).message);
          expect(sent.body).toEqual(body);
          expect(sent.headers.get("content-type")).toBe(type ?? null);
          for (const [name, each] of Object.entries(attributes)) {
            expect(decodeURIComponent(sent.headers.get(`ce-${name}`) ?? "")).toBe(String(each));
          }
          expect([...sent.headers.keys()].filter((name) => name.startsWith("pennypost-attr-"))).toEqual([]);
        },
      ),
    );
  });

  test("what was not published as one is a valid event, with our source and type", () => {
    const plain: Message = {
      ...{ id: "m", publishedAt: 0, contentType: "application/json", body: utf8.encode("not json") },
      ...{ orderingKey: "k", subject: "s", attributes: { tenant: "a", "Not-One": "b" } },
    };
    const event = JSON.parse(out(plain));
    expect(event).toEqual({
      ...{
        specversion: "1.0",
        id: "m",
        source: "/v1/topics/orders",
        type: "pennypost.message",
        subject: "s",
      },
      ...{ time: "1970-01-01T00:00:00.000Z", datacontenttype: "application/json" },
      ...{ partitionkey: "k", tenant: "a", data_base64: Buffer.from("not json").toString("base64") },
    });
    expect(() => new CloudEvent(event)).not.toThrow();
  });
});

describe("the SDK", () => {
  const event = new CloudEvent({
    ...{
      id: "sdk-1",
      source: "/shop",
      type: "order.created",
      subject: "o.7",
      dataschema: "https://e.example/s",
    },
    ...{ time: "2026-11-24T00:00:00.123Z", datacontenttype: "application/json", tenant: "acme" },
    data: { a: [1, "é"] },
  });
  const readWire = ({ headers, body }: Wire) =>
    value(read(headers as Record<string, string>, String(body ?? "")));
  const same = (received: CloudEventV1<unknown> | CloudEventV1<unknown>[]) =>
    expect(JSON.parse(JSON.stringify(received))).toEqual(JSON.parse(JSON.stringify(event)));

  test("as a client, in both modes, is understood; as a receiver, in both modes, it finds its event", () => {
    for (const wire of [HTTP.binary(event), HTTP.structured(event)]) {
      const { message } = readWire(wire);
      const { headers, body } = binaryOut(message);
      same(HTTP.toEvent({ headers: Object.fromEntries(headers), body: text(body) }));
      same(HTTP.toEvent({ headers: { "content-type": "application/cloudevents+json" }, body: out(message) }));
    }
  });

  test("as a receiver takes a batch", () => {
    const { message } = readWire(HTTP.binary(event));
    const received = HTTP.toEvent({
      headers: { "content-type": "application/cloudevents-batch+json" },
      body: eventBatchJson([kept(message), kept(message)], "orders"),
    });
    expect(received).toHaveLength(2);
    for (const each of received as CloudEventV1<unknown>[]) same(each);
  });
});

describe("the source of JSON", () => {
  test("joined again, it says the same", () => {
    fc.assert(
      fc.property(
        fc.dictionary(fc.string(), fc.jsonValue()),
        fc.constantFrom(0, 2, "\t"),
        (object, space) => {
          const members = [...memberSources(JSON.stringify(object, null, space))];
          const joined = `{${members.map(([name, source]) => `${JSON.stringify(name)}:${source}`).join(",")}}`;
          expect(JSON.parse(joined)).toEqual(JSON.parse(JSON.stringify(object)));
        },
      ),
    );
    fc.assert(
      fc.property(fc.array(fc.jsonValue()), fc.constantFrom(0, 2), (array, space) => {
        const elements = elementSources(JSON.stringify(array, null, space));
        expect(elements.map((each) => JSON.parse(each))).toEqual(JSON.parse(JSON.stringify(array)));
      }),
    );
  });
});
