// What may be removed from a log: as much as every subscription was told of, or has settled. Pure: who was told
// what is kept in memory only, because telling again changes nothing.

/** How one subscription stands to the removal of messages. */
export type Standing = {
  readonly generation: string;
  /** It was told that everything below is past its retention, and needs none of it any more. */
  toldTo: number;
  /** It is not told again before. */
  againAt: number;
  /** Whether it was called at all since the topic was last loaded, with whatever outcome. */
  wasCalled: boolean;
  /** What it said when it was last asked: it needs nothing below. */
  settledTo: number | undefined;
};

export function newStanding(generation: string): Standing {
  return { generation, toldTo: 0, againAt: 0, wasCalled: false, settledTo: undefined };
}

/** Whether it is to be told that everything below `past` is past its retention. */
export function isBehind({ toldTo, againAt }: Standing, past: number, now: number): boolean {
  return toldTo < past && againAt <= now;
}

/**
 * Up to where what is past its retention may be removed: `past` when all were told. Nobody holds up longer than
 * agreed what lies below `overdue`; but everybody is called once before.
 */
export function toldTo(standings: readonly Standing[], past: number, overdue: number): number {
  const held = standings.map((standing) =>
    standing.wasCalled ? Math.max(standing.toldTo, overdue) : standing.toldTo,
  );
  return Math.min(past, ...held);
}

/** Up to where every subscription has settled; one that was never asked counts as having settled nothing. */
export function settledByAll(standings: readonly Standing[]): number {
  return Math.min(...standings.map(({ settledTo = 0 }) => settledTo));
}

/** Whom the space is held for: the one that has settled least. Undefined when nobody subscribes. */
export function needs(standings: readonly Standing[]): Standing | undefined {
  return [...standings].sort((a, b) => (a.settledTo ?? 0) - (b.settledTo ?? 0))[0];
}

/** A full partition in a sentence for a person. */
export function fullDetail(
  partition: number,
  holder: Readonly<{ name: string; settledTo: number | undefined }> | undefined,
): string {
  const full = `Partition ${partition} is full`;
  if (!holder) return `${full}, and while nobody subscribes nothing is removed before its retention ends.`;
  const { name, settledTo } = holder;
  if (settledTo === undefined)
    return `${full}: subscription "${name}" could not be asked what it has settled.`;
  return `${full}: subscription "${name}" holds the space, it has not settled offset ${settledTo}.`;
}
