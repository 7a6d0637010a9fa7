// How far producers come in the course of one append: each batch of the call is judged after those before it, and what
// comes of it is saved once, in the append's own transaction.

import { limits } from "../limits";
import type { ProducerStore } from "./producer-store";

export class ProducerMarks {
  private readonly moved = new Map<string, number>();

  constructor(
    private readonly store: ProducerStore,
    private readonly above: ReadonlyMap<string, number> = new Map(),
  ) {}

  /** How far a producer has come: 0 when it is new, and then whether there is room for it. */
  before(name: string): { lastSequence: number; mayBegin: boolean } {
    const here = this.moved.get(name) ?? this.store.find(name)?.lastSequence;
    if (here !== undefined) return { lastSequence: here, mayBegin: true };
    const mayBegin = this.store.count() + this.moved.size < limits.producersPerPartition;
    return { lastSequence: this.above.get(name) ?? 0, mayBegin };
  }

  note(producer: Readonly<{ name: string; lastSequence: number }> | undefined): void {
    if (producer) this.moved.set(producer.name, producer.lastSequence);
  }

  /** Saves those that have come further. */
  save(now: number): void {
    for (const [name, lastSequence] of this.moved) {
      if (this.store.find(name)?.lastSequence !== lastSequence)
        this.store.save(name, { lastSequence, lastAt: now });
    }
  }
}
