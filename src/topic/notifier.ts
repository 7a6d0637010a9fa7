// Tells a topic's subscriptions that there are more messages: each one notify at a time, with the records while they
// are few, again and again until it says that it knows. Whom to tell is decided in fanout.ts.

import type { ObjectNamespace } from "../env";
import { limits } from "../limits";
import { objectName } from "../object-name";
import type { SubscriptionCalls } from "../subscription-calls";
import type { LogRun } from "../topic-calls";
import { behind, doubtful, isOwed, type Reader, Tail } from "./fanout";

export class Notifier {
  readonly readers = new Map<string, Reader>();
  private readonly tail = new Tail(limits.notifyBytes);

  constructor(
    private readonly log: Readonly<{ head: number; earliest: number }>,
    private readonly subscriptions: ObjectNamespace<SubscriptionCalls>,
    private readonly partition: number,
  ) {}

  /** A subscription reads from `startOffset` on, and is taken to know the log up to `informedTo`. */
  add(generation: string, startOffset: number, informedTo: number): void {
    const reader = { generation, startOffset, informedTo, isConfirmed: false, notifying: false };
    this.readers.set(generation, reader);
  }

  /** Whether some reader has not said that it knows the head; with `doubts`, or not since a restart. */
  isOwed(doubts: boolean): boolean {
    return isOwed(this.readers.values(), this.log.head, doubts);
  }

  /** Tells everybody who is behind of a run that was just appended. */
  announce(run: LogRun): Promise<void> {
    this.tail.push(run);
    return this.notifyAll(behind(this.readers.values(), this.log.head));
  }

  /** Tells those who are behind, and those of whom a restart forgot whether they are. */
  notifyAgain(): Promise<void> {
    const readers = [...this.readers.values()];
    return this.notifyAll([...new Set([...behind(readers, this.log.head), ...doubtful(readers)])]);
  }

  private async notifyAll(queue: Reader[]): Promise<void> {
    const worker = async () => {
      for (let reader = queue.shift(); reader; reader = queue.shift()) await this.notify(reader);
    };
    await Promise.all(Array.from({ length: Math.min(limits.notifyConcurrency, queue.length) }, worker));
  }

  /** Tells one reader until it knows the head. A fault is left to the alarm, which notifies again. */
  private async notify(reader: Reader): Promise<void> {
    if (reader.notifying) return;
    reader.notifying = true;
    try {
      const isBehind = () => reader.informedTo < this.log.head || !reader.isConfirmed;
      while (isBehind() && this.readers.has(reader.generation)) {
        const subscription = this.subscriptions.getByName(objectName(reader.generation, this.partition));
        const isPast = reader.informedTo < this.log.earliest;
        const runs = isPast ? [] : this.tail.from(reader.informedTo);
        const told = await subscription.notify({ head: this.log.head, runs });
        // Gone, it needs no word: should it be provisioned yet, it reads by itself.
        if (!told.ok) {
          reader.isConfirmed = true;
          break;
        }
        reader.informedTo = Math.max(reader.informedTo, told.value.informedTo);
        reader.isConfirmed = true;
      }
    } catch (fault) {
      console.warn(
        JSON.stringify({ at: "topic.notify", subscription: reader.generation, fault: String(fault) }),
      );
    } finally {
      reader.notifying = false;
    }
  }
}
