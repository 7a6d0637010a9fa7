// Cutting a lease: which deliveries are handed out next. First what waits and is due, oldest due first, lanes
// among it; then the log from the next offset on. Synchronous and pure, so two leases never take the same
// offset. What is due but not in memory is found first, for the caller to read (readiness.ts).

import { limits } from "../limits";
import type { Backlog, Ready } from "./backlog";
import { firstLease, type Leased, lease, mostTogether, type Waiting } from "./delivery";
import { hasFollowers, isLeftOut, leaveOut, leaveOutFollower } from "./filtering";
import type { Lane } from "./lane";
import type { BufferedRecord, RecordBuffer } from "./record-buffer";
import { expireFollower, expireWaiting, isExpired } from "./time-to-live";

export type Cut = Readonly<{
  leaseId: string;
  now: number;
  deadlineAt: number;
  max: number;
  maxBytes: number;
  /** Takes from the log before what waits: for a probe, which may be of anything. */
  logFirst?: boolean;
}>;

export type CutResult = Readonly<{
  /** By offset, so that the same lease asked for again is the same. */
  leased: readonly Leased[];
  records: readonly Uint8Array[];
}>;

/** Cuts one lease of up to `max` deliveries and `maxBytes`, at least one whatever its size. */
export function cutLease(backlog: Backlog, buffer: RecordBuffer, cut: Cut): CutResult {
  const cutting = new Cutting(backlog, buffer, cut);
  if (cut.logFirst) cutting.takeFromLog();
  cutting.takeWaiting();
  cutting.takeFromLog();
  return cutting.finish();
}

/** `passed`: it left without being handed out. */
type Taken = "taken" | "passed" | "missing" | "stale";
/** A message of the log that is not handed out: it follows in its lane, the filter leaves it out, or it has expired. */
type Passed = Readonly<{ offset: number; followsIn?: string; leftOutBytes?: number }>;

class Cutting {
  private readonly leased: Leased[] = [];
  private readonly records: Uint8Array[] = [];
  private readonly ownLanes = new Set<string>();
  private readonly putBack: Ready[] = [];
  private bytes = 0;
  private full = false;
  /** How many this lease may hold, with those in it that are suspected of having silenced a consumer. */
  private most: number;

  constructor(
    private readonly backlog: Backlog,
    private readonly buffer: RecordBuffer,
    private readonly cut: Cut,
  ) {
    this.most = cut.max;
    this.full = cut.max <= 0;
    backlog.sieve.renew();
  }

  takeWaiting(): void {
    const { ready } = this.backlog;
    while (!this.full) {
      const next = ready.peek();
      if (!next || next.at > this.cut.now) return;
      ready.pop();
      const taken = next.key === undefined ? this.takeOne(next.offset) : this.takeLane(next.key);
      if (taken === "missing") this.putBack.push(next);
    }
  }

  /** An entry of the ready queue may be stale: what it stands for is looked up afresh. */
  private takeOne(offset: number): Taken {
    const delivery = this.backlog.deliveries.get(offset);
    if (delivery?.state !== "waiting" || delivery.availableAt > this.cut.now) return "stale";
    const held = this.buffer.get(offset);
    if (held && isExpired(held, this.cut.now)) {
      expireWaiting(this.backlog, delivery, this.cut.now);
      return "passed";
    }
    if (!held || !this.mayJoin(delivery) || !this.fits(held.record)) return "missing";
    this.take(lease(delivery, this.cut.leaseId), held);
    return "taken";
  }

  /** Takes a run of a free lane: what waits first, then followers. */
  private takeLane(key: string): Taken {
    const lane = this.backlog.lanes.get(key);
    if (!lane || this.backlog.isHeld(lane) || this.ownLanes.has(key)) return "stale";
    let taken: Taken = "stale";
    // One that has expired and is dying holds the lane until it is buried.
    while (!this.full && lane.dying === 0) {
      const step = lane.waiting[0] === undefined ? this.takeFollower(lane) : this.takeHead(lane);
      if (step === "taken") taken = "taken";
      else if (step !== "passed") return taken === "taken" ? "taken" : step;
    }
    return taken;
  }

  private takeHead(lane: Lane): Taken {
    const offset = lane.waiting[0];
    return offset === undefined ? "stale" : this.takeOne(offset);
  }

  private takeFollower(lane: Lane): Taken {
    if (lane.followers === 0) return "stale";
    const offset = lane.known[0];
    const held = offset === undefined ? undefined : this.buffer.get(offset);
    if (this.backlog.sieve.isSpent) return "missing";
    const leaves = offset !== undefined && held && this.leaves(offset, held);
    if (leaves) {
      if (leaves === "left-out") leaveOutFollower(this.backlog, lane);
      else expireFollower(this.backlog, lane, offset);
      this.buffer.forget(offset);
      return "passed";
    }
    if (offset === undefined || !held || !this.fits(held.record)) return "missing";
    this.backlog.takeFollower(lane);
    this.take(firstLease(offset, lane.key, this.cut.leaseId), held);
    return "taken";
  }

  /** How a message leaves that nobody is handed, if it does. The filter comes first: it says the same at any time. */
  private leaves(offset: number, held: BufferedRecord): "left-out" | "expired" | undefined {
    if (isLeftOut(this.backlog, offset, held)) return "left-out";
    return isExpired(held, this.cut.now) ? "expired" : undefined;
  }

  /**
   * Takes from the log. Messages of lanes that are held are passed, and follow; the progress past them is
   * only made once something beyond is leased, or the read-ahead is full, so that looking costs no write. Those
   * that have expired or that the filter leaves out are passed too; progress past them alone is made at once, as they are met
   * only once.
   */
  takeFromLog(): void {
    const { backlog, buffer } = this;
    const passed: Passed[] = [];
    const passedKeys = new Set<string>();
    let leftOut = 0;
    let offset = backlog.counters.nextOffset;
    for (; this.mayGoOn && offset < buffer.end; offset++) {
      const held = buffer.get(offset);
      if (!held) break;
      const { orderingKey, record } = held;
      const stands =
        orderingKey !== undefined && (passedKeys.has(orderingKey) || this.mustFollow(orderingKey));
      // Not behind a follower: whatever of a lane lies there follows, so that a search finds just those.
      const isBehind = stands && (passedKeys.has(orderingKey) || hasFollowers(backlog, orderingKey));
      const leaves = isBehind ? undefined : this.leaves(offset, held);
      if (leaves === "left-out") {
        passed.push({ offset, leftOutBytes: record.byteLength });
        leftOut += 1;
        continue;
      }
      if (stands) {
        passed.push({ followsIn: orderingKey, offset });
        passedKeys.add(orderingKey);
        continue;
      }
      if (leaves === "expired") {
        passed.push({ offset });
        continue;
      }
      if (!this.fits(record)) break;
      this.pass(passed, offset + 1);
      this.take(firstLease(offset, orderingKey, this.cut.leaseId), held);
    }
    const isMuch = buffer.isFull || leftOut >= limits.filteredUnsaved;
    if (isMuch && passed.length > 0) this.pass(passed, offset);
    const firstFollower = passed.find(({ followsIn }) => followsIn !== undefined);
    const goneTo = firstFollower?.offset ?? offset;
    const gone = passed.filter((each) => each.offset < goneTo);
    if (gone.length > 0) this.pass(gone, goneTo);
  }

  private get mayGoOn(): boolean {
    return !this.full && !this.backlog.isStalled && !this.backlog.sieve.isSpent;
  }

  private mustFollow(key: string): boolean {
    const lane = this.backlog.lanes.get(key);
    // This very lease may go on with a run that it holds the end of.
    if (lane && this.ownLanes.has(key)) return lane.waiting.length > 0 || lane.followers > 0;
    return this.backlog.mustFollow(key);
  }

  private pass(passed: Passed[], nextOffset: number): void {
    for (const { followsIn, leftOutBytes, offset } of passed.splice(0)) {
      if (leftOutBytes !== undefined) leaveOut(this.backlog, leftOutBytes);
      else if (followsIn === undefined) this.backlog.end("expired", offset);
      else this.backlog.follow(followsIn, offset);
      this.buffer.forget(offset);
    }
    this.backlog.counters.nextOffset = nextOffset;
  }

  /** One that is suspected joins no greater company than it may; the next lease begins with it. */
  private mayJoin(delivery: Waiting): boolean {
    if (this.leased.length < mostTogether(delivery)) return true;
    this.full = true;
    return false;
  }

  private fits(record: Uint8Array): boolean {
    if (this.leased.length === 0 || this.bytes + record.byteLength <= this.cut.maxBytes) return true;
    this.full = true;
    return false;
  }

  private take(delivery: Leased, { record, expiresAt }: BufferedRecord): void {
    if (expiresAt !== undefined) this.backlog.expiries.set(delivery.offset, expiresAt);
    this.leased.push(delivery);
    this.records.push(record);
    this.bytes += record.byteLength;
    this.most = Math.min(this.most, mostTogether(delivery));
    this.full = this.leased.length >= this.most || this.bytes >= this.cut.maxBytes;
    // Leased at once: what is cut next must see it.
    this.backlog.put(delivery);
    if (delivery.orderingKey !== undefined) this.ownLanes.add(delivery.orderingKey);
  }

  finish(): CutResult {
    for (const entry of this.putBack) this.backlog.ready.push(entry);
    if (this.leased.length > 0) this.backlog.leases.open(this.cut.leaseId, this.cut.deadlineAt, this.leased);
    const taken = this.leased.map((delivery, i) => ({
      delivery,
      record: this.records[i] ?? new Uint8Array(),
    }));
    taken.sort((a, b) => a.delivery.offset - b.delivery.offset);
    return { leased: taken.map(({ delivery }) => delivery), records: taken.map(({ record }) => record) };
  }
}
