// A message as JSON: nothing of it is lost or changed.

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Message } from "../../src/message";
import { messageJson } from "../../src/message-json";

const plain: Message = { id: "m", publishedAt: 5, contentType: "text/plain", body: new Uint8Array() };
const bytesOf = (json: { data?: string; dataBase64?: string }) =>
  json.data !== undefined ? Buffer.from(json.data, "utf8") : Buffer.from(json.dataBase64 ?? "", "base64");

describe("a message as JSON", () => {
  it("leaves out what the message does not have", () => {
    expect(messageJson(plain)).toEqual({ id: "m", publishedAt: 5, contentType: "text/plain", data: "" });
  });

  it("keeps everything the message has", () => {
    const rest = {
      orderingKey: "k",
      subject: "a.b",
      attributes: { x: "1" },
      headers: { "x-github-event": "push" },
      traceparent: "00-1-2-01",
    };
    expect(messageJson({ ...plain, ...rest })).toEqual({
      id: "m",
      publishedAt: 5,
      contentType: "text/plain",
      data: "",
      ...rest,
    });
  });

  it("carries any bytes through JSON unchanged, in exactly one of data and dataBase64", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (body) => {
        const json = JSON.parse(JSON.stringify(messageJson({ ...plain, body })));
        expect("data" in json).not.toBe("dataBase64" in json);
        expect([...bytesOf(json)]).toEqual([...body]);
      }),
    );
  });

  it("keeps a byte order mark", () => {
    const body = new Uint8Array([0xef, 0xbb, 0xbf, 0x61]);
    expect([...bytesOf(messageJson({ ...plain, body }))]).toEqual([...body]);
  });

  it("carries a megabyte that is not UTF-8", () => {
    const body = new Uint8Array(1024 * 1024).fill(0xff);
    expect(bytesOf(messageJson({ ...plain, body })).byteLength).toBe(body.byteLength);
  });
});
