// What an operator does with dead letters: lists them, sends them round again, removes them. The dying are buried
// first, so that nobody who is out of attempts is overlooked.

import { limits } from "../limits";
import type { Runtime } from "../runtime";
import type { DeadLetter, DeadLetterSelection } from "../subscription-calls";
import type { Backlog } from "./backlog";
import type { DeadLetterStore } from "./dead-letter-store";
import { redrive } from "./delivery";
import type { LeaseDesk } from "./lease-desk";
import type { BuriedRow } from "./subscription-rows";

export type DeadLetterParts = Readonly<{
  backlog: Backlog;
  desk: LeaseDesk;
  store: Readonly<{ deadLetters: DeadLetterStore }>;
  runtime: () => Runtime;
  /** Decides, saves and arms in one go. */
  change: <T>(decide: () => T) => T;
}>;

export class DeadLetterDesk {
  constructor(private readonly parts: DeadLetterParts) {}

  /** Dead letters with offset > `after`, oldest first, with their messages. */
  async list(after: number, limit: number): Promise<readonly DeadLetter[]> {
    await this.parts.desk.buryDying();
    return this.parts.store.deadLetters.page(after, limit, limits.readBytes);
  }

  /** Sends the chosen round again, with all their attempts before them. Answers how many. */
  redrive(chosen: DeadLetterSelection): Promise<number> {
    const now = this.parts.runtime().now();
    return this.unbury(chosen, (letter) =>
      this.parts.backlog.unbury(letter.offset, letter.orderingKey, redrive(letter, now)),
    );
  }

  /** Removes the chosen for good. Answers how many. */
  purge(chosen: DeadLetterSelection): Promise<number> {
    return this.unbury(chosen, (letter) => this.parts.backlog.unbury(letter.offset, letter.orderingKey));
  }

  private async unbury(chosen: DeadLetterSelection, each: (letter: BuriedRow) => void): Promise<number> {
    await this.parts.desk.buryDying();
    const letters = this.parts.store.deadLetters.chosen(chosen);
    this.parts.change(() => letters.forEach(each));
    return letters.length;
  }
}
