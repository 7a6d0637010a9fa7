// Answers where a message is, and whether nothing is lost. Where is told from what is in hand; the audit reads what is
// stored afresh, all of it at one instant, and then only the log, which does not change.

import { ok, type Result } from "../errors";
import { limits } from "../limits";
import type { SubscriptionSettings } from "../settings";
import type { Audit, Trace, TraceCall } from "../timeline-calls";
import { conclude, judgeFollower, type Survey, survey } from "./audit";
import { Backlog, type Snapshot } from "./backlog";
import type { DeadLetterStore } from "./dead-letter-store";
import type { KeysAnswer, LogReader } from "./log-reader";
import type { OutcomeStore } from "./outcome-store";
import { whereIs } from "./timeline";

export type TimelineParts = Readonly<{
  partition: number;
  backlog: Backlog;
  reader: Pick<LogReader, "keysAt">;
  store: Readonly<{ deadLetters: DeadLetterStore; outcomes: OutcomeStore; load(): Snapshot }>;
  settings: () => SubscriptionSettings;
}>;

export class TimelineDesk {
  constructor(private readonly parts: TimelineParts) {}

  trace({ offset, orderingKey }: TraceCall): Trace {
    const { backlog, store } = this.parts;
    const { paused, pausedReason, maxInFlight } = this.parts.settings();
    const { epoch } = backlog.counters;
    const [letter] = store.deadLetters.chosen({ offsets: [offset], epoch });
    const known = { letter, outcomes: store.outcomes.of(offset), keptFrom: store.outcomes.keptFrom() };
    return {
      where: whereIs(backlog, offset, orderingKey, known),
      paused,
      ...(pausedReason !== undefined && { pausedReason }),
      stalled: backlog.isStalled,
      inFlightFull: backlog.leasedCount >= maxInFlight,
    };
  }

  async audit(asked: number): Promise<Result<Audit>> {
    const { store, partition } = this.parts;
    const backlog = new Backlog(store.load());
    const { epoch, startOffset, nextOffset } = backlog.counters;
    const from = Math.min(nextOffset, Math.max(asked, startOffset, store.outcomes.keptFrom()));
    const to = Math.min(nextOffset, from + limits.auditOffsets);
    const last = to === nextOffset ? Number.MAX_SAFE_INTEGER : to - 1;
    const outcomes = store.outcomes.between(from, last);
    const dead = store.deadLetters.offsets(epoch, from, last);
    const surveyed = survey({ backlog, dead, outcomes }, from, to);
    const searched = await this.findFollowers(surveyed);
    return searched.ok ? ok(conclude(surveyed, partition)) : searched;
  }

  /** Reads the messages of offsets that nothing covers, and judges each by its lane: a bounded number of reads. */
  private async findFollowers(surveyed: Survey): Promise<Result<null>> {
    const gaps = surveyed.coverage.gaps();
    let asked: number[] = [];
    for (let reads = 0; reads < limits.auditReads; reads++) {
      while (asked.length < limits.auditFollowers) {
        const { value, done } = gaps.next();
        if (done) break;
        asked.push(value);
      }
      const [first] = asked;
      surveyed.judgedTo = first ?? surveyed.to;
      if (first === undefined) return ok(null);
      const read = await this.parts.reader.keysAt(asked);
      if (!read.ok) return read;
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
  { keys, earliest }: KeysAnswer,
): number[] | undefined {
  const retained = asked.filter((offset) => offset >= earliest);
  surveyed.overtaken += asked.length - retained.length;
  for (const offset of retained) {
    if (keys.has(offset)) {
      if (!judgeFollower(surveyed, offset, keys.get(offset))) return undefined;
    } else if (keys.size === 0) {
      surveyed.lost = {
        offset,
        detail: "It was taken from the log, is nowhere, and the log has no such message.",
      };
      return undefined;
    }
  }
  return retained.filter((offset) => !keys.has(offset));
}
