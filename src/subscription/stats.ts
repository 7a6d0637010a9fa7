// What the stats show of one partition of a subscription.

import type { EndpointView } from "../endpoint-view";
import type { Gap, SubscriptionStats } from "../subscription-calls";
import type { Backlog } from "./backlog";

export type Shown = Readonly<{
  partition: number;
  paused: boolean;
  /** The end of the log. */
  head: number;
  gaps: readonly Gap[];
  endpoint: EndpointView | undefined;
  oldestDeathAt: number | undefined;
}>;

export function statsOf(backlog: Backlog, { oldestDeathAt, endpoint, ...shown }: Shown): SubscriptionStats {
  const oldest = oldestDeathAt === undefined ? {} : { oldestDeathAt };
  return { ...sums(backlog, shown.head), ...shown, ...oldest, ...(endpoint && { endpoint }) };
}

/** The sums, with `head` the end of the log. */
export function sums(backlog: Backlog, head: number) {
  return {
    ...backlog.counters,
    leased: backlog.leasedCount,
    waiting: backlog.waitingCount,
    followers: backlog.followerCount,
    blockedLanes: blockedLanes(backlog),
    unread: Math.max(0, head - backlog.counters.nextOffset),
    stalled: backlog.isStalled,
  };
}

/** How many lanes are held and keep somebody waiting. */
export function blockedLanes(backlog: Backlog): number {
  let blocked = 0;
  for (const lane of backlog.lanes.values()) if (lane.followers > 0 && backlog.isHeld(lane)) blocked += 1;
  return blocked;
}
