// What a partition writes into its log and what it has seen before: record batches that are appended, delayed messages that
// are due, and the ids that it knows from either. The rows themselves are in segmented-log.ts.

import { limits } from "../limits";
import { joinBytes, type RecordBatch } from "../record-batch";
import type { AppendCall, BatchAnswer, LogRun } from "../topic-calls";
import type { Delayed } from "./delayed";
import { Delays } from "./delays";
import { type Appended, appendBatch, appendProduced, type SeenId } from "./log";
import type { MatchDesk } from "./match-desk";
import { ProducerMarks } from "./producer-marks";
import type { SegmentedLog } from "./segmented-log";
import type { TopicStore } from "./topic-store";

/** What an append goes by beside its own log, after a raise. */
export type Beside = Readonly<{
  /** Ids that were published where the partition's keys came from. */
  knownAbove?: readonly SeenId[];
  /** How far producers came there that this partition has not met. */
  producersAbove?: ReadonlyMap<string, number>;
  /** The count by which a batch must be cut, because some of it belongs elsewhere by now. */
  movedTo?(batch: RecordBatch): number | undefined;
}>;

export type AppendedCall = Readonly<{ run: LogRun | undefined; answers: readonly BatchAnswer[] }>;

export class TopicLog {
  readonly delays: Delays;

  constructor(
    private readonly store: TopicStore,
    readonly stored: SegmentedLog,
    private readonly matches: Pick<MatchDesk, "mark">,
  ) {
    this.delays = new Delays(store.delayed);
  }

  /** The offset that the next message takes. */
  get head(): number {
    return this.stored.head;
  }

  /**
   * Appends record batches as one row, and answers each; one that was answered before gets that answer again,
   * word for word. Runs inside the caller's transaction, so that answers and records exist together.
   */
  append(
    { batches, atomic = false, keepRejections = false }: AppendCall,
    now: number,
    { knownAbove, producersAbove, movedTo }: Beside = {},
  ): AppendedCall {
    const answered = new Map(this.lookUp(batches).map((answer) => [answer.batchId, answer]));
    const here = this.seen(batches.flatMap(({ clientIds }) => clientIds.map(({ id }) => id)));
    const seen = new Map([...(knownAbove ?? []).map((known) => [known.id, known] as const), ...here]);
    const added: Appended[] = [];
    let head = this.head;
    let { room } = this.delays;
    const marks = new ProducerMarks(this.store.producers, producersAbove);
    for (const batch of batches) {
      if (answered.has(batch.batchId)) continue;
      const moved = movedTo?.(batch);
      if (moved !== undefined) {
        answered.set(batch.batchId, notTaken(batch, moved, head));
        continue;
      }
      const { producer } = batch;
      const appended = producer
        ? appendProduced({ ...batch, producer }, seen, head, marks.before(producer.name))
        : appendBatch(batch, seen, head, atomic, room);
      marks.note(appended.producer);
      room -= appended.delayed.length;
      for (const id of appended.newIds) seen.set(id.id, id);
      answered.set(batch.batchId, appended.answer);
      added.push(appended);
      head += appended.newCount;
    }
    const run = this.write(added, head, now, keepRejections);
    marks.save(now);
    return { run, answers: batches.flatMap(({ batchId }) => answered.get(batchId) ?? []) };
  }

  /** The first answers to record batches that come again; undefined unless all of them do. */
  answeredBefore({ batches }: AppendCall): readonly BatchAnswer[] | undefined {
    const answered = new Map(this.lookUp(batches).map((answer) => [answer.batchId, answer]));
    const answers = batches.flatMap(({ batchId }) => answered.get(batchId) ?? []);
    return answers.length === batches.length ? answers : undefined;
  }

  private write(
    added: readonly Appended[],
    head: number,
    now: number,
    keepRejections: boolean,
  ): LogRun | undefined {
    if (added.length === 0) return undefined;
    const keys = this.stored.keysFor(now);
    for (const { answer, newIds, delayed, rejected } of added) {
      this.store.keys.insertAnswer(keys, answer);
      this.store.keys.insertIds(keys, newIds);
      this.delays.add(delayed);
      for (const { messageId, error } of keepRejections ? rejected : []) {
        this.store.rejections.insert(messageId, now, JSON.stringify(error), limits.rejectionsKept);
      }
    }
    if (head === this.head) return undefined;
    const records = this.matches.mark(joinBytes(added.map((each) => each.records)));
    return this.stored.writeRow(records, head - this.head, now);
  }

  /**
   * Appends delayed messages that are due as one row. Their ids are remembered from now on, like their messages.
   * Runs inside the caller's transaction.
   */
  appendReleased(due: readonly Delayed[], now: number): LogRun {
    this.remember(
      due.map(({ id, fingerprint }, i) => ({ id, fingerprint, offset: this.head + i })),
      now,
    );
    const records = this.matches.mark(joinBytes(due.map(({ record }) => record)));
    return this.stored.writeRow(records, due.length, now);
  }

  /** Remembers what became of ids. Runs inside the caller's transaction. */
  remember(ids: readonly SeenId[], now: number): void {
    this.store.keys.insertIds(this.stored.keysFor(now), ids);
  }

  private lookUp(batches: AppendCall["batches"]): BatchAnswer[] {
    const ids = batches.map(({ batchId }) => batchId);
    return this.stored.keysNewestFirst().flatMap((segment) => this.store.keys.batchAnswers(segment, ids));
  }

  /** What became of `ids`, as far as it is remembered. */
  seen(ids: readonly string[]): Map<string, SeenId> {
    if (ids.length === 0) return new Map();
    const found = this.stored.keysNewestFirst().flatMap((segment) => this.store.keys.seenIds(segment, ids));
    return new Map([...found, ...this.delays.seen(ids)].map((seen) => [seen.id, seen]));
  }
}

/** Not stored and not remembered: it will come in parts, each where it belongs. */
function notTaken({ batchId, count }: RecordBatch, movedTo: number, head: number): BatchAnswer {
  return { batchId, firstOffset: head, count, exceptions: [], movedTo };
}
