// What is written in the logs of one life of a topic, as a witness sees it: every message as it stands there, and what
// became of those that are delayed. It complains when a place changes, an id stands twice, or a delay is not kept.

import type { Result } from "../../src/errors";
import type { Message } from "../../src/message";
import { unpackRecordBatch, unpackRecords } from "../../src/record-batch";
import type { AppendCall, BatchAnswer, LogRun } from "../../src/topic-calls";
import type { Counts } from "./coverage";
import { DelayWitness } from "./delay-witness";
import type { Deed } from "./object-host";
import type { Publications } from "./publications";

export type Place = Readonly<{ partition: number; offset: number }>;
export type Logged = Readonly<{
  id: string;
  key: string | undefined;
  subject: string | undefined;
  text: string;
  storedAt: number;
  expiresAt: number | undefined;
  publishedAt: number;
  /** Marked as matched by no subscription of its topic. */
  unmatched: boolean;
  /** How often it was forwarded before it came here. */
  hops: number;
}>;

const decoder = new TextDecoder();
const BROKER_ID_PREFIX = "018bcfe5-6800-7000-8000-";
/** `r-NAME-3` is the third message of the relay NAME. */
const NUMBERED = /^(r-\w+)-(\d+)$/;

export class LogWitness {
  /** By partition, the log from offset 0 on; what retention removed is remembered here. */
  readonly logs: Logged[][] = [];
  readonly delays: DelayWitness;
  /** By relay, the number of its last message in the log. */
  readonly numbers = new Map<string, number>();
  private readonly places = new Map<string, Place>();
  private readonly answers = new Map<string, string>();
  private readonly priorities = new Map<number, number>();

  constructor(
    private readonly publications: Publications,
    private readonly counts: Counts,
    private readonly life: Readonly<{
      bornAt: number;
      retentionMs: number;
      /** What is in it was published elsewhere. */
      isTarget: boolean;
      /** The priority of what lies in a partition, where that can be told. */
      priorityOf: (partition: number) => number | undefined;
      /** Whether what the broker named may stand there twice. */
      repeats: boolean;
    }>,
  ) {
    this.delays = new DelayWitness(counts);
    if (!life.isTarget) publications.logs.push(this);
  }

  get cancelled(): ReadonlySet<string> {
    return this.delays.cancelled;
  }

  log(partition: number): Logged[] {
    this.logs[partition] ??= [];
    return this.logs[partition];
  }

  placeOf(id: string): Place | undefined {
    return this.places.get(id);
  }

  /** The priority of what lies in a partition; undefined where there are none, or that was never to be told. */
  priorityOf(partition: number): number | undefined {
    const known = this.priorities.get(partition) ?? this.life.priorityOf(partition);
    if (known !== undefined) this.priorities.set(partition, known);
    return known;
  }

  /** Where in a partition it stands: in one place, or where messages repeat in more. */
  offsetsOf(id: string, partition: number): readonly number[] {
    return this.log(partition).flatMap((logged, offset) => (logged.id === id ? [offset] : []));
  }

  /** Whether it may be that nobody is handed the message any more: it expired, or is past its retention. */
  mayExpire(partition: number, offset: number, at: number): boolean {
    const { expiresAt = Number.POSITIVE_INFINITY, storedAt = 0 } = this.log(partition)[offset] ?? {};
    return expiresAt <= at || storedAt + this.life.retentionMs <= at;
  }

  hasExpired(partition: number, offset: number, at: number): boolean {
    return (this.log(partition)[offset]?.expiresAt ?? Number.POSITIVE_INFINITY) <= at;
  }

  /** What a topic's object did, and it is on disk. */
  done(deeds: readonly Deed[]): void {
    for (const { method, args, answer } of deeds) {
      const result = answer as Result<unknown> | undefined;
      const [call] = args;
      if (method === "append" && result?.ok) this.appended(call as AppendCall, result.value as BatchAnswer[]);
      if (method === "adopt" && result?.ok)
        this.delays.adopted(call as AppendCall, result.value as BatchAnswer[]);
      if (method === "cancel" && result)
        this.delays.cancelAnswered((call as { id: string }).id, result, this);
      if (method === "reschedule" && result?.ok)
        this.delays.moved(call as { id: string; deliverAt: number }, this);
      if (method === "reschedule" && result && !result.ok) this.counts.cancelsTooLate += 1;
    }
  }

  /** A topic answered an append. A repeat gets the first answer, word for word. */
  private appended({ batches }: AppendCall, answers: readonly BatchAnswer[]): void {
    if (answers.length !== batches.length) throw new Error("an append left a record batch without an answer");
    for (const [i, answer] of answers.entries()) {
      // What is not taken is not remembered: it comes in parts, where it belongs.
      if (answer.movedTo !== undefined) {
        this.counts.batchesMoved += 1;
        continue;
      }
      const text = JSON.stringify(answer);
      const first = this.answers.get(answer.batchId);
      if ((first ?? text) !== text)
        throw new Error(`batch ${answer.batchId} was answered ${first}, then ${text}`);
      this.answers.set(answer.batchId, text);
      const batch = batches[i];
      if (first === undefined && batch) this.delays.appended(batch, answer);
    }
  }

  /** Part of a log as it is on disk, perhaps seen before. */
  logged(partition: number, runs: readonly LogRun[]): void {
    const log = this.log(partition);
    for (const run of runs) {
      unpackRecords(run.records).forEach((message, i) => {
        const offset = run.firstOffset + i;
        const text = decoder.decode(message.body);
        const known = log[offset];
        if (known && (known.id !== message.id || known.text !== text))
          throw new Error(`offset ${offset} has changed`);
        if (known) return;
        if (offset !== log.length) throw new Error(`offset ${offset} follows ${log.length - 1}: not dense`);
        this.isNew(message, text, { partition, offset }, run.storedAt);
        const { id, orderingKey: key, subject, expiresAt, publishedAt, hops = 0 } = message;
        const { storedAt } = run;
        const unmatched = message.unmatched === true;
        log.push({ id, key, subject, text, storedAt, expiresAt, publishedAt, unmatched, hops });
      });
    }
  }

  private isNew(message: Message, text: string, place: Place, storedAt: number): void {
    const { id, orderingKey } = message;
    // What was moved here was published elsewhere, long before.
    const { isTarget, bornAt } = this.life;
    const priority = isTarget ? undefined : this.priorityOf(place.partition);
    this.publications.arrived({ id, key: orderingKey, text }, isTarget ? 0 : bornAt, priority);
    const known = this.places.get(id);
    if (known && this.life.repeats && isNamedByBroker(id)) {
      this.counts.forwardsTwice += 1;
      return;
    }
    if (known)
      throw new Error(`${id} is stored twice: at ${JSON.stringify(known)} and ${JSON.stringify(place)}`);
    this.places.set(id, place);
    if (!this.life.isTarget) this.delays.released(message, storedAt);
    const [, relay, number] = NUMBERED.exec(id) ?? [];
    if (relay === undefined || this.life.isTarget) return;
    const last = this.numbers.get(relay) ?? 0;
    if (Number(number) !== last + 1) throw new Error(`${id} was stored after number ${last} of its producer`);
    this.numbers.set(relay, last + 1);
  }
}

/** Whether the broker made this id, and no publisher did. */
function isNamedByBroker(id: string): boolean {
  return id.startsWith(BROKER_ID_PREFIX);
}

/** The `n`th id of the broker's making, as publishers of worlds that forward get it: a UUIDv7. */
export function brokerId(n: number): string {
  return `${BROKER_ID_PREFIX}${n.toString(16).padStart(12, "0")}`;
}

/** The ids in a packed record batch. */
export function idsIn(packed: Uint8Array): readonly string[] {
  return unpackRecords(unpackRecordBatch(packed).records).map(({ id }) => id);
}
