// The delayed messages of a partition over their store. In memory is only how many they are and when the first is
// due, which the store can tell again.

import { limits } from "../limits";
import { fitting } from "../sql/page";
import type { DelayedPage, DelayedPlace } from "../topic-calls";
import { type Delayed, movedRecord, type NewDelayed } from "./delayed";
import type { DelayedHead, DelayedStore } from "./delayed-store";
import type { SeenId } from "./log";

export class Delays {
  /** When the first is due, in epoch milliseconds; undefined when nothing is delayed. */
  nextDueAt: number | undefined;
  /** Counted when it is first asked for. */
  private totals: { count: number; lastNumber: number } | undefined;

  constructor(private readonly store: DelayedStore) {
    this.nextDueAt = store.earliest();
  }

  get count(): number {
    return this.nextDueAt === undefined ? 0 : this.known.count;
  }

  /** How many more there may be. */
  get room(): number {
    return limits.delayedMessages - this.count;
  }

  add(messages: readonly NewDelayed[]): void {
    if (messages.length === 0) return;
    const { known } = this;
    for (const message of messages) {
      known.count += 1;
      known.lastNumber += 1;
      this.store.insert({ ...message, number: known.lastNumber });
    }
    this.lookAhead();
  }

  /** Those of `ids` that wait, as what a topic has seen. */
  seen(ids: readonly string[]): SeenId[] {
    if (this.nextDueAt === undefined) return [];
    return this.store
      .heads(ids)
      .map(({ id, fingerprint, deliverAt }) => ({ id, fingerprint, scheduledFor: deliverAt }));
  }

  find(id: string): DelayedHead | undefined {
    return this.nextDueAt === undefined ? undefined : this.store.heads([id])[0];
  }

  recordOf(id: string): Uint8Array | undefined {
    const found = this.find(id);
    return found && this.store.record(found);
  }

  /** Takes out what is due, in order, as much as one row holds. */
  takeDue(now: number): readonly Delayed[] {
    const sizes = this.store.sizes(null, now, limits.releasedAtOnce);
    const due = this.store.page(null, fitting(sizes, limits.rowBytes).length);
    const last = due.at(-1);
    if (last === undefined) return [];
    this.store.deleteUpTo(last);
    this.left(due.length);
    return due;
  }

  /** Those past `after`, in order: a page of what one call carries. */
  all(after: DelayedPlace | null): readonly Delayed[] {
    const sizes = this.store.sizes(after, Number.MAX_SAFE_INTEGER, limits.releasedAtOnce);
    return this.store.page(after, fitting(sizes, limits.rowBytes).length);
  }

  /** Takes these out, as far as they are still there. */
  removeAll(delayed: readonly Delayed[]): void {
    const held = new Map(this.store.heads(delayed.map(({ id }) => id)).map((head) => [head.id, head]));
    for (const { id } of delayed) {
      const head = held.get(id);
      if (head) this.remove(head);
    }
  }

  remove(place: DelayedPlace): void {
    this.store.delete(place);
    this.left(1);
  }

  /** Moves one to another instant. It keeps its number: its order among those of one instant is that of publishing. */
  move(place: DelayedPlace, deliverAt: number): void {
    this.store.move(place, deliverAt, movedRecord(this.store.record(place), deliverAt));
    this.lookAhead();
  }

  page(after: DelayedPlace | null, limit: number): DelayedPage {
    const sizes = this.store.sizes(after, Number.MAX_SAFE_INTEGER, limit + 1);
    const fit = fitting(sizes.slice(0, limit), limits.readBytes).length;
    const page = this.store.page(after, fit);
    const messages = page.map(({ deliverAt, number, record }) => ({ deliverAt, number, record }));
    return { messages, more: sizes.length > fit };
  }

  private left(count: number): void {
    if (this.totals) this.totals.count -= count;
    this.lookAhead();
  }

  private lookAhead(): void {
    this.nextDueAt = this.store.earliest();
  }

  private get known(): { count: number; lastNumber: number } {
    this.totals ??= this.store.totals();
    return this.totals;
  }
}
