// Bodies that come slowly, never end, lie about their length, or hold more than they seem to: each is refused in time,
// naming the limit, and no more of it is kept than may be.

import { expect, test } from "vitest";
import { BODY_DEPTH } from "../../src/http/json-scan";
import { readBody } from "../../src/http/request-routes";
import { limits } from "../../src/limits";
import { api } from "../support/api";
import { codeOf, type Problem, unique } from "../support/contract-client";

const AT = "https://pennypost.example/";
const SOON_MS = 20;

function requestOf(pull: (controller: ReadableStreamDefaultController<Uint8Array>) => void | Promise<void>) {
  const body = new ReadableStream<Uint8Array>({ pull }, { highWaterMark: 0 });
  return new Request(AT, { method: "POST", body });
}

test("a body that stalls is refused when its time is over", async () => {
  const stalled = await readBody(
    requestOf(() => new Promise(() => undefined)),
    1_000,
    SOON_MS,
  );
  expect(stalled).toMatchObject({ error: { code: "body-too-slow", field: "body", limit: SOON_MS } });
});

test("a body that trickles is refused as well: each part does not buy more time", async () => {
  let parts = 0;
  const trickling = requestOf(async (controller) => {
    parts += 1;
    await new Promise((next) => setTimeout(next, 0));
    controller.enqueue(new Uint8Array(1));
  });
  const refused = await readBody(trickling, 1_000_000_000, SOON_MS);
  expect(refused).toMatchObject({ error: { code: "body-too-slow" } });
  expect(parts).toBeGreaterThan(1);
});

test("a body that says no length is cut off where it passes the limit", async () => {
  let read = 0;
  const endless = requestOf((controller) => {
    read += 100;
    controller.enqueue(new Uint8Array(100));
  });
  const refused = await readBody(endless, 1_000);
  expect(refused).toMatchObject({ error: { code: "payload-too-large", field: "body", limit: 1_000 } });
  expect(read).toBeLessThanOrEqual(1_300);
});

test("a body that says it is too large is refused unread", async () => {
  let read = 0;
  const count = () => {
    read += 1;
  };
  const body = new ReadableStream<Uint8Array>({ pull: count }, { highWaterMark: 0 });
  const request = new Request(AT, { method: "POST", body, headers: { "content-length": "1001" } });
  const refused = await readBody(request, 1_000);
  expect(refused).toMatchObject({ error: { code: "payload-too-large", limit: 1_000 } });
  expect(read).toBe(0);
});

test.each(["x", "-5", "1e3", "0x10", " "])(
  "a length that is no number, %j, does not lift the limit",
  async (length) => {
    const headers = new Headers([["content-length", length]]);
    const body = new ReadableStream<Uint8Array>(
      { pull: (controller) => controller.enqueue(new Uint8Array(100)) },
      { highWaterMark: 0 },
    );
    const request = {
      body,
      headers,
      bytes: () => Promise.resolve(new Uint8Array(5_000)),
    } as unknown as Request;
    expect(await readBody(request, 1_000)).toMatchObject({ error: { code: "payload-too-large" } });
  },
);

test("JSON that is too deep or has too many parts is refused before it is parsed, on every sort of route", async () => {
  const name = unique("bodies");
  const [topic, queue] = [`/v1/topics/${name}`, `/v1/queues/${name}-q`];
  await api.call("PUT", topic, { json: {} });
  await api.call("PUT", queue, { json: {} });
  const deep = `{"messages":${"[".repeat(500_000)}`;
  const shallowButDeep = `{"a":${"[".repeat(BODY_DEPTH)}${"]".repeat(BODY_DEPTH)}}`;
  const wide = `{"messages":[${"{},".repeat(limits.jsonContainers)}{}]}`;
  const cases: [string, string, string, number][] = [
    [`${topic}/messages/batch`, "application/json", deep, BODY_DEPTH],
    [`${topic}/messages/batch`, "application/json", wide, limits.jsonContainers],
    [`${queue}/pull`, "application/json", deep, BODY_DEPTH],
    [`${queue}/pull`, "application/json", shallowButDeep, BODY_DEPTH],
  ];
  for (const [path, type, body, limit] of cases) {
    const answer = await api.send<Problem & { limit: number }>("POST", path, {
      body,
      headers: { "content-type": type },
    });
    expect([answer.status, codeOf(answer.body), answer.body.field, answer.body.limit]).toEqual([
      400,
      "invalid-request",
      "body",
      limit,
    ]);
  }
  const line = await api.send<Problem & { messages: { error: Problem }[] }>(
    "POST",
    `${topic}/messages/batch`,
    {
      body: deep,
      headers: { "content-type": "application/x-ndjson" },
    },
  );
  expect([line.status, line.body.messages[0]?.error.field]).toEqual([422, "messages[0]"]);
});

test("headers that a topic keeps are bounded together", async () => {
  const topic = `/v1/topics/${unique("kept")}`;
  await api.call("PUT", topic, { json: { keepHeaders: ["x-a", "x-b"] } });
  const half = "x".repeat(limits.keptHeadersBytes / 2);
  const headers = { "x-a": half, "x-b": half };
  const { status, body } = await api.send<Problem & { limit: number }>("POST", `${topic}/messages`, {
    headers,
  });
  expect([status, body.field, body.limit]).toEqual([400, "headers", limits.keptHeadersBytes]);
});
