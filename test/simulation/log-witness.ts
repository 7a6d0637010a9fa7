// What publishers may rely on: a witness of every publish, and of every message as it stands in the logs. It
// complains when a place changes, an id stands twice, a promise is not kept, or the order of a key is not.

import type { Outcome } from "../../src/http/publish";
import type { Message } from "../../src/message";
import { unpackRecords } from "../../src/record-batch";
import type { AppendCall, BatchAnswer, LogRun } from "../../src/topic-calls";

export type Place = Readonly<{ partition: number; offset: number }>;
export type Logged = Readonly<{ id: string; key: string | undefined; text: string }>;

const decoder = new TextDecoder();

/** One id as its publishers meant it: the contents they tried it with. */
type Meant = { readonly texts: Set<string>; readonly key: string | undefined };

export class LogWitness {
  /** By partition, the log from offset 0 on. */
  readonly logs: Logged[][] = [];
  private readonly meant = new Map<string, Meant>();
  private readonly places = new Map<string, Place>();
  private readonly accepted = new Set<string>();
  private readonly storedText = new Map<string, string>();
  private readonly answers = new Map<string, string>();
  private readonly highest = new Map<string, number>();

  log(partition: number): Logged[] {
    this.logs[partition] ??= [];
    return this.logs[partition];
  }

  placeOf(id: string): Place | undefined {
    return this.places.get(id);
  }

  /** A publisher begins to publish. Answers, by key, the highest place it already knows of. */
  publishing(messages: readonly Message[]): ReadonlyMap<string, number> {
    for (const { id, orderingKey, body } of messages) {
      const known = this.meant.get(id) ?? { texts: new Set(), key: orderingKey };
      known.texts.add(decoder.decode(body));
      this.meant.set(id, known);
    }
    return new Map(this.highest);
  }

  /** The publisher was answered. */
  answered(message: Message, outcome: Outcome, floors: ReadonlyMap<string, number>): void {
    const { id, orderingKey, body } = message;
    const text = decoder.decode(body);
    if (outcome.status === "accepted") this.accepted.add(id);
    if (outcome.status === "refused") {
      if (outcome.error.code === "id-reused" && (this.meant.get(id)?.texts.size ?? 0) < 2)
        throw new Error(`${id} was refused as reused, and has one content only`);
      return;
    }
    if (outcome.status !== "stored") return;
    const { partition, offset, duplicate } = outcome;
    const logged = this.log(partition)[offset];
    if (logged?.id !== id) throw new Error(`${id} was stored at ${offset}, where ${logged?.id} stands`);
    if (logged.text !== text) throw new Error(`${id} was answered as stored with another's content`);
    this.storedText.set(id, text);
    if (orderingKey === undefined || duplicate) return;
    const floor = floors.get(orderingKey) ?? -1;
    if (offset <= floor) throw new Error(`key ${orderingKey}: ${offset} was answered after ${floor}`);
    this.highest.set(orderingKey, Math.max(this.highest.get(orderingKey) ?? -1, offset));
  }

  /** A topic answered an append, and it is on disk. A repeat gets the first answer, word for word. */
  appended({ batches }: AppendCall, answers: readonly BatchAnswer[]): void {
    if (answers.length !== batches.length) throw new Error("an append left a record batch without an answer");
    for (const answer of answers) {
      const text = JSON.stringify(answer);
      const first = this.answers.get(answer.batchId) ?? text;
      if (first !== text) throw new Error(`batch ${answer.batchId} was answered ${first}, then ${text}`);
      this.answers.set(answer.batchId, text);
    }
  }

  /** Part of a log as it is on disk, perhaps seen before. */
  logged(partition: number, runs: readonly LogRun[]): void {
    const log = this.log(partition);
    for (const run of runs) {
      unpackRecords(run.records).forEach(({ id, orderingKey: key, body }, i) => {
        const offset = run.firstOffset + i;
        const text = decoder.decode(body);
        const known = log[offset];
        if (known && (known.id !== id || known.text !== text))
          throw new Error(`offset ${offset} has changed`);
        if (known) return;
        if (offset !== log.length) throw new Error(`offset ${offset} follows ${log.length - 1}: not dense`);
        this.isNew(id, key, text, { partition, offset });
        log.push({ id, key, text });
      });
    }
  }

  private isNew(id: string, key: string | undefined, text: string, place: Place): void {
    const meant = this.meant.get(id);
    if (!meant?.texts.has(text) || meant.key !== key)
      throw new Error(`${id} was stored as nobody published it`);
    const known = this.places.get(id);
    if (known)
      throw new Error(`${id} is stored twice: at ${JSON.stringify(known)} and ${JSON.stringify(place)}`);
    this.places.set(id, place);
  }

  /** At the end: every message that was accepted or stored has its place, or is stranded. */
  checkKept(stranded: ReadonlySet<string>): void {
    for (const id of this.accepted) {
      if (!this.places.has(id) && !stranded.has(id)) throw new Error(`${id} was accepted, and is nowhere`);
    }
    for (const [id, text] of this.storedText) {
      const place = this.places.get(id);
      if (!place || this.log(place.partition)[place.offset]?.text !== text)
        throw new Error(`${id} was stored, and is gone`);
    }
  }
}
