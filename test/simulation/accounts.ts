// The accounts of a subscription's partition, held against the evidence: the law of conservation and each of its terms.

import type { Picture } from "./picture";

/** How many came to their end, and how, by evidence. */
export type Ended = { acked: number; purged: number; moved: number };

/** Of those that nobody knows the end of: how many may have expired, and how many of them by their time to live. */
export type Overdue = Readonly<{ all: number; byTimeToLive: number }>;

/** `leftOut`: how many of those the filter leaves out. */
export function checkAccounts(
  picture: Picture,
  ended: Ended,
  overdue: () => Overdue,
  leftOut: () => number,
): void {
  const { counters, dead, leasedCount, waitingCount, inHand, followers } = picture;
  const { startOffset, nextOffset, settled, filtered, expired, purged, moved, readmitted } = counters;
  const left = settled + filtered + expired + counters.dead + purged + moved;
  const law = left + leasedCount + waitingCount;
  const taken = nextOffset - startOffset + readmitted;
  if (taken !== law) throw new Error(`the conservation law: ${law} of ${JSON.stringify(counters)}`);
  if (counters.dead !== dead.size) throw new Error(`${counters.dead} are counted dead, ${dead.size} are`);
  if (settled !== ended.acked) throw new Error(`${settled} are counted settled, ${ended.acked} were`);
  if (purged !== ended.purged) throw new Error(`${purged} are counted purged, ${ended.purged} were`);
  if (moved !== ended.moved) throw new Error(`${moved} are counted moved, ${ended.moved} were`);
  // Whatever was taken from the log is in hand, dead, at its end, or stands in line.
  const known = ended.acked + ended.purged + ended.moved + dead.size + inHand.size;
  if (taken !== known + followers + expired + filtered)
    throw new Error(
      `of ${taken} taken from the log ${known + followers} are known, ${expired} expired, ${filtered} filtered`,
    );
  checkExpired(picture, overdue);
  checkFiltered(picture, leftOut());
}

/** Just what the filter leaves out is filtered, unless it stands in line still, or retention overtook it. */
function checkFiltered({ counters, followers }: Picture, leftOut: number): void {
  const { filtered, expired, readmitted } = counters;
  const least = leftOut - followers - expired - readmitted;
  if (filtered < least || filtered > leftOut + readmitted)
    throw new Error(`${filtered} are counted filtered, and the filter leaves ${leftOut} out`);
}

/** Nothing expires before its time, and whatever retention overtook has its gap record. */
function checkExpired({ counters, gapCount }: Picture, overdue: () => Overdue): void {
  const { expired, readmitted } = counters;
  if (expired === 0 && gapCount === 0) return;
  if (gapCount > expired) throw new Error(`gaps count ${gapCount}, and ${expired} expired`);
  const { all, byTimeToLive } = overdue();
  if (expired > all + readmitted) throw new Error(`${expired} are counted expired, and ${all} may have`);
  if (expired - gapCount > byTimeToLive + readmitted)
    throw new Error(
      `${expired} are counted expired, gaps count ${gapCount}, and ${byTimeToLive} lived too long`,
    );
}
