// Seeking: moving a subscription to another place of its log. It begins a new epoch, in which everything is as it
// would be for a subscription that was created there:
//
//   leased, waiting, followers ──seek──▶ (void: in the log again from the new place on, given up before it)
//   dead letters               ──seek──▶ dead letters of an earlier epoch; redriven, they wait outside lanes
//
// Pure: the caller brings where the log begins and ends, and stores what comes back.

import { ok, type Result, refuse } from "../errors";
import type { SeekAnswer, SeekCall, SeekPoint } from "../seek-calls";
import type { Guarantee } from "../settings";
import type { LogPlace } from "../topic-calls";
import type { Backlog } from "./backlog";
import { type Counters, newCounters } from "./counters";

/** What a seek would do. Refused for an offset beyond the head. */
export function planSeek(
  backlog: Backlog,
  { to, reprocess }: Pick<SeekCall, "to" | "reprocess">,
  log: LogPlace,
  { partition, guarantee }: Readonly<{ partition: number; guarantee: Guarantee }>,
): Result<SeekAnswer> {
  const asked = pointOf(to, log);
  if (asked > log.head) {
    return refuse("invalid-request", `Offset ${asked} lies beyond the head of partition ${partition}.`, {
      field: `to.offsets.${partition}`,
      limit: log.head,
    });
  }
  const { epoch, nextOffset: fromOffset } = backlog.counters;
  const toOffset = Math.max(asked, log.earliest);
  const again = Math.max(0, fromOffset - toOffset);
  return ok({
    ...{ partition, epoch: epoch + 1, fromOffset, toOffset, again },
    skipped: Math.max(0, toOffset - fromOffset),
    voided: { leased: backlog.leasedCount, waiting: backlog.waitingCount },
    overtaken: toOffset - asked,
    // Only the ledger knows what was completed, and it knows it by the replay.
    reprocesses: again > 0 && (reprocess || guarantee !== "effectively-once"),
  });
}

/** Refuses a seek that would process completed work again though nobody said so. */
export function checkConsent(plan: SeekAnswer, { reprocess }: Pick<SeekCall, "reprocess">): Result<null> {
  if (reprocess || !plan.reprocesses) return ok(null);
  return refuse("conflict", "Completed work would be processed again: say `reprocess`.", {
    field: "reprocess",
  });
}

/** The counters with which the next epoch begins. */
export function nextEpoch(before: Counters, toOffset: number, reprocess: boolean): Counters {
  return {
    ...newCounters(toOffset),
    epoch: before.epoch + 1,
    replay: before.replay + (reprocess ? 1 : 0),
    formerDead: before.formerDead + before.dead,
  };
}

/** The lowest offset that is neither settled nor dead: a seek to it may deliver again, and never passes over. */
export function openFrom({ counters, deliveries, lanes }: Backlog): number {
  let lowest = counters.nextOffset;
  for (const offset of deliveries.keys()) lowest = Math.min(lowest, offset);
  for (const lane of lanes.values()) {
    if (lane.followers > 0) lowest = Math.min(lowest, lane.followersFrom);
  }
  return lowest;
}

function pointOf(to: SeekPoint, { earliest, head, atTime }: LogPlace): number {
  if (to.at === "earliest") return earliest;
  if (to.at === "latest") return head;
  return to.at === "offset" ? to.offset : (atTime ?? head);
}
