// Record batches that could not reach their topic, kept in D1 for the operator: to be sent on, or given up.
// Nothing here is ever sent or dropped by itself.

import { asc, eq, getTableColumns, gt, inArray, sql } from "drizzle-orm";
import { ok, type Result, refuse } from "../errors";
import { limits } from "../limits";
import { objectName } from "../object-name";
import { type RecordBatch, unpackRecordBatch } from "../record-batch";
import type { Runtime } from "../runtime";
import type { BatchAnswer } from "../topic-calls";
import { appendInParts } from "./append-store";
import { strandedBatches, topics } from "./catalog-schema";
import { ask, asParameters, away, type CatalogDatabase, CatalogFault, openCatalog } from "./d1-store";
import { type Catalog, reach } from "./entry-lifecycle";
import { rebatch } from "./rebatch";

/** `gone`: its topic's life ended. `undeliverable`: INGRESS gave up. `unreadable`: it is no record batch. */
export type StrandedReason = "gone" | "undeliverable" | "unreadable";

export type Stranding = Readonly<{
  /** The record batch's id: stranding it again changes nothing. */
  id: string;
  generation: string | null;
  partition: number | null;
  reason: StrandedReason;
  messageCount: number;
  packed: Uint8Array;
}>;

export type StrandedBatch = Omit<Stranding, "packed"> &
  Readonly<{ topic: string | null; bytes: number; strandedAt: number }>;

/** Where a batch that was sent on now lies. */
export type Resent = Readonly<{ generation: string; partition: number; answer: BatchAnswer }>;

// Everything but the messages.
const { packed: _, ...shown } = getTableColumns(strandedBatches);

type Insert = ReturnType<StrandedStore["insert"]>;

export class StrandedStore {
  private readonly db: CatalogDatabase;

  constructor(
    d1: D1Database,
    private readonly runtime: Runtime,
  ) {
    this.db = openCatalog(d1);
  }

  /**
   * Keeps record batches. Answers the ids that D1 confirmed: one that is missing found the store full. Throws a
   * CatalogFault while D1 is away; what was confirmed before is then stranded again, which changes nothing.
   */
  async strand(items: readonly Stranding[]): Promise<ReadonlySet<string>> {
    const confirmed = new Set<string>();
    for (let at = 0; at < items.length; at += limits.strandAtOnce) {
      const some = items.slice(at, at + limits.strandAtOnce);
      const inserts = some.map((item) => this.insert(item));
      await ask(this.db.batch(inserts as [Insert, ...Insert[]]));
      for (const id of await this.among(some.map(({ id }) => id))) confirmed.add(id);
    }
    return confirmed;
  }

  private async among(ids: readonly string[]): Promise<readonly string[]> {
    const { id } = strandedBatches;
    const rows = await ask(
      this.db
        .select({ id })
        .from(strandedBatches)
        .where(inArray(id, [...ids])),
    );
    return rows.map((row) => row.id);
  }

  // One statement: two consumers that strand at once cannot pass the cap between count and insert.
  private insert(item: Stranding) {
    const topic = sql`(SELECT ${topics.name} FROM ${topics} WHERE ${topics.generation} = ${item.generation})`;
    const row = { ...item, topic, bytes: item.packed.byteLength, strandedAt: this.runtime.now() };
    const held = sql`(SELECT count(*) FROM ${strandedBatches})`;
    const values = sql`SELECT ${asParameters(strandedBatches, row)} WHERE ${held} < ${limits.strandedBatches}`;
    return this.db.insert(strandedBatches).select(values).onConflictDoNothing();
  }

  /** Stranded batches by id, without their messages. By the primary key. */
  async list({
    after,
    limit,
  }: {
    after?: string | null | undefined;
    limit: number;
  }): Promise<readonly StrandedBatch[]> {
    const page = this.db
      .select(shown)
      .from(strandedBatches)
      .where(gt(strandedBatches.id, after ?? ""));
    return ask(page.orderBy(asc(strandedBatches.id)).limit(limit));
  }

  /** One stranded batch with its bytes. By the primary key. */
  async get(id: string): Promise<Result<StrandedBatch & Readonly<{ packed: Uint8Array }>>> {
    const row = await ask(this.db.select().from(strandedBatches).where(eq(strandedBatches.id, id)).get());
    return row ? ok({ ...row, packed: new Uint8Array(row.packed) }) : notStranded();
  }

  /** Gives a stranded batch up, or forgets one that was sent on. */
  async delete(id: string): Promise<Result<null>> {
    const gone = this.db.delete(strandedBatches).where(eq(strandedBatches.id, id));
    const rows = await ask(gone.returning({ id: strandedBatches.id }));
    return rows.length > 0 ? ok(null) : notStranded();
  }

  async count(): Promise<number> {
    return ask(this.db.$count(strandedBatches));
  }
}

/**
 * Sends a stranded batch on, to where it was bound or, if the operator says so, to the present life of the topic
 * `toTopic`. It is forgotten only once the topic has it; sent twice, the topic stores it once.
 */
export async function resendStranded(
  catalog: Catalog,
  id: string,
  toTopic?: string,
): Promise<Result<Resent>> {
  const stranded = new StrandedStore(catalog.env.CATALOG, catalog.runtime);
  try {
    const found = await stranded.get(id);
    if (!found.ok) return found;
    if (found.value.reason === "unreadable") {
      return refuse("conflict", "It is no record batch, so no topic can take it. It can only be deleted.");
    }
    const batch = await addressed(catalog, unpackRecordBatch(found.value.packed), toTopic);
    if (!batch.ok) return batch;
    const resent = await append(catalog, batch.value);
    if (resent.ok) await stranded.delete(id);
    return resent;
  } catch (fault) {
    if (fault instanceof CatalogFault) return away();
    throw fault;
  }
}

async function addressed(
  catalog: Catalog,
  batch: RecordBatch,
  toTopic?: string,
): Promise<Result<RecordBatch>> {
  if (toTopic === undefined) return ok(batch);
  catalog.store.forget(toTopic);
  const topic = await catalog.store.topic(toTopic);
  return topic.ok ? ok(rebatch(batch, topic.value)) : topic;
}

/** Of a batch that raises have cut since, the answer says where the first part is; sent again, no part is stored twice. */
async function append(catalog: Catalog, batch: RecordBatch): Promise<Result<Resent>> {
  const answers: BatchAnswer[] = [];
  const parts = await appendInParts(batch, (part) => appendPart(catalog, part));
  for (const { answered, indexes } of parts) {
    if (!answered.ok) return answered;
    const exceptions = answered.value.exceptions.map((e) => ({ ...e, index: indexes[e.index] ?? e.index }));
    answers.push({ ...answered.value, exceptions });
  }
  const [first] = answers;
  if (!first) return refuse("internal", "The topic gave no answer.");
  const { batchId, count, generation, partition } = batch;
  const exceptions = answers.flatMap((answer) => answer.exceptions);
  const answer = { batchId, firstOffset: first.firstOffset, count, exceptions };
  return ok({ generation, partition: parts[0]?.batch.partition ?? partition, answer });
}

async function appendPart(catalog: Catalog, batch: RecordBatch): Promise<Result<BatchAnswer>> {
  const name = objectName(batch.generation, batch.partition);
  const answers = await reach(catalog, name, () =>
    catalog.env.TOPIC.getByName(name).append({ batches: [batch], keepRejections: true }),
  );
  if (!answers.ok) return answers;
  const [answer] = answers.value;
  return answer ? ok(answer) : refuse("internal", "The topic gave no answer.");
}

function notStranded() {
  return refuse("stranded-not-found", "There is no such stranded batch.");
}
