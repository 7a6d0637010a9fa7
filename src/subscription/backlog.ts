// Everything a subscription has in hand: its progress through the log, the deliveries that are leased,
// waiting or dying, the lanes, and the counters of the conservation law. It remembers what changed, so that
// a change is saved by writing just that. In memory whole; the store can tell all of it again.

import TinyQueue from "tinyqueue";
import { limits } from "../limits";
import type { PendingKeys } from "../subscription-calls";
import { type How, TERM_OF } from "../timeline-calls";
import type { Delivery, Dying, Waiting } from "./delivery";
import type { Lane } from "./lane";
import * as lanes from "./lane";
import { LaneGate } from "./lane-gate";
import type { Ending } from "./outcomes";

/** Deliveries leased together until one deadline. Extending a part of a lease splits it; its id stays. */
export type Lease = { readonly id: string; deadlineAt: number; readonly offsets: Set<number> };

/** All of one epoch, but for the last line. A seek begins another. */
export type Counters = {
  startOffset: number;
  nextOffset: number;
  settled: number;
  filtered: number;
  expired: number;
  dead: number;
  purged: number;
  moved: number;
  /** Dead letters of earlier epochs that were redriven into this one. */
  readmitted: number;
} & { epoch: number; replay: number; formerDead: number };

/** A lane as it is stored: only what is not told by the deliveries in hand. */
export type LaneRow = Readonly<{ key: string; followers: number; followersFrom: number }>;

export type Snapshot = Readonly<{
  knownHead: number;
  counters: Counters;
  leases: readonly Lease[];
  deliveries: readonly Delivery[];
  lanes: readonly LaneRow[];
  parked: readonly { key: string; offset: number }[];
}>;

/** A dead letter to be kept. `parks`: it holds its lane. */
export type Grave = Readonly<{ dying: Dying; record: Uint8Array | undefined; parks: boolean }>;

type EndingDetails = Partial<Omit<Ending, "how" | "first">>;
/** Messages that retention overtook before they were attempted: `count` of those from `from` to `to`. */
export type NewGap = { from: number; to: number; count: number };

/** What has changed since it was last saved. */
export type Changes = {
  state: boolean;
  gap: NewGap | undefined;
  deliveries: Set<number>;
  lanes: Set<string>;
  buried: Map<number, Grave>;
  unburied: Set<number>;
  /** What left for good, to be kept for the timeline. */
  endings: Ending[];
  /** Dead letters of earlier epochs that were taken out. */
  exhumed: { epoch: number; offset: number; isReadmitted: boolean }[];
};

/** Something that may be handed out from `at` on: one delivery, or what comes next of a lane. */
export type Ready = Readonly<{ at: number; offset: number; key?: string }>;

export class Backlog {
  readonly counters: Counters;
  readonly leases = new Set<Lease>();
  readonly deliveries = new Map<number, Delivery>();
  readonly lanes = new Map<string, Lane>();
  readonly ready = new TinyQueue<Ready>([], (a, b) => a.at - b.at || a.offset - b.offset);
  readonly dying = new Set<number>();
  readonly leaseOf = new Map<number, Lease>();
  /** When deliveries in hand expire, as far as their messages were handed out since the last restart. */
  readonly expiries = new Map<number, number>();
  /** How far the log is known to reach. Saved with every change, so that a restart knows what it has not read. */
  knownHead: number;
  changes: Changes = noChanges();
  private followers = 0;

  constructor(
    snapshot: Snapshot,
    /** Which keys wait for the partition that they were in before a raise. */
    readonly gate = new LaneGate(true),
  ) {
    this.counters = { ...snapshot.counters };
    this.knownHead = snapshot.knownHead;
    for (const row of snapshot.lanes) {
      Object.assign(this.lane(row.key), { followers: row.followers, followersFrom: row.followersFrom });
      this.followers += row.followers;
    }
    for (const { key, offset } of snapshot.parked) this.lane(key).parked.add(offset);
    for (const lease of snapshot.leases) {
      this.leases.add(lease);
      for (const offset of lease.offsets) this.leaseOf.set(offset, lease);
    }
    for (const delivery of snapshot.deliveries) this.put(delivery);
    for (const lane of this.lanes.values()) this.touch(lane);
    this.changes = noChanges();
  }

  // ── sums ───────────────────────────────────────────────────────────────────────────────────────────

  get leasedCount(): number {
    return this.leaseOf.size;
  }

  get waitingCount(): number {
    return this.deliveries.size - this.leaseOf.size + this.followers;
  }

  get followerCount(): number {
    return this.followers;
  }

  /** Whether so much waits that reading on has stopped: deliveries, or lanes with something in hand or behind. */
  get isStalled(): boolean {
    const waiting = this.deliveries.size - this.leaseOf.size;
    return waiting >= limits.waitingDeliveries || this.lanes.size >= limits.waitingDeliveries;
  }

  get heldLaneCount(): number {
    let held = 0;
    for (const lane of this.lanes.values()) if (this.isHeld(lane) && lane.followers > 0) held += 1;
    return held;
  }

  // ── deliveries ─────────────────────────────────────────────────────────────────────────────────────

  /** Puts a delivery in its new state. */
  put(delivery: Delivery): void {
    this.leave(delivery.offset);
    this.deliveries.set(delivery.offset, delivery);
    if (delivery.state === "dying") this.dying.add(delivery.offset);
    const lane = delivery.orderingKey === undefined ? undefined : this.lane(delivery.orderingKey);
    if (lane && delivery.state === "leased") lane.leased += 1;
    if (lane && delivery.state === "dying") lane.dying += 1;
    if (lane && delivery.state === "waiting") lanes.addWaiting(lane, delivery.offset);
    if (!lane && delivery.state === "waiting") {
      this.ready.push({ at: delivery.availableAt, offset: delivery.offset });
    }
    if (delivery.state !== "leased") {
      this.changes.deliveries.add(delivery.offset);
      this.unlease(delivery.offset);
    }
    if (lane) this.touch(lane);
    this.changes.state = true;
  }

  /** Takes a delivery out of hand for good. */
  remove(offset: number): void {
    const delivery = this.deliveries.get(offset);
    this.leave(offset);
    this.deliveries.delete(offset);
    this.expiries.delete(offset);
    this.unlease(offset);
    this.changes.deliveries.add(offset);
    this.changes.state = true;
    const lane = delivery?.orderingKey === undefined ? undefined : this.lanes.get(delivery.orderingKey);
    if (lane) this.touch(lane);
  }

  /** Offsets are done with for good: the counter of their term rises, and the timeline can tell how they ended. */
  end(how: How, first: number, { count = 1, attempts = 0, ...more }: EndingDetails = {}): void {
    this.counters[TERM_OF[how]] += count;
    this.changes.endings.push({ how, first, count, attempts, ...more });
    this.changes.state = true;
  }

  /** A dying delivery is dead: it leaves with its message. `parks` holds its lane. */
  bury(dying: Dying, record: Uint8Array | undefined, parks: boolean): void {
    const lane = dying.orderingKey === undefined ? undefined : this.lane(dying.orderingKey);
    if (parks) lane?.parked.add(dying.offset);
    this.remove(dying.offset);
    this.counters.dead += 1;
    this.changes.buried.set(dying.offset, { dying, record, parks: parks && lane !== undefined });
  }

  /** A dead letter leaves the dead: to wait again, or for good, and how. */
  unbury(offset: number, orderingKey: string | undefined, to: Delivery | "purged" | "moved"): void {
    const delivery = typeof to === "string" ? undefined : to;
    this.counters.dead -= 1;
    if (typeof to === "string") this.end(to, offset);
    this.changes.unburied.add(offset);
    this.changes.state = true;
    if (delivery) this.put(delivery);
    const lane = orderingKey === undefined ? undefined : this.lanes.get(orderingKey);
    if (!lane) return;
    lane.parked.delete(offset);
    this.touch(lane);
  }

  /**
   * A dead letter of an earlier epoch leaves: to wait in this one (`delivery`), or for good. It waits outside its
   * lane, which has long gone on.
   */
  exhume(epoch: number, offset: number, delivery?: Waiting): void {
    this.counters.formerDead -= 1;
    this.changes.exhumed.push({ epoch, offset, isReadmitted: delivery !== undefined });
    this.changes.state = true;
    if (!delivery) return;
    this.counters.readmitted += 1;
    this.put(delivery);
  }

  /** Whether a message that was taken from the log is leased, waiting or dying, or follows in its lane. */
  hasInHand(offset: number, orderingKey: string | undefined): boolean {
    if (this.deliveries.has(offset)) return true;
    const lane = orderingKey === undefined ? undefined : this.lanes.get(orderingKey);
    // Whatever of a lane comes after a follower follows too: none of them has left before the first one.
    return lane !== undefined && lane.followers > 0 && offset >= lane.followersFrom;
  }

  // ── leases ─────────────────────────────────────────────────────────────────────────────────────────

  /** Opens a lease over deliveries that were just put as leased. */
  openLease(id: string, deadlineAt: number, leased: readonly Delivery[]): void {
    const lease = { id, deadlineAt, offsets: new Set(leased.map(({ offset }) => offset)) };
    this.leases.add(lease);
    for (const { offset } of leased) this.leaseOf.set(offset, lease);
  }

  /** Moves the deadline of some leased deliveries; those left behind keep theirs. */
  moveDeadline(offsets: readonly number[], deadlineAt: number): void {
    const moved = new Map<Lease, number[]>();
    for (const offset of offsets) {
      const lease = this.leaseOf.get(offset);
      if (lease) moved.set(lease, [...(moved.get(lease) ?? []), offset]);
    }
    for (const [lease, part] of moved) {
      if (part.length === lease.offsets.size) lease.deadlineAt = deadlineAt;
      else this.splitLease(lease, part, deadlineAt);
    }
    this.changes.state = true;
  }

  private splitLease(lease: Lease, part: readonly number[], deadlineAt: number): void {
    const split = { id: lease.id, deadlineAt, offsets: new Set(part) };
    this.leases.add(split);
    for (const offset of part) {
      lease.offsets.delete(offset);
      this.leaseOf.set(offset, split);
    }
  }

  private unlease(offset: number): void {
    const lease = this.leaseOf.get(offset);
    if (!lease) return;
    this.leaseOf.delete(offset);
    lease.offsets.delete(offset);
    if (lease.offsets.size === 0) this.leases.delete(lease);
  }

  // ── lanes ──────────────────────────────────────────────────────────────────────────────────────────

  lane(key: string): Lane {
    const lane = this.lanes.get(key) ?? lanes.newLane(key);
    this.lanes.set(key, lane);
    return lane;
  }

  /** Whether nothing of the lane may be handed out now, whatever time it is. */
  isHeld(lane: Lane): boolean {
    return lanes.isHeld(lane) || this.gate.holds(lane.key);
  }

  /** Whether a message of this key that comes next in the log must stand in line. */
  mustFollow(key: string): boolean {
    const lane = this.lanes.get(key);
    return this.gate.holds(key) || (lane !== undefined && lanes.mustFollow(lane));
  }

  /** Takes in which keys wait for the former partition: lanes that no longer do are ready. */
  learnPending(pending: PendingKeys, now: number): void {
    const held = [...this.lanes.values()].filter(({ key }) => this.gate.holds(key));
    this.gate.learn(pending, now);
    for (const lane of held) if (!this.gate.holds(lane.key)) this.touch(lane);
  }

  follow(key: string, offset: number): void {
    lanes.follow(this.lane(key), offset);
    this.followers += 1;
    this.changes.lanes.add(key);
    this.changes.state = true;
  }

  takeFollower(lane: Lane): void {
    lanes.takeFollower(lane);
    this.followers -= 1;
    this.changes.lanes.add(lane.key);
  }

  /** The first follower of a lane has expired, unattempted. */
  expireFollower(lane: Lane, offset: number): void {
    this.takeFollower(lane);
    this.end("expired", offset);
    this.touch(lane);
  }

  /** The first follower of some lane is no longer in the log. */
  loseFollower(offset: number): void {
    const lane = [...this.lanes.values()].find(({ known }) => known[0] === offset);
    if (!lane) return;
    this.takeFollower(lane);
    this.overtake(offset, 1);
    this.touch(lane);
  }

  /** Followers of a lane, at `offsets`, are no longer in the log. */
  loseFollowers(lane: Lane, offsets: readonly number[]): void {
    this.followers -= offsets.length;
    this.changes.lanes.add(lane.key);
    this.changes.state = true;
    for (const offset of offsets) this.overtake(offset, 1);
    this.touch(lane);
  }

  /** Retention overtook `count` messages from `from` on that were never attempted. */
  overtake(from: number, count: number): void {
    this.end("expired", from, { count });
    this.noteGap({ from, to: from + count, count });
  }

  /** One change leaves one gap record. */
  private noteGap({ from, to, count }: NewGap): void {
    const { gap } = this.changes;
    this.changes.gap = {
      from: Math.min(from, gap?.from ?? from),
      to: Math.max(to, gap?.to ?? to),
      count: count + (gap?.count ?? 0),
    };
  }

  /** What a search for followers found. Followers that retention overtook count as expired. */
  learn(key: string, offsets: readonly number[], scannedTo: number): void {
    const lane = this.lanes.get(key);
    if (!lane) return;
    const from = lane.followersFrom;
    const lost = lanes.learn(lane, offsets, scannedTo, this.counters.nextOffset);
    if (lost > 0) {
      this.followers -= lost;
      // Which offsets they had, nobody knows any more: no outcome tells of them.
      this.counters.expired += lost;
      this.changes.lanes.add(key);
      this.changes.state = true;
      this.noteGap({ from, to: Math.max(from, scannedTo), count: lost });
    }
    this.touch(lane);
  }

  /** A lane changed: it is forgotten when empty, and ready when it is free and has something to hand out. */
  touch(lane: Lane): void {
    if (lanes.isEmpty(lane)) {
      this.lanes.delete(lane.key);
      return;
    }
    if (this.isHeld(lane)) return;
    const head = lane.waiting[0];
    const waiting = head === undefined ? undefined : this.deliveries.get(head);
    const at = waiting?.state === "waiting" ? waiting.availableAt : 0;
    this.ready.push({ at, offset: head ?? lane.followersFrom, key: lane.key });
  }

  private leave(offset: number): void {
    const delivery = this.deliveries.get(offset);
    if (delivery?.state === "dying") this.dying.delete(offset);
    const lane = delivery?.orderingKey === undefined ? undefined : this.lanes.get(delivery.orderingKey);
    if (!delivery || !lane) return;
    if (delivery.state === "leased") lane.leased -= 1;
    if (delivery.state === "dying") lane.dying -= 1;
    if (delivery.state === "waiting") lanes.removeWaiting(lane, offset);
  }

  // ── saving ─────────────────────────────────────────────────────────────────────────────────────────

  /** Hands over what changed, and forgets it. */
  takeChanges(): Changes {
    const { changes } = this;
    this.changes = noChanges();
    return changes;
  }
}

/** The sums that the stats show, with `head` the end of the log. */
export function sums(backlog: Backlog, head: number) {
  return {
    ...backlog.counters,
    leased: backlog.leasedCount,
    waiting: backlog.waitingCount,
    followers: backlog.followerCount,
    blockedLanes: backlog.heldLaneCount,
    unread: Math.max(0, head - backlog.counters.nextOffset),
    stalled: backlog.isStalled,
  };
}

/** A lane that was never stored and has nothing to store needs no row. */
export function laneRow(lane: Lane | undefined): LaneRow | undefined {
  if (!lane || lane.followers === 0) return undefined;
  return { key: lane.key, followers: lane.followers, followersFrom: lane.followersFrom };
}

function noChanges(): Changes {
  return {
    state: false,
    gap: undefined,
    deliveries: new Set(),
    lanes: new Set(),
    buried: new Map(),
    unburied: new Set(),
    endings: [],
    exhumed: [],
  };
}

export function newCounters(startOffset: number): Counters {
  const zero = { settled: 0, filtered: 0, expired: 0, dead: 0, purged: 0, moved: 0, readmitted: 0 };
  return { startOffset, nextOffset: startOffset, ...zero, epoch: 0, replay: 0, formerDead: 0 };
}
