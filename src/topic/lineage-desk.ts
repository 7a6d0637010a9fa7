// What a partition has to do with others since a raise: it asks its parent about ids that may have been published there,
// answers its own children about theirs, and knows what it no longer takes.

import { asOwn, type BrokerError, ok, type Result, refuse } from "../errors";
import { limits } from "../limits";
import { type Cut, cutFor, movedTo } from "../raise";
import type { RecordBatch } from "../record-batch";
import type { KnownId, TopicCalls } from "../topic-calls";
import type { LineageStore, Parent } from "./lineage-store";
import type { SeenId } from "./log";
import { keptMs } from "./retention";

export type LineageParts = Readonly<{
  store: LineageStore;
  partition: number;
  retentionMs: number;
  log: Readonly<{
    head: number;
    delays: Readonly<{ nextDueAt: number | undefined }>;
    seen(ids: readonly string[]): Map<string, SeenId>;
  }>;
  topicAt(partition: number): TopicCalls;
  now(): number;
  write<T>(decide: () => T): T;
}>;

export class LineageDesk {
  private parent: Parent | undefined;
  private held: readonly Cut[];
  /** The raise whose delayed messages are on their way to where their keys went: until they are there, none is released. */
  departing: number | undefined;

  constructor(private readonly parts: LineageParts) {
    this.parent = parts.store.parent();
    this.held = parts.store.cuts();
    this.departing = parts.store.departing();
  }

  get cuts(): readonly Cut[] {
    return this.held;
  }

  get parentPartition(): number | undefined {
    return this.parent?.partition;
  }

  /** Fixes where the log ends for keys that leave with a raise to `partitions`. What is delayed of them departs. */
  cut(partitions: number): void {
    if (this.held.some((cut) => cut.partitions === partitions)) return;
    const { store, log, write } = this.parts;
    const departs = log.delays.nextDueAt !== undefined;
    write(() => store.insertCut({ partitions, offset: log.head, cutAt: this.parts.now() }, departs));
    this.held = store.cuts();
    this.departing = store.departing();
  }

  /** Nothing delayed is left here of keys that left with the raise to `partitions`. */
  departed(partitions: number): void {
    const { store, write } = this.parts;
    write(() => store.noteDeparted(partitions));
    this.departing = store.departing();
  }

  /** The count by which a batch must be cut, if some of it belongs elsewhere. */
  movedTo(batch: RecordBatch): number | undefined {
    if (this.held.length === 0) return undefined;
    return movedTo(
      batch,
      this.held.map(({ partitions }) => partitions),
    );
  }

  /**
   * What the parent, and its own, know of those of `ids` that this partition does not. Refused while it cannot be
   * asked: taking such an id unasked might store its message twice.
   */
  async askParent(ids: readonly string[]): Promise<Result<readonly KnownId[]>> {
    if (!this.isParentAsked()) return ok([]);
    const here = this.parts.log.seen(ids);
    const strange = ids.filter((id) => !here.has(id));
    if (strange.length === 0) return ok([]);
    return this.askAbove(strange, this.parts.partition);
  }

  /** Answers a child: what is known of `ids` here and above, and when its keys left. */
  async knows(
    ids: readonly string[],
    child: number,
  ): Promise<Result<{ known: readonly KnownId[]; cutAt?: number }>> {
    const { log, partition } = this.parts;
    const own = [...log.seen(ids).values()].map((seen) => ({ partition, ...seen }));
    const cut = cutFor(this.held, partition, child);
    const left = cut && { cutAt: cut.cutAt };
    const strange = ids.filter((id) => !own.some((known) => known.id === id));
    if (strange.length === 0 || !this.isParentAsked()) return ok({ known: own, ...left });
    const above = await this.askAbove(strange, child);
    return above.ok ? ok({ known: [...own, ...above.value], ...left }) : above;
  }

  /** One key horizon after the keys left, the parent has forgotten what it knew of them. */
  private isParentAsked(): boolean {
    if (!this.parent) return false;
    const { cutAt } = this.parent;
    return cutAt === null || this.parts.now() < cutAt + keptMs("keys", this.parts.retentionMs);
  }

  private async askAbove(ids: readonly string[], child: number): Promise<Result<readonly KnownId[]>> {
    const { parent } = this;
    if (!parent) return ok([]);
    const answer = asOwn(await this.parts.topicAt(parent.partition).knows({ ids, child }).catch(away));
    if (!answer.ok) return answer;
    const { known, cutAt } = answer.value;
    if (cutAt !== undefined && parent.cutAt === null) this.noteCut(cutAt);
    return ok(known);
  }

  private noteCut(cutAt: number): void {
    if (!this.parent) return;
    this.parts.write(() => this.parts.store.noteParentCut(cutAt));
    this.parent = { ...this.parent, cutAt };
  }
}

function away(): { ok: false; error: BrokerError } {
  return refuse("unavailable", "The partition that knew these ids before cannot be asked; try again.", {
    retryAfterMs: limits.catalogRetryMs,
  });
}
