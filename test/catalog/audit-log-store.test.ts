// The audit log in D1: a note for every change and for nothing else, found by what was changed, by whom and when, and
// bounded in number and age.

import { beforeEach, describe, expect, test } from "vitest";
import { AuditLogStore } from "../../src/catalog/audit-log-store";
import { putSubscription, setPaused } from "../../src/catalog/subscription-lifecycle";
import { deleteTopic, putQueue, putTopic } from "../../src/catalog/topic-lifecycle";
import { limits } from "../../src/limits";
import { defaultSubscriptionSettings, defaultTopicSettings } from "../../src/settings";
import { emptyCatalog, fakeCatalog, must } from "./fakes";

beforeEach(emptyCatalog);

const by = { id: "t1", name: "ops", requestId: "r1" };
const settings = defaultTopicSettings;

function opened() {
  const fakes = fakeCatalog();
  const log = new AuditLogStore(fakes.d1, fakes.runtime);
  const told = async (query: object = {}) =>
    (await log.list({ limit: 100, ...query })).map(({ action, resource }) => `${action} ${resource}`);
  return { ...fakes, catalog: { ...fakes.catalog, by }, log, told };
}

describe("a change of the catalog", () => {
  test("is noted with who made it, and the same again is not noted", async () => {
    const { catalog, log, told } = opened();
    for (const _ of [1, 2]) must(await putTopic(catalog, { name: "a", kind: "topic", settings }));
    const topic = must(await catalog.store.topic("a"));
    const wanted = {
      topic,
      name: "s",
      settings: defaultSubscriptionSettings,
      startAt: { at: "latest" },
    } as const;
    for (const _ of [1, 2]) must(await putSubscription(catalog, wanted));
    for (const _ of [1, 2]) must(await setPaused(catalog, "a", "s", true));
    must(await setPaused(catalog, "a", "s", false));
    for (const _ of [1, 2]) {
      must(
        await putTopic(catalog, { name: "a", kind: "topic", settings: { ...settings, retentionMs: 60_000 } }),
      );
    }
    must(
      await putTopic(catalog, {
        name: "a",
        kind: "topic",
        partitions: 2,
        settings: { ...settings, retentionMs: 60_000 },
      }),
    );
    for (const _ of [1, 2]) must(await deleteTopic(catalog, "a"));
    expect(await told()).toEqual([
      "delete topics/a",
      "raise topics/a",
      "change topics/a",
      "resume topics/a/subscriptions/s",
      "pause topics/a/subscriptions/s",
      "create topics/a/subscriptions/s",
      "create topics/a",
    ]);
    const records = await log.list({ limit: 100 });
    expect(
      new Set(
        records.map(
          ({ actor, actorName, requestId, outcome }) => `${actor} ${actorName} ${requestId} ${outcome}`,
        ),
      ),
    ).toEqual(new Set(["t1 ops r1 done"]));
    expect(records[2]?.details).toEqual({ retentionMs: { from: settings.retentionMs, to: 60_000 } });
    expect(records[1]?.details).toEqual({ partitions: { from: 1, to: 2 } });
  });

  test("of a queue is noted under the queue, whichever half of it changed", async () => {
    const { catalog, told } = opened();
    const queue = { name: "q", settings, subscription: defaultSubscriptionSettings };
    must(await putQueue(catalog, queue));
    must(
      await putQueue(catalog, { ...queue, subscription: { ...defaultSubscriptionSettings, maxInFlight: 5 } }),
    );
    must(await setPaused(catalog, "q", "q", true));
    expect(await told()).toEqual(["pause queues/q", "change queues/q", "create queues/q"]);
  });

  test("that the broker makes by itself is noted as its own", async () => {
    const { catalog, log } = opened();
    must(await putQueue(catalog, { name: "q", settings, subscription: defaultSubscriptionSettings }));
    const { by: _, ...alone } = catalog;
    must(await setPaused(alone, "q", "q", true, "endpoint-gone"));
    const [record] = await log.list({ limit: 1 });
    expect(record).toMatchObject({ actor: "broker", action: "pause" });
    expect(record?.details).toMatchObject({ pausedReason: { to: "endpoint-gone" } });
  });

  test("that D1 did not take is not noted", async () => {
    const { catalog, d1, told } = opened();
    d1.mode = "down";
    expect((await putTopic(catalog, { name: "a", kind: "topic", settings })).ok).toBe(false);
    d1.mode = "up";
    expect(await told()).toEqual([]);
  });
});

describe("the records", () => {
  const note = (resource: string, id = "t1") => ({
    ...{ by: { ...by, id }, action: "change", resource, details: {} },
  });

  test("are found by resource and what is below it, by actor, by time, page by page", async () => {
    const { log, runtime, told } = opened();
    for (const resource of ["topics/a", "topics/a/subscriptions/s", "topics/a0", "topics/ab", "topics/a-b"]) {
      await log.begin(note(resource));
      runtime.at += 1_000;
    }
    await log.begin(note("queues/a", "t2"));
    expect(await told({ resource: "topics/a" })).toEqual([
      "change topics/a/subscriptions/s",
      "change topics/a",
    ]);
    expect(await told({ actor: "t2" })).toEqual(["change queues/a"]);
    expect(await told({ since: runtime.at - 1_000, until: runtime.at - 1_000 })).toEqual([
      "change topics/a-b",
    ]);
    const first = await log.list({ limit: 4 });
    expect(await told({ before: first.at(-1)?.number })).toEqual([
      "change topics/a/subscriptions/s",
      "change topics/a",
    ]);
  });

  test("say what became of what was begun", async () => {
    const { log } = opened();
    const number = await log.begin(note("topics/a"));
    expect(await log.list({ limit: 1 })).toMatchObject([{ number, outcome: "begun" }]);
    await log.end(number, "done", { purged: 5 });
    expect(await log.list({ limit: 1 })).toMatchObject([{ number, outcome: "done", details: { purged: 5 } }]);
  });

  test("go when they are a year old, and the oldest when there are too many", async () => {
    const { log, runtime, told, d1 } = opened();
    const first = await log.begin(note("topics/old"));
    runtime.at += 1;
    await log.begin(note("topics/new"));
    runtime.at += limits.auditKeptMs - 1;
    expect(await log.purge()).toBe(0);
    runtime.at += 1;
    expect(await log.purge()).toBe(1);
    expect(await told()).toEqual(["change topics/new"]);
    const last = first + 1 + limits.auditRecords;
    const jump = d1.prepare("UPDATE audit_log SET number = ?1 WHERE number = ?2");
    await jump.bind(last - 1, first + 1).run();
    await log.begin(note("topics/newest"));
    expect(await log.purge()).toBe(0);
    await jump.bind(first, last - 1).run();
    expect(await log.purge()).toBe(1);
    expect(await told()).toEqual(["change topics/newest"]);
  });
});
