// Outcomes: how deliveries left for good. Packed, because there is one for every delivery there ever was: those that
// one change ended in one way are one outcome, and dense offsets cost the same as one.
//
//   outcome = varint at, byte how, varint status (0: none), varint attempts, varint runs, then each run
//   run     = varint gap from the end of the run before, varint count
//
// Outcomes stand back to back, so that more can be appended without reading those before.

import { joinBytes } from "../record-batch";
import type { How } from "../timeline-calls";

export type Run = Readonly<{ first: number; count: number }>;

/** What a change ended, as it happens. */
export type Ending = Run & Readonly<{ how: How; attempts: number; status?: number }>;

/** `attempts` counts the last one, also when it went well; 0 when there was none. */
export type Outcome = Readonly<{
  at: number;
  how: How;
  attempts: number;
  status?: number;
  runs: readonly Run[];
}>;

/** The place in this list is what is stored: it only grows at its end. One place was never used. */
const HOWS: readonly (How | undefined)[] = [
  "acked",
  "delivered",
  "already-completed",
  "handed-out",
  undefined,
  "expired",
  "purged",
  "moved",
];

const VARINT_BASE = 128;

/** The endings of one change as outcomes: those that ended in one way together, their offsets as runs. */
export function gather(endings: readonly Ending[], at: number): Outcome[] {
  const alike = Map.groupBy(endings, ({ how, attempts, status }) => `${how} ${attempts} ${status}`);
  return [...alike.values()].flatMap((group) => {
    const [one] = group;
    if (!one) return [];
    const { how, attempts, status } = one;
    return [{ at, how, attempts, ...(status !== undefined && { status }), runs: joinRuns(group) }];
  });
}

/** Rising runs in place of what may lie in any order. */
function joinRuns(parts: readonly Run[]): Run[] {
  const runs: { first: number; count: number }[] = [];
  for (const { first, count } of [...parts].sort((a, b) => a.first - b.first)) {
    const last = runs.at(-1);
    if (last && last.first + last.count === first) last.count += count;
    else runs.push({ first, count });
  }
  return runs;
}

/** Packs outcomes after those that are packed already. */
export function appendOutcomes(packed: Uint8Array, outcomes: readonly Outcome[]): Uint8Array {
  const bytes: number[] = [];
  for (const { at, how, attempts, status = 0, runs } of outcomes) {
    const numbers = [at, HOWS.indexOf(how), status, attempts, runs.length];
    let end = 0;
    for (const { first, count } of runs) {
      numbers.push(first - end, count);
      end = first + count;
    }
    for (const number of numbers) pushVarint(bytes, number);
  }
  return joinBytes([packed, new Uint8Array(bytes)]);
}

/** Unpacks outcomes one at a time. Throws on bytes that are none. */
export function* unpackOutcomes(packed: Uint8Array): Generator<Outcome> {
  const reader = new VarintReader(packed);
  while (!reader.isDone) {
    const at = reader.next();
    const how = HOWS[reader.next()];
    if (how === undefined) throw new Error("an outcome is of no known kind");
    const status = reader.next();
    const attempts = reader.next();
    const runs: Run[] = [];
    let end = 0;
    for (let left = reader.next(); left > 0; left--) {
      const first = end + reader.next();
      const count = reader.next();
      runs.push({ first, count });
      end = first + count;
    }
    yield { at, how, attempts, ...(status > 0 && { status }), runs };
  }
}

/** The first and the last offset of packed outcomes; undefined when there are none. */
export function spanOf(packed: Uint8Array): { first: number; last: number } | undefined {
  let first = Number.POSITIVE_INFINITY;
  let last = -1;
  for (const { runs } of unpackOutcomes(packed)) {
    const end = runs.at(-1);
    first = Math.min(first, runs[0]?.first ?? first);
    if (end) last = Math.max(last, end.first + end.count - 1);
  }
  return last < 0 ? undefined : { first, last };
}

/** Whether an outcome is about `offset`. */
export function covers({ runs }: Outcome, offset: number): boolean {
  return runs.some(({ first, count }) => first <= offset && offset < first + count);
}

/** Seven bits a byte, the least first. Numbers may be past 32 bits, so this divides and does not shift. */
function pushVarint(bytes: number[], number: number): void {
  let rest = number;
  while (rest >= VARINT_BASE) {
    bytes.push((rest % VARINT_BASE) + VARINT_BASE);
    rest = Math.floor(rest / VARINT_BASE);
  }
  bytes.push(rest);
}

class VarintReader {
  private at = 0;

  constructor(private readonly bytes: Uint8Array) {}

  get isDone(): boolean {
    return this.at >= this.bytes.byteLength;
  }

  next(): number {
    let number = 0;
    for (let scale = 1; ; scale *= VARINT_BASE) {
      const byte = this.bytes[this.at++];
      if (byte === undefined) throw new Error("outcomes are cut short");
      number += (byte % VARINT_BASE) * scale;
      if (byte < VARINT_BASE) return number;
    }
  }
}
