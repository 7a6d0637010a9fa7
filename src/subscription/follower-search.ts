// Looks in the log for followers that retention overtakes and whose offsets a restart forgot. They are found before
// anything is let go of: what is passed unread must not be taken for one of them.

import { limits } from "../limits";
import type { TopicCalls } from "../topic-calls";
import type { Backlog } from "./backlog";
import { type FoundFollowers, unknownFrom } from "./expiry";

/**
 * The followers below `before` that are not known, as far as one call may look: `scannedTo` says how far. At once, and
 * without a call, where all are known. Undefined when the topic refuses.
 */
export async function findFollowers(
  topic: Pick<TopicCalls, "keyedOffsets">,
  backlog: Backlog,
  before: number,
): Promise<FoundFollowers | undefined> {
  const offsets = new Map<string, number[]>();
  let from = unknownFrom(backlog, before) ?? before;
  for (let reads = 0; from < before && reads < limits.expiryReads; reads++) {
    const answer = await topic.keyedOffsets({ from, to: before });
    if (!answer.ok) return undefined;
    for (const [key, more] of answer.value.offsets) offsets.set(key, [...(offsets.get(key) ?? []), ...more]);
    // The log holds no more: the rest is gone, and a lane learns how many it lost once it looks for its first follower.
    if (answer.value.scannedTo <= from) return { offsets, scannedTo: before };
    from = answer.value.scannedTo;
  }
  return { offsets, scannedTo: from };
}
