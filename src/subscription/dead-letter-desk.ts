// What an operator does with dead letters: lists them, sends them round again, removes them, or has them moved to
// another topic. The dying are buried first, so that nobody who is out of attempts is overlooked.

import type {
  DeadLetter,
  DeadLetterPage,
  DeadLetterSelection,
  LetterAt,
  MovedLetter,
  PurgeAnswer,
  RedriveAnswer,
  RedriveCall,
} from "../dead-letter-calls";
import { ok, type Result } from "../errors";
import { limits } from "../limits";
import type { Runtime } from "../runtime";
import type { SubscriptionSettings } from "../settings";
import type { LogPlace } from "../topic-calls";
import type { Backlog } from "./backlog";
import { exhume, unbury } from "./burying";
import type { DeadLetterStore, Looked } from "./dead-letter-store";
import { redrive } from "./delivery";
import type { LeaseDesk } from "./lease-desk";
import type { LogReader } from "./log-reader";
import type { RecordBuffer } from "./record-buffer";
import { mayRedrive, pacing } from "./redriving";
import type { BuriedRow } from "./subscription-rows";

export type DeadLetterParts = Readonly<{
  backlog: Backlog;
  buffer: Pick<RecordBuffer, "end">;
  reader: Pick<LogReader, "locate">;
  desk: LeaseDesk;
  store: Readonly<{ deadLetters: DeadLetterStore }>;
  runtime: () => Runtime;
  settings: () => SubscriptionSettings;
  /** Decides, saves and arms in one go. */
  change: <T>(decide: () => T) => T;
}>;

type Round = Readonly<{ earliest: number; availableAt: () => number }>;

export class DeadLetterDesk {
  constructor(private readonly parts: DeadLetterParts) {}

  /** Dead letters past `after` of `epoch`, by epoch and offset, with their messages. */
  async list(epoch: number, after: number, limit: number): Promise<readonly DeadLetter[]> {
    return (await this.find({ all: true, limit, after: { epoch, offset: after } })).letters;
  }

  /** The chosen, with their messages: as many as one answer may carry. */
  async find(chosen: DeadLetterSelection): Promise<DeadLetterPage> {
    await this.parts.desk.buryDying();
    const { places, next } = this.placesOf(chosen, limits.readBytes);
    return { letters: this.parts.store.deadLetters.read(places), ...(next && { next }) };
  }

  /** Sends the chosen round again, with all their attempts before them. Refused while the log cannot be asked. */
  async redrive({ pace, force = false, ...chosen }: RedriveCall): Promise<Result<RedriveAnswer>> {
    await this.parts.desk.buryDying();
    const log = await this.askLog();
    if (!log.ok) return log;
    const { store, runtime, change, settings } = this.parts;
    const { places, next } = this.placesOf(chosen);
    const letters = store.deadLetters.readHeads(places);
    const may = letters.filter((letter) => force || mayRedrive(letter, settings()));
    const refused = letters.filter((letter) => !may.includes(letter)).map(placeOf);
    const round = { earliest: log.value.earliest, availableAt: pacing(pace, runtime().now()) };
    const done = change(() => this.redriveAll(may, round));
    return ok({ ...done, ...(refused.length > 0 && { refused }), ...(next && { next }) });
  }

  /** Removes the chosen for good. Answers how many. */
  async purge(chosen: DeadLetterSelection): Promise<PurgeAnswer> {
    await this.parts.desk.buryDying();
    const { places, next } = this.placesOf(chosen);
    const letters = this.parts.store.deadLetters.readHeads(places);
    this.takeOut(letters, "purged");
    return { purged: letters.length, ...(next && { next }) };
  }

  /** Takes out those that another topic has; one that went round since it was read stays. Answers how many. */
  move(moved: readonly MovedLetter[]): number {
    const held = this.parts.store.deadLetters.readHeads(moved);
    const rounds = new Map(moved.map((letter) => [keyOf(letter), letter.redrives]));
    const letters = held.filter((letter) => rounds.get(keyOf(letter)) === letter.redrives);
    this.takeOut(letters, "moved");
    return letters.length;
  }

  /** Of letters of an earlier epoch no counter tells how they left: its law has ended with it. */
  private takeOut(letters: readonly BuriedRow[], how: "purged" | "moved"): void {
    const { backlog, change } = this.parts;
    change(() => {
      for (const letter of letters) {
        if (this.isFormer(letter)) exhume(backlog, letter);
        else unbury(backlog, letter, how);
      }
    });
  }

  private placesOf(chosen: DeadLetterSelection, maxBytes = Number.POSITIVE_INFINITY): Looked {
    const { deadLetters } = this.parts.store;
    if (!("offsets" in chosen)) return deadLetters.look(chosen, maxBytes);
    const { epoch = 0 } = chosen;
    return deadLetters.fit(
      chosen.offsets.map((offset) => ({ epoch, offset })),
      maxBytes,
    );
  }

  /** What only letters of an earlier epoch need to know: asked while there are any. */
  private async askLog(): Promise<Result<Pick<LogPlace, "earliest">>> {
    const { backlog, reader } = this.parts;
    return backlog.counters.formerDead > 0 ? reader.locate() : ok({ earliest: 0 });
  }

  private redriveAll(letters: readonly BuriedRow[], { earliest, availableAt }: Round) {
    const { backlog } = this.parts;
    const former = letters.filter((letter) => this.isFormer(letter));
    const dead = this.deadNow(former);
    let superseded = 0;
    for (const letter of former) {
      const delivers = dead.has(letter.offset) || this.deliversByItself(letter, earliest);
      if (delivers) superseded += 1;
      const { orderingKey: _, ...keyless } = letter;
      exhume(backlog, letter, delivers ? undefined : redrive(keyless, availableAt()));
    }
    for (const letter of letters) {
      if (this.isFormer(letter)) continue;
      unbury(backlog, letter, redrive(letter, availableAt()));
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
  private deliversByItself(letter: BuriedRow, earliest: number): boolean {
    const { backlog, buffer } = this.parts;
    const { offset, orderingKey } = letter;
    if (backlog.deliveries.has(offset)) return true;
    const willCome =
      offset < backlog.counters.nextOffset
        ? backlog.hasInHand(offset, orderingKey)
        : offset >= earliest || offset < buffer.end;
    return willCome && this.passesNow(letter);
  }

  /** Whether this epoch's filter lets it through, when it comes to it: an earlier epoch may have had another. */
  private passesNow(letter: BuriedRow): boolean {
    const { backlog, store } = this.parts;
    if (backlog.sieve.isOpen) return true;
    const [whole] = store.deadLetters.read([letter]);
    return !whole?.record || backlog.sieve.passesRecord(letter.offset, whole.record);
  }
}

function placeOf({ epoch, offset }: LetterAt): LetterAt {
  return { epoch, offset };
}

function keyOf({ epoch, offset }: LetterAt): string {
  return `${epoch}.${offset}`;
}
