// What a subscription's filter leaves out, by an account of its own: each offset is judged by the filter that held when
// it was next. Filters of simulated worlds list subjects, without wildcards.

import type { SubscriptionSettings } from "../../src/settings";
import type { Logged } from "./log-witness";
import type { Picture } from "./picture";

/** The subjects that are wanted; undefined wants everything. `unmatched`: only what no other subscription matched. */
type Wanted = Readonly<{ subjects: readonly unknown[] | undefined; unmatched: boolean }>;
/** What holds from an offset on. */
type Version = Readonly<{ from: number; wanted: Wanted }>;

export class FilterWitness {
  private versions: readonly Version[] = [];

  /** Whether nothing was ever left out in this epoch. */
  get isOpen(): boolean {
    return this.versions.every(({ wanted }) => wanted.subjects === undefined && !wanted.unmatched);
  }

  /** All of an epoch is judged by the filter that holds as it begins. */
  begin({ counters, settings }: Picture): void {
    this.versions = [{ from: counters.startOffset, wanted: wantedBy(settings) }];
  }

  /** Another filter holds for what was not taken yet. Answers whether it is another. */
  take(before: Picture, after: Picture): boolean {
    const wanted = wantedBy(after.settings);
    if (JSON.stringify(wantedBy(before.settings)) === JSON.stringify(wanted)) return false;
    const { from = Number.NaN } = after.backlog.sieve.versions.at(-1) ?? {};
    const isNext = before.counters.nextOffset <= from && from <= after.counters.nextOffset;
    if (!isNext)
      throw new Error(`another filter holds from ${from}, and ${before.counters.nextOffset} was next`);
    this.versions = [...this.versions.filter((version) => version.from < from), { from, wanted }];
    return true;
  }

  /** Whether it wants only what no other subscription matched, as of an offset. */
  isAlternate(offset: number): boolean {
    return this.wantedAt(offset)?.unmatched === true;
  }

  leavesOut(offset: number, logged: Pick<Logged, "subject" | "unmatched"> | undefined): boolean {
    const { subjects, unmatched = false } = this.wantedAt(offset) ?? {};
    if (unmatched && !logged?.unmatched) return true;
    return subjects !== undefined && !subjects.includes(logged?.subject);
  }

  private wantedAt(offset: number): Wanted | undefined {
    return this.versions.findLast(({ from }) => from <= offset)?.wanted;
  }
}

function wantedBy({ filter }: SubscriptionSettings): Wanted {
  return { subjects: filter?.subject, unmatched: filter?.unmatched === true };
}
