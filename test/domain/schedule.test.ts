// A schedule from change to change and from run to run: what moves it on, what pauses it, what it publishes.

import { describe, expect, test } from "vitest";
import {
  changeSchedule,
  failRun,
  loseTopic,
  newSchedule,
  packMessage,
  pauseSchedule,
  resumeSchedule,
  runOf,
  type Schedule,
  type ScheduleWanted,
  settleRun,
  unpackMessage,
} from "../../src/catalog/schedule";
import { type BrokerError, ok, type Result, refuse } from "../../src/errors";
import { checkMessage } from "../../src/message";
import type { AppendException } from "../../src/topic-calls";

const minute = 60_000;
const noon = Date.parse("2027-01-01T12:00:00Z");
const wanted: ScheduleWanted = {
  name: "report",
  topic: "reports",
  cron: "*/10 * * * *",
  timeZone: "UTC",
  message: { contentType: "text/plain", body: new TextEncoder().encode("go"), attributes: { kind: "daily" } },
};
const maker = { topicGeneration: "t1", now: noon + minute };

function must<T>(result: Result<T>): T {
  if (!result.ok) throw new Error(result.error.detail);
  return result.value;
}

const made = (more: Partial<ScheduleWanted> = {}) =>
  must(newSchedule({ ...wanted, ...more }, { ...maker, generation: "g1" }));
const after = (schedule: Schedule, changes: object): Schedule => ({ ...schedule, ...changes });
const answer = (...exceptions: AppendException[]) =>
  ok({ batchId: "b", firstOffset: 7, count: 1, exceptions });

describe("a change", () => {
  test("a new schedule runs first at the first instant after it was made", () => {
    expect(made()).toMatchObject({ nextRunAt: noon + 10 * minute, dueAt: noon + 10 * minute, paused: false });
    expect(made({ paused: true })).toMatchObject({ paused: true, pausedReason: null });
    expect(newSchedule({ ...wanted, cron: "* * * * * *" }, { ...maker, generation: "g1" })).toMatchObject({
      error: { code: "invalid-request", field: "cron" },
    });
  });

  test("the same PUT again changes nothing", () => {
    const held = made();
    expect(must(changeSchedule(held, { ...wanted }, { ...maker, now: noon + 25 * minute }))).toBe(held);
  });

  test("another message leaves the next run where it is, also when that is overdue", () => {
    const message = { ...wanted.message, contentType: "text/html" };
    const changed = must(
      changeSchedule(made(), { ...wanted, message }, { ...maker, now: noon + 25 * minute }),
    );
    expect(changed).toMatchObject({ nextRunAt: noon + 10 * minute, version: 2, message });
  });

  test.each([
    ["expression", { cron: "*/15 * * * *" }, maker],
    ["time zone", { timeZone: "Asia/Kolkata" }, maker],
    ["life of the topic", {}, { ...maker, topicGeneration: "t2" }],
  ])("with another %s it counts from now", (_, more, by) => {
    const now = noon + 26 * minute;
    const changed = must(changeSchedule(made(), { ...wanted, ...more }, { ...by, now }));
    expect(changed.nextRunAt).toBe(noon + 30 * minute);
    expect(changed.generation).toBe("g1");
  });

  test("a PUT that does not say so leaves a pause by hand, and ends a pause of the broker's", () => {
    const byHand = pauseSchedule(made(), noon);
    expect(must(changeSchedule(byHand, { ...wanted }, maker))).toBe(byHand);
    expect(must(changeSchedule(byHand, { ...wanted, paused: false }, maker)).paused).toBe(false);
    const lost = after(made(), { paused: true, pausedReason: "topic-gone" });
    const bound = must(changeSchedule(lost, { ...wanted }, { ...maker, topicGeneration: "t2" }));
    expect(bound).toMatchObject({ paused: false, pausedReason: null, topicGeneration: "t2" });
  });

  test("resumed in the same life of its topic, what was missed is due; in another it counts from now", () => {
    const paused = pauseSchedule(made(), noon);
    const now = noon + 25 * minute;
    expect(must(resumeSchedule(paused, { ...maker, now }))).toMatchObject({
      paused: false,
      nextRunAt: noon + 10 * minute,
    });
    expect(must(resumeSchedule(paused, { topicGeneration: "t2", now }))).toMatchObject({
      paused: false,
      topicGeneration: "t2",
      nextRunAt: noon + 30 * minute,
    });
  });

  test("paused or resumed twice, it is the same", () => {
    const held = made();
    expect(must(resumeSchedule(held, maker))).toBe(held);
    const paused = pauseSchedule(held, noon);
    expect(pauseSchedule(paused, noon)).toBe(paused);
  });
});

describe("a run", () => {
  const due = noon + 10 * minute;

  test("clause 7: of the runs that were missed, the newest is published", () => {
    expect(runOf(made(), due)).toMatchObject({ runAt: due });
    expect(runOf(made(), due)).not.toHaveProperty("missedSince");
    expect(runOf(made(), noon + 45 * minute)).toMatchObject({ runAt: noon + 40 * minute, missedSince: due });
  });

  test("its message is made from the schedule's life and the run's instant, whenever it is tried", () => {
    const [one, other] = [runOf(made(), due).message, runOf(made(), due + 9 * minute).message];
    expect(one).toEqual({
      ...wanted.message,
      id: `g1-${due}`,
      publishedAt: due,
      attributes: { kind: "daily", "pennypost-schedule": "report", "pennypost-run-at": String(due) },
    });
    expect({ ...other, publishedAt: due }).toEqual(one);
    expect(checkMessage(one).ok).toBe(true);
  });

  const settle = (answered: Parameters<typeof settleRun>[2]["answered"], now = due) => {
    const schedule = made();
    return settleRun(schedule, runOf(schedule, now), { partition: 3, answered, now });
  };

  test("stored, the schedule moves on to the run after it", () => {
    expect(settle(answer(), noon + 45 * minute)).toEqual({
      nextRunAt: noon + 50 * minute,
      dueAt: noon + 50 * minute,
      lastRunAt: noon + 40 * minute,
      lastOutcome: {
        ...{ status: "stored", runAt: noon + 40 * minute, at: noon + 45 * minute, missedSince: due },
        ...{ messageId: `g1-${noon + 40 * minute}`, partition: 3, offset: 7 },
      },
    });
  });

  test("a duplicate is stored, at its first place", () => {
    expect(settle(answer({ index: 0, duplicateOf: 5 })).lastOutcome).toMatchObject({
      status: "stored",
      offset: 5,
    });
    const reused = settle(answer({ index: 0, error: refuse("id-reused", "x").error }));
    expect(reused.lastOutcome).toMatchObject({ status: "stored" });
    expect(reused.lastOutcome).not.toHaveProperty("offset");
  });

  test.each<BrokerError["code"]>(["topic-full", "unavailable", "overloaded", "gone", "internal"])(
    "refused as %s, it stays due, behind all others",
    (code) => {
      expect(settle(refuse(code, "x"))).toMatchObject({
        nextRunAt: due,
        dueAt: due + 1,
        lastRunAt: null,
        lastOutcome: { status: "retrying", error: code },
      });
    },
  );

  test("refused for good, it is given up and the next one waits", () => {
    for (const answered of [
      refuse("payload-too-large", "x"),
      answer({ index: 0, error: refuse("invalid-request", "x").error }),
    ]) {
      const settled = settle(answered);
      expect(settled).toMatchObject({ nextRunAt: due + 10 * minute, lastRunAt: null });
      expect(settled.lastOutcome).toMatchObject({ status: "refused" });
    }
  });

  test("without its topic the schedule is paused, and says why", () => {
    expect(loseTopic(made(), runOf(made(), due), due)).toMatchObject({
      pausedReason: "topic-gone",
      nextRunAt: due,
      lastOutcome: { status: "refused", error: "topic-gone" },
    });
  });

  test("a fault of ours leaves it due", () => {
    expect(failRun(made(), { runAt: due }, "internal", due)).toMatchObject({
      nextRunAt: due,
      dueAt: due + 1,
    });
  });
});

test("a message comes out of D1 as it went in", () => {
  const message = { ...wanted.message, body: new Uint8Array([0, 255]), orderingKey: "k", subject: "a.b" };
  expect(unpackMessage(packMessage(message))).toEqual(message);
});
