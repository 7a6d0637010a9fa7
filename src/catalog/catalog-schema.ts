// The tables of D1 `CATALOG`: what exists, who may do what, and what could not be carried to its topic.
// migrations/catalog is generated from this file (`npm run migrations -- --name what_changed`), never edited.

import { sql } from "drizzle-orm";
import { blob, index, integer, primaryKey, sqliteTable, text, uniqueIndex } from "drizzle-orm/sqlite-core";
import type { TokenLimits } from "../limit-policy";
import type { StartAt, SubscriptionSettings, TopicSettings } from "../settings";
import type { AuditDetails } from "./audit-details";
import type { EntryState, TopicKind } from "./catalog-entry";
import type { PausedReason, RunOutcome } from "./schedule";

/** A row that the sweep has to finish or to repair. The partial indexes hold these rows only. */
export const unsettled = sql.raw("state <> 'active' OR configured_version < version");

const life = () => ({
  version: integer("version").notNull(),
  /** The newest version that every object is known to have. Behind `version`, the sweep repairs it. */
  configuredVersion: integer("configured_version").notNull(),
  state: text("state").$type<EntryState>().notNull(),
  createdAt: integer("created_at").notNull(),
  updatedAt: integer("updated_at").notNull(),
  /** Where its number of partitions is on the way to, while it is raised. */
  raisingTo: integer("raising_to"),
  /** When a request or the sweep last worked on it: the sweep takes the one that waited longest. */
  triedAt: integer("tried_at").notNull(),
});

export const topics = sqliteTable(
  "topics",
  {
    generation: text("generation").primaryKey(),
    name: text("name").notNull(),
    kind: text("kind").$type<TopicKind>().notNull(),
    partitions: integer("partitions").notNull(),
    settings: text("settings", { mode: "json" }).$type<TopicSettings>().notNull(),
    /** Until when each partition, by number, refuses for space. Absent when none ever did. */
    fullUntil: text("full_until", { mode: "json" }).$type<Readonly<Record<string, number>>>(),
    ...life(),
  },
  (table) => [
    // One row per name, in whatever state: a name is free only when its last life has ended.
    uniqueIndex("topics_by_name").on(table.name),
    index("topics_unsettled").on(table.triedAt).where(unsettled),
  ],
);

export const subscriptions = sqliteTable(
  "subscriptions",
  {
    generation: text("generation").primaryKey(),
    topicGeneration: text("topic_generation")
      .notNull()
      .references(() => topics.generation),
    /** The topic's name and partitions, which never change while its generation lives. */
    topic: text("topic").notNull(),
    partitions: integer("partitions").notNull(),
    name: text("name").notNull(),
    startAt: text("start_at", { mode: "json" }).$type<StartAt>().notNull(),
    settings: text("settings", { mode: "json" }).$type<SubscriptionSettings>().notNull(),
    ...life(),
  },
  (table) => [
    uniqueIndex("subscriptions_by_name").on(table.topicGeneration, table.name),
    index("subscriptions_unsettled").on(table.triedAt).where(unsettled),
  ],
);

/** Positions of subscriptions, by name. They go with their subscription. */
export const snapshots = sqliteTable(
  "snapshots",
  {
    subscription: text("subscription")
      .notNull()
      .references(() => subscriptions.generation, { onDelete: "cascade" }),
    name: text("name").notNull(),
    /** By partition: the lowest offset that was not settled. */
    offsets: text("offsets", { mode: "json" }).$type<Readonly<Record<string, number>>>().notNull(),
    createdAt: integer("created_at").notNull(),
  },
  (table) => [primaryKey({ columns: [table.subscription, table.name] })],
);

/** A token with a former secret, and one that ends. The partial indexes hold these rows only. */
export const rotated = sql.raw("previous_hash IS NOT NULL");
export const expiring = sql.raw("expires_at IS NOT NULL");

export const tokens = sqliteTable(
  "tokens",
  {
    id: text("id").primaryKey(),
    name: text("name").notNull(),
    /** SHA-256 of the token, in lower-case hex. The token itself is nowhere. */
    hash: text("hash").notNull(),
    scopes: text("scopes", { mode: "json" }).$type<readonly string[]>().notNull(),
    createdAt: integer("created_at").notNull(),
    expiresAt: integer("expires_at"),
    lastUsedAt: integer("last_used_at"),
    /** The hash of before the last rotation, honoured until `previousUntil`. */
    previousHash: text("previous_hash"),
    previousUntil: integer("previous_until"),
    /** Absent when it has none. */
    limits: text("limits", { mode: "json" }).$type<TokenLimits>(),
  },
  (table) => [
    uniqueIndex("tokens_by_hash").on(table.hash),
    index("tokens_by_previous_hash").on(table.previousHash).where(rotated),
    index("tokens_by_expiry").on(table.expiresAt).where(expiring),
  ],
);

/** Who changed what, and when. Numbers rise, and none is given twice. */
export const auditLog = sqliteTable(
  "audit_log",
  {
    number: integer("number").primaryKey({ autoIncrement: true }),
    at: integer("at").notNull(),
    /** A token's id, `root`, or `broker`. */
    actor: text("actor").notNull(),
    actorName: text("actor_name").notNull(),
    action: text("action").notNull(),
    resource: text("resource").notNull(),
    requestId: text("request_id").notNull(),
    /** `begun`, `done`, or the code of the refusal. */
    outcome: text("outcome").notNull(),
    /** Bounded, and without secrets. */
    details: text("details", { mode: "json" }).$type<AuditDetails>().notNull(),
  },
  (table) => [
    index("audit_log_by_resource").on(table.resource),
    index("audit_log_by_actor").on(table.actor),
    index("audit_log_by_time").on(table.at),
  ],
);

export const strandedBatches = sqliteTable("stranded_batches", {
  /** The record batch's id, or the Cloudflare Queue message's when it is no record batch. */
  id: text("id").primaryKey(),
  /** Absent when the catalog had forgotten the generation, as it does once a topic is deleted. */
  topic: text("topic"),
  generation: text("generation"),
  partition: integer("partition"),
  reason: text("reason").$type<"gone" | "unreadable" | "undeliverable">().notNull(),
  messageCount: integer("message_count").notNull(),
  bytes: integer("bytes").notNull(),
  strandedAt: integer("stranded_at").notNull(),
  packed: blob("packed", { mode: "buffer" }).notNull(),
});

/** One row: where the sweep's round of all objects stands. */
export const sweepCursor = sqliteTable("sweep_cursor", {
  id: integer("id").primaryKey(),
  noun: text("noun").$type<"topic" | "subscription">().notNull(),
  generation: text("generation").notNull(),
  partition: integer("partition").notNull(),
});

/** A schedule that the sweep may find due. The partial index holds these rows only. */
export const running = sql.raw("paused = 0");

export const schedules = sqliteTable(
  "schedules",
  {
    name: text("name").primaryKey(),
    generation: text("generation").notNull(),
    version: integer("version").notNull(),
    topic: text("topic").notNull(),
    /** No reference: the topic may end, and the schedule then says so. */
    topicGeneration: text("topic_generation").notNull(),
    cron: text("cron").notNull(),
    timeZone: text("time_zone").notNull(),
    paused: integer("paused", { mode: "boolean" }).notNull(),
    pausedReason: text("paused_reason").$type<PausedReason>(),
    nextRunAt: integer("next_run_at").notNull(),
    dueAt: integer("due_at").notNull(),
    lastRunAt: integer("last_run_at"),
    lastOutcome: text("last_outcome", { mode: "json" }).$type<RunOutcome>(),
    createdAt: integer("created_at").notNull(),
    updatedAt: integer("updated_at").notNull(),
    /** The message: one record, without id and times. Last, because a row is read up to the column that is wanted. */
    packed: blob("packed", { mode: "buffer" }).notNull(),
  },
  (table) => [index("schedules_due").on(table.dueAt).where(running)],
);
