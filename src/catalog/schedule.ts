// A schedule publishes one message again and again, by a cron expression.
//
//   waits ──nextRunAt──▶ due ──stored, or refused for good──▶ waits for the run after
//     │                   │ full, away                 └── no run is left ──▶ paused (no-run-left)
//     │                   ├──────────▶ due, at the end of the line
//     │ pause             │ its topic's life is over
//     ▼                   ▼
//   paused ◀──────── paused (topic-gone) ──resume, PUT──▶ waits, bound to the topic as it is then
//
// A run is one instant that the expression names. Of the runs that were missed, because nothing swept or because
// the schedule was paused, the newest is published and the others are not.
//
// Every function is pure: the caller brings the time, and stores what comes back.

import { ok, type Result } from "../errors";
import type { Message } from "../message";
import { packRecords, unpackRecords } from "../record-batch";
import type { BatchAnswer } from "../topic-calls";
import { firstRun, newestRun, nextRun, type Timing } from "./cron";

/** What is published at each run; the rest of a message is the run's. */
export type ScheduleMessage = Omit<Message, "id" | "publishedAt" | "headers" | "traceparent">;

/** Why the broker paused it. */
export type PausedReason = "topic-gone" | "no-run-left";

export type Schedule = Timing &
  Readonly<{
    name: string;
    /** One life of the name: part of every message id it publishes under. */
    generation: string;
    /** Rises by one whenever somebody changes it. */
    version: number;
    topic: string;
    /** The life of the topic that it publishes to, and never to another. */
    topicGeneration: string;
    message: ScheduleMessage;
    paused: boolean;
    pausedReason: PausedReason | null;
    /** The run to be published next. It moves on only when the topic has answered. */
    nextRunAt: number;
    /** Its place in the sweep's line: the next run, or when a try of it last failed. */
    dueAt: number;
    /** The newest run that is stored. */
    lastRunAt: number | null;
    lastOutcome: RunOutcome | null;
    createdAt: number;
    updatedAt: number;
  }>;

/** What became of a run, and of those before it that were missed. */
export type RunOutcome = Readonly<{
  status: "stored" | "retrying" | "refused";
  runAt: number;
  /** When it was tried. */
  at: number;
  messageId: string;
  partition?: number;
  offset?: number;
  /** The code of the refusal. */
  error?: string;
  /** The first of the runs that were missed, when this one stands for several. */
  missedSince?: number;
}>;

type RunTime = Readonly<{ runAt: number; missedSince?: number }>;
export type Run = RunTime & Readonly<{ message: Message }>;

/** What a PUT asks for. */
export type ScheduleWanted = Timing &
  Readonly<{
    name: string;
    topic: string;
    message: ScheduleMessage;
    /** Left as it is when absent; a pause of the broker's own ends. */
    paused?: boolean | undefined;
  }>;

/** What a step of the sweep changes. With a reason, it pauses the schedule. */
export type Settled = Pick<Schedule, "nextRunAt" | "dueAt" | "lastRunAt" | "lastOutcome"> &
  Readonly<{ pausedReason?: PausedReason }>;

/** Attributes of every message of a schedule: its name, and the run's instant in epoch ms. */
export const RUN_ATTRIBUTES = { schedule: "pennypost-schedule", runAt: "pennypost-run-at" } as const;

/** Refusals that pass: the run stays due. Whether a topic is `gone` for good is for the catalog to say. */
const PASSING: ReadonlySet<string> = new Set([
  "gone",
  "topic-full",
  "overloaded",
  "too-many-requests",
  "unavailable",
  "internal",
]);

/** The message as it lies in D1: a record, without what is the run's. */
export function packMessage(message: ScheduleMessage): Uint8Array {
  return packRecords([{ ...message, id: "", publishedAt: 0 }]);
}

/** The message from what packMessage made. Throws on anything else. */
export function unpackMessage(packed: Uint8Array): ScheduleMessage {
  const [record] = unpackRecords(packed);
  if (!record) throw new Error("a schedule has no message");
  const { id: _, publishedAt: __, ...message } = record;
  return message;
}

function sameMessage(one: ScheduleMessage, other: ScheduleMessage): boolean {
  const [packed, otherPacked] = [packMessage(one), packMessage(other)];
  return packed.length === otherPacked.length && packed.every((byte, i) => byte === otherPacked[i]);
}

// ── somebody changes it ──────────────────────────────────────────────────────────────────────────────

type Maker = Readonly<{ topicGeneration: string; now: number }>;

/** A new schedule, whose first run is the first after `now`. */
export function newSchedule(
  { name, topic, cron, timeZone, message, paused = false }: ScheduleWanted,
  { topicGeneration, now, generation }: Maker & Readonly<{ generation: string }>,
): Result<Schedule> {
  const first = firstRun({ cron, timeZone }, now);
  if (!first.ok) return first;
  const bound = { name, generation, version: 1, topic, topicGeneration, cron, timeZone, message };
  const history = { lastRunAt: null, lastOutcome: null, createdAt: now, updatedAt: now };
  const line = { nextRunAt: first.value, dueAt: first.value };
  return ok({ ...bound, paused, pausedReason: null, ...line, ...history });
}

/**
 * What a PUT makes of a schedule; the same one when it changes nothing. With another expression, zone or topic it
 * counts from `now`: what was due before and is not yet published is not made up for.
 */
export function changeSchedule(held: Schedule, wanted: ScheduleWanted, maker: Maker): Result<Schedule> {
  const made = newSchedule(wanted, { ...maker, generation: held.generation });
  if (!made.ok) return made;
  const isSameLine = held.cron === wanted.cron && held.timeZone === wanted.timeZone && isBound(held, maker);
  const paused = wanted.paused ?? (held.paused && held.pausedReason === null);
  if (isSameLine && paused === held.paused && sameMessage(held.message, wanted.message)) return ok(held);
  const { nextRunAt, dueAt } = isSameLine ? held : made.value;
  const { lastRunAt, lastOutcome, createdAt } = held;
  const kept = { version: held.version + 1, lastRunAt, lastOutcome, createdAt };
  return ok({ ...made.value, ...kept, nextRunAt, dueAt, paused });
}

/** A pause by hand. What the broker paused keeps its reason. */
export function pauseSchedule(held: Schedule, now: number): Schedule {
  return held.paused ? held : { ...held, paused: true, version: held.version + 1, updatedAt: now };
}

/**
 * Resumed, and bound to the topic as it is now. In the same life of the topic the newest run that was missed is due;
 * in another the schedule counts from `now`: what was meant for one life does not surface in the next.
 */
export function resumeSchedule(held: Schedule, maker: Maker): Result<Schedule> {
  return changeSchedule(held, { ...held, paused: false }, maker);
}

function isBound(held: Schedule, { topicGeneration }: Maker): boolean {
  return held.topicGeneration === topicGeneration;
}

// ── the sweep ────────────────────────────────────────────────────────────────────────────────────────

/**
 * The run to publish for a schedule that is due. Its message id is made from the schedule's life and the run's instant,
 * and its content from nothing else that differs from try to try: a run that is published again is stored once.
 */
export function runOf(schedule: Schedule, now: number): Run {
  const { name, message, nextRunAt } = schedule;
  const runAt = Math.max(nextRunAt, newestRun(schedule, now) ?? nextRunAt);
  const said = { [RUN_ATTRIBUTES.schedule]: name, [RUN_ATTRIBUTES.runAt]: String(runAt) };
  const attributes = { ...message.attributes, ...said };
  return {
    runAt,
    ...(runAt > nextRunAt && { missedSince: nextRunAt }),
    message: { ...message, attributes, id: runId(schedule, runAt), publishedAt: now },
  };
}

/** What the topic's answer makes of the schedule. */
export function settleRun(
  schedule: Schedule,
  run: Run,
  { partition, answered, now }: Readonly<{ partition: number; answered: Result<BatchAnswer>; now: number }>,
): Settled {
  const of = outcomeHead(schedule, run, now);
  if (!answered.ok) {
    const { code } = answered.error;
    if (!PASSING.has(code)) return goOn(schedule, run, { status: "refused", ...of, error: code });
    return failRun(schedule, run, code, now);
  }
  const [exception] = answered.value.exceptions;
  // `id-reused`: it was published before the schedule's message changed, and only the answer was lost.
  if (exception && "error" in exception && exception.error.code !== "id-reused") {
    return goOn(schedule, run, { status: "refused", ...of, error: exception.error.code });
  }
  const first = exception && "duplicateOf" in exception ? exception.duplicateOf : undefined;
  const offset = exception ? first : answered.value.firstOffset;
  const at = { partition: exception?.partition ?? partition };
  return goOn(schedule, run, { status: "stored", ...of, ...at, ...(offset !== undefined && { offset }) });
}

/** The run stays due, and the schedule goes to the end of the line: it holds up no other. */
export function failRun(schedule: Schedule, run: RunTime, error: string, now: number): Settled {
  const lastOutcome: RunOutcome = { status: "retrying", ...outcomeHead(schedule, run, now), error };
  return { nextRunAt: schedule.nextRunAt, dueAt: now + 1, lastRunAt: schedule.lastRunAt, lastOutcome };
}

/** The life of the topic that it was bound to is over: nothing is published until somebody says where to. */
export function loseTopic(schedule: Schedule, run: Run, now: number): Settled {
  const lastOutcome: RunOutcome = {
    status: "refused",
    ...outcomeHead(schedule, run, now),
    error: "topic-gone",
  };
  const { nextRunAt, dueAt, lastRunAt } = schedule;
  return { nextRunAt, dueAt, lastRunAt, lastOutcome, pausedReason: "topic-gone" };
}

function goOn(schedule: Schedule, run: Run, lastOutcome: RunOutcome): Settled {
  const lastRunAt = lastOutcome.status === "stored" ? run.runAt : schedule.lastRunAt;
  const next = nextRun(schedule, run.runAt);
  if (next !== undefined) return { nextRunAt: next, dueAt: next, lastRunAt, lastOutcome };
  const { nextRunAt, dueAt } = schedule;
  return { nextRunAt, dueAt, lastRunAt, lastOutcome, pausedReason: "no-run-left" };
}

function outcomeHead(schedule: Schedule, { runAt, missedSince }: RunTime, now: number) {
  const missed = missedSince !== undefined && { missedSince };
  return { runAt, at: now, messageId: runId(schedule, runAt), ...missed };
}

function runId({ generation }: Schedule, runAt: number): string {
  return `${generation}-${runAt}`;
}
