// Bad timing: delays, instants and lives that are refused, and cancels and moves of what is not there.

import { beforeAll, expect, test } from "vitest";
import { limits } from "../../src/limits";
import { api } from "../support/api";
import { codeOf, type Options, type Problem, unique } from "../support/contract-client";

const topic = `/v1/topics/${unique("timing")}`;
const one = `${topic}/messages/some-id`;
const FAR = "9999-01-01T00:00:00Z";

beforeAll(async () => {
  await api.call("PUT", topic, { json: { partitions: 2 } });
});

type Refused = readonly [status: number, code: string, field?: string, limit?: number];
const invalid = (field: string, limit?: number): Refused =>
  limit === undefined ? [400, "invalid-request", field] : [400, "invalid-request", field, limit];
const unknown: Refused = [404, "message-not-found", "id"];

async function expectRefused(method: string, path: string, options: Options, refused: Refused) {
  const { status, body } = await api.send<Problem & { limit?: number }>(method, path, options);
  const [expectedStatus, code, field, limit] = refused;
  expect({ status, code: codeOf(body), field: body.field, limit: body.limit }).toEqual({
    ...{ status: expectedStatus, code, field, limit },
  });
}

test.each<[string, Readonly<Record<string, string>>, Refused]>([
  ["a delay in words", { "pennypost-delay-ms": "soon" }, invalid("delayMs", limits.maxDelayMs)],
  [
    "a delay of more than a year",
    { "pennypost-delay-ms": String(limits.maxDelayMs + 1) },
    invalid("delayMs", limits.maxDelayMs),
  ],
  [
    "an instant more than a year ahead",
    { "pennypost-deliver-at": FAR },
    invalid("deliverAt", limits.maxDelayMs),
  ],
  ["an instant without its offset", { "pennypost-deliver-at": "2027-01-01T00:00:00" }, invalid("deliverAt")],
  [
    "a delay and an instant",
    { "pennypost-delay-ms": "5", "pennypost-deliver-at": "5" },
    invalid("deliverAt"),
  ],
  ["no time to live", { "pennypost-ttl-ms": "0" }, invalid("ttlMs", limits.minTtlMs)],
])("%s is refused, and nothing is stored", async (_, headers, refused) => {
  await expectRefused("POST", `${topic}/messages`, { body: "x", headers }, refused);
  for (const partition of [0, 1]) {
    const page = await api.call<{ messages: unknown[] }>("GET", `${topic}/scheduled?partition=${partition}`);
    const log = await api.call<{ head: number }>("GET", `${topic}/messages?partition=${partition}`);
    expect([page.messages, log.head]).toEqual([[], 0]);
  }
});

test.each<[string, string, string, object | undefined, Refused]>([
  ["a cancel of an unknown message", "DELETE", one, undefined, unknown],
  ["a move of an unknown message", "PATCH", one, { delayMs: 1 }, unknown],
  ["a cancel of a bad id", "DELETE", `${topic}/messages/a.b`, undefined, invalid("id")],
  ["a cancel in no partition", "DELETE", `${one}?partition=2`, undefined, invalid("partition", 1)],
  ["a move to nowhen", "PATCH", one, {}, invalid("deliverAt")],
  ["a move to two instants", "PATCH", one, { delayMs: 1, deliverAt: 1 }, invalid("deliverAt")],
  ["a move of more than a year", "PATCH", one, { deliverAt: FAR }, invalid("deliverAt", limits.maxDelayMs)],
  ["a page of no list", "GET", `${topic}/scheduled?after=x`, undefined, invalid("after")],
  ["a page of no partition", "GET", `${topic}/scheduled?partition=2`, undefined, invalid("partition", 1)],
  ["an unknown topic", "GET", "/v1/topics/nowhere/scheduled", undefined, [404, "topic-not-found"]],
])("%s is refused", async (_, method, path, json, refused) => {
  await expectRefused(method, path, json === undefined ? {} : { json }, refused);
});
