// What an operator does with dead letters: lists them, sends them round again, removes them. The dying are buried
// first, so that nobody who is out of attempts is overlooked.

import { ok, type Result } from "../errors";
import { limits } from "../limits";
import type { Runtime } from "../runtime";
import type { DeadLetter, DeadLetterSelection } from "../subscription-calls";
import type { LogPlace } from "../topic-calls";
import type { Backlog } from "./backlog";
import type { DeadLetterStore } from "./dead-letter-store";
import { redrive } from "./delivery";
import type { LeaseDesk } from "./lease-desk";
import type { LogReader } from "./log-reader";
import type { RecordBuffer } from "./record-buffer";
import type { BuriedRow } from "./subscription-rows";

export type DeadLetterParts = Readonly<{
  backlog: Backlog;
  buffer: Pick<RecordBuffer, "end">;
  reader: Pick<LogReader, "locate">;
  desk: LeaseDesk;
  store: Readonly<{ deadLetters: DeadLetterStore }>;
  runtime: () => Runtime;
  /** Decides, saves and arms in one go. */
  change: <T>(decide: () => T) => T;
}>;

/** `superseded`: of an earlier epoch, and delivered by this one anyway. */
export type Redriven = Readonly<{ redriven: number; superseded: number }>;

export class DeadLetterDesk {
  constructor(private readonly parts: DeadLetterParts) {}

  /** Dead letters past `after` of `epoch`, by epoch and offset, with their messages. */
  async list(epoch: number, after: number, limit: number): Promise<readonly DeadLetter[]> {
    await this.parts.desk.buryDying();
    return this.parts.store.deadLetters.page(epoch, after, limit, limits.readBytes);
  }

  /** Sends the chosen round again, with all their attempts before them. Refused while the log cannot be asked. */
  async redrive(chosen: DeadLetterSelection): Promise<Result<Redriven>> {
    await this.parts.desk.buryDying();
    const log = await this.askLog();
    if (!log.ok) return log;
    const letters = this.parts.store.deadLetters.chosen(chosen);
    return ok(this.parts.change(() => this.redriveAll(letters, log.value.earliest)));
  }

  /** Removes the chosen for good. Answers how many. */
  async purge(chosen: DeadLetterSelection): Promise<number> {
    await this.parts.desk.buryDying();
    const { backlog, change, store } = this.parts;
    const letters = store.deadLetters.chosen(chosen);
    change(() => {
      for (const letter of letters) {
        if (this.isFormer(letter)) backlog.exhume(letter.epoch, letter.offset);
        else backlog.unbury(letter.offset, letter.orderingKey);
      }
    });
    return letters.length;
  }

  /** What only letters of an earlier epoch need to know: asked while there are any. */
  private async askLog(): Promise<Result<Pick<LogPlace, "earliest">>> {
    const { backlog, reader } = this.parts;
    return backlog.counters.formerDead > 0 ? reader.locate() : ok({ earliest: 0 });
  }

  private redriveAll(letters: readonly BuriedRow[], earliest: number): Redriven {
    const { backlog } = this.parts;
    const now = this.parts.runtime().now();
    const former = letters.filter((letter) => this.isFormer(letter));
    const dead = this.deadNow(former);
    let superseded = 0;
    for (const letter of former) {
      const delivers = dead.has(letter.offset) || this.deliversByItself(letter, earliest);
      if (delivers) superseded += 1;
      const { orderingKey: _, ...keyless } = letter;
      backlog.exhume(letter.epoch, letter.offset, delivers ? undefined : redrive(keyless, now));
    }
    for (const letter of letters) {
      if (!this.isFormer(letter)) backlog.unbury(letter.offset, letter.orderingKey, redrive(letter, now));
    }
    return { redriven: letters.length - superseded, superseded };
  }

  private isFormer({ epoch }: BuriedRow): boolean {
    return epoch !== this.parts.backlog.counters.epoch;
  }

  /** Those of `letters` that died in this epoch too: redriving that letter is enough. */
  private deadNow(letters: readonly BuriedRow[]): ReadonlySet<number> {
    if (letters.length === 0) return new Set();
    const { store, backlog } = this.parts;
    const offsets = letters.map(({ offset }) => offset);
    const dead = store.deadLetters.chosen({ epoch: backlog.counters.epoch, offsets });
    return new Set(dead.map(({ offset }) => offset));
  }

  /** Whether this epoch has the message in hand, or will come to it. */
  private deliversByItself({ offset, orderingKey }: BuriedRow, earliest: number): boolean {
    const { backlog, buffer } = this.parts;
    if (offset < backlog.counters.nextOffset) return backlog.hasInHand(offset, orderingKey);
    return offset >= earliest || offset < buffer.end;
  }
}
