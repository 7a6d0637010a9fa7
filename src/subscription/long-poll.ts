// A long poll: looks, and while that is not enough waits for news and looks again, until its time is over. Nothing
// is asked while nothing happens, but by a partition that waits for another's keys: of those it gets no news.

import type { Runtime } from "../runtime";
import type { Waiters } from "../waiters";

export type PollParts = Readonly<{
  waiters: Waiters;
  runtime: () => Runtime;
  /** False once the subscription was removed or read afresh. */
  isLive: () => boolean;
  /** After how long, in milliseconds, to look again without news. */
  lookAgainMs: () => number;
}>;

/** What one look found. */
export type Look<T> = Readonly<{ answer: T; isEnough: boolean }>;

export class LongPoll {
  constructor(private readonly parts: PollParts) {}

  /**
   * Looks until a look is enough or the instant `until` has passed, and answers the last one; undefined once the
   * subscription is no longer there. News that comes between a look and the wait after it is not missed.
   */
  async until<T>(until: number, look: (isFirst: boolean) => Promise<Look<T>>): Promise<T | undefined> {
    const { waiters, runtime, isLive, lookAgainMs } = this.parts;
    for (let isFirst = true; ; isFirst = false) {
      const { news } = waiters;
      const { answer, isEnough } = await look(isFirst);
      if (!isLive()) return undefined;
      const leftMs = until - runtime().now();
      if (isEnough || leftMs <= 0) return answer;
      await waiters.wait(Math.min(leftMs, lookAgainMs()), news);
    }
  }
}
