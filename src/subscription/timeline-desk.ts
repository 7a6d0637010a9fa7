// Answers where a message is, and whether nothing is lost. Where is told from what is in hand; the audit reads what is
// stored afresh, all of it at one instant, and then only the log, which does not change.

import { ok, type Result } from "../errors";
import { limits } from "../limits";
import type { Runtime } from "../runtime";
import type { SubscriptionSettings } from "../settings";
import type { Audit, Trace, TraceCall, Whereabouts } from "../timeline-calls";
import { conclude, judgeUncovered, type Survey, survey } from "./audit";
import { Backlog, type Snapshot } from "./backlog";
import type { DeadLetterStore } from "./dead-letter-store";
import type { EndpointDesk } from "./endpoint-desk";
import type { FoundAnswer, LogReader } from "./log-reader";
import type { OutcomeStore } from "./outcome-store";
import { whereIs } from "./timeline";

export type TimelineParts = Readonly<{
  partition: number;
  backlog: Backlog;
  reader: Pick<LogReader, "find">;
  store: Readonly<{ deadLetters: DeadLetterStore; outcomes: OutcomeStore; load(): Snapshot }>;
  settings: () => SubscriptionSettings;
  endpoint: EndpointDesk;
  runtime: () => Runtime;
}>;

export class TimelineDesk {
  constructor(private readonly parts: TimelineParts) {}

  async trace({ offset, orderingKey }: TraceCall): Promise<Trace> {
    const { backlog, store, endpoint, runtime } = this.parts;
    const { type, push, paused, pausedReason, maxInFlight } = this.parts.settings();
    const view = endpoint.view(runtime().now(), push);
    const isUnwell = type !== "pull" && view.state !== "closed";
    const { epoch } = backlog.counters;
    const [letter] = store.deadLetters.chosen({ offsets: [offset], epoch });
    const known = { letter, outcomes: store.outcomes.of(offset), keptFrom: store.outcomes.keptFrom() };
    const where = whereIs(backlog, offset, orderingKey, known);
    return {
      where: await this.orFiltered(where, offset),
      paused,
      ...(pausedReason !== undefined && { pausedReason }),
      ...(isUnwell && { endpoint: view }),
      stalled: backlog.isStalled,
      inFlightFull: backlog.leasedCount >= maxInFlight,
    };
  }

  /** Filtered messages leave nothing behind: one that is nowhere is judged once more, by the filter that held then. */
  private async orFiltered(where: Whereabouts, offset: number): Promise<Whereabouts> {
    const { sieve } = this.parts.backlog;
    if (sieve.isOpen || (where.state !== "unaccounted" && where.state !== "forgotten")) return where;
    const held = sieve.versionAt(offset);
    if (!held) return { state: "forgotten" };
    if (!held.filter) return where;
    const read = await this.parts.reader.find([offset], { retired: true });
    const message = read.ok ? read.value.found.get(offset) : undefined;
    if (!message) return { state: "forgotten" };
    return sieve.passesRecord(offset, message.record) ? where : { state: "filtered", version: held.version };
  }

  async audit(asked: number): Promise<Result<Audit>> {
    const { store, partition } = this.parts;
    const backlog = new Backlog(store.load());
    const { epoch, startOffset, nextOffset } = backlog.counters;
    const known = Math.max(store.outcomes.keptFrom(), backlog.sieve.knownFrom);
    const from = Math.min(nextOffset, Math.max(asked, startOffset, known));
    const to = Math.min(nextOffset, from + limits.auditOffsets);
    const last = to === nextOffset ? Number.MAX_SAFE_INTEGER : to - 1;
    const outcomes = store.outcomes.between(from, last);
    const dead = store.deadLetters.offsets(epoch, from, last);
    const surveyed = survey({ backlog, dead, outcomes }, from, to);
    const searched = await this.findUncovered(surveyed);
    return searched.ok ? ok(conclude(surveyed, partition)) : searched;
  }

  /**
   * Reads the messages of offsets that nothing covers, and judges each by its lane and by the filter: a bounded number
   * of reads. What retention removed is not asked for once it is known from where on the log is there.
   */
  private async findUncovered(surveyed: Survey): Promise<Result<null>> {
    const gaps = surveyed.coverage.gaps();
    let asked: number[] = [];
    let earliest = 0;
    for (let reads = 0; reads < limits.auditReads; reads++) {
      while (asked.length < limits.auditFollowers) {
        const { value, done } = gaps.next();
        if (done) break;
        if (value < earliest) surveyed.overtaken += 1;
        else asked.push(value);
      }
      const [first] = asked;
      surveyed.judgedTo = first ?? surveyed.to;
      if (first === undefined) return ok(null);
      const read = await this.parts.reader.find(asked);
      if (!read.ok) return read;
      ({ earliest } = read.value);
      const left = judge(surveyed, asked, read.value);
      if (left === undefined) return ok(null);
      asked = left;
    }
    surveyed.judgedTo = asked[0] ?? gaps.next().value ?? surveyed.to;
    return ok(null);
  }
}

/** Judges as many as were read. Answers those that are left to be read; undefined when one is lost. */
function judge(
  surveyed: Survey,
  asked: readonly number[],
  { found, earliest }: FoundAnswer,
): number[] | undefined {
  const retained = asked.filter((offset) => offset >= earliest);
  surveyed.overtaken += asked.length - retained.length;
  for (const offset of retained) {
    const message = found.get(offset);
    if (message) {
      if (!judgeUncovered(surveyed, offset, message)) return undefined;
    } else if (found.size === 0) {
      surveyed.lost = {
        offset,
        detail: "It was taken from the log, is nowhere, and the log has no such message.",
      };
      return undefined;
    }
  }
  return retained.filter((offset) => !found.has(offset));
}
