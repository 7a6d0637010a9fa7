// A batch of messages in one request, and what an endpoint may answer about each.

import { describe, expect, it } from "vitest";
import { limits } from "../../src/limits";
import type { Item } from "../../src/push/dispatch-plan";
import { batchBody, batchComposition, batchFailures } from "../../src/push/webhook-batch";

const utf8 = new TextEncoder();
const item = (offset: number, id = `m${offset}`): Item => ({
  offset,
  attempt: 1,
  message: { id, publishedAt: 5, contentType: "text/plain", body: utf8.encode(`body ${offset}`) },
});
const items = [item(1), item(2), item(3)];
const json = (text: string, more: { contentType?: string | null; whole?: boolean } = {}) =>
  batchFailures({ contentType: "application/json", whole: true, text, ...more }, items);

describe("a batch", () => {
  it("shows each message with its place and attempt", () => {
    expect(JSON.parse(batchBody(4, [item(1)]))).toEqual({
      messages: [
        {
          id: "m1",
          partition: 4,
          offset: 1,
          attempt: 1,
          contentType: "text/plain",
          data: "body 1",
          publishedAt: 5,
        },
      ],
    });
  });

  it("has one composition for the same messages, and another for any other", () => {
    const compositions = [
      batchComposition(0, items),
      batchComposition(0, items.slice(0, 2)),
      batchComposition(1, items),
      batchComposition(0, [item(9, "m1"), item(2), item(3)]),
      batchComposition(0, [...items].reverse()),
    ];
    expect(new Set(compositions).size).toBe(compositions.length);
    expect(batchComposition(0, [...items])).toBe(compositions[0]);
  });
});

describe("a 2xx answer to a batch", () => {
  it.each([
    ["", {}],
    ["OK", { contentType: "text/plain" }],
    ['{"failed":[{"id":"m1"}]}', { contentType: null }],
    ["{}", {}],
    ['{"status":"ok"}', { contentType: "application/problem+json; charset=utf-8" }],
    ["[]", {}],
    ['{"failed":[]}', {}],
  ])("acknowledges all with %j %j", (text, more) => {
    expect(json(text, more)).toEqual(new Map());
  });

  it("leaves out what it names as failed, with its reason", () => {
    expect(json('{"failed":[{"id":"m1","reason":"no such account"},{"id":"m3"}]}')).toEqual(
      new Map([
        ["m1", "no such account"],
        ["m3", "named as failed by the endpoint"],
      ]),
    );
  });

  it("keeps a reason of bounded length", () => {
    const long = JSON.stringify({ failed: [{ id: "m1", reason: "x".repeat(10_000) }] });
    expect(json(long)?.get("m1")).toHaveLength(limits.responseKeptLength);
  });

  it.each([
    "{",
    '{"failed":true}',
    '{"failed":["m1"]}',
    '{"failed":[{"id":7}]}',
    '{"failed":[{"id":"not in this batch"}]}',
  ])("acknowledges nothing when it says it is JSON and is %j", (text) => {
    expect(json(text)).toBeUndefined();
  });

  it("acknowledges nothing when its JSON was cut short", () => {
    expect(json("{}", { whole: false })).toBeUndefined();
    expect(json("", { whole: false })).toBeUndefined();
  });
});
