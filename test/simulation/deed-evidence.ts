// What the deeds of a subscription's object are evidence of: which leases may settle what, which attempts failed, which
// dead letters went where. Each deed is held against what was in hand before it.

import type { DeadLetter, RedriveCall } from "../../src/dead-letter-calls";
import type { DispatchCall } from "../../src/dispatch-calls";
import type { Result } from "../../src/errors";
import { unpackRecords } from "../../src/record-batch";
import type { ReportCall } from "../../src/report-calls";
import type { SeekAnswer, SeekCall } from "../../src/seek-calls";
import {
  type LeaseAnswer,
  type LeaseRef,
  type NackCall,
  receiverLeaseId,
  type SettleStatus,
} from "../../src/subscription-calls";
import type { Ended } from "./accounts";
import type { Counts } from "./coverage";
import type { LogWitness } from "./log-witness";
import type { Deed } from "./object-host";
import { holds, isLeasedBy, leftTheDead, type Picture } from "./picture";

/** What is known of an epoch. */
export type Known = Readonly<{
  /** Offsets that came to their end, by evidence. */
  finished: Map<number, keyof Ended>;
  /** The newest lease under which each offset was handed out. */
  newest: Map<number, { leaseId: string; attempt: number }>;
  redrivenEver: Set<number>;
}>;

export type EvidenceParts = Readonly<{
  partition: number;
  log: LogWitness;
  counts: Counts;
  /** Whether the topic that dead letters are moved to has a message. */
  isElsewhere: (id: string) => boolean;
}>;

export class DeedEvidence {
  /** Offsets that may be settled by the deeds of this observation, each with the leases that say so. */
  private readonly leases = new Map<number, Set<string>>();
  readonly released = new Set<string>();
  /** Offsets of which this observation says that an attempt failed. */
  readonly failedNow = new Set<number>();
  readonly redrivenNow = new Set<number>();
  /** At-most-once: offsets that this observation settled as it handed them out. */
  readonly settledNow = new Set<number>();
  private readonly seeks = new Map<string, string>();
  private readonly counts: Counts;

  constructor(
    private readonly parts: EvidenceParts,
    private readonly known: Known,
  ) {
    this.counts = parts.counts;
  }

  /** Takes in one observation. */
  gather(deeds: readonly Deed[], before: Picture, after: Picture): void {
    for (const each of [this.leases, this.released, this.failedNow, this.redrivenNow, this.settledNow])
      each.clear();
    for (const deed of deeds) this.noteSettledAtOnce(deed);
    for (const deed of deeds) this.weigh(deed, before, after);
  }

  /** Whether it was said that the offset may be settled under this lease. */
  settles(offset: number, leaseId: string): boolean {
    return this.leases.get(offset)?.has(leaseId) === true;
  }

  private noteSettledAtOnce({ method, args, answer }: Deed): void {
    const pulled = method === "pull" ? (answer as Result<LeaseAnswer>) : undefined;
    const lease =
      method === "deliver" ? (args[0] as DispatchCall).lease : pulled?.ok ? pulled.value : undefined;
    if (lease?.settled) for (const { offset } of lease.deliveries) this.settledNow.add(offset);
  }

  private weigh({ method, args, answer }: Deed, before: Picture, after: Picture): void {
    const [call] = args;
    const value = (answer as Result<unknown> | undefined)?.ok
      ? (answer as { value: unknown }).value
      : undefined;
    if (method === "report") this.weighReport(call as ReportCall, before);
    if (value === undefined) return;
    if (method === "seek") this.weighSeek(call as SeekCall, value as SeekAnswer);
    if (method === "ack")
      this.weighAcks((call as { refs: LeaseRef[] }).refs, value as SettleStatus[], before);
    if (method === "nack") this.weighNacks(call as NackCall, value as SettleStatus[], before);
    if (method === "extend")
      this.weighExtends((call as { refs: LeaseRef[] }).refs, value as SettleStatus[], before);
    if (method === "purge") for (const offset of leftTheDead(before, after)) this.purged(offset, after);
    if (method === "redrive") for (const offset of leftTheDead(before, after)) this.redriven(offset, after);
    if (method === "redrive") this.checkPace(call as RedriveCall, before, after);
    if (method === "moveLetters" && after.counters.moved > before.counters.moved)
      for (const offset of leftTheDead(before, after)) this.moved(offset, after);
    if (method === "deadLetters") this.weighLetters(value as DeadLetter[]);
  }

  private weighAcks(refs: readonly LeaseRef[], statuses: readonly SettleStatus[], before: Picture): void {
    for (const [i, { offset, leaseId }] of refs.entries()) {
      const held = before.inHand.get(offset);
      const isNewest = this.known.newest.get(offset)?.leaseId === leaseId && held !== undefined;
      if (statuses[i] === "acked") {
        if (!isNewest)
          throw new Error(`an ack of ${offset} under ${leaseId} was taken: not the newest lease`);
        if (held.state === "waiting") this.counts.lateAcks += 1;
        this.note(offset, leaseId);
        this.counts.acks += 1;
      } else if (isNewest && holds(held, leaseId)) {
        throw new Error(`an ack of ${offset} that nobody overtook answered ${statuses[i]}`);
      } else if (held && !isNewest) this.counts.overtakenAcks += 1;
    }
  }

  private weighNacks({ refs }: NackCall, statuses: readonly SettleStatus[], before: Picture): void {
    for (const [i, { offset, leaseId }] of refs.entries()) {
      if (statuses[i] === "lease-lost") continue;
      this.expectHolder(before, offset, leaseId, "nack");
      this.released.add(leaseId);
      this.failedNow.add(offset);
      this.counts.nacks += 1;
    }
  }

  private weighExtends(refs: readonly LeaseRef[], statuses: readonly SettleStatus[], before: Picture): void {
    for (const [i, { offset, leaseId }] of refs.entries()) {
      if (statuses[i] !== "extended") continue;
      this.expectHolder(before, offset, leaseId, "extend");
      this.counts.extensions += 1;
    }
  }

  /** A dispatcher's report: what it says was delivered may leave, if its lease is the newest. */
  private weighReport({ leaseId, outcomes, done }: ReportCall, before: Picture): void {
    if (outcomes.length > 0 || done) this.released.add(leaseId);
    for (const { offset, result } of outcomes) {
      const held = before.inHand.get(offset);
      if (held && !isLeasedBy(held, leaseId)) this.counts.lateReports += 1;
      if (result === "failed") this.failedNow.add(offset);
      if (result === "delivered") this.note(offset, leaseId);
    }
    for (const outcome of outcomes) {
      const held = before.inHand.get(outcome.offset);
      if (outcome.result !== "handed-over" || !held || !isLeasedBy(held, leaseId)) continue;
      const attempt = held.attempts + 1;
      this.known.newest.set(outcome.offset, { leaseId: receiverLeaseId(outcome.fence), attempt });
      this.counts.handedOver += 1;
    }
  }

  private moved(offset: number, after: Picture): void {
    if (after.inHand.has(offset)) throw new Error(`${offset} was moved, and is in hand`);
    if (!this.parts.isElsewhere(this.idAt(offset)))
      throw new Error(`${offset} was taken out as moved, and the other topic does not have it`);
    this.known.finished.set(offset, "moved");
    this.counts.moves += 1;
  }

  /** At a rate, the n-th of those that go round is not available before its turn. */
  private checkPace({ pace }: RedriveCall, before: Picture, after: Picture): void {
    if (!pace || pace.everyMs === 0) return;
    const dues = leftTheDead(before, after)
      .map((offset) => after.inHand.get(offset))
      .flatMap((held) => (held?.state === "waiting" ? [held.availableAt] : []))
      .sort((a, b) => a - b);
    for (const [n, at] of dues.entries()) {
      if (at < Math.round(pace.from + n * pace.everyMs))
        throw new Error(`the ${n + 1}. of a paced redrive is available at ${at}, before its turn`);
      this.counts.paced += 1;
    }
  }

  private purged(offset: number, after: Picture): void {
    if (after.inHand.has(offset)) throw new Error(`${offset} was purged, and is in hand`);
    this.known.finished.set(offset, "purged");
    this.counts.purges += 1;
  }

  private redriven(offset: number, after: Picture): void {
    if (!after.inHand.has(offset) && !this.settledNow.has(offset))
      throw new Error(`${offset} was redriven, and is not in hand`);
    this.known.newest.delete(offset);
    this.redrivenNow.add(offset);
    this.known.redrivenEver.add(offset);
    this.counts.redrives += 1;
  }

  /** The same seek again moves nothing, and gets the first answer. */
  private weighSeek({ seekId, dryRun }: SeekCall, answer: SeekAnswer): void {
    if (dryRun) return;
    const first = this.seeks.get(seekId) ?? JSON.stringify(answer);
    if (first !== JSON.stringify(answer))
      throw new Error(`seek ${seekId} was answered ${first}, then otherwise`);
    this.seeks.set(seekId, first);
  }

  /** Every dead letter has its message. */
  private weighLetters(letters: readonly DeadLetter[]): void {
    for (const { offset, record, reason } of letters) {
      if (record === undefined && reason !== "expired")
        throw new Error(`dead letter ${offset} has no message`);
      const [message] = record ? unpackRecords(record) : [];
      if (message && message.id !== this.parts.log.log(this.parts.partition)[offset]?.id)
        throw new Error(`dead letter ${offset} has another's message`);
    }
  }

  private note(offset: number, leaseId: string): void {
    const leases = this.leases.get(offset) ?? new Set();
    this.leases.set(offset, leases.add(leaseId));
  }

  private expectHolder(before: Picture, offset: number, leaseId: string, what: string): void {
    if (holds(before.inHand.get(offset), leaseId)) return;
    throw new Error(`${what} of ${offset} under ${leaseId} was taken, which did not hold it`);
  }

  private idAt(offset: number): string {
    return this.parts.log.log(this.parts.partition)[offset]?.id ?? `nothing at ${offset}`;
  }
}
