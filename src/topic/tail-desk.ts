// Serves those who follow the log as it grows: what is there is answered at once, and who is at its end waits for the next
// announcement (topic-memory.ts).

import { ok, type Result } from "../errors";
import type { FollowCall, ReadAnswer } from "../topic-calls";
import type { TopicMemory } from "./topic-memory";

export class TailDesk {
  constructor(
    private readonly memory: TopicMemory,
    private readonly now: () => number,
  ) {}

  /** Reads from `from` on; waits up to `waitMs` while there is nothing, and nothing to skip. */
  async follow({ waitMs, ...call }: FollowCall): Promise<Result<ReadAnswer>> {
    const { tails } = this.memory;
    const until = this.now() + waitMs;
    for (;;) {
      const { news } = tails;
      const answer = this.memory.whenAlive(({ lookups }) => ok(lookups.read(call)));
      const leftMs = until - this.now();
      const isEnough = !answer.ok || answer.value.runs.length > 0 || answer.value.earliest > call.from;
      if (isEnough || leftMs <= 0) return answer;
      await tails.wait(leftMs, news);
    }
  }
}
