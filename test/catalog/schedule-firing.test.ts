// Clause 7: the sweep publishes what schedules have due, on the real objects: each run once, whatever fails, races
// or is missed in between.

import { env } from "cloudflare:workers";
import { beforeEach, describe, expect, test } from "vitest";
import { CatalogStore } from "../../src/catalog/catalog-store";
import type { Catalog } from "../../src/catalog/entry-lifecycle";
import type { Schedule, ScheduleWanted } from "../../src/catalog/schedule";
import { fireSchedules } from "../../src/catalog/schedule-firing";
import { putSchedule, setSchedulePaused } from "../../src/catalog/schedule-lifecycle";
import { ScheduleStore } from "../../src/catalog/schedule-store";
import { sweep } from "../../src/catalog/sweep";
import { deleteTopic, putTopic } from "../../src/catalog/topic-lifecycle";
import type { Env } from "../../src/env";
import { ok, refuse } from "../../src/errors";
import { limits } from "../../src/limits";
import type { Message } from "../../src/message";
import { objectName } from "../../src/object-name";
import { unpackRecords } from "../../src/record-batch";
import { defaultTopicSettings } from "../../src/settings";
import type { AppendCall, TopicCalls } from "../../src/topic-calls";
import { emptyCatalog, fakeCatalog, fakeD1, fakeRuntime, must } from "./fakes";

const real = env as unknown as Env;
const minute = 60_000;
const hour = 60 * minute;
const noon = Date.parse("2027-01-01T12:00:00Z");
const anybody = () => ok(null);
const wanted = (more: Partial<ScheduleWanted> = {}): ScheduleWanted => ({
  ...{ name: "report", topic: "orders", cron: "* * * * *", timeZone: "UTC" },
  message: { contentType: "text/plain", body: new TextEncoder().encode("go") },
  ...more,
});

beforeEach(emptyCatalog);

type TopicWrap = (
  topic: TopicCalls,
  append: (call: AppendCall) => ReturnType<TopicCalls["append"]>,
) => object;

/** A broker of real objects, with a clock that the test moves, and a D1 and topics that it can trouble. */
async function broker(wrap?: TopicWrap, partitions = 1) {
  const [d1, runtime] = [fakeD1(), fakeRuntime(noon)];
  const getByName = (name: string) => {
    const topic = real.TOPIC.getByName(name);
    return (wrap ? wrap(topic, (call) => topic.append(call)) : topic) as TopicCalls;
  };
  const store = new CatalogStore(d1, runtime, () => undefined);
  const plain: Catalog = { env: real, store, runtime };
  const catalog: Catalog = { env: { ...real, CATALOG: d1, TOPIC: { getByName } }, store, runtime };
  const schedules = new ScheduleStore(real.CATALOG);
  const topic = async () => {
    const put = { name: "orders", kind: "topic", partitions, settings: defaultTopicSettings } as const;
    return must(await putTopic(plain, put)).entry;
  };
  const { generation } = await topic();
  return {
    ...{ catalog, plain, d1, runtime, generation, topic },
    put: async (more: Partial<ScheduleWanted> = {}) =>
      must(await putSchedule(plain, wanted(more), anybody)).schedule,
    held: async (name = "report") => (await schedules.find(name)) as Schedule,
    fireAt: (at: number) => {
      runtime.at = at;
      return fireSchedules(catalog);
    },
  };
}

async function messagesIn(generation: string, partition = 0): Promise<readonly Message[]> {
  const topic = real.TOPIC.getByName(objectName(generation, partition));
  const { runs } = must(await topic.read({ from: 0, maxBytes: limits.readBytes }));
  return runs.flatMap(({ records }) => unpackRecords(records));
}

const runsOf = (messages: readonly Message[]) =>
  messages.map(({ attributes }) => (Number(attributes?.["pennypost-run-at"]) - noon) / minute);

describe("clause 7: a run", () => {
  test("clause 7: each run is published once, at its minute, and says which it is", async () => {
    const { put, held, fireAt, generation } = await broker();
    const { generation: life } = await put({ cron: "*/2 * * * *" });
    for (let swept = 1; swept <= 4; swept++) await fireAt(noon + swept * minute + 3_000);
    const messages = await messagesIn(generation);
    expect(runsOf(messages)).toEqual([2, 4]);
    expect(messages[0]).toMatchObject({
      ...{ id: `${life}-${noon + 2 * minute}`, publishedAt: noon + 2 * minute + 3_000 },
      ...{ contentType: "text/plain", body: new TextEncoder().encode("go") },
      attributes: { "pennypost-schedule": "report" },
    });
    expect(await held()).toMatchObject({
      ...{ nextRunAt: noon + 6 * minute, lastRunAt: noon + 4 * minute },
      lastOutcome: { status: "stored", partition: 0, offset: 1, at: noon + 4 * minute + 3_000 },
    });
  });

  test("clause 7: a sweep that dies between the topic's answer and its own note publishes no run twice", async () => {
    const fakes = await broker((_, append) => ({
      append: async (call: AppendCall) => {
        const answer = await append(call);
        fakes.d1.mode = "down";
        return answer;
      },
    }));
    await fakes.put();
    await expect(fakes.fireAt(noon + minute)).rejects.toThrow("Network connection lost.");
    expect(await fakes.held()).toMatchObject({ nextRunAt: noon + minute, lastOutcome: null });
    fakes.d1.mode = "up";
    await fireSchedules({ ...fakes.catalog, env: real });
    expect(runsOf(await messagesIn(fakes.generation))).toEqual([1]);
    expect(await fakes.held()).toMatchObject({
      nextRunAt: noon + 2 * minute,
      lastOutcome: { status: "stored", offset: 0 },
    });
  });

  test("clause 7: two sweeps at once publish it once", async () => {
    const { put, held, catalog, runtime, generation } = await broker();
    await put();
    runtime.at = noon + minute;
    await Promise.all([1, 2, 3].map(() => fireSchedules(catalog)));
    expect(runsOf(await messagesIn(generation))).toEqual([1]);
    expect(await held()).toMatchObject({ nextRunAt: noon + 2 * minute, lastOutcome: { offset: 0 } });
  });

  test("clause 7: an answer that was lost is asked for again, also when the message was changed meanwhile", async () => {
    let isLost = true;
    const fakes = await broker((_, append) => ({
      append: async (call: AppendCall) => {
        const answer = await append(call);
        if (isLost) throw new Error("Network connection lost.");
        return answer;
      },
    }));
    await fakes.put();
    expect(await fakes.fireAt(noon + minute)).toEqual({ stored: 0, unstored: 1 });
    expect((await fakes.held()).lastOutcome).toMatchObject({ status: "retrying", error: "unavailable" });
    await fakes.put({ message: { contentType: "text/html", body: new Uint8Array([1]) } });
    isLost = false;
    expect(await fakes.fireAt(noon + minute + 30_000)).toEqual({ stored: 1, unstored: 0 });
    expect((await messagesIn(fakes.generation)).map(({ contentType }) => contentType)).toEqual([
      "text/plain",
    ]);
  });

  test("clause 7: with an ordering key it takes its place in the key's partition", async () => {
    const { put, fireAt, generation } = await broker(undefined, 4);
    await put({ message: { ...wanted().message, orderingKey: "k" } });
    for (let swept = 1; swept <= 3; swept++) await fireAt(noon + swept * minute);
    const all = await Promise.all([0, 1, 2, 3].map((partition) => messagesIn(generation, partition)));
    expect(all.map(runsOf).filter((runs) => runs.length > 0)).toEqual([[1, 2, 3]]);
  });
});

describe("clause 7: runs that were missed", () => {
  test("clause 7: after an outage the newest missed run is published, and then the next", async () => {
    const { put, held, fireAt, generation } = await broker();
    await put();
    await fireAt(noon + 90 * minute + 10_000);
    expect((await held()).lastOutcome).toMatchObject({
      missedSince: noon + minute,
      runAt: noon + 90 * minute,
    });
    await fireAt(noon + 91 * minute);
    expect(runsOf(await messagesIn(generation))).toEqual([90, 91]);
  });

  test("clause 7: paused, it publishes nothing; resumed, the newest missed run and then the next", async () => {
    const { plain, put, fireAt, generation } = await broker();
    await put();
    must(await setSchedulePaused(plain, "report", true));
    for (const swept of [1, 2, 3]) await fireAt(noon + swept * minute);
    expect(await messagesIn(generation)).toEqual([]);
    must(await setSchedulePaused(plain, "report", false));
    for (const swept of [3, 4]) await fireAt(noon + swept * minute + 1);
    expect(runsOf(await messagesIn(generation))).toEqual([3, 4]);
  });

  test("clause 7: resumed before its next run, nothing was missed", async () => {
    const { plain, put, fireAt, generation } = await broker();
    await put({ cron: "@hourly" });
    for (const paused of [true, false]) must(await setSchedulePaused(plain, "report", paused));
    await fireAt(noon + minute);
    expect(await messagesIn(generation)).toEqual([]);
  });

  test("clause 7: a day's run in Berlin's skipped hour comes at the first instant after it, and no day is left out", async () => {
    const { put, fireAt, runtime, generation } = await broker();
    const from = Date.parse("2027-03-26T23:00:00Z");
    runtime.at = from;
    await put({ cron: "30 2 * * *", timeZone: "Europe/Berlin" });
    for (let swept = 1; swept <= 72; swept++) await fireAt(from + swept * hour + 30 * minute);
    const runs = (await messagesIn(generation)).map(({ attributes }) =>
      new Date(Number(attributes?.["pennypost-run-at"])).toISOString(),
    );
    expect(runs).toEqual([
      "2027-03-27T01:30:00.000Z",
      "2027-03-28T01:00:00.000Z",
      "2027-03-29T00:30:00.000Z",
    ]);
  });
});

describe("clause 7: a topic", () => {
  test("clause 7: that is deleted pauses the schedule at its next run, which says so", async () => {
    const { plain, put, held, fireAt } = await broker();
    await put();
    must(await deleteTopic(plain, "orders"));
    expect(await fireAt(noon + minute)).toEqual({ stored: 0, unstored: 1 });
    expect(await held()).toMatchObject({
      ...{ paused: true, pausedReason: "topic-gone", lastRunAt: null },
      lastOutcome: { status: "refused", error: "topic-gone", runAt: noon + minute },
    });
    expect(await fireAt(noon + 2 * minute)).toEqual({ stored: 0, unstored: 0 });
  });

  test("clause 7: in another life gets nothing until somebody resumes, and nothing that was missed before", async () => {
    const { plain, put, held, fireAt, topic } = await broker();
    await put();
    must(await deleteTopic(plain, "orders"));
    const { generation } = await topic();
    for (const swept of [1, 2]) await fireAt(noon + swept * minute);
    expect(await held()).toMatchObject({ pausedReason: "topic-gone" });
    must(await setSchedulePaused(plain, "report", false));
    await fireAt(noon + 2 * minute + 30_000);
    expect(await messagesIn(generation)).toEqual([]);
    await fireAt(noon + 3 * minute);
    expect(runsOf(await messagesIn(generation))).toEqual([3]);
  });

  test("clause 7: that is full or away leaves the run due, and the next sweep tries again", async () => {
    const troubles = [
      () => Promise.resolve(refuse("topic-full", "full")),
      () => Promise.reject(new Error("Network connection lost.")),
    ];
    const fakes = await broker((_, append) => ({
      append: (call: AppendCall) => troubles.shift()?.() ?? append(call),
    }));
    await fakes.put({ cron: "@hourly" });
    await fakes.fireAt(noon + hour);
    expect((await fakes.held()).lastOutcome).toMatchObject({ status: "retrying", error: "topic-full" });
    await fakes.fireAt(noon + hour + minute);
    expect((await fakes.held()).lastOutcome).toMatchObject({ status: "retrying", error: "unavailable" });
    expect(await fakes.held()).toMatchObject({ paused: false, nextRunAt: noon + hour, lastRunAt: null });
    await fakes.fireAt(noon + hour + 2 * minute);
    expect(runsOf(await messagesIn(fakes.generation))).toEqual([60]);
  });
});

describe("a sweep", () => {
  test("takes what is longest due first, and a bounded number of it", async () => {
    const { catalog, objects, runtime } = fakeCatalog();
    const topic = { name: "orders", kind: "topic", partitions: 1, settings: defaultTopicSettings } as const;
    must(await putTopic(catalog, topic));
    must(await putSchedule(catalog, wanted(), anybody));
    await multiply(limits.sweepRuns + 4);
    runtime.at += hour;
    expect(await fireSchedules(catalog)).toEqual({ stored: limits.sweepRuns, unstored: 0 });
    const appended = [...objects.topics.values()][0]?.appended ?? [];
    const [first] = appended.flatMap(({ records }) => unpackRecords(records));
    expect(first?.attributes?.["pennypost-schedule"]).toBe(`copy-${limits.sweepRuns + 4}`);
    expect(await fireSchedules(catalog)).toEqual({ stored: 5, unstored: 0 });
    expect(await fireSchedules(catalog)).toEqual({ stored: 0, unstored: 0 });
  });

  test("that meets runs which keep failing still gets to the others", async () => {
    const { catalog, objects, runtime } = fakeCatalog();
    const topic = (name: string) =>
      ({ name, kind: "topic", partitions: 1, settings: defaultTopicSettings }) as const;
    must(await putTopic(catalog, topic("orders")));
    must(await putSchedule(catalog, wanted(), anybody));
    await multiply(limits.sweepRuns);
    runtime.at += hour;
    objects.refusals.set("topic.append 0", refuse("topic-full", "full").error);
    expect(await fireSchedules(catalog)).toEqual({ stored: 0, unstored: limits.sweepRuns });
    objects.refusals.clear();
    runtime.at += 1;
    await fireSchedules(catalog);
    expect(await new ScheduleStore(real.CATALOG).find("report")).toMatchObject({
      lastOutcome: { status: "stored" },
    });
  });

  test("reports what it published, and goes on with its other parts when D1 is away", async () => {
    const { catalog, put, d1, runtime } = await broker();
    await put();
    runtime.at = noon + minute;
    expect(await sweep(catalog, async () => 0)).toMatchObject({ fired: 1, unfired: 0, faults: [] });
    d1.mode = "down";
    const { faults, purged } = await sweep(catalog, async () => 7);
    expect(purged).toBe(7);
    expect(faults[0]).toMatch(/^fire: CatalogFault/);
  });

  test("is not held up by a schedule that it cannot read", async () => {
    const { put, fireAt, held, generation } = await broker();
    await put({ name: "broken" });
    await put({ name: "whole" });
    await real.CATALOG.prepare("UPDATE schedules SET time_zone = 'Mars/Phobos' WHERE name = 'broken'").run();
    expect(await fireAt(noon + minute)).toEqual({ stored: 1, unstored: 1 });
    expect((await held("broken")).lastOutcome).toMatchObject({ status: "retrying", error: "internal" });
    expect(await messagesIn(generation)).toHaveLength(1);
  });
});

/** Copies of the schedule "report", each due a millisecond before the one with the number below. */
async function multiply(copies: number): Promise<void> {
  const { results } = await real.CATALOG.prepare("SELECT * FROM schedules LIMIT 1").all();
  const columns = Object.keys(results[0] ?? {});
  const values = columns.map((column) => {
    if (column === "name" || column === "generation") return "'copy-' || n";
    return column === "due_at" ? "due_at - n" : column;
  });
  await real.CATALOG.prepare(
    `WITH RECURSIVE counted(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM counted WHERE n < ?1)
     INSERT INTO schedules (${columns}) SELECT ${values} FROM schedules, counted WHERE name = 'report'`,
  )
    .bind(copies)
    .run();
}
