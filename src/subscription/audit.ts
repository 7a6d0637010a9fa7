// The proof that nothing is lost: every offset from the start to the next is looked for in all places where it may be,
// and must be in exactly one. What is in none must be a follower, which has no row: its message tells its lane. Or the
// filter left it out, which the one that held then says again.
//
//   outcomes ∪ dead letters ∪ in hand = covered     the rest = followers ∪ filtered, by what the log tells
//
// Pure: the caller reads what is stored, and the log.

import { type Audit, TERM_OF, TERMS, type Term, type Terms } from "../timeline-calls";
import type { Backlog } from "./backlog";
import { Coverage } from "./coverage";
import type { Outcome, Run } from "./outcomes";
import { isFollower } from "./timeline";

/** What is stored of a subscription, read afresh. */
export type Stored = Readonly<{
  backlog: Backlog;
  dead: Iterable<number>;
  outcomes: Iterable<Outcome>;
}>;

export type Breach = NonNullable<Audit["breach"]>;

/** What was found so far in the offsets `from` to `to`, `to` excluded. */
export type Survey = {
  readonly from: number;
  readonly to: number;
  readonly backlog: Backlog;
  readonly found: Record<Term, number>;
  readonly coverage: Coverage;
  /** The first offset that is accounted for though it was never taken from the log. */
  untaken: number | undefined;
  overtaken: number;
  /** The first offset that nothing accounts for, and why it is no follower. */
  lost: { offset: number; detail: string } | undefined;
  /** Followers were looked for below this offset. */
  judgedTo: number;
};

/** Looks into all places that have rows. */
export function survey({ backlog, dead, outcomes }: Stored, from: number, to: number): Survey {
  const found = Object.fromEntries(TERMS.map((term) => [term, 0])) as Record<Term, number>;
  const coverage = new Coverage(from, to);
  const surveyed: Survey = {
    ...{ from, to, backlog, found, coverage, overtaken: 0, judgedTo: from },
    ...{ untaken: undefined, lost: undefined },
  };
  for (const { how, runs } of outcomes) for (const run of runs) count(surveyed, TERM_OF[how], run);
  for (const offset of dead) count(surveyed, "dead", { first: offset, count: 1 });
  for (const { offset, state } of backlog.deliveries.values()) {
    count(surveyed, state === "leased" ? "leased" : "waiting", { first: offset, count: 1 });
  }
  return surveyed;
}

function count(surveyed: Survey, term: Term, run: Run): void {
  surveyed.found[term] += surveyed.coverage.cover(run);
  const { nextOffset } = surveyed.backlog.counters;
  if (run.first + run.count <= nextOffset) return;
  const first = Math.max(run.first, nextOffset);
  surveyed.untaken = Math.min(surveyed.untaken ?? first, first);
}

/** Judges an offset that is covered by nothing, by its message. False ends the search: it is lost. */
export function judgeUncovered(
  surveyed: Survey,
  offset: number,
  { orderingKey: key, record }: Readonly<{ orderingKey: string | undefined; record: Uint8Array }>,
): boolean {
  const { backlog, found } = surveyed;
  const lane = key === undefined ? undefined : backlog.lanes.get(key);
  // A follower that the filter leaves out is so once its turn has come.
  if (lane && isFollower(lane, offset)) found.waiting += 1;
  else if (!backlog.sieve.passesRecord(offset, record)) found.filtered += 1;
  else {
    const why = key === undefined ? "has no ordering key to follow in" : "no lane has it as a follower";
    surveyed.lost = { offset, detail: `It was taken from the log, is nowhere, and ${why}.` };
    return false;
  }
  return true;
}

/** What the survey comes to. */
export function conclude(surveyed: Survey, partition: number): Audit {
  const { from, backlog, found, overtaken, judgedTo } = surveyed;
  const { startOffset, nextOffset } = backlog.counters;
  const stored = storedTerms(backlog);
  const breach = firstBreach(surveyed) ?? lawBreach(backlog, stored) ?? termBreach(surveyed, stored);
  return {
    ...{ partition, startOffset, nextOffset, auditedFrom: from, auditedTo: judgedTo },
    ...{ stored, found, overtaken, holds: breach === undefined },
    ...(breach && { breach }),
  };
}

function storedTerms({ counters, leasedCount, waitingCount }: Backlog): Terms {
  const { settled, filtered, expired, dead, purged, moved } = counters;
  return { settled, filtered, expired, dead, purged, moved, leased: leasedCount, waiting: waitingCount };
}

function firstBreach({ backlog, coverage, untaken, lost }: Survey): Breach | undefined {
  const breaches: Breach[] = [];
  if (lost) breaches.push(lost);
  // What was readmitted from an earlier epoch lies where it lay then: it may stand beside an offset of this one.
  if (backlog.counters.readmitted > 0) return lost;
  if (coverage.twice !== undefined)
    breaches.push({ offset: coverage.twice, detail: "It is accounted for twice." });
  if (untaken !== undefined)
    breaches.push({ offset: untaken, detail: "It is accounted for, and was never taken from the log." });
  return breaches.sort((a, b) => (a.offset ?? 0) - (b.offset ?? 0))[0];
}

function lawBreach({ counters }: Backlog, stored: Terms): Breach | undefined {
  const taken = counters.nextOffset - counters.startOffset + counters.readmitted;
  const sum = TERMS.reduce((total, term) => total + stored[term], 0);
  if (taken === sum) return undefined;
  return { detail: `${taken} were taken from the log, and the counters come to ${sum}.` };
}

/** What an offset may count as of which nothing is left, neither here nor in the log. */
const UNTOLD: readonly Term[] = ["expired", "filtered", "waiting"];

/** Once every offset was looked at, each counter must be what was found. */
function termBreach(surveyed: Survey, stored: Terms): Breach | undefined {
  const { from, judgedTo, backlog, found, overtaken } = surveyed;
  const { startOffset, nextOffset } = backlog.counters;
  if (from !== startOffset || judgedTo !== nextOffset || backlog.counters.readmitted > 0) return undefined;
  // Followers whose messages are gone are waiting until their lane is looked at, and expired from then on. Filtered
  // messages that are gone cannot be judged again.
  const gone = overtaken === 0 ? [] : UNTOLD;
  const exact = TERMS.filter((term) => !gone.includes(term));
  const term = exact.find((each) => stored[each] !== found[each]);
  if (term) return { detail: `The counter ${term} says ${stored[term]}, and ${found[term]} were found.` };
  const untold = UNTOLD.reduce((sum, each) => sum + stored[each] - found[each], 0);
  if (untold === overtaken) return undefined;
  return { detail: `${overtaken} were overtaken by retention, and the counters say ${gone}.` };
}
