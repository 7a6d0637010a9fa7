// Marks, as they are appended, the messages that no subscription of the topic matches: an alternate, a subscription with
// `unmatched` in its filter, takes those. Looked at once, and written down in the record: what was found then holds for ever,
// whatever becomes of the filters. A topic that no alternate reads looks at nothing, and does not even read its filters.

import { Candidate } from "../filter/candidate";
import { compileFilter, type Matcher } from "../filter/matcher";
import { type Filter, isAlternate } from "../filter-form";
import type { Message } from "../message";
import { joinBytes, packRecords, recordSpans, unpackRecord } from "../record-batch";

/** What a reader wants, as the topic was told; `undefined` when it never was: then nothing may count as unmatched for it. */
export type KnownFilter = Readonly<{ filter: Filter | null | undefined }>;

export type MatchStore = Readonly<{
  /** Whether an alternate is among the readers. */
  hasAlternate(): boolean;
  filters(): readonly KnownFilter[];
}>;

type Judge = (message: Message) => boolean;

export class MatchDesk {
  /** Undefined until it is needed again; null while no alternate reads. */
  private judge: Judge | null | undefined;

  constructor(private readonly store: MatchStore) {}

  /** Other readers, or others of their filters. */
  forget(): void {
    this.judge = undefined;
  }

  /** The records as they are to be stored. */
  mark(records: Uint8Array): Uint8Array {
    if (this.judge === undefined) {
      this.judge = this.store.hasAlternate() ? judgeOf(this.store.filters()) : null;
    }
    return this.judge ? markUnmatched(records, this.judge) : records;
  }
}

/** The records, with a mark in each that `isMatched` says no of. */
export function markUnmatched(records: Uint8Array, isMatched: Judge): Uint8Array {
  const parts: Uint8Array[] = [];
  let from = 0;
  for (const span of recordSpans(records)) {
    const message = unpackRecord(records, span);
    if (isMatched(message)) continue;
    parts.push(records.subarray(from, span.start), packRecords([{ ...message, unmatched: true }]));
    from = span.end;
  }
  return parts.length === 0 ? records : joinBytes([...parts, records.subarray(from)]);
}

/** Whether one of the readers, alternates aside, lets a message through. */
function judgeOf(readers: readonly KnownFilter[]): Judge {
  const others = readers.filter(({ filter }) => !isAlternate(filter));
  if (others.some(({ filter }) => !filter)) return () => true;
  const matchers: readonly Matcher[] = others.flatMap(({ filter }) =>
    filter ? [compileFilter(filter)] : [],
  );
  return (message) => {
    const candidate = new Candidate(message);
    return matchers.some((matcher) => matcher.matches(candidate));
  };
}
