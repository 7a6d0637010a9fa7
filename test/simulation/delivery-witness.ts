// What consumers may rely on: a witness of one partition of one subscription. It is shown everything the object did,
// in order, once that is on disk, with a picture of what was in hand after. It keeps accounts of its own from the
// evidence, and complains when a promise is broken or the object's accounts differ.

import type { DispatchCall } from "../../src/dispatch-calls";
import type { Result } from "../../src/errors";
import { unpackRecords } from "../../src/record-batch";
import type {
  DeadLetter,
  LeaseAnswer,
  LeaseRef,
  NackCall,
  ReportCall,
  SeekAnswer,
  SeekCall,
  SettleStatus,
} from "../../src/subscription-calls";
import type { Counts } from "./coverage";
import type { LogWitness } from "./log-witness";
import type { Deed } from "./object-host";
import type { InHand, Picture } from "./picture";

/** What the object did in one step, and what it had in hand after. */
export type Observation = Readonly<{ at: number; deeds: readonly Deed[]; picture: Picture }>;

type Fate = "acked" | "purged";

export class DeliveryWitness {
  private before: Picture | undefined;
  /** Offsets that came to their end, by evidence. */
  private readonly finished = new Map<number, Fate>();
  /** The newest lease under which each offset was handed out. */
  private readonly newest = new Map<number, { leaseId: string; attempt: number }>();
  /** Offsets that may be settled by the deeds of this observation, each with the leases that say so. */
  private readonly evidence = new Map<number, Set<string>>();
  private readonly released = new Set<string>();
  /** Offsets of which this observation says that an attempt failed. */
  private readonly failedNow = new Set<number>();
  private readonly redrivenNow = new Set<number>();
  private readonly redrivenEver = new Set<number>();
  /** How many had come to their end when they were readmitted from an earlier epoch. */
  private ackedBefore = 0;
  private purgedBefore = 0;
  private readonly seeks = new Map<string, string>();
  private readonly handedNow = new Map<string, readonly number[]>();

  constructor(
    private readonly partition: number,
    private readonly log: LogWitness,
    private readonly counts: Counts,
    /** Whether the endpoint has acknowledged a message; always true where there is none. */
    private readonly isAcknowledged: (id: string) => boolean,
  ) {}

  get acked(): number {
    return this.ackedBefore + this.count("acked");
  }

  isFinished(offset: number): boolean {
    return this.finished.has(offset);
  }

  observe({ at, deeds, picture }: Observation): void {
    const isNewEpoch = this.before?.counters.epoch !== picture.counters.epoch;
    if (isNewEpoch) this.beginEpoch();
    const before = isNewEpoch || !this.before ? emptied(picture) : this.before;
    this.evidence.clear();
    this.released.clear();
    this.failedNow.clear();
    this.redrivenNow.clear();
    this.handedNow.clear();
    for (const deed of deeds) this.weigh(deed, before, picture);
    this.takeReadmitted(before, picture);
    this.settleWhatLeft(before, picture);
    this.checkReleases(before, picture, at);
    this.checkLanes(picture);
    for (const deed of deeds) this.takeHandouts(deed, before, picture, at);
    this.countWhatIs(before, picture);
    this.checkAccounts(picture);
    this.before = picture;
  }

  // ── what a deed is evidence of ─────────────────────────────────────────────────────────────────────

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
    if (method === "deadLetters") this.weighLetters(value as DeadLetter[]);
  }

  private weighAcks(refs: readonly LeaseRef[], statuses: readonly SettleStatus[], before: Picture): void {
    for (const [i, { offset, leaseId }] of refs.entries()) {
      const held = before.inHand.get(offset);
      const isNewest = this.newest.get(offset)?.leaseId === leaseId && held !== undefined;
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
      if (result !== "delivered") continue;
      this.note(offset, leaseId);
    }
  }

  private purged(offset: number, after: Picture): void {
    if (after.inHand.has(offset)) throw new Error(`${offset} was purged, and is in hand`);
    this.finished.set(offset, "purged");
    this.counts.purges += 1;
  }

  private redriven(offset: number, after: Picture): void {
    if (!after.inHand.has(offset)) throw new Error(`${offset} was redriven, and is not in hand`);
    this.newest.delete(offset);
    this.redrivenNow.add(offset);
    this.redrivenEver.add(offset);
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

  /** In a new epoch all leases are void, and everything from its start on is delivered again. */
  private beginEpoch(): void {
    if (this.before) this.counts.seeks += 1;
    for (const known of [this.finished, this.newest, this.redrivenEver]) known.clear();
    this.ackedBefore = 0;
    this.purgedBefore = 0;
  }

  /** Dead letters of an earlier epoch that were redriven: they are in hand again, whatever had become of them here. */
  private takeReadmitted(before: Picture, after: Picture): void {
    if (after.counters.readmitted === before.counters.readmitted) return;
    this.counts.readmitted += after.counters.readmitted - before.counters.readmitted;
    for (const offset of after.inHand.keys()) {
      const fate = before.inHand.has(offset) ? undefined : this.finished.get(offset);
      if (fate === undefined) continue;
      if (fate === "purged") this.purgedBefore += 1;
      else this.ackedBefore += 1;
      this.finished.delete(offset);
      this.newest.delete(offset);
    }
  }

  /** Every dead letter has its message. */
  private weighLetters(letters: readonly DeadLetter[]): void {
    for (const { offset, record, reason } of letters) {
      if (record === undefined && reason !== "expired")
        throw new Error(`dead letter ${offset} has no message`);
      const [message] = record ? unpackRecords(record) : [];
      if (message && message.id !== this.log.log(this.partition)[offset]?.id)
        throw new Error(`dead letter ${offset} has another's message`);
    }
  }

  private note(offset: number, leaseId: string): void {
    const leases = this.evidence.get(offset) ?? new Set();
    this.evidence.set(offset, leases.add(leaseId));
  }

  private expectHolder(before: Picture, offset: number, leaseId: string, what: string): void {
    if (holds(before.inHand.get(offset), leaseId)) return;
    throw new Error(`${what} of ${offset} under ${leaseId} was taken, which did not hold it`);
  }

  // ── what has left, and what was handed out ─────────────────────────────────────────────────────────

  /** Whatever was in hand and is not any more has left by an ack under its newest lease, or is dead. */
  private settleWhatLeft(before: Picture, after: Picture): void {
    for (const [offset, held] of before.inHand) {
      if (after.inHand.has(offset) || after.dead.has(offset) || this.finished.has(offset)) continue;
      const leaseId = this.newest.get(offset)?.leaseId;
      const isProven =
        leaseId !== undefined && this.evidence.get(offset)?.has(leaseId) && holds(held, leaseId);
      if (!isProven) throw new Error(`${offset} left without an ack under its newest lease ${leaseId}`);
      if (!this.isAcknowledged(this.idAt(offset)))
        throw new Error(`${offset} was settled though its endpoint acknowledged nothing`);
      this.finished.set(offset, "acked");
    }
    for (const [offset, fate] of this.finished) {
      if (after.inHand.has(offset) || after.dead.has(offset))
        throw new Error(`${offset} is back, and was ${fate}`);
    }
  }

  /** A lease ends by who holds it, or by its deadline; and only an attempt that failed counts. */
  private checkReleases(before: Picture, after: Picture, at: number): void {
    for (const [offset, held] of before.inHand) {
      const now = after.inHand.get(offset);
      if (held.state !== "leased" || (now?.state === "leased" && now.leaseId === held.leaseId)) continue;
      if (this.finished.has(offset)) continue;
      const isOver = held.deadlineAt <= at;
      if (
        !isOver &&
        !this.isBehindExpired(offset, held.leaseId, before, at) &&
        !this.released.has(held.leaseId)
      )
        throw new Error(`the lease ${held.leaseId} of ${offset} was ended by another`);
      const mayCount = isOver || this.failedNow.has(offset);
      if (now && now.attempts > held.attempts && !mayCount)
        throw new Error(`an attempt of ${offset} was counted that did not fail`);
    }
  }

  /** A deadline that ends takes with it the later ones of its lane and its lease, extended or not. */
  private isBehindExpired(offset: number, leaseId: string, { inHand }: Picture, at: number): boolean {
    const key = inHand.get(offset)?.key;
    if (key === undefined) return false;
    return [...inHand].some(
      ([other, held]) =>
        other < offset && held.key === key && isLeasedBy(held, leaseId) && held.deadlineAt <= at,
    );
  }

  /** Nothing of a lane is leased while something before it waits, unless that was redriven past its turn. */
  private checkLanes({ inHand }: Picture): void {
    const blocked = new Map<string, number>();
    for (const [offset, { state, key }] of [...inHand].sort(([a], [b]) => a - b)) {
      if (key === undefined) continue;
      const before = blocked.get(key);
      if (state !== "leased" && !this.redrivenEver.has(offset)) blocked.set(key, offset);
      if (state === "leased" && before !== undefined)
        throw new Error(`${offset} of lane ${key} is leased while ${before} before it waits`);
    }
  }

  private takeHandouts({ method, args, answer }: Deed, before: Picture, after: Picture, at: number): void {
    if (method === "deliver") this.handedOut((args[0] as DispatchCall).lease, before, after, at);
    if (method !== "pull") return;
    const pulled = answer as Result<LeaseAnswer>;
    if (pulled.ok && pulled.value.deliveries.length > 0) this.handedOut(pulled.value, before, after, at);
  }

  private handedOut(lease: LeaseAnswer, before: Picture, after: Picture, at: number): void {
    const { leaseId, deliveries } = lease;
    const messages = unpackRecords(lease.records);
    if (messages.length !== deliveries.length)
      throw new Error(`${leaseId}: records and deliveries differ in number`);
    const offsets = deliveries.map(({ offset }) => offset);
    // Asked for again after it ended, a lease id names a new lease.
    const held = this.handedNow.get(leaseId) ?? leasedBy(before, leaseId);
    if (held.length > 0) {
      this.counts.repeatedPulls += 1;
      const isPart = offsets.every((offset) => held.includes(offset));
      if (!isPart) throw new Error(`${leaseId} was asked for again, and holds other deliveries`);
      return;
    }
    this.handedNow.set(leaseId, offsets);
    this.counts.leases += 1;
    for (const [i, { offset, attempt }] of deliveries.entries()) {
      if (messages[i]?.id !== this.idAt(offset)) throw new Error(`${offset} came with another's message`);
      this.checkFree(offset, leaseId, before, at);
      this.checkLane(offset, offsets, before, after);
      this.checkAttempt(offset, attempt, before);
      this.newest.set(offset, { leaseId, attempt });
      if (lease.settled) this.settledAtOnce(offset, after);
    }
  }

  /** At-most-once: it came to its end in the change that handed it out. */
  private settledAtOnce(offset: number, after: Picture): void {
    if (after.inHand.has(offset)) throw new Error(`${offset} was settled at once, and is in hand`);
    this.finished.set(offset, "acked");
    this.counts.settledAtOnce += 1;
  }

  private checkFree(offset: number, leaseId: string, before: Picture, at: number): void {
    const fate = this.finished.get(offset);
    if (fate) throw new Error(`${offset} was handed out though it was ${fate}`);
    if (before.dead.has(offset) && !this.redrivenNow.has(offset))
      throw new Error(`${offset} was handed out though it is dead`);
    const held = before.inHand.get(offset);
    if (held?.state !== "leased" || held.leaseId === leaseId) return;
    const isLive = held.deadlineAt > at && !this.released.has(held.leaseId);
    if (isLive) throw new Error(`${offset} has two live leases: ${held.leaseId} and ${leaseId}`);
  }

  /** In a lane, whatever stands before is at its end, or comes before it in the same lease. */
  private checkLane(offset: number, inLease: readonly number[], before: Picture, after: Picture): void {
    const log = this.log.log(this.partition);
    const key = after.inHand.get(offset)?.key;
    const isInHand = after.inHand.has(offset);
    if (isInHand && key !== log[offset]?.key && after.counters.readmitted === 0)
      throw new Error(`${offset} was handed out in lane ${key}, and is of ${log[offset]?.key}`);
    if (key === undefined) return;
    for (let earlier = before.counters.startOffset; earlier < offset; earlier++) {
      if (log[earlier]?.key !== key || inLease.includes(earlier) || this.finished.has(earlier)) continue;
      const grave = after.dead.get(earlier);
      const mayPass = grave && (after.settings.onExhausted !== "park" || grave.reason === "expired");
      if (!mayPass) throw new Error(`${offset} of lane ${key} overtook ${earlier}`);
    }
    for (const [other, held] of after.inHand) {
      const isOther = held.key === key && held.state === "leased" && !inLease.includes(other);
      if (isOther) throw new Error(`lane ${key} has two leases: of ${offset} and of ${other}`);
    }
  }

  /** An attempt more than before, or the same when the last one was not made. */
  private checkAttempt(offset: number, attempt: number, before: Picture): void {
    const last = this.newest.get(offset)?.attempt;
    if (last === undefined ? attempt !== 1 : attempt !== last && attempt !== last + 1)
      throw new Error(`${offset} was handed out as attempt ${attempt} after ${last}`);
    const held = before.inHand.get(offset);
    if (held?.state === "waiting" && attempt !== held.attempts + 1)
      throw new Error(`${offset} was handed out as attempt ${attempt}, ${held.attempts} were made`);
    if (attempt > 1 || last !== undefined) this.counts.redeliveries += 1;
  }

  private count(wanted: Fate): number {
    return [...this.finished.values()].filter((fate) => fate === wanted).length;
  }

  private idAt(offset: number): string {
    return this.log.log(this.partition)[offset]?.id ?? `nothing at ${offset}`;
  }

  // ── the accounts ───────────────────────────────────────────────────────────────────────────────────

  private countWhatIs(before: Picture, after: Picture): void {
    const log = this.log.log(this.partition);
    for (const [offset, { reason }] of after.dead) {
      if (before.dead.has(offset)) continue;
      this.counts.deadLetters += 1;
      const parks = after.settings.onExhausted === "park" && reason !== "expired";
      if (parks && log[offset]?.key !== undefined) this.counts.parkedLanes += 1;
    }
    this.counts.followers += Math.max(0, after.followers - before.followers);
    this.counts.expired += after.counters.expired - before.counters.expired;
    if (after.paused && !before.paused) this.counts.pauses += 1;
  }

  private checkAccounts({ counters, dead, leasedCount, waitingCount, inHand, followers }: Picture): void {
    const { startOffset, nextOffset, settled, filtered, expired, purged, moved, readmitted } = counters;
    const ended = settled + filtered + expired + counters.dead + purged + moved;
    const law = ended + leasedCount + waitingCount;
    const taken = nextOffset - startOffset + readmitted;
    if (taken !== law) throw new Error(`the conservation law: ${law} of ${JSON.stringify(counters)}`);
    if (counters.dead !== dead.size) throw new Error(`${counters.dead} are counted dead, ${dead.size} are`);
    const seen = { settled: this.acked, purged: this.purgedBefore + this.count("purged") };
    if (settled !== seen.settled) throw new Error(`${settled} are counted settled, ${seen.settled} were`);
    if (purged !== seen.purged) throw new Error(`${purged} are counted purged, ${seen.purged} were`);
    // Whatever was taken from the log is in hand, dead, at its end, or stands in line.
    const known = seen.settled + seen.purged + dead.size + inHand.size;
    if (taken !== known + followers + expired)
      throw new Error(`of ${taken} taken from the log ${known + followers} are known`);
  }
}

function leasedBy({ inHand }: Picture, leaseId: string): number[] {
  return [...inHand].filter(([, held]) => isLeasedBy(held, leaseId)).map(([offset]) => offset);
}

function isLeasedBy(held: InHand, leaseId: string): held is Extract<InHand, { state: "leased" }> {
  return held.state === "leased" && held.leaseId === leaseId;
}

function holds(held: InHand | undefined, leaseId: string): boolean {
  if (held?.state === "leased") return held.leaseId === leaseId;
  return held?.state === "waiting" && held.lastLeaseId === leaseId;
}

/** As it was when the epoch began. */
function emptied(picture: Picture): Picture {
  const counters = { ...picture.counters, readmitted: 0, expired: 0 };
  return { ...picture, counters, inHand: new Map(), dead: new Map(), followers: 0 };
}

/** Who was dead, or dying and then buried, and is so no more. */
function leftTheDead(before: Picture, after: Picture): number[] {
  const dying = [...before.inHand].filter(([, { state }]) => state === "dying").map(([offset]) => offset);
  const isOut = (offset: number) => !after.dead.has(offset) && after.inHand.get(offset)?.state !== "dying";
  return [...before.dead.keys(), ...dying].filter(isOut);
}
