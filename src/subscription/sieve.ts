// Which messages the subscription's filter lets through. A filter that is set applies to what was not taken from the
// log yet, so each offset is judged by the version that held when it was next, for ever:
//
//   offsets   0 ………… 500 ………… 700 ………… head
//   filter    none │ version 2 │ version 3
//
// What was let through once is not judged again: a retry is of the same message, and a redriven dead letter matched
// before it died. Pure; verdicts are remembered while the record is in memory, so that a body is parsed once.

import { Candidate } from "../filter/candidate";
import { compileFilter, type Matcher } from "../filter/matcher";
import type { Filter } from "../filter-form";
import { limits } from "../limits";
import { unpackRecord } from "../record-batch";

/** A filter and the offset from which on it holds; `null` lets everything through. */
export type FilterVersion = Readonly<{ version: number; from: number; filter: Filter | null }>;

type Held = Readonly<{ record: Uint8Array }>;

export class Sieve {
  private readonly matchers = new Map<FilterVersion, Matcher>();
  private readonly verdicts = new WeakMap<Held, boolean>();
  private judgedBytes = 0;

  /** By rising offsets; none while no filter was ever set. */
  constructor(readonly versions: readonly FilterVersion[] = []) {}

  /** Whether no filter was ever set: then nothing is to be judged. */
  get isOpen(): boolean {
    return this.versions.length === 0;
  }

  /** From here on it is known what held; before it, versions were forgotten. */
  get knownFrom(): number {
    return this.versions[0]?.from ?? 0;
  }

  /** Begins another cut, which may judge its share. */
  renew(): void {
    this.judgedBytes = 0;
  }

  /** Whether this cut has judged its share: the rest is for the next one, after others had their turn. */
  get isSpent(): boolean {
    return this.judgedBytes >= limits.filterCutBytes;
  }

  /** The version that holds for an offset; undefined when there is none, or it was forgotten. */
  versionAt(offset: number): FilterVersion | undefined {
    return this.versions.findLast(({ from }) => from <= offset);
  }

  /** Whether the message at `offset` is let through. */
  passes(offset: number, held: Held): boolean {
    if (this.isOpen) return true;
    const known = this.verdicts.get(held);
    if (known !== undefined) return known;
    const verdict = this.passesRecord(offset, held.record);
    this.verdicts.set(held, verdict);
    this.judgedBytes += held.record.byteLength;
    return verdict;
  }

  /** The same of a packed message, remembering nothing. */
  passesRecord(offset: number, record: Uint8Array): boolean {
    const version = this.versionAt(offset);
    if (!version?.filter) return true;
    const matcher = this.matchers.get(version) ?? compileFilter(version.filter);
    this.matchers.set(version, matcher);
    return matcher.matches(new Candidate(unpackRecord(record, { start: 0, end: record.byteLength })));
  }
}

/**
 * The versions once `next` holds from its offset on; `before` held until then. Where nothing was taken under a
 * version, it never held. Past the bound the oldest is forgotten.
 */
export function withFilter(
  versions: readonly FilterVersion[],
  before: FilterVersion,
  next: FilterVersion,
): readonly FilterVersion[] {
  const held = (versions.length > 0 ? versions : [before]).filter(({ from }) => from < next.from);
  return [...held, next].slice(-limits.filterVersions);
}

/** The versions that offsets from `offset` on still need. */
export function neededVersions(versions: readonly FilterVersion[], offset: number): readonly FilterVersion[] {
  const first = versions.findLastIndex(({ from }) => from <= offset);
  return versions.slice(Math.max(0, first));
}
