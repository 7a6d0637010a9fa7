// Clause 7, recurring publishes: what can be asked for, what is shown, who may. That runs come at their instant, once,
// is held by test/catalog/schedule-firing.test.ts, where the test moves the clock.

import { afterAll, describe, expect, test } from "vitest";
import { limits } from "../../src/limits";
import { codeOf, type Options, type Problem, unique } from "../support/contract-client";
import { brokerUnderTest } from "../support/contract-target";

type Schedule = Readonly<{
  name: string;
  topic: string;
  timeZone: string;
  paused: boolean;
  pausedReason: string | null;
  nextRunAt: number | null;
  lastRunAt: number | null;
  version: number;
  createdAt: number;
  message: Readonly<Record<string, unknown>>;
}>;
type Listed = Readonly<{ schedules: readonly Schedule[]; next: string | null }>;

const broker = await brokerUnderTest();
const topicName = unique("scheduled");
await broker.topic({}, topicName);
const made: string[] = [];
const day = 24 * 60 * 60_000;
const daily = { topic: topicName, cron: "0 0 * * *", message: { data: "go" } };

afterAll(async () => {
  for (const path of made) await broker.send("DELETE", path);
});

/** The path of a schedule that nobody else knows. */
function newPath(name = unique("schedule")): string {
  made.push(`/v1/schedules/${name}`);
  return `/v1/schedules/${name}`;
}

const put = (path: string, json: object, options: Options = {}) =>
  broker.send<Schedule & Problem>("PUT", path, { json, ...options });
async function tokenFor(verb: string, topics: string): Promise<string> {
  const json = { name: "schedules", scopes: [{ verb, topics }] };
  const { id, token } = await broker.call<{ id: string; token: string }>("POST", "/v1/tokens", { json });
  made.push(`/v1/tokens/${id}`);
  return token;
}

describe("clause 7: a schedule", () => {
  test("clause 7: says when it runs next, and that nothing ran yet", async () => {
    const name = unique("nightly");
    const { status, body } = await put(newPath(name), daily);
    expect(status).toBe(201);
    expect(body).toMatchObject({
      ...{ name, topic: topicName, timeZone: "UTC", paused: false, pausedReason: null },
      ...{ lastRunAt: null, lastOutcome: null, version: 1 },
      message: { contentType: "text/plain; charset=utf-8", data: "go" },
    });
    expect(body.nextRunAt).toBe(Math.floor(body.createdAt / day + 1) * day);
  });

  test("clause 7: keeps to the clock of its time zone", async () => {
    const { body } = await put(newPath(), { ...daily, cron: "30 9 * * *", timeZone: "Asia/Kathmandu" });
    // 5:45 ahead of UTC, all year.
    expect((body.nextRunAt ?? 0) % day).toBe((3 * 60 + 45) * 60_000);
  });

  test("clause 7: the same PUT again changes nothing, and another changes it", async () => {
    const path = newPath();
    const first = await put(path, daily);
    const again = await put(path, daily);
    expect([again.status, again.body]).toEqual([200, first.body]);
    const changed = await put(path, { ...daily, message: { data: { n: 1 }, subject: "a.b" } });
    expect(changed.body).toMatchObject({
      ...{ version: 2, nextRunAt: first.body.nextRunAt, createdAt: first.body.createdAt },
      message: { contentType: "application/json", data: '{"n":1}', subject: "a.b" },
    });
    expect(await broker.call("GET", path)).toEqual(changed.body);
  });

  test("clause 7: its message is kept byte for byte", async () => {
    const message = {
      ...{ dataBase64: "/wD+", contentType: "image/x", orderingKey: "k", attributes: { a: "1" } },
    };
    const path = newPath();
    await put(path, { ...daily, message });
    expect((await broker.call<Schedule>("GET", path)).message).toEqual(message);
  });

  test("clause 7: is paused and resumed, twice like once, and a PUT that does not say so leaves it paused", async () => {
    const path = newPath();
    const { nextRunAt } = (await put(path, daily)).body;
    for (let i = 0; i < 2; i++) {
      const paused = await broker.call<Schedule>("POST", `${path}/pause`);
      expect(paused).toMatchObject({ paused: true, pausedReason: null, nextRunAt: null, version: 2 });
    }
    expect((await put(path, daily)).body.paused).toBe(true);
    for (let i = 0; i < 2; i++) {
      const resumed = await broker.call<Schedule>("POST", `${path}/resume`);
      expect(resumed).toMatchObject({ paused: false, nextRunAt, version: 3 });
    }
    expect((await put(path, { ...daily, paused: true })).body.paused).toBe(true);
  });

  test("clause 7: cannot be resumed when its topic is gone", async () => {
    const name = unique("short-lived");
    await broker.topic({}, name);
    const path = newPath();
    await put(path, { ...daily, topic: name, paused: true });
    await broker.call("DELETE", `/v1/topics/${name}`);
    const { status, body } = await broker.send("POST", `${path}/resume`);
    expect([status, codeOf(body)]).toEqual([404, "topic-not-found"]);
  });

  test("clause 7: publishes to a queue as well", async () => {
    const queue = unique("queue");
    await broker.queue({}, queue);
    expect((await put(newPath(), { ...daily, topic: queue })).status).toBe(201);
  });

  test("clause 7: is listed by name, a page at a time, without its message", async () => {
    const prefix = unique("page");
    for (const letter of ["a", "b", "c"]) await put(newPath(`${prefix}-${letter}`), daily);
    const first = await broker.call<Listed>("GET", `/v1/schedules?after=${prefix}&limit=2`);
    expect(first.schedules.map(({ name }) => name)).toEqual([`${prefix}-a`, `${prefix}-b`]);
    expect(first.schedules[0]).not.toHaveProperty("message");
    const rest = await broker.call<Listed>("GET", `/v1/schedules?after=${first.next}&limit=1`);
    expect(rest.schedules.map(({ name }) => name)).toEqual([`${prefix}-c`]);
  });

  test("clause 7: deleted, it is not there", async () => {
    const path = newPath();
    await put(path, daily);
    expect((await broker.send("DELETE", path)).status).toBe(204);
    for (const [method, at] of [
      ["GET", path],
      ["DELETE", path],
      ["POST", `${path}/pause`],
      ["POST", `${path}/resume`],
    ] as const) {
      const { status, body } = await broker.send(method, at);
      expect([method, status, codeOf(body)]).toEqual([method, 404, "schedule-not-found"]);
    }
  });
});

describe("clause 7: a bad schedule", () => {
  const cases: [string, object, number, string, string | undefined][] = [
    ["with seconds", { cron: "0 0 * * * *" }, 400, "invalid-request", "cron"],
    ["of a day that never comes", { cron: "0 0 30 2 *" }, 400, "invalid-request", "cron"],
    ["without an expression", { cron: undefined }, 400, "invalid-request", "cron"],
    ["with an expression of absurd length", { cron: "1,".repeat(200) }, 400, "invalid-request", "cron"],
    ["in no time zone", { timeZone: "Mars/Phobos" }, 400, "invalid-request", "timeZone"],
    ["for a topic that is not there", { topic: unique("nowhere") }, 404, "topic-not-found", "topic"],
    ["without a message", { message: undefined }, 400, "invalid-request", "message"],
    ["with an empty message", { message: {} }, 400, "invalid-request", "message.data"],
    ["whose message has an id", { message: { data: "x", id: "a" } }, 400, "invalid-request", "message.id"],
    ["that delays", { message: { data: "x", delayMs: 5 } }, 400, "invalid-request", "message.delayMs"],
    ["with no base64", { message: { dataBase64: "?" } }, 400, "invalid-request", "message.dataBase64"],
    ["with a field of its own", { every: "day" }, 400, "invalid-request", "every"],
    [
      "with an attribute of the broker's",
      { message: { data: "x", attributes: { "pennypost-run-at": "1" } } },
      ...([400, "invalid-request", "message.attributes.pennypost-run-at"] as const),
    ],
    [
      "with as many attributes as a message may have",
      {
        message: {
          data: "x",
          attributes: Object.fromEntries(
            Array.from({ length: limits.attributeCount }, (_, i) => [`a${i}`, "x"]),
          ),
        },
      },
      ...([400, "invalid-request", "message.attributes"] as const),
    ],
    [
      "with too much to say",
      { message: { data: "x".repeat(limits.scheduleMessageBytes) } },
      ...([413, "payload-too-large", "message"] as const),
    ],
  ];

  test.each(cases)("clause 7: %s is refused, and is not there", async (_, more, status, code, field) => {
    const path = newPath();
    const answer = await put(path, { ...daily, ...more });
    expect([answer.status, codeOf(answer.body), answer.body.field]).toEqual([status, code, field]);
    expect((await broker.send("GET", path)).status).toBe(404);
  });

  test("clause 7: with a name of absurd length it is refused", async () => {
    const { status, body } = await put(`/v1/schedules/${"x".repeat(limits.nameLength + 1)}`, daily);
    expect([status, body.field]).toEqual([400, "schedule"]);
  });
});

describe("clause 7: who may", () => {
  test("clause 7: whoever manages the topic may schedule to it", async () => {
    const token = await tokenFor("manage", topicName);
    const path = newPath();
    expect((await put(path, daily, { token })).status).toBe(201);
    expect((await broker.send("POST", `${path}/pause`, { token })).status).toBe(200);
    expect((await broker.send("DELETE", path, { token })).status).toBe(204);
  });

  test("clause 7: to anybody else it is not there, and cannot be taken", async () => {
    const path = newPath();
    const held = (await put(path, daily)).body;
    const other = unique("other");
    await broker.topic({}, other);
    for (const token of [await tokenFor("manage", other), await tokenFor("publish", topicName)]) {
      for (const method of ["GET", "DELETE"]) {
        expect((await broker.send(method, path, { token })).status).toBe(404);
      }
      for (const verb of ["pause", "resume"]) {
        expect((await broker.send("POST", `${path}/${verb}`, { token })).status).toBe(404);
      }
      expect((await put(path, daily, { token })).status).toBe(403);
      expect((await put(path, { ...daily, topic: other }, { token })).status).toBe(403);
      const { schedules } = await broker.call<Listed>("GET", "/v1/schedules", { token });
      expect(schedules).toEqual([]);
    }
    expect(await broker.call("GET", path)).toEqual(held);
  });

  test("clause 7: nobody without a token", async () => {
    expect((await broker.send("GET", "/v1/schedules", { token: null })).status).toBe(401);
    expect((await put(newPath(), daily, { token: null })).status).toBe(401);
  });
});
