// Divides what there is among those who want some of it: the highest priority first, what is kept for the lowest to the
// lowest, and among equals the same to each. Nothing is kept back that somebody wants. Pure.

/** What one wants: whole units. */
export type Wish<By = number> = Readonly<{ by: By; priority: number; want: number; turn: Turn }>;

/** When it was last given some, 0 for never, and since when it asks: the longer ago, the sooner its turn. */
export type Turn = Readonly<{ servedAt: number; since: number }>;

/**
 * Whole units for each that wants some. `kept` of them go to the lowest priority, if there are several, before the
 * highest has its own.
 */
export function divide<By>(
  units: number,
  wishes: readonly Wish<By>[],
  kept: number,
): ReadonlyMap<By, number> {
  const levels = levelsOf(wishes);
  const shares = new Map<By, number>();
  let left = units;
  const give = (level: readonly Wish<By>[], most: number) => {
    const open = level.map((wish) => ({ ...wish, want: wish.want - (shares.get(wish.by) ?? 0) }));
    for (const [by, count] of equally(Math.min(most, left), open)) {
      shares.set(by, (shares.get(by) ?? 0) + count);
      left -= count;
    }
  };
  if (levels.length > 1) give(levels.at(-1) ?? [], kept);
  for (const level of levels) give(level, left);
  return shares;
}

/** The turn of one that asks at `now`, and is given some or not. */
export function nextTurn(held: Turn | undefined, isServed: boolean, now: number): Turn {
  if (isServed) return { servedAt: now, since: now };
  return held ?? { servedAt: 0, since: now };
}

/** Whether some want something beside others of a higher priority. */
export function hasLevels<By>(wishes: readonly Wish<By>[]): boolean {
  return levelsOf(wishes).length > 1;
}

/** Those who want something, by priority: the highest first. */
function levelsOf<By>(wishes: readonly Wish<By>[]): readonly (readonly Wish<By>[])[] {
  const wanting = wishes.filter(({ want }) => want > 0);
  const byPriority = Map.groupBy(wanting, ({ priority }) => priority);
  return [...byPriority].sort(([a], [b]) => b - a).map(([, level]) => level);
}

/** To each the same, as long as it wants more; what cannot be divided to those whose turn was longest ago. */
function equally<By>(units: number, wishes: readonly Wish<By>[]): ReadonlyMap<By, number> {
  const shares = new Map<By, number>();
  let left = units;
  let open = wishes.filter(({ want }) => want > 0);
  while (open.length > 0 && left >= open.length) {
    const each = Math.floor(left / open.length);
    for (const { by, want } of open) {
      const count = Math.min(each, want - (shares.get(by) ?? 0));
      shares.set(by, (shares.get(by) ?? 0) + count);
      left -= count;
    }
    open = open.filter(({ by, want }) => want > (shares.get(by) ?? 0));
  }
  const inTurn = open.toSorted(byTurn);
  for (const { by } of inTurn.slice(0, left)) shares.set(by, (shares.get(by) ?? 0) + 1);
  return shares;
}

/** In one order, however they are listed: else two of one turn may wait for each other. */
function byTurn<By>(a: Wish<By>, b: Wish<By>): number {
  const { servedAt, since } = a.turn;
  return servedAt - b.turn.servedAt || since - b.turn.since || (String(a.by) < String(b.by) ? -1 : 1);
}
