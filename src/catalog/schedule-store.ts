// The table `schedules` of D1 `CATALOG`. Nothing of it is cached: it is read by people and by the sweep.

import { and, asc, eq, getTableColumns, gt, lte, sql } from "drizzle-orm";
import { limits } from "../limits";
import { layoutOf } from "../priority";
import { type Actor, type AuditDetails, BROKER, noteOfSettings, shownFields } from "./audit-details";
import { noteIfChanged } from "./audit-log-store";
import { running, schedules, topics } from "./catalog-schema";
import { ask, asParameters, type CatalogDatabase, matchesOne, openCatalog } from "./d1-store";
import { packMessage, type Schedule, type Settled, unpackMessage } from "./schedule";

type Row = typeof schedules.$inferSelect;

/** A schedule without its message, as a list shows it. */
export type ScheduleInList = Omit<Schedule, "message">;

/** A schedule that is due, and the number of partitions of its topic's default priority; null once that life of the topic is over. */
export type DueSchedule = Readonly<{ schedule: Schedule; partitions: number | null }>;

const { packed: _, ...listed } = getTableColumns(schedules);

export class ScheduleStore {
  private readonly db: CatalogDatabase;

  constructor(d1: D1Database) {
    this.db = openCatalog(d1);
  }

  /** By the primary key. */
  async find(name: string): Promise<Schedule | undefined> {
    const row = await ask(this.db.select().from(schedules).where(eq(schedules.name, name)).get());
    return row && toSchedule(row);
  }

  /** Schedules by name, without their messages. By the primary key. */
  async list({
    after,
    limit,
    patterns,
  }: Readonly<{
    after?: string | undefined;
    limit: number;
    /** Of their topics' names. */
    patterns?: readonly string[] | undefined;
  }>): Promise<readonly ScheduleInList[]> {
    const page = this.db
      .select(listed)
      .from(schedules)
      .where(and(gt(schedules.name, after ?? ""), matchesOne(schedules.topic, patterns)));
    return ask(page.orderBy(asc(schedules.name)).limit(limit));
  }

  async count(): Promise<number> {
    return ask(this.db.$count(schedules));
  }

  /** Takes a name. False when it is taken, or when there are as many schedules as there may be. */
  async insert(schedule: Schedule, by = BROKER): Promise<boolean> {
    // One statement: two that come at once cannot pass the cap between count and insert.
    const held = sql`(SELECT count(*) FROM ${schedules})`;
    const row = { ...toRow(schedule), lastOutcome: sql`NULL` };
    const values = sql`SELECT ${asParameters(schedules, row)} WHERE ${held} < ${limits.schedules}`;
    const insert = this.db.insert(schedules).select(values).onConflictDoNothing();
    const note = noteOf(by, schedule, "create", shownFields(settingsOf(schedule)));
    const inserted = insert.returning({ name: schedules.name });
    const [rows] = await ask(this.db.batch([inserted, noteIfChanged(this.db, note, schedule.createdAt)]));
    return rows.length > 0;
  }

  /**
   * Writes what somebody changed on the schedule as it was at `held`, and answers it as it is then. Of its runs it
   * writes no more than where the next one is, and only when that moved: the sweep may be at work on it. Undefined when
   * another was faster.
   */
  async update(held: Schedule, changed: Schedule, by = BROKER): Promise<Schedule | undefined> {
    const { lastRunAt: _, lastOutcome: __, nextRunAt, dueAt, ...settings } = toRow(changed);
    const isMoved = nextRunAt !== held.nextRunAt;
    const unchanged = and(
      isLife(held),
      eq(schedules.version, held.version),
      // Whoever moves the next run moves it from where it saw it.
      isMoved ? eq(schedules.nextRunAt, held.nextRunAt) : undefined,
    );
    const set = { ...settings, ...(isMoved && { nextRunAt, dueAt }) };
    const update = this.db.update(schedules).set(set).where(unchanged).returning();
    const subject = { by, resource: `schedules/${held.name}` };
    const note = noteOfSettings(subject, settingsOf(held), settingsOf(changed));
    const [[row]] = await ask(this.db.batch([update, noteIfChanged(this.db, note, changed.updatedAt)]));
    return row && toSchedule(row);
  }

  /** Deletes a life of a name; false when it is over already. */
  async delete(
    schedule: Pick<Schedule, "generation" | "name">,
    { now, by = BROKER }: Readonly<{ now: number; by?: Actor | undefined }>,
  ): Promise<boolean> {
    const rows = this.db.delete(schedules).where(isLife(schedule)).returning({ name: schedules.name });
    const note = noteIfChanged(this.db, noteOf(by, schedule, "delete", {}), now);
    return (await ask(this.db.batch([rows, note])))[0].length > 0;
  }

  // ── the sweep ──────────────────────────────────────────────────────────────────────────────────────

  /** What is due at `now`, longest due first. By schedules_due and topics_by_name. */
  async due(now: number, limit: number): Promise<readonly DueSchedule[]> {
    const isItsTopic = and(
      eq(topics.name, schedules.topic),
      eq(topics.generation, schedules.topicGeneration),
      eq(topics.state, "active"),
    );
    const { partitions, raisingTo, settings } = topics;
    const laid = { partitions, raisingTo, settings };
    const rows = await ask(
      this.db
        .select({ row: getTableColumns(schedules), topic: laid })
        .from(schedules)
        .leftJoin(topics, isItsTopic)
        .where(and(running, lte(schedules.dueAt, now)))
        .orderBy(asc(schedules.dueAt))
        .limit(limit),
    );
    return rows.map(({ row, topic }) => ({
      schedule: toSchedule(row),
      partitions: topic && layoutOf(topic).each,
    }));
  }

  /**
   * Writes down what became of runs, in one D1 batch. A schedule whose next run was moved meanwhile, by another sweep or
   * by somebody's change, stays as it is.
   */
  async settle(runs: readonly Readonly<{ schedule: Schedule; settled: Settled }>[]): Promise<void> {
    const updates = runs.map(({ schedule, settled }) => this.settling(schedule, settled));
    const [first, ...others] = updates;
    if (first) await ask(this.db.batch([first, ...others]));
  }

  private settling(schedule: Schedule, { pausedReason, ...line }: Settled) {
    const pause = { paused: true, pausedReason, version: sql`${schedules.version} + 1` };
    const unmoved = and(
      isLife(schedule),
      eq(schedules.nextRunAt, schedule.nextRunAt),
      eq(schedules.cron, schedule.cron),
      eq(schedules.timeZone, schedule.timeZone),
      eq(schedules.topicGeneration, schedule.topicGeneration),
    );
    return this.db
      .update(schedules)
      .set({ ...line, ...(pausedReason && pause) })
      .where(unmoved);
  }
}

/** What somebody sets of a schedule. Of the message only that it is another. */
function settingsOf({ topic, cron, timeZone, paused, pausedReason, message }: Schedule) {
  const { body, ...rest } = message;
  return { topic, cron, timeZone, paused, pausedReason, message: { ...rest, body: [...body] } };
}

function noteOf(by: Actor, { name }: Pick<Schedule, "name">, action: string, details: AuditDetails) {
  return { by, action, resource: `schedules/${name}`, details };
}

function isLife({ name, generation }: Pick<Schedule, "generation" | "name">) {
  return and(eq(schedules.name, name), eq(schedules.generation, generation));
}

function toSchedule({ packed, ...row }: Row): Schedule {
  return { ...row, message: unpackMessage(new Uint8Array(packed)) };
}

function toRow({ message, ...schedule }: Schedule) {
  // Drizzle's type says Buffer, and D1 takes any bytes.
  return { ...schedule, packed: packMessage(message) as Buffer };
}
