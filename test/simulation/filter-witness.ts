// What a subscription's filter leaves out, by an account of its own: each offset is judged by the filter that held when
// it was next. Filters of simulated worlds list subjects, without wildcards.

import type { SubscriptionSettings } from "../../src/settings";
import type { Picture } from "./picture";

/** From an offset on, the subjects that are wanted; undefined wants everything. */
type Version = Readonly<{ from: number; wanted: readonly unknown[] | undefined }>;

export class FilterWitness {
  private versions: readonly Version[] = [];

  /** Whether nothing was ever left out in this epoch. */
  get isOpen(): boolean {
    return this.versions.every(({ wanted }) => wanted === undefined);
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

  leavesOut(offset: number, subject: string | undefined): boolean {
    const wanted = this.versions.findLast(({ from }) => from <= offset)?.wanted;
    return wanted !== undefined && !wanted.includes(subject);
  }
}

function wantedBy({ filter }: SubscriptionSettings): readonly unknown[] | undefined {
  return filter?.subject;
}
