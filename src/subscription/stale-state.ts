// What is in memory was read afresh while a call waited: the call is made again, on what there is now.

export class StaleState extends Error {}

/** What a long poll found; it finds nothing once what it looked at was read afresh. */
export function stillThere<T>(found: T | undefined): T {
  if (found === undefined) throw new StaleState();
  return found;
}
