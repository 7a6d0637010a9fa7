// The records a subscription holds in memory: the log from its next offset on, read ahead, and single
// records that are about to be leased, or are leased. Bounded in bytes: what does not fit is read again.

import { deliveryTerms, recordSpans } from "../record-batch";
import type { LogRun } from "../topic-calls";

export type BufferedRecord = Readonly<{
  record: Uint8Array;
  storedAt: number;
  orderingKey?: string;
  expiresAt?: number;
}>;

export class RecordBuffer {
  /** The log is held without a gap from the next offset up to here. */
  end: number;
  private readonly records = new Map<number, BufferedRecord>();
  private bytes = 0;

  constructor(
    nextOffset: number,
    private readonly maxBytes: number,
  ) {
    this.end = nextOffset;
  }

  get isFull(): boolean {
    return this.bytes >= this.maxBytes;
  }

  /** Past this, what is leased is not kept: should it die, its message is read again. */
  get isHalfFull(): boolean {
    return this.bytes >= this.maxBytes / 2;
  }

  get(offset: number): BufferedRecord | undefined {
    return this.records.get(offset);
  }

  /** Reads ahead: takes runs that continue at `end`. One that starts elsewhere is dropped: it came too late. */
  append(runs: readonly LogRun[]): void {
    for (const run of runs) {
      const spans = recordSpans(run.records);
      const skip = this.end - run.firstOffset;
      if (skip < 0 || skip >= spans.length || this.isFull) continue;
      for (const span of spans.slice(skip)) this.put(this.end++, run, span);
    }
  }

  /** Holds single records, whatever lies around them. */
  hold(runs: readonly LogRun[]): void {
    for (const run of runs) {
      for (const [i, span] of recordSpans(run.records).entries()) {
        if (!this.records.has(run.firstOffset + i)) this.put(run.firstOffset + i, run, span);
      }
    }
  }

  /** Forgets a record that was passed in the log. */
  forget(offset: number): void {
    const held = this.records.get(offset);
    if (held === undefined) return;
    this.bytes -= held.record.byteLength;
    this.records.delete(offset);
  }

  /**
   * Forgets a record that is not needed in hand any more. One that lies ahead stays, since the log is held without a gap:
   * a dead letter of an earlier epoch may be in hand and come again.
   */
  release(offset: number, nextOffset: number): void {
    if (offset < nextOffset || offset >= this.end) this.forget(offset);
  }

  /** The log begins later than thought: forgets the read-ahead and starts again at `offset`. */
  restartAt(offset: number): void {
    this.records.clear();
    this.bytes = 0;
    this.end = offset;
  }

  private put(offset: number, run: LogRun, span: { start: number; end: number }): void {
    const record = run.records.subarray(span.start, span.end);
    this.forget(offset);
    this.records.set(offset, { record, storedAt: run.storedAt, ...deliveryTerms(run.records, span) });
    this.bytes += record.byteLength;
  }
}
