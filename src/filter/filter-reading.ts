// Reading a filter: what is wrong with it is collected with its place and the limit it met, and what it may cost is
// counted as it is read.

import type { FieldFault } from "../errors";
import { limits } from "../limits";

export type FilterBounds = Readonly<{
  fields: number;
  values: number;
  wildcards: number;
  depth: number;
  textLength: number;
}>;

/** What a filter may cost, when somebody sets it. */
export const FILTER_BOUNDS: FilterBounds = {
  fields: limits.filterFields,
  values: limits.filterValues,
  wildcards: limits.filterWildcards,
  depth: limits.filterDepth,
  textLength: limits.filterTextLength,
};

/** For filters that were set before: a limit that sank since then must not stop them. */
export const UNBOUNDED: FilterBounds = {
  fields: Number.POSITIVE_INFINITY,
  values: Number.POSITIVE_INFINITY,
  wildcards: Number.POSITIVE_INFINITY,
  depth: Number.POSITIVE_INFINITY,
  textLength: Number.POSITIVE_INFINITY,
};

const COUNTED = {
  fields: "field names",
  values: "values and operators",
  wildcards: "patterns with wildcards",
} as const;

const FAULTS_KEPT = 20;
const PLACE_LENGTH = 200;

export class FilterReading {
  readonly faults: FieldFault[] = [];
  private readonly counts = { fields: 0, values: 0, wildcards: 0 };

  constructor(private readonly bounds: FilterBounds) {}

  /** Notes what is wrong at a place. Answers undefined, for the caller to return. */
  complain(place: string, detail: string, limit?: number): undefined {
    if (this.faults.length >= FAULTS_KEPT) return undefined;
    const field = place.slice(0, PLACE_LENGTH).toWellFormed();
    this.faults.push({ field, detail, ...(limit !== undefined && { limit }) });
    return undefined;
  }

  /** Counts one of a sort. Only the first that is too many is complained of. */
  count(what: keyof typeof COUNTED, place: string): void {
    const limit = this.bounds[what];
    this.counts[what] += 1;
    if (this.counts[what] !== limit + 1) return;
    this.complain(place, `a filter has at most ${limit} ${COUNTED[what]}`, limit);
  }

  /** Whether what stands `depth` levels down may be read. */
  mayDescend(depth: number, place: string): boolean {
    const limit = this.bounds.depth;
    if (depth <= limit) return true;
    this.complain(place, `a filter is nested at most ${limit} deep`, limit);
    return false;
  }

  /** A text of a bounded length. */
  text(value: unknown, place: string, what = "a string"): string | undefined {
    if (typeof value !== "string") return this.complain(place, `${what} is needed`);
    if (value.length <= this.bounds.textLength) return value;
    const limit = this.bounds.textLength;
    return this.complain(place, `a text of a filter has at most ${limit} characters`, limit);
  }

  /** One text, or a list of at least one. */
  texts(value: unknown, place: string): readonly string[] | undefined {
    if (!Array.isArray(value)) {
      const one = this.text(value, place, "a string, or a list of them,");
      return one === undefined ? undefined : [one];
    }
    if (value.length === 0) return this.complain(place, "an empty list excludes nothing");
    return value.flatMap((each: unknown, i) => {
      if (i > 0) this.count("values", `${place}[${i}]`);
      return this.text(each, `${place}[${i}]`) ?? [];
    });
  }
}

/** The only member of an object; undefined when it is none, or has another number of them. */
export function onlyMember(value: unknown): readonly [name: string, argument: unknown] | undefined {
  if (!isObject(value)) return undefined;
  const members = Object.entries(value);
  return members.length === 1 ? members[0] : undefined;
}

/** Whether a JSON value is nested more than `levels` deep. It stops there, however deep the rest goes. */
export function isDeeperThan(value: unknown, levels: number): boolean {
  if (value === null || typeof value !== "object") return false;
  return levels === 0 || Object.values(value).some((part) => isDeeperThan(part, levels - 1));
}

export function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return value !== null && typeof value === "object" && !Array.isArray(value);
}
