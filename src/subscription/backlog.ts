// Everything a subscription has in hand: its progress through the log, the deliveries that are leased,
// waiting or dying, the lanes, and the counters of the conservation law. It remembers what changed, so that
// a change is saved by writing just that. In memory whole; the store can tell all of it again.

import TinyQueue from "tinyqueue";
import { limits } from "../limits";
import { type How, TERM_OF } from "../timeline-calls";
import { type Changes, noChanges } from "./changes";
import type { Counters } from "./counters";
import type { Delivery } from "./delivery";
import type { Lane, LaneRow } from "./lane";
import * as lanes from "./lane";
import { LaneGate } from "./lane-gate";
import { type Lease, LeaseBook } from "./lease-book";
import type { Ending } from "./outcomes";
import { type FilterVersion, Sieve } from "./sieve";

export type Snapshot = Readonly<{
  knownHead: number;
  /** Absent: it is not. */
  isInDoubt?: boolean;
  counters: Counters;
  leases: readonly Lease[];
  deliveries: readonly Delivery[];
  lanes: readonly LaneRow[];
  parked: readonly { key: string; offset: number }[];
  /** Absent while no filter was ever set. */
  filters?: readonly FilterVersion[];
}>;

type EndingDetails = Partial<Omit<Ending, "how" | "first">>;

/** Something that may be handed out from `at` on: one delivery, or what comes next of a lane. */
export type Ready = Readonly<{ at: number; offset: number; key?: string }>;

export class Backlog {
  readonly counters: Counters;
  readonly leases: LeaseBook;
  readonly deliveries = new Map<number, Delivery>();
  readonly lanes = new Map<string, Lane>();
  readonly ready = new TinyQueue<Ready>([], (a, b) => a.at - b.at || a.offset - b.offset);
  readonly dying = new Set<number>();
  /** When deliveries in hand expire, as far as their messages were handed out since the last restart. */
  readonly expiries = new Map<number, number>();
  /** How far the log is known to reach. Saved with every change, so that a restart knows what it has not read. */
  knownHead: number;
  /** It may reach further, whatever is known: the next look must be a read. Saved with every change too. */
  isInDoubt: boolean;
  changes: Changes = noChanges();
  /** What the filter leaves out. */
  sieve: Sieve;
  /** Filtered since the state was last saved: judged again, with the same verdict, after a restart. */
  unsaved = { count: 0, bytes: 0 };
  private followers = 0;

  constructor(
    snapshot: Snapshot,
    /** Which keys wait for the partition that they were in before a raise. */
    readonly gate = new LaneGate(true),
  ) {
    this.counters = { ...snapshot.counters };
    this.knownHead = snapshot.knownHead;
    this.isInDoubt = snapshot.isInDoubt === true;
    this.sieve = new Sieve(snapshot.filters);
    for (const row of snapshot.lanes) {
      Object.assign(this.lane(row.key), { followers: row.followers, followersFrom: row.followersFrom });
      this.followers += row.followers;
    }
    for (const { key, offset } of snapshot.parked) this.lane(key).parked.add(offset);
    this.leases = new LeaseBook(snapshot.leases);
    for (const delivery of snapshot.deliveries) this.put(delivery);
    for (const lane of this.lanes.values()) this.touch(lane);
    this.changes = noChanges();
  }

  // ── sums ───────────────────────────────────────────────────────────────────────────────────────────

  get leasedCount(): number {
    return this.leases.leasedCount;
  }

  get waitingCount(): number {
    return this.deliveries.size - this.leasedCount + this.followers;
  }

  get followerCount(): number {
    return this.followers;
  }

  /** Whether so much waits that reading on has stopped: deliveries, or lanes with something in hand or behind. */
  get isStalled(): boolean {
    const waiting = this.deliveries.size - this.leasedCount;
    return waiting >= limits.waitingDeliveries || this.lanes.size >= limits.waitingDeliveries;
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
      this.leases.release(delivery.offset);
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
    this.leases.release(offset);
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

  /** Whether a message that was taken from the log is leased, waiting or dying, or follows in its lane. */
  hasInHand(offset: number, orderingKey: string | undefined): boolean {
    if (this.deliveries.has(offset)) return true;
    const lane = orderingKey === undefined ? undefined : this.lanes.get(orderingKey);
    // Whatever of a lane comes after a follower follows too: none of them has left before the first one.
    return lane !== undefined && lane.followers > 0 && offset >= lane.followersFrom;
  }

  /** Moves the deadline of some leased deliveries; those left behind in their lease keep theirs. */
  moveDeadline(offsets: readonly number[], deadlineAt: number): void {
    this.leases.moveDeadline(offsets, deadlineAt);
    this.changes.state = true;
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

  follow(key: string, offset: number): void {
    lanes.follow(this.lane(key), offset);
    this.followers += 1;
    this.changes.lanes.add(key);
    this.changes.state = true;
  }

  takeFollower(lane: Lane): void {
    lanes.takeFollower(lane);
    this.dropFollowers(lane, 1);
  }

  /** `count` followers of a lane have left it, and it knows already. */
  dropFollowers(lane: Lane, count: number): void {
    this.followers -= count;
    this.changes.lanes.add(lane.key);
    this.changes.state = true;
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
    if (changes.state) this.unsaved = { count: 0, bytes: 0 };
    return changes;
  }
}
