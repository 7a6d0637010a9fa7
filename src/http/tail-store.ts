// The tail of a topic's log over all its partitions, for a reader that acks nothing and is forgotten when it goes. Every
// partition has at most one call under way; of many, a few are waited for in turn.

import type { Result } from "../errors";
import { limits } from "../limits";
import { messageJson } from "../message-json";
import { recordSpans, unpackRecord } from "../record-batch";
import type { ReadAnswer } from "../topic-calls";
import { HEARTBEAT, serverSent } from "./server-sent";
import { streamPlaceText } from "./stream-place";

export type TailParts = Readonly<{
  generation: string;
  partitions: number;
  now(): number;
  follow(
    partition: number,
    call: Readonly<{ from: number; maxBytes: number; waitMs: number }>,
  ): Promise<Result<ReadAnswer>>;
}>;

type Heard = Readonly<{ partition: number; answer: Result<ReadAnswer> }>;

export class TailStore {
  private readonly next: number[];
  /** Partitions that are not asked now, first the one whose turn it is. */
  private readonly idle: number[];
  private readonly asked = new Map<number, Promise<Heard>>();
  private readonly endsAt: number;
  private calls = 0;

  constructor(
    private readonly parts: TailParts,
    from: readonly number[],
  ) {
    this.next = [...from];
    this.idle = from.map((_, partition) => partition);
    this.endsAt = parts.now() + limits.streamMs;
  }

  get place(): string {
    return streamPlaceText(this.parts.generation, this.next);
  }

  /** What comes next, as events; a heartbeat when nothing came for a while. Undefined at the end. */
  async take(): Promise<string | undefined> {
    const quietUntil = this.parts.now() + limits.streamHeartbeatMs;
    for (;;) {
      const now = this.parts.now();
      if (now >= this.endsAt || this.calls >= limits.streamCalls) return undefined;
      if (now >= quietUntil) return HEARTBEAT;
      this.askMore();
      const { partition, answer } = await Promise.race(this.asked.values());
      this.asked.delete(partition);
      this.idle.push(partition);
      if (!answer.ok) throw new TailEnded(answer.error.code);
      const events = this.eventsOf(partition, answer.value);
      if (events !== "") return events;
    }
  }

  private askMore(): void {
    const isFew = this.next.length <= limits.streamPartitions;
    const waitMs = isFew ? limits.streamHeartbeatMs : limits.streamTurnMs;
    while (this.asked.size < limits.streamPartitions) {
      const partition = this.idle.shift();
      if (partition === undefined) return;
      this.calls += 1;
      const call = { from: this.next[partition] ?? 0, maxBytes: limits.tailBytes, waitMs };
      this.asked.set(
        partition,
        this.parts.follow(partition, call).then((answer) => ({ partition, answer })),
      );
    }
  }

  /** Every event's id is the place behind it. What retention took away is told of before what is left. */
  private eventsOf(partition: number, { runs, earliest }: ReadAnswer): string {
    const from = this.next[partition] ?? 0;
    const events: string[] = [];
    if (earliest > from) {
      this.next[partition] = earliest;
      const data = { partition, from, to: earliest - 1 };
      events.push(serverSent({ event: "gap", id: this.place, data }));
    }
    for (const { firstOffset, storedAt, records } of runs) {
      for (const [index, span] of recordSpans(records).entries()) {
        const offset = firstOffset + index;
        this.next[partition] = offset + 1;
        const data = { ...messageJson(unpackRecord(records, span)), partition, offset, storedAt };
        events.push(serverSent({ event: "message", id: this.place, data }));
      }
    }
    return events.join("");
  }
}

/** The topic refused: it is gone, or cannot be read now. */
export class TailEnded extends Error {}

type Timer = Readonly<{ after(ms: number, act: () => void): () => void }>;
type Taken = Readonly<{ text: string; isLast: boolean }>;

/**
 * A stream's body, as its reader takes it. Nothing is read ahead: what it does not take is not in memory, and one that
 * takes nothing for long is cut.
 */
export function streamBody(
  begin: string,
  tail: Pick<TailStore, "take" | "place">,
  timer: Timer,
): ReadableStream<Uint8Array> {
  const utf8 = new TextEncoder();
  let stopWatch = () => {};
  let first: Taken | undefined = { text: begin, isLast: false };
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        stopWatch();
        const { text, isLast } = first ?? (await takeOrEnd(tail));
        first = undefined;
        controller.enqueue(utf8.encode(text));
        if (isLast) return controller.close();
        const cut = () => controller.error(new Error("the reader stalled"));
        stopWatch = timer.after(limits.streamStallMs, cut);
      },
      cancel: () => stopWatch(),
    },
    { highWaterMark: 0 },
  );
}

/** At its end the reader is told so: it comes back with the place it has. */
async function takeOrEnd(tail: Pick<TailStore, "take" | "place">): Promise<Taken> {
  try {
    const text = await tail.take();
    return text === undefined ? lastWord(tail.place, "time") : { text, isLast: false };
  } catch (fault) {
    if (fault instanceof TailEnded) return lastWord(tail.place, fault.message);
    console.warn(JSON.stringify({ at: "http.stream", fault: String(fault) }));
    return lastWord(tail.place, "unavailable");
  }
}

function lastWord(id: string, reason: string): Taken {
  return { text: serverSent({ event: "end", id, data: { reason } }), isLast: true };
}
