// What consumers may rely on: a witness of one partition of one subscription. It is shown everything the object did,
// in order, once that is on disk, with a picture of what was in hand after. It keeps accounts of its own from the
// evidence, and complains when a promise is broken or the object's accounts differ.

import type { DispatchCall } from "../../src/dispatch-calls";
import type { Result } from "../../src/errors";
import { limits } from "../../src/limits";
import { unpackRecords } from "../../src/record-batch";
import type { SubscriptionSettings } from "../../src/settings";
import { isReceiverLease, type LeaseAnswer } from "../../src/subscription-calls";
import { checkAccounts, type Ended, type Overdue } from "./accounts";
import type { Counts } from "./coverage";
import { DeedEvidence, type EvidenceParts } from "./deed-evidence";
import { FilterWitness } from "./filter-witness";
import { checkFormer, checkLane, checkLanes, type Standing } from "./lane-checks";
import type { LogWitness } from "./log-witness";
import type { Deed } from "./object-host";
import { holds, isLeasedBy, leasedBy, type Picture } from "./picture";
import { SilenceWitness } from "./silence-witness";

/** What the object did in one step, and what it had in hand after. */
export type Observation = Readonly<{ at: number; deeds: readonly Deed[]; picture: Picture }>;

type Fate = keyof Ended;

export type WitnessParts = EvidenceParts &
  Readonly<{
    /** The witnesses of the partitions that a raise made this one of, the nearest first. */
    ancestors: () => readonly DeliveryWitness[];
    /** Whether the endpoint has acknowledged a message, or the target has it; always true where there is neither. */
    isAcknowledged: (id: string, settings: SubscriptionSettings) => boolean;
  }>;

export class DeliveryWitness implements Standing {
  private before: Picture | undefined;
  private readonly finished = new Map<number, Fate>();
  private readonly newest = new Map<number, { leaseId: string; attempt: number }>();
  private readonly redrivenEver = new Set<number>();
  /** How many had come to their end when they were readmitted from an earlier epoch. */
  private readonly endedBefore: Ended = { acked: 0, purged: 0, moved: 0 };
  private readonly told: DeedEvidence;
  /** By partition that a raise made of this one, the epoch in which it was first told what waits here. */
  private readonly toldFrom = new Map<number, number>();
  private readonly handedNow = new Map<string, readonly number[]>();
  private readonly filters = new FilterWitness();
  private readonly silences: SilenceWitness;
  readonly partition: number;
  readonly log: LogWitness;
  private readonly counts: Counts;

  constructor(private readonly parts: WitnessParts) {
    this.partition = parts.partition;
    this.log = parts.log;
    this.counts = parts.counts;
    this.silences = new SilenceWitness(parts.counts);
    const { finished, newest, redrivenEver } = this;
    this.told = new DeedEvidence(parts, { finished, newest, redrivenEver });
  }

  get acked(): number {
    return this.ended.acked;
  }

  private get ended(): Ended {
    const ended = { ...this.endedBefore };
    for (const fate of this.finished.values()) ended[fate] += 1;
    return ended;
  }

  /** Whether it was moved by a seek. */
  get wasMoved(): boolean {
    return (this.before?.counters.epoch ?? 0) > 0;
  }

  /** Whether all that a partition made of this one was told of it, it was told since the newest seek. */
  wasToldSinceSeek(child: number): boolean {
    return this.toldFrom.get(child) === this.before?.counters.epoch;
  }

  isFinished(offset: number): boolean {
    return this.finished.has(offset);
  }

  /** Whether what comes after it in its lane need not wait for it, as of `at`. */
  isPast(offset: number, at: number, after = this.before): boolean {
    if (this.finished.has(offset) || offset < (after?.counters.startOffset ?? 0)) return true;
    const grave = after?.dead.get(offset);
    if (grave) return !grave.parks;
    const held = after?.inHand.get(offset);
    // A dead letter of an earlier epoch waits outside its lane, which has long gone on.
    if (held) return held.key === undefined;
    return this.log.mayExpire(this.partition, offset, at) || this.leavesOut(offset);
  }

  /** Whether the filter leaves the message out: the one that held when it was next, or holds now. */
  leavesOut(offset: number): boolean {
    if (this.filters.isOpen) return false;
    return this.filters.leavesOut(offset, this.log.log(this.partition)[offset]);
  }

  wasRedriven(offset: number): boolean {
    return this.redrivenEver.has(offset);
  }

  observe({ at, deeds, picture }: Observation): void {
    const isNewEpoch = this.before?.counters.epoch !== picture.counters.epoch;
    if (isNewEpoch) this.beginEpoch(picture);
    const before = isNewEpoch || !this.before ? emptied(picture) : this.before;
    if (picture.version < before.version)
      throw new Error(`settings ${picture.version} replaced those of ${before.version}`);
    this.handedNow.clear();
    if (this.filters.take(before, picture)) this.counts.filtersChanged += 1;
    this.told.gather(deeds, before, picture);
    this.takeReadmitted(before, picture);
    this.settleWhatLeft(before, picture, at);
    this.checkReleases(before, picture, at);
    checkLanes(picture, (offset) => this.wasRedriven(offset));
    for (const deed of deeds) {
      this.noteTold(deed, picture);
      this.takeHandouts(deed, before, picture, at);
    }
    this.countWhatIs(before, picture);
    checkAccounts(
      picture,
      this.ended,
      () => this.countOverdue(picture, at),
      () => this.countLeftOut(picture),
    );
    this.before = picture;
  }

  /** In a new epoch all leases are void, and everything from its start on is delivered again. */
  private beginEpoch(picture: Picture): void {
    if (this.before) this.counts.seeks += 1;
    for (const known of [this.finished, this.newest, this.redrivenEver]) known.clear();
    Object.assign(this.endedBefore, { acked: 0, purged: 0, moved: 0 });
    this.silences.forgetAll();
    this.filters.begin(picture);
  }

  /** Dead letters of an earlier epoch that were redriven: they are in hand again, whatever had become of them here. */
  private takeReadmitted(before: Picture, after: Picture): void {
    if (after.counters.readmitted === before.counters.readmitted) return;
    this.counts.readmitted += after.counters.readmitted - before.counters.readmitted;
    for (const offset of after.inHand.keys()) {
      const fate = before.inHand.has(offset) ? undefined : this.finished.get(offset);
      if (fate === undefined) continue;
      this.endedBefore[fate] += 1;
      this.finished.delete(offset);
      this.newest.delete(offset);
      this.silences.forget(offset);
    }
  }

  // ── what has left, and what was handed out ─────────────────────────────────────────────────────────

  /** Whatever was in hand and is not any more has left by an ack under its newest lease, or is dead. */
  private settleWhatLeft(before: Picture, after: Picture, at: number): void {
    for (const [offset, held] of before.inHand) {
      if (after.inHand.has(offset) || after.dead.has(offset) || this.finished.has(offset)) continue;
      const leaseId = this.newest.get(offset)?.leaseId;
      const isProven = leaseId !== undefined && this.told.settles(offset, leaseId) && holds(held, leaseId);
      // Never attempted, what has expired leaves without a dead letter.
      const isOverdue = held.attempts === 0 && held.state === "waiting" && this.mayExpire(offset, at);
      if (!isProven && (isOverdue || this.told.settledNow.has(offset))) continue;
      if (!isProven) throw new Error(`${offset} left without an ack under its newest lease ${leaseId}`);
      if (!this.parts.isAcknowledged(this.idAt(offset), after.settings))
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
        !this.told.released.has(held.leaseId)
      )
        throw new Error(`the lease ${held.leaseId} of ${offset} was ended by another`);
      const mayCount = isOver || this.told.failedNow.has(offset);
      if (now && now.attempts > held.attempts && !mayCount)
        throw new Error(`an attempt of ${offset} was counted that did not fail`);
      this.weighSilence(offset, held.leaseId, before, after, at);
    }
  }

  private weighSilence(offset: number, leaseId: string, before: Picture, after: Picture, at: number): void {
    const isOther = isReceiverLease(leaseId) || this.told.failedNow.has(offset);
    if (isOther) this.silences.forget(offset);
    else if (!this.told.released.has(leaseId) && (before.backlog.leases.of(offset)?.deadlineAt ?? at) <= at)
      this.silences.ended(offset, this.isBehindExpired(offset, leaseId, before, at), before, after);
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

  private noteTold({ method, args, answer }: Deed, { counters }: Picture): void {
    if (method !== "pendingKeys" || !(answer as Result<unknown> | undefined)?.ok) return;
    const { partition } = args[0] as { partition: number };
    if (!this.toldFrom.has(partition)) this.toldFrom.set(partition, counters.epoch);
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
    this.silences.handedOut(offsets);
    for (const [i, { offset, attempt }] of deliveries.entries()) {
      if (messages[i]?.id !== this.idAt(offset)) throw new Error(`${offset} came with another's message`);
      this.checkFree(offset, leaseId, before, at);
      this.checkInTime(offset, before, at);
      // A dead letter of an earlier epoch matched the filter of that one.
      if (this.leavesOut(offset) && after.counters.readmitted === 0)
        throw new Error(`${offset} was handed out, and the filter leaves it out`);
      if (this.filters.isAlternate(offset)) this.counts.alternatesHanded += 1;
      this.checkLane(offset, offsets, { after, at });
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
    if (before.dead.has(offset) && !this.told.redrivenNow.has(offset))
      throw new Error(`${offset} was handed out though it is dead`);
    const held = before.inHand.get(offset);
    if (held?.state !== "leased" || held.leaseId === leaseId) return;
    const isLive = held.deadlineAt > at && !this.told.released.has(held.leaseId);
    if (isLive) throw new Error(`${offset} has two live leases: ${held.leaseId} and ${leaseId}`);
  }

  /** Not before its delay is over, and not past its expiry. */
  private checkInTime(offset: number, before: Picture, at: number): void {
    const held = before.inHand.get(offset);
    if (held?.state === "waiting" && held.availableAt > at)
      throw new Error(`${offset} was handed out at ${at}, and waits until ${held.availableAt}`);
    if (this.log.hasExpired(this.partition, offset, at))
      throw new Error(`${offset} was handed out, and has expired`);
  }

  private checkLane(
    offset: number,
    inLease: readonly number[],
    { after, at }: Readonly<{ after: Picture; at: number }>,
  ): void {
    const key = after.inHand.get(offset)?.key;
    const logged = this.log.log(this.partition)[offset]?.key;
    if (after.inHand.has(offset) && key !== logged && after.counters.readmitted === 0)
      throw new Error(`${offset} was handed out in lane ${key}, and is of ${logged}`);
    if (key === undefined) return;
    const handed = { key, offset, inLease, at };
    checkLane(this, handed, after);
    const above = this.parts.ancestors();
    // A key gone back to before the raise has no order to its new partition, unless that heard of it only after.
    const ordered = above.filter((former) => !former.wasMoved || former.wasToldSinceSeek(this.partition));
    checkFormer(ordered, handed);
    if (ordered.some((former) => former.wasMoved)) this.counts.orderedAfterSeek += 1;
    if (above.length > 0) this.counts.handedAfterRaise += 1;
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

  private mayExpire(offset: number, at: number): boolean {
    return this.log.mayExpire(this.partition, offset, at);
  }

  private countOverdue({ counters, inHand, dead }: Picture, at: number): Overdue {
    const overdue = { all: 0, byTimeToLive: 0 };
    for (let offset = counters.startOffset; offset < counters.nextOffset; offset++) {
      const isKnown = inHand.has(offset) || dead.has(offset) || this.finished.has(offset);
      if (isKnown || !this.mayExpire(offset, at)) continue;
      overdue.all += 1;
      if (this.log.hasExpired(this.partition, offset, at)) overdue.byTimeToLive += 1;
    }
    return overdue;
  }

  private countLeftOut({ counters, inHand, dead }: Picture): number {
    if (this.filters.isOpen) return 0;
    let leftOut = 0;
    for (let offset = counters.startOffset; offset < counters.nextOffset; offset++) {
      const isKnown = inHand.has(offset) || dead.has(offset) || this.finished.has(offset);
      if (!isKnown && this.leavesOut(offset)) leftOut += 1;
    }
    return leftOut;
  }

  private idAt(offset: number): string {
    return this.log.log(this.partition)[offset]?.id ?? `nothing at ${offset}`;
  }

  // ── the accounts ───────────────────────────────────────────────────────────────────────────────────

  private countWhatIs(before: Picture, after: Picture): void {
    const log = this.log.log(this.partition);
    for (const [offset, { reason, parks, hasRecord }] of after.dead) {
      if (before.dead.has(offset)) continue;
      // The log waits for hours with its removal, and no world lives so long.
      if (!hasRecord) throw new Error(`${offset} died as ${reason}, and its message is not kept`);
      const key = before.inHand.get(offset)?.key ?? log[offset]?.key;
      const isReadmitted = after.counters.readmitted > 0;
      const mayPark = after.settings.onExhausted === "park" && reason !== "expired" && key !== undefined;
      if (parks !== mayPark && !isReadmitted)
        throw new Error(`${offset} died as ${reason} of lane ${key}, and ${parks ? "holds" : "frees"} it`);
      this.counts.deadLetters += 1;
      if (reason === "expired") this.counts.diedExpired += 1;
      if (reason === "loop") this.loopEnded(offset);
      if (parks) this.counts.parkedLanes += 1;
    }
    this.counts.followers += Math.max(0, after.followers - before.followers);
    const expired = after.counters.expired - before.counters.expired;
    const overtaken = Math.max(0, after.gapCount - before.gapCount);
    this.counts.expired += expired;
    this.counts.filtered += after.counters.filtered - before.counters.filtered;
    this.counts.overtaken += overtaken;
    this.counts.ttlExpired += Math.max(0, expired - overtaken);
    if (overtaken > 0) this.counts.gaps += 1;
    if (after.paused && !before.paused) this.counts.pauses += 1;
    if (after.version > before.version && !sameButPause(before, after)) this.counts.settingsTaken += 1;
    for (const [offset, held] of before.inHand) {
      const isLate = held.state === "leased" && isReceiverLease(held.leaseId) && this.failedBy(offset, after);
      if (isLate) this.counts.receiversLate += 1;
    }
  }

  private loopEnded(offset: number): void {
    const { hops = 0 } = this.log.log(this.partition)[offset] ?? {};
    if (hops < limits.forwardHops) throw new Error(`${offset} died in a loop after ${hops} hops`);
    this.counts.loopsEnded += 1;
  }

  /** Whether the delivery that a receiver held was given back, by the deadline and not by a failure it told of. */
  private failedBy(offset: number, after: Picture): boolean {
    return (
      after.inHand.get(offset)?.state !== "leased" &&
      !this.finished.has(offset) &&
      !this.told.failedNow.has(offset)
    );
  }
}

function sameButPause(before: Picture, after: Picture): boolean {
  const of = ({ settings: { paused: _, pausedReason: __, ...rest } }: Picture) => JSON.stringify(rest);
  return of(before) === of(after);
}

/** As it was when the epoch began. */
function emptied(picture: Picture): Picture {
  const counters = { ...picture.counters, readmitted: 0, expired: 0, filtered: 0, moved: 0 };
  return { ...picture, counters, inHand: new Map(), dead: new Map(), followers: 0, gapCount: 0 };
}
