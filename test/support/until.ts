// Waiting on conditions, always bounded: what scripts and e2e tests use in place of a sleep.

export type Waiting = Readonly<{ withinMs?: number; everyMs?: number }>;

/** Lets `ms` milliseconds pass. Only for waits between two looks at a condition. */
export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/**
 * Looks at `condition` until it answers something truthy, and returns that. When the time is up it
 * throws, naming `claim` and the last fault it met.
 */
export async function until<T>(
  claim: string,
  condition: () => T | Promise<T>,
  { withinMs = 30_000, everyMs = 50 }: Waiting = {},
): Promise<Exclude<T, false | null | undefined>> {
  const endsAt = Date.now() + withinMs;
  let lastFault: unknown;
  while (Date.now() < endsAt) {
    try {
      const answer = await condition();
      if (answer) return answer as Exclude<T, false | null | undefined>;
      lastFault = undefined;
    } catch (fault) {
      lastFault = fault;
    }
    await pause(everyMs);
  }
  throw new Error(`not within ${withinMs} ms: ${claim}`, { cause: lastFault });
}
