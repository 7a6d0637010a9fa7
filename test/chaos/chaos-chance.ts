// Seeded chance: what a run of chaos rolls its dice with. The seed chooses moments, victims and sizes; which request
// they meet is up to the machine.

export type Chance = Readonly<{
  /** A whole number from `low` to `high`, both included. */
  between(low: number, high: number): number;
  /** True once in `n`, on average. */
  oneIn(n: number): boolean;
  oneOf<T>(items: readonly T[]): T;
}>;

/** Dice of their own for each `name`. The same seed and name roll the same numbers. */
export function chanceOf(seed: number, name: string): Chance {
  let state = [...name].reduce((hash, letter) => Math.imul(hash ^ letter.charCodeAt(0), 16_777_619), seed);
  /** mulberry32: from 0 to 1, without 1. */
  const roll = () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
  const between = (low: number, high: number) => low + Math.floor(roll() * (high - low + 1));
  return {
    between,
    oneIn: (n) => between(1, n) === 1,
    oneOf: (items) => items[between(0, items.length - 1)] as (typeof items)[number],
  };
}
