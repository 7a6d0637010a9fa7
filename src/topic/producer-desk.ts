// How far producers have come in this partition. One that a raise made asks the partition that its keys came from about a
// producer that it has not met: that one counts on from there, and is not told to begin again.

import { asOwn, type BrokerError, ok, type Refused, type Result, refuse } from "../errors";
import { limits } from "../limits";
import { type Cut, cutFor } from "../raise";
import type { RecordBatch } from "../record-batch";
import type { ProducerPlace, TopicCalls } from "../topic-calls";
import { tooManyProducers } from "./producer";
import type { ProducerStore } from "./producer-store";

export type ProducerParts = Readonly<{
  store: ProducerStore;
  partition: number;
  lineage: Readonly<{ parentPartition: number | undefined; cuts: readonly Cut[] }>;
  topicAt(partition: number): TopicCalls;
  now(): number;
  write<T>(decide: () => T): T;
}>;

export class ProducerDesk {
  constructor(private readonly parts: ProducerParts) {}

  /** How far the producers of `batches` came before a raise, those that have not been met here. */
  async above(batches: readonly RecordBatch[]): Promise<Result<ReadonlyMap<string, number>>> {
    const places = new Map<string, number>();
    if (this.parts.lineage.parentPartition === undefined) return ok(places);
    for (const { producer } of batches) {
      if (producer === undefined || this.parts.store.find(producer.name)) continue;
      const place = await this.askParent(producer.name, this.parts.partition);
      if (!place.ok) return place;
      if (place.value) places.set(producer.name, place.value.lastSequence);
    }
    return ok(places);
  }

  /** How far a producer has come here; null when it was never met, here or above. `child` asks for itself. */
  async find(name: string, child?: number): Promise<Result<ProducerPlace | null>> {
    const { partition, lineage, store } = this.parts;
    // Until its keys have left, this partition may still take what its child would then take again.
    if (child !== undefined && !cutFor(lineage.cuts, partition, child)) return away();
    const own = store.find(name);
    if (own) return ok(own);
    return lineage.parentPartition === undefined ? ok(null) : this.askParent(name, child ?? partition);
  }

  /** Lets a producer begin elsewhere: its next sequence is the one after `lastSequence`. */
  begin(name: string, lastSequence: number): Result<null> {
    const { store, now, write } = this.parts;
    const known = store.find(name);
    if (!known && store.count() >= limits.producersPerPartition) return tooManyProducers();
    if (known?.lastSequence !== lastSequence) write(() => store.save(name, { lastSequence, lastAt: now() }));
    return ok(null);
  }

  private async askParent(name: string, child: number): Promise<Result<ProducerPlace | null>> {
    const { lineage, topicAt } = this.parts;
    const parent = topicAt(lineage.parentPartition ?? 0);
    return asOwn(await parent.producer({ name, child }).catch(away));
  }
}

function away(): Refused & { error: BrokerError } {
  return refuse("unavailable", "The partition that knew this producer before cannot be asked; try again.", {
    retryAfterMs: limits.catalogRetryMs,
  });
}
