// Sees messages out. What is past its retention is retired at once, and removed when every subscription was told and
// needs it no more. Over its bytes a topic asks what its subscriptions have settled, and removes no more than that.

import type { ObjectNamespace } from "../env";
import { limits } from "../limits";
import { objectName } from "../object-name";
import type { SubscriptionCalls } from "../subscription-calls";
import type { Reader } from "./fanout";
import { fullDetail, isBehind, needs, newStanding, type Standing, settledByAll, toldTo } from "./removal";
import type { SegmentedLog } from "./segmented-log";

/** What the desk works on, and how it changes it. */
export type RetentionParts = Readonly<{
  log: SegmentedLog;
  readers: ReadonlyMap<string, Reader>;
  subscriptions: ObjectNamespace<SubscriptionCalls>;
  partition: number;
  now: () => number;
  write: <T>(decide: () => T) => T;
  /** False once the topic was removed or read afresh. */
  isLive: () => boolean;
}>;

export class RetentionDesk {
  private readonly standings = new Map<string, Standing>();
  private telling: Promise<void> | undefined;
  private asking: Promise<void> | undefined;
  private askedAt = Number.NEGATIVE_INFINITY;

  constructor(private readonly parts: RetentionParts) {}

  // ── by time ────────────────────────────────────────────────────────────────────────────────────────

  /** Retires what is past its retention, and removes what nobody needs. Answers the telling that this takes, if any. */
  tidy(now: number): Promise<void> | undefined {
    const { log } = this.parts;
    if ((log.nextRetireAt() ?? now + 1) <= now) this.parts.write(() => log.retire(now));
    if (log.storedFrom === log.earliest) return undefined;
    this.removeTold(now);
    const isOwed = log.storedFrom < log.earliest && this.owed(now).length > 0;
    return isOwed ? this.tell() : undefined;
  }

  private removeTold(now: number): void {
    const { log } = this.parts;
    const to = toldTo(this.all(), log.earliest, log.pastFrom(now - limits.expireWaitMs));
    if (to > log.storedFrom) this.parts.write(() => log.dropBelow(to, now));
  }

  private owed(now: number): readonly Reader[] {
    const { log, readers } = this.parts;
    return [...readers.values()].filter((reader) => isBehind(this.of(reader), log.earliest, now));
  }

  /** Tells everybody who has not answered yet, once; then removes what can be. Callers share one round. */
  private tell(): Promise<void> {
    this.telling ??= this.tellAll().finally(() => {
      this.telling = undefined;
    });
    return this.telling;
  }

  private async tellAll(): Promise<void> {
    await this.each(this.owed(this.parts.now()), (reader) => this.tellOne(reader));
    if (this.parts.isLive()) this.removeTold(this.parts.now());
  }

  private async tellOne(reader: Reader): Promise<void> {
    const standing = this.of(reader);
    const before = this.parts.log.earliest;
    standing.againAt = this.parts.now() + limits.expireAgainMs;
    for (let calls = 0; calls < limits.expireCalls; calls++) {
      const told = await this.subscription(reader).expire({ before });
      if (!told.ok || told.value.done) {
        // Nor does one that is not there hold any of it. That it is gone for good is not said: its creation may be under way.
        standing.toldTo = before;
        return;
      }
      standing.againAt = told.value.againAt;
      if (standing.againAt > this.parts.now()) return;
    }
  }

  // ── by bytes ───────────────────────────────────────────────────────────────────────────────────────

  /** Asks every subscription below which offset it needs nothing any more, unless it was just asked. */
  async askSettled(): Promise<void> {
    const now = this.parts.now();
    if (this.asking === undefined && now - this.askedAt < limits.settledAskMs) return;
    this.askedAt = now;
    this.asking ??= this.each([...this.parts.readers.values()], (reader) => this.askOne(reader)).finally(
      () => {
        this.asking = undefined;
      },
    );
    await this.asking;
  }

  private async askOne(reader: Reader): Promise<void> {
    const answer = await this.subscription(reader).settledTo();
    // One that is not there may be half made: it will need all from where it begins.
    this.of(reader).settledTo = answer.ok ? answer.value.offset : reader.startOffset;
  }

  /** Removes what all subscriptions have settled, as long as `isOver`; nothing while there is none. */
  makeRoom(isOver: () => boolean, now: number): void {
    const { log, readers } = this.parts;
    const to = readers.size === 0 ? log.storedFrom : settledByAll(this.all());
    if (to > log.storedFrom) this.parts.write(() => log.dropWhile(isOver, to, now));
  }

  /** Why there is no room, in words; `nameOf` a generation. */
  whyFull(nameOf: (generation: string) => string): string {
    const holder = needs(this.all());
    return fullDetail(this.parts.partition, holder && { ...holder, name: nameOf(holder.generation) });
  }

  // ── both ───────────────────────────────────────────────────────────────────────────────────────────

  private all(): Standing[] {
    return [...this.parts.readers.values()].map((reader) => this.of(reader));
  }

  private of({ generation }: Reader): Standing {
    const standing = this.standings.get(generation) ?? newStanding(generation);
    this.standings.set(generation, standing);
    return standing;
  }

  private subscription({ generation }: Reader): SubscriptionCalls {
    return this.parts.subscriptions.getByName(objectName(generation, this.parts.partition));
  }

  /** Calls readers, a few at once. One that faults stops no other: it is called again later. */
  private async each(readers: readonly Reader[], call: (reader: Reader) => Promise<void>): Promise<void> {
    const queue = [...readers];
    const worker = async () => {
      for (let reader = queue.shift(); reader && this.parts.isLive(); reader = queue.shift()) {
        try {
          await call(reader);
        } catch (fault) {
          const at = { at: "topic.retention", subscription: reader.generation, fault: String(fault) };
          console.warn(JSON.stringify(at));
        } finally {
          this.of(reader).wasCalled = true;
        }
      }
    };
    await Promise.all(Array.from({ length: Math.min(limits.notifyConcurrency, queue.length) }, worker));
  }
}
