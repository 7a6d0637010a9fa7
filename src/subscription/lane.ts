// A lane is the line of deliveries with one ordering key: handed out one lease at a time, and in order.
// Those in hand (leased, waiting, dying) stand first; followers stay in the log and have no rows: a lane
// knows only how many they are and where the first may be, and learns their offsets as it needs them.

export type Lane = {
  readonly key: string;
  leased: number;
  dying: number;
  /** Offsets of waiting deliveries, rising. */
  waiting: number[];
  /** Dead letters that hold the lane until they are redriven or purged. */
  parked: Set<number>;
  followers: number;
  /** No follower lies before this offset. */
  followersFrom: number;
  /** Offsets of the first followers, as far as they are known. */
  known: number[];
};

/** A lane as it is stored: only what is not told by the deliveries in hand. */
export type LaneRow = Readonly<{ key: string; followers: number; followersFrom: number }>;

export function newLane(key: string): Lane {
  return {
    key,
    leased: 0,
    dying: 0,
    waiting: [],
    parked: new Set(),
    followers: 0,
    followersFrom: 0,
    known: [],
  };
}

/** Whether nothing of the lane may be handed out now, whatever time it is. */
export function isHeld(lane: Lane): boolean {
  return lane.leased > 0 || lane.dying > 0 || lane.parked.size > 0;
}

/** Whether a message of this lane that comes next in the log must stand in line. */
export function mustFollow(lane: Lane): boolean {
  return isHeld(lane) || lane.waiting.length > 0 || lane.followers > 0;
}

/** Whether nothing is left to remember. */
export function isEmpty(lane: Lane): boolean {
  return !mustFollow(lane);
}

/** A message of the lane was passed in the log: it follows. */
export function follow(lane: Lane, offset: number): void {
  if (lane.followers === 0) lane.followersFrom = offset;
  if (lane.known.length === lane.followers) lane.known.push(offset);
  lane.followers += 1;
}

/** The first follower was taken out of the line. */
export function takeFollower(lane: Lane): void {
  const taken = lane.known.shift();
  lane.followers -= 1;
  lane.followersFrom = lane.known[0] ?? (taken ?? lane.followersFrom) + 1;
}

/**
 * A search of the log found `offsets` of the lane's followers and looked at everything below `scannedTo`.
 * Answers how many followers turned out to be gone: retention overtook them.
 */
export function learn(lane: Lane, offsets: readonly number[], scannedTo: number, nextOffset: number): number {
  if (lane.known.length > 0 || lane.followers === 0) return 0;
  lane.known = offsets.filter((offset) => offset >= lane.followersFrom).slice(0, lane.followers);
  lane.followersFrom = lane.known[0] ?? Math.max(lane.followersFrom, scannedTo);
  if (lane.known.length > 0 || scannedTo < nextOffset) return 0;
  const lost = lane.followers;
  lane.followers = 0;
  return lost;
}

/** Followers below `before`, at `offsets`, are no longer in the log. Answers which of them were. */
export function losesBelow(lane: Lane, before: number, offsets: readonly number[]): readonly number[] {
  const gone = offsets.filter((offset) => offset >= lane.followersFrom && offset < before);
  const lost = gone.slice(0, lane.followers);
  lane.followers -= lost.length;
  lane.known = lane.known.filter((offset) => offset >= before).slice(0, lane.followers);
  lane.followersFrom = lane.known[0] ?? Math.max(lane.followersFrom, before);
  return lost;
}

export function addWaiting(lane: Lane, offset: number): void {
  const at = lane.waiting.findIndex((other) => other > offset);
  lane.waiting.splice(at < 0 ? lane.waiting.length : at, 0, offset);
}

export function removeWaiting(lane: Lane, offset: number): void {
  lane.waiting = lane.waiting.filter((other) => other !== offset);
}

/** A lane that was never stored and has nothing to store needs no row. */
export function laneRow(lane: Lane | undefined): LaneRow | undefined {
  if (!lane || lane.followers === 0) return undefined;
  return { key: lane.key, followers: lane.followers, followersFrom: lane.followersFrom };
}
