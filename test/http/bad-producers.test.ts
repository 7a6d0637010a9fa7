// Bad producers: names and numbers that are refused, before anything is stored.

import { beforeAll, expect, test } from "vitest";
import { limits } from "../../src/limits";
import { api } from "../support/api";
import { codeOf, type Problem, unique } from "../support/contract-client";

const topic = `/v1/topics/${unique("producers")}`;
const NAME = "Pennypost-Producer";
const SEQUENCE = "Pennypost-Sequence";

beforeAll(async () => {
  await api.call("PUT", topic, { json: {} });
});

test.each<[string, Readonly<Record<string, string>>, string]>([
  ["a producer without a number", { [NAME]: "outbox" }, SEQUENCE],
  ["a number without a producer", { [SEQUENCE]: "1" }, NAME],
  ["a name with a slash", { [NAME]: "a/b", [SEQUENCE]: "1" }, NAME],
  ["a name that is too long", { [NAME]: "a".repeat(limits.nameLength + 1), [SEQUENCE]: "1" }, NAME],
  ["the number 0", { [NAME]: "outbox", [SEQUENCE]: "0" }, SEQUENCE],
  ["a number in words", { [NAME]: "outbox", [SEQUENCE]: "one" }, SEQUENCE],
  ["a number with a fraction", { [NAME]: "outbox", [SEQUENCE]: "1.5" }, SEQUENCE],
  ["a number past the largest", { [NAME]: "outbox", [SEQUENCE]: String(limits.maxSequence + 1) }, SEQUENCE],
])("%s is refused, of one message and of many", async (_, headers, field) => {
  const single = await api.send<Problem>("POST", `${topic}/messages`, { body: "x", headers });
  const json = { messages: [{ data: "x" }] };
  const batch = await api.send<Problem>("POST", `${topic}/messages/batch`, { json, headers });
  for (const { status, body } of [single, batch]) {
    expect([status, codeOf(body), body.field]).toEqual([400, "invalid-request", field]);
  }
});

test("a batch whose last number would be past the largest is refused", async () => {
  const headers = { [NAME]: "outbox", [SEQUENCE]: String(limits.maxSequence) };
  const json = { messages: [{ data: "x" }, { data: "y" }] };
  const { status, body } = await api.send<Problem>("POST", `${topic}/messages/batch`, { json, headers });
  expect([status, body.field]).toEqual([400, SEQUENCE]);
});

test.each<[string, unknown, string]>([
  ["nothing", {}, "lastSequence"],
  ["a negative number", { lastSequence: -1 }, "lastSequence"],
  ["a partition that there is not", { lastSequence: 1, partition: 1 }, "partition"],
])("a producer cannot begin at %s", async (_, json, field) => {
  const { status, body } = await api.send<Problem>("PUT", `${topic}/producers/outbox`, { json });
  expect([status, codeOf(body), body.field]).toEqual([400, "invalid-request", field]);
});
