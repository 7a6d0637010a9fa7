// Waiting, and not for ever.

/** What stands for work that took too long. */
export const LATE = Symbol("late");

/** What `work` comes to, or `LATE` after `withinMs`. The work itself goes on, and whether it fails then is not heard. */
export function inTime<T>(work: Promise<T>, withinMs: number): Promise<T | typeof LATE> {
  let timer: ReturnType<typeof setTimeout>;
  const late = new Promise<typeof LATE>((resolve) => {
    timer = setTimeout(() => resolve(LATE), withinMs);
  });
  // Whoever is late may still fail, and nobody is there to hear it.
  work.catch(() => undefined);
  return Promise.race([work, late]).finally(() => clearTimeout(timer));
}
