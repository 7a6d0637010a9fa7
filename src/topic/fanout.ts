// Whom a topic must tell of new messages. Fan-out writes nothing: a reader is told how far the log reaches,
// one notify at a time, and is told again until it says that it knows.

import type { LogRun } from "../topic-calls";

/** A subscription as its topic sees it. */
export type Reader = {
  readonly generation: string;
  readonly startOffset: number;
  /** How far the reader knows the log. Kept in memory only: after a restart it is taken to know all there was. */
  informedTo: number;
  /** Whether the reader said so itself since the restart. */
  isConfirmed: boolean;
  notifying: boolean;
};

/** The readers that are owed a notify and have none on its way. */
export function behind(readers: Iterable<Reader>, head: number): Reader[] {
  return [...readers].filter((reader) => reader.informedTo < head && !reader.notifying);
}

/**
 * Whether some reader has not said that it knows the log up to `head`. One that is being told counts: nobody knows yet
 * whether the notify arrives. With `doubts` those count too of whom a restart forgot whether they were told.
 */
export function isOwed(readers: Iterable<Reader>, head: number, doubts: boolean): boolean {
  return [...readers].some((reader) => reader.informedTo < head || (doubts && !reader.isConfirmed));
}

/** Those that may be owed one: a restart forgot whether they were told. */
export function doubtful(readers: Iterable<Reader>): Reader[] {
  return [...readers].filter((reader) => !reader.isConfirmed && !reader.notifying);
}

/** The newest runs of the log, kept in memory so that a notify can carry them. */
export class Tail {
  private runs: LogRun[] = [];
  private bytes = 0;

  constructor(private readonly maxBytes: number) {}

  push(run: LogRun): void {
    this.runs.push(run);
    this.bytes += run.records.byteLength;
    while (this.bytes > this.maxBytes) this.bytes -= this.runs.shift()?.records.byteLength ?? this.bytes;
  }

  /** The runs from exactly `offset` to the head; none when they no longer start there. */
  from(offset: number): readonly LogRun[] {
    const start = this.runs.findIndex((run) => run.firstOffset === offset);
    return start < 0 ? [] : this.runs.slice(start);
  }
}
