// Where one message is on its way to this subscription, and why it has not arrived: told from what is in hand, from
// dead letters and from outcomes. Pure: the caller looks them up.

import type { Blocker, Whereabouts } from "../timeline-calls";
import type { Backlog } from "./backlog";
import type { Delivery } from "./delivery";
import { isHeld, type Lane } from "./lane";
import type { Outcome } from "./outcomes";
import type { BuriedRow } from "./subscription-rows";

/** What the store knows of an offset. */
export type Known = Readonly<{
  letter: BuriedRow | undefined;
  /** The newest first. */
  outcomes: readonly Outcome[];
  /** From here on every outcome is kept. */
  keptFrom: number;
}>;

/** Where the message at `offset` is; `orderingKey` is its own, when the message is known. */
export function whereIs(
  backlog: Backlog,
  offset: number,
  orderingKey: string | undefined,
  { letter, outcomes, keptFrom }: Known,
): Whereabouts {
  const { startOffset, nextOffset } = backlog.counters;
  const delivery = backlog.deliveries.get(offset);
  if (delivery) return inHand(backlog, delivery);
  if (letter) return dead(letter);
  const [outcome] = outcomes;
  if (outcome) return ended(outcome);
  if (offset < startOffset) return { state: "before-start", startOffset };
  if (offset >= nextOffset) return { state: "unread", ahead: offset - nextOffset };
  const lane = orderingKey === undefined ? undefined : backlog.lanes.get(orderingKey);
  if (lane && isFollower(lane, offset)) return blocked(backlog, lane, offset);
  return { state: offset < keptFrom ? "forgotten" : "unaccounted" };
}

function inHand(backlog: Backlog, delivery: Delivery): Whereabouts {
  const { offset, attempts, history } = delivery;
  if (delivery.state === "dying") return { ...delivery.death, state: "dead", attempts, history };
  if (delivery.state === "leased") {
    const deadlineAt = backlog.leases.of(offset)?.deadlineAt ?? 0;
    return { state: "leased", leaseId: delivery.leaseId, deadlineAt, attempt: attempts + 1, history };
  }
  const lane = delivery.orderingKey === undefined ? undefined : backlog.lanes.get(delivery.orderingKey);
  const behind = lane && blocker(backlog, lane, offset);
  const { availableAt, reason } = delivery;
  return {
    ...{ state: "waiting", availableAt, attempts, history },
    ...(behind && { behind }),
    ...(reason !== undefined && { reason }),
  };
}

function dead({ diedAt, reason, detail, attempts, history }: BuriedRow): Whereabouts {
  return { state: "dead", diedAt, reason, ...(detail !== undefined && { detail }), attempts, history };
}

function ended({ how, at, attempts, status }: Outcome): Whereabouts {
  if (how === "expired" || how === "purged" || how === "moved") return { state: how, at };
  return { state: "settled", how, at, attempts, ...(status !== undefined && { status }) };
}

function blocked(backlog: Backlog, lane: Lane, offset: number): Whereabouts {
  const behind = blocker(backlog, lane, offset);
  return { state: "blocked", ...(behind && { behind }), parked: lane.parked.size > 0 };
}

/** Everything of a lane from its first follower on follows: the line is passed by nobody. */
export function isFollower(lane: Pick<Lane, "followers" | "followersFrom">, offset: number): boolean {
  return lane.followers > 0 && offset >= lane.followersFrom;
}

/** What of the lane goes before `offset`: whatever holds the lane; else the first that waits; else a follower. */
function blocker(backlog: Backlog, lane: Lane, offset: number): Blocker | undefined {
  if (isHeld(lane)) return holder(backlog, lane);
  const [first] = lane.waiting;
  if (first !== undefined) return first < offset ? { offset: first, state: "waiting" } : undefined;
  // Where the first follower lies is known only once it was looked for.
  const [next] = lane.known;
  return next !== undefined && next < offset ? { offset: next, state: "blocked" } : undefined;
}

function holder(backlog: Backlog, lane: Lane): Blocker | undefined {
  const holders: Blocker[] = [...lane.parked].map((offset) => ({ offset, state: "dead" }));
  const offsets = [
    ...(lane.dying > 0 ? backlog.dying : []),
    ...(lane.leased > 0 ? backlog.leases.leasedOffsets() : []),
  ];
  for (const offset of offsets) {
    const delivery = backlog.deliveries.get(offset);
    if (delivery?.orderingKey !== lane.key) continue;
    holders.push({ offset, state: delivery.state === "dying" ? "dead" : "leased" });
  }
  return holders.sort((a, b) => a.offset - b.offset)[0];
}
