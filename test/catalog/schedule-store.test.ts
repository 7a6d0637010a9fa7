// Schedules come, change and go in D1, whatever races: what was written is what somebody asked for, whole.

import { env } from "cloudflare:workers";
import { beforeEach, describe, expect, test } from "vitest";
import type { ScheduleWanted } from "../../src/catalog/schedule";
import { putSchedule, setSchedulePaused } from "../../src/catalog/schedule-lifecycle";
import { ScheduleStore } from "../../src/catalog/schedule-store";
import { deleteTopic, putTopic } from "../../src/catalog/topic-lifecycle";
import type { Env } from "../../src/env";
import { ok, refuse } from "../../src/errors";
import { limits } from "../../src/limits";
import { defaultTopicSettings } from "../../src/settings";
import { codeOf, emptyCatalog, fakeCatalog, must } from "./fakes";

const real = env as unknown as Env;
const store = new ScheduleStore(real.CATALOG);
const minute = 60_000;
const anybody = () => ok(null);
const wanted = (name = "report", more: Partial<ScheduleWanted> = {}): ScheduleWanted => ({
  ...{ name, topic: "orders", cron: "*/10 * * * *", timeZone: "Europe/Berlin" },
  message: { contentType: "text/plain", body: new Uint8Array([1, 0, 255]), orderingKey: "k" },
  ...more,
});

beforeEach(emptyCatalog);

async function withTopic() {
  const fakes = fakeCatalog();
  const topic = await putTopic(fakes.catalog, {
    ...{ name: "orders", kind: "topic", partitions: 2, settings: defaultTopicSettings },
  });
  return { ...fakes, topic: must(topic).entry };
}

describe("putting", () => {
  test("what was put is found, listed without its message, and counted", async () => {
    const { catalog, topic } = await withTopic();
    const { schedule, created } = must(await putSchedule(catalog, wanted(), anybody));
    expect(created).toBe(true);
    expect(schedule).toMatchObject({ topicGeneration: topic.generation, version: 1, lastOutcome: null });
    expect(await store.find("report")).toEqual(schedule);
    const { message: _, ...listed } = schedule;
    expect(await store.list({ limit: 5 })).toEqual([listed]);
    expect(await store.count()).toBe(1);
  });

  test("the same again writes nothing, and another changes it in its life", async () => {
    const { catalog, runtime } = await withTopic();
    const first = must(await putSchedule(catalog, wanted(), anybody)).schedule;
    runtime.at += minute;
    expect(must(await putSchedule(catalog, wanted(), anybody))).toEqual({ schedule: first, created: false });
    const changed = must(await putSchedule(catalog, wanted("report", { cron: "@daily" }), anybody)).schedule;
    expect(changed).toMatchObject({ generation: first.generation, version: 2, cron: "@daily" });
    expect(await store.find("report")).toEqual(changed);
  });

  test("a topic that is not there, and a schedule that is not theirs, are refused", async () => {
    const { catalog } = await withTopic();
    const nowhere = await putSchedule(catalog, wanted("report", { topic: "nowhere" }), anybody);
    expect(nowhere).toMatchObject({ error: { code: "topic-not-found", field: "topic" } });
    must(await putSchedule(catalog, wanted(), anybody));
    const asked: string[] = [];
    const nobody = (topic: string) => {
      asked.push(topic);
      return refuse("forbidden", "no");
    };
    expect(codeOf(await putSchedule(catalog, wanted(), nobody))).toBe("forbidden");
    expect(asked).toEqual(["orders"]);
  });

  test("two that create one name at once make one schedule", async () => {
    const { catalog } = await withTopic();
    const puts = await Promise.all([1, 2, 3].map(() => putSchedule(catalog, wanted(), anybody)));
    expect(puts.map((put) => must(put).created).sort()).toEqual([false, false, true]);
    expect(new Set(puts.map((put) => must(put).schedule.generation)).size).toBe(1);
  });

  test("there are no more than there may be", async () => {
    const { catalog } = await withTopic();
    must(await putSchedule(catalog, wanted(), anybody));
    await multiply(limits.schedules - 1);
    const refused = await putSchedule(catalog, wanted("one-more"), anybody);
    expect(refused).toMatchObject({ error: { code: "conflict", limit: limits.schedules } });
    expect(must(await putSchedule(catalog, wanted(), anybody)).created).toBe(false);
  });

  test("while D1 is away it is refused as unavailable", async () => {
    const { catalog, d1 } = await withTopic();
    d1.mode = "down";
    expect(codeOf(await putSchedule(catalog, wanted(), anybody))).toBe("unavailable");
    expect(codeOf(await setSchedulePaused(catalog, "report", true))).toBe("unavailable");
  });
});

describe("a change that races", () => {
  test("of two changes from one state, one is written and the other finds it so", async () => {
    const { catalog } = await withTopic();
    const { schedule } = must(await putSchedule(catalog, wanted(), anybody));
    const changed = { ...schedule, cron: "@daily", version: 2 };
    expect(await store.update(schedule, changed)).toEqual(changed);
    expect(await store.update(schedule, { ...schedule, cron: "@hourly", version: 2 })).toBeUndefined();
  });

  test("a change of the message keeps what the sweep wrote meanwhile", async () => {
    const { catalog } = await withTopic();
    const { schedule } = must(await putSchedule(catalog, wanted(), anybody));
    const nextRunAt = schedule.nextRunAt + 10 * minute;
    const line = { nextRunAt, dueAt: nextRunAt, lastRunAt: schedule.nextRunAt, lastOutcome: null };
    await store.settle([{ schedule, settled: line }]);
    const message = { ...schedule.message, subject: "new" };
    expect(await store.update(schedule, { ...schedule, message, version: 2 })).toMatchObject({
      ...line,
      message,
    });
  });

  test("a sweep that comes late does not move a schedule back", async () => {
    const { catalog } = await withTopic();
    const { schedule } = must(await putSchedule(catalog, wanted(), anybody));
    const line = (at: number) => ({ nextRunAt: at, dueAt: at, lastRunAt: at, lastOutcome: null });
    const ahead = schedule.nextRunAt + 20 * minute;
    await store.settle([{ schedule, settled: line(ahead) }]);
    await store.settle([{ schedule, settled: line(ahead - 10 * minute) }]);
    expect(await store.find("report")).toMatchObject(line(ahead));
  });

  test("what the sweep found out does not touch a schedule whose runs were moved meanwhile", async () => {
    const { catalog, runtime } = await withTopic();
    const { schedule } = must(await putSchedule(catalog, wanted(), anybody));
    runtime.at += minute;
    const moved = must(await putSchedule(catalog, wanted("report", { timeZone: "Asia/Kathmandu" }), anybody));
    const line = { nextRunAt: 1, dueAt: 1, lastRunAt: 1, lastOutcome: null };
    await store.settle([
      { schedule, settled: line },
      { schedule, settled: { ...line, pausedReason: "topic-gone" } },
    ]);
    expect(await store.find("report")).toEqual(moved.schedule);
  });
});

describe("pausing and deleting", () => {
  test("paused, it is not due; resumed, it is", async () => {
    const { catalog, runtime } = await withTopic();
    const { schedule } = must(await putSchedule(catalog, wanted(), anybody));
    runtime.at = schedule.nextRunAt;
    must(await setSchedulePaused(catalog, "report", true));
    expect(await store.due(runtime.at, 5)).toEqual([]);
    must(await setSchedulePaused(catalog, "report", false));
    expect(await store.due(runtime.at, 5)).toMatchObject([{ schedule: { name: "report" }, partitions: 2 }]);
    expect(await store.due(runtime.at - 1, 5)).toEqual([]);
    expect(codeOf(await setSchedulePaused(catalog, "nobody", true))).toBe("schedule-not-found");
  });

  test("it cannot be resumed without its topic", async () => {
    const { catalog } = await withTopic();
    must(await putSchedule(catalog, wanted("report", { paused: true }), anybody));
    must(await deleteTopic(catalog, "orders"));
    expect(codeOf(await setSchedulePaused(catalog, "report", false))).toBe("topic-not-found");
  });

  test("deleted, its name is free, and only that life is gone", async () => {
    const { catalog } = await withTopic();
    const { schedule } = must(await putSchedule(catalog, wanted(), anybody));
    expect(await store.delete(schedule, { now: 1 })).toBe(true);
    expect(await store.delete(schedule, { now: 1 })).toBe(false);
    const next = must(await putSchedule(catalog, wanted(), anybody)).schedule;
    expect(next.generation).not.toBe(schedule.generation);
    expect(await store.delete(schedule, { now: 1 })).toBe(false);
    expect(await store.find("report")).toEqual(next);
  });

  test("what is due is found by its partial index, and its topic by name", async () => {
    const query = `SELECT * FROM schedules LEFT JOIN topics ON topics.name = schedules.topic
      WHERE paused = 0 AND due_at <= ?1 ORDER BY due_at LIMIT 10`;
    const plan = await real.CATALOG.prepare(`EXPLAIN QUERY PLAN ${query}`).bind(1).all<{ detail: string }>();
    const details = plan.results.map(({ detail }) => detail).join();
    expect(details).toContain("USING INDEX schedules_due");
    expect(details).toContain("USING INDEX topics_by_name");
    expect(details).not.toContain("TEMP B-TREE");
  });
});

/** Copies of the schedule "report", under names of their own. */
async function multiply(copies: number): Promise<void> {
  const { results } = await real.CATALOG.prepare("SELECT * FROM schedules LIMIT 1").all();
  const columns = Object.keys(results[0] ?? {});
  const values = columns.map((column) => (column === "name" ? "'copy-' || n" : column));
  await real.CATALOG.prepare(
    `WITH RECURSIVE counted(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM counted WHERE n < ?1)
     INSERT INTO schedules (${columns}) SELECT ${values} FROM schedules, counted WHERE name = 'report'`,
  )
    .bind(copies)
    .run();
}
