// Delayed messages as a witness sees them: each waits for its instant, is released once and not before, or is cancelled
// and never comes; a move moves it. Everything is told when it is on disk, in the order in which it was done.

import type { Result } from "../../src/errors";
import type { Message } from "../../src/message";
import type { RecordBatch } from "../../src/record-batch";
import type { AppendCall, BatchAnswer } from "../../src/topic-calls";
import type { Counts } from "./coverage";

type Placed = Readonly<{ placeOf(id: string): unknown }>;

export class DelayWitness {
  readonly cancelled = new Set<string>();
  /** When each of those that wait is due. */
  private readonly waiting = new Map<string, Readonly<{ deliverAt: number; partition: number }>>();

  /** The one that was released last: too late to cancel or move. */
  private last: Readonly<{ id: string; partition: number }> | undefined;

  constructor(private readonly counts: Counts) {}

  get size(): number {
    return this.waiting.size;
  }

  /** When the first of a partition is due; undefined when none waits. */
  nextDueAt(partition: number): number | undefined {
    const dues = [...this.waiting.values()].filter((each) => each.partition === partition);
    return dues.length === 0 ? undefined : Math.min(...dues.map(({ deliverAt }) => deliverAt));
  }

  /** Those that wait, and one that does no more, and where: for steps to cancel and move. */
  get open(): readonly Readonly<{ id: string; partition: number }>[] {
    const waiting = [...this.waiting].map(([id, { partition }]) => ({ id, partition }));
    return this.last ? [...waiting, this.last] : waiting;
  }

  appended({ scheduled = [], partition }: RecordBatch, { exceptions }: BatchAnswer): void {
    const ids = new Map(scheduled.map(({ index, id, deliverAt }) => [index, { id, deliverAt }]));
    for (const exception of exceptions) {
      if (!("scheduledFor" in exception) || exception.duplicate) continue;
      const item = ids.get(exception.index);
      if (!item || item.deliverAt !== exception.scheduledFor)
        throw new Error(`${item?.id} was answered as due at ${exception.scheduledFor}, not as it was asked`);
      this.waiting.set(item.id, { deliverAt: item.deliverAt, partition });
      this.counts.delayed += 1;
    }
  }

  /** Another partition has taken them over, since a raise: they wait there. */
  adopted({ batches }: Pick<AppendCall, "batches">, answers: readonly BatchAnswer[]): void {
    for (const [i, { scheduled = [], partition }] of batches.entries()) {
      if (answers[i]?.exceptions.some((exception) => "error" in exception)) continue;
      for (const { id } of scheduled) {
        const held = this.waiting.get(id);
        if (held) this.waiting.set(id, { ...held, partition });
      }
    }
  }

  cancelAnswered(id: string, answer: Result<unknown>, log: Placed): void {
    if (!answer.ok) {
      if (answer.error.code === "already-released") this.counts.cancelsTooLate += 1;
      return;
    }
    if (log.placeOf(id)) throw new Error(`${id} was cancelled, and has its offset`);
    if (this.waiting.delete(id)) this.counts.cancelled += 1;
    this.cancelled.add(id);
  }

  moved({ id, deliverAt }: Readonly<{ id: string; deliverAt: number }>, log: Placed): void {
    const held = this.waiting.get(id);
    if (!held || log.placeOf(id)) throw new Error(`${id} was moved, and does not wait`);
    this.waiting.set(id, { ...held, deliverAt });
    this.counts.rescheduled += 1;
  }

  /** A message came into the log. */
  released({ id, deliverAt }: Message, storedAt: number): void {
    if (this.cancelled.has(id)) throw new Error(`${id} was cancelled, and came`);
    const held = this.waiting.get(id);
    if (deliverAt === undefined && held === undefined) return;
    if (held === undefined) throw new Error(`${id} was delayed, and came unasked`);
    if (deliverAt !== held.deliverAt)
      throw new Error(`${id} came as due at ${deliverAt}, and was due at ${held.deliverAt}`);
    if (storedAt < held.deliverAt)
      throw new Error(`${id} came at ${storedAt}, and was due at ${held.deliverAt}`);
    this.waiting.delete(id);
    this.last = { id, partition: held.partition };
    this.counts.released += 1;
  }
}
