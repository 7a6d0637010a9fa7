// The headers of a webhook request: who may set what, and how a value gets through unchanged.

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Message } from "../../src/message";
import { headerSafe, messageHeaders, withEndpointHeaders } from "../../src/push/webhook-headers";

const origin = { topic: "orders", subscription: "billing", partition: 2 };
const plain: Message = { id: "m", publishedAt: 5, contentType: "text/plain", body: new Uint8Array() };
const headersOf = (message: Partial<Message>) =>
  messageHeaders(origin, { message: { ...plain, ...message }, offset: 41, attempt: 3 });

describe("the headers of a message's request", () => {
  it("say where it comes from and which attempt it is", () => {
    expect(headersOf({})).toEqual({
      "content-type": "text/plain",
      "pennypost-topic": "orders",
      "pennypost-subscription": "billing",
      "pennypost-partition": "2",
      "pennypost-offset": "41",
      "pennypost-attempt": "3",
    });
  });

  it("carry the key, the subject, the attributes and the trace", () => {
    const headers = headersOf({
      orderingKey: "order 7",
      subject: "order.created",
      attributes: { Tenant: "acme", region_1: "eu" },
      traceparent: "00-a-b-01",
    });
    expect(headers).toMatchObject({
      "pennypost-ordering-key": "order 7",
      "pennypost-subject": "order.created",
      "pennypost-attr-tenant": "acme",
      "pennypost-attr-region_1": "eu",
      traceparent: "00-a-b-01",
    });
  });

  it("keep a foreign sender's headers under their own names, as they came", () => {
    const headers = { "x-github-event": "push", "stripe-signature": "t=1,v1=50%" };
    expect(headersOf({ headers })).toMatchObject(headers);
  });

  it("never let a sender's header stand for one of ours, or for the connection's", () => {
    const forged = Object.fromEntries(
      [
        "webhook-id",
        "webhook-signature",
        "pennypost-ordering-key",
        "pennypost-attr-x",
        "cf-connecting-ip",
        "content-length",
        "Content-Type",
        "transfer-encoding",
        "connection",
        "host",
        "traceparent",
        "bad name",
        "",
      ].map((name) => [name, "forged"]),
    );
    const headers = withEndpointHeaders(headersOf({ headers: forged }), forged);
    expect(Object.values(headers)).not.toContain("forged");
  });

  it("let the endpoint's own headers win over a sender's", () => {
    const headers = withEndpointHeaders(headersOf({ headers: { authorization: "sender" } }), {
      Authorization: "Bearer endpoint",
    });
    expect(headers.authorization).toBe("Bearer endpoint");
  });
});

describe("a header value", () => {
  it("stays as it is when it is printable ASCII without percent signs", () => {
    expect(headerSafe('a b/c?d=e&f="g"')).toBe('a b/c?d=e&f="g"');
  });

  it.each([
    ["100%", "100%25"],
    ["grün", "gr%C3%BCn"],
    ["a\r\nX-Evil: 1", "a%0D%0AX-Evil: 1"],
    [" padded ", "%20padded%20"],
    ["📮", "%F0%9F%93%AE"],
  ])("%j is sent as %j", (value, safe) => {
    expect(headerSafe(value)).toBe(safe);
  });

  it("always is printable ASCII, and comes back by one percent-decoding", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary", maxLength: 50 }), (value) => {
        const safe = headerSafe(value);
        expect(safe).toMatch(/^[\x20-\x7e]*$/);
        expect(safe).toBe(safe.trim());
        expect(decodeURIComponent(safe)).toBe(value);
      }),
    );
  });
});
