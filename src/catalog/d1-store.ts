// The way to D1 `CATALOG`: asking it, and asking it through what the isolate remembers.

import { DrizzleQueryError, getTableColumns, SQL, type SQLWrapper, sql } from "drizzle-orm";
import { type DrizzleD1Database, drizzle } from "drizzle-orm/d1";
import type { SQLiteTable } from "drizzle-orm/sqlite-core";
import { ok, type Result, refuse } from "../errors";
import { inTime, LATE } from "../in-time";
import { limits } from "../limits";
import type { Runtime } from "../runtime";
import { ageOf, type CatalogCache, emptyCache, type Kept, keep, type Shelf } from "./catalog-cache";

export type CatalogDatabase = DrizzleD1Database;
/** Lets work go on behind the request: `waitUntil`. */
export type Background = (work: Promise<unknown>) => void;

/** D1 failed or did not answer. It says nothing of the query's parameters: some of them are secret. */
export class CatalogFault extends Error {
  override readonly name = "CatalogFault";
}

export function openCatalog(d1: D1Database): CatalogDatabase {
  return drizzle(d1);
}

/** Runs a query of the catalog. Throws a CatalogFault when D1 fails. */
export async function ask<T>(query: PromiseLike<T>): Promise<T> {
  try {
    return await query;
  } catch (error) {
    const cause = error instanceof DrizzleQueryError ? error.cause : error;
    throw new CatalogFault(cause instanceof Error ? cause.message : "D1 failed");
  }
}

/** A row's values in the order of its table's columns, for INSERT … SELECT … WHERE. No JSON column may be null. */
export function asParameters(table: SQLiteTable, row: Readonly<Record<string, unknown>>): SQL {
  const values = Object.entries(getTableColumns(table)).map(([field, column]) => {
    const value = row[field];
    return value instanceof SQL ? value : sql.param(value, column);
  });
  return sql.join(values, sql`, `);
}

/** Whether a column of names matches one of `patterns`: names, or the beginning of names followed by `*`. */
export function matchesOne(column: SQLWrapper, patterns: readonly string[] | undefined): SQL | undefined {
  if (patterns === undefined) return undefined;
  const begins = sql`substr(${column}, 1, length(value) - 1) = substr(value, 1, length(value) - 1)`;
  return sql`EXISTS (SELECT 1 FROM json_each(${JSON.stringify(patterns)})
    WHERE value = ${column} OR (substr(value, -1) = '*' AND ${begins}))`;
}

// By binding, because a Worker has one CATALOG for the life of its isolate, and a test has several.
const caches = new WeakMap<D1Database, CatalogCache>();

export function cacheOf(d1: D1Database): CatalogCache {
  const held = caches.get(d1) ?? emptyCache();
  caches.set(d1, held);
  return held;
}

/** Reads through the isolate's cache: the ages are drawn in catalog-cache.ts. */
export class CachedReads {
  constructor(
    readonly cache: CatalogCache,
    private readonly runtime: Runtime,
    private readonly background: Background,
  ) {}

  /** What is kept under `key`, else what `read` finds; undefined when there is none. Refused while D1 is away. */
  async get<T>(
    shelf: Shelf<T>,
    key: string,
    read: () => Promise<T | undefined>,
  ): Promise<Result<T | undefined>> {
    const now = this.runtime.now();
    const kept = shelf.get(key);
    const age = ageOf(kept, now);
    if (!kept || age === "spent") return this.fetch(shelf, key, read);
    if (age === "fresh" || now < kept.quietUntil) return ok(kept.value);
    if (age === "stale") return this.fetch(shelf, key, read, kept);
    kept.quietUntil = now + limits.catalogRetryMs;
    this.background(this.fetch(shelf, key, read, kept));
    return ok(kept.value);
  }

  private async fetch<T>(
    shelf: Shelf<T>,
    key: string,
    read: () => Promise<T | undefined>,
    kept?: Kept<T>,
  ): Promise<Result<T | undefined>> {
    const readAt = this.runtime.now();
    const { epoch } = this.cache;
    try {
      const value = await inTime(read(), limits.catalogWaitMs);
      if (value === LATE) throw new CatalogFault("D1 did not answer in time");
      if (this.cache.epoch === epoch) {
        if (value === undefined) shelf.delete(key);
        else keep(shelf, key, value, readAt);
      }
      return ok(value);
    } catch (fault) {
      if (!(fault instanceof CatalogFault)) throw fault;
      if (!kept) return away();
      kept.quietUntil = this.runtime.now() + limits.catalogRetryMs;
      return ok(kept.value);
    }
  }
}

/** The refusal of whoever needs D1 while it is away. */
export function away() {
  return refuse("unavailable", "The catalog cannot be read or written at the moment.", {
    retryAfterMs: limits.catalogRetryMs,
  });
}
