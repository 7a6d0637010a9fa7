// What a forward is promised: each message that its filter lets through comes to the target as it was published, once where
// it is known by its id, in the order of its key, and one hop further. A witness of what targets are asked to append.

import { limits } from "../../src/limits";
import type { Message } from "../../src/message";
import { partitionOf, type RecordBatch, unpackRecords } from "../../src/record-batch";
import type { AppendCall, BatchAnswer } from "../../src/topic-calls";
import type { Counts } from "./coverage";
import type { TopicLife, Watched } from "./lives";
import type { Logged, Place } from "./log-witness";

/** `forward:GENERATION:PARTITION:…` names the subscription's partition that a record batch comes from. */
const FORWARDED = /^forward:([^:]+):(\d+):/;

export type ForwardParts = Readonly<{
  counts: Counts;
  at(generation: string, partition: number): Watched | undefined;
  /** The partitions that a raise made this one of. */
  above(watched: Watched): readonly Watched[];
}>;

export class ForwardWitness {
  /** By subscription, the lives of targets that it was ever bound to. */
  private readonly bound = new Map<string, Set<string>>();
  /** By what was carried and where to, the offset that it took first. */
  private readonly stored = new Map<string, number>();

  constructor(private readonly parts: ForwardParts) {}

  /** It has settings that bind it to this life of its target. */
  isBound({ generation }: Watched, target: string): void {
    const lives = this.bound.get(generation) ?? new Set();
    this.bound.set(generation, lives.add(target));
  }

  /** A target answered an append. */
  appended(target: TopicLife, { batches }: AppendCall, answers: readonly BatchAnswer[], at: number): void {
    for (const [i, batch] of batches.entries()) {
      const answer = answers[i];
      const [, generation, partition] = FORWARDED.exec(batch.batchId) ?? [];
      if (!answer || generation === undefined || answer.movedTo !== undefined) continue;
      const source = this.parts.at(generation, Number(partition));
      if (source) this.arrived(source, target, batch, answer, at);
    }
  }

  private arrived(
    source: Watched,
    target: TopicLife,
    batch: RecordBatch,
    answer: BatchAnswer,
    at: number,
  ): void {
    const { counts } = this.parts;
    const messages = unpackRecords(batch.records);
    const exceptions = new Map(answer.exceptions.map((each) => [each.index, each]));
    counts.forwardBatches += 1;
    if (!this.bound.get(source.generation)?.has(batch.generation))
      throw new Error(`${source.name} forwarded to a life of ${target.name} that it was never bound to`);
    this.checkStoredOnce(source, batch, messages, answer);
    let offset = answer.firstOffset;
    for (const [index, message] of messages.entries()) {
      checkPartition(message, batch);
      const exception = exceptions.get(index);
      if (exception && "error" in exception) continue;
      const isKnown = exception && "duplicateOf" in exception;
      if (exception && !isKnown) throw new Error(`${message.id} was forwarded, and answered as delayed`);
      const place = isKnown
        ? { partition: exception.partition ?? batch.partition, offset: exception.duplicateOf }
        : { partition: batch.partition, offset: offset++ };
      if (isKnown) counts.forwardsKnown += 1;
      else counts.forwardsStored += 1;
      const first = this.originOf(source, message);
      this.checkOrder(source, target, { message, first, place, isKnown: isKnown === true, at });
    }
  }

  /** What is carried again, by whatever lease, is the same record batch: its messages stand there once. */
  private checkStoredOnce(
    { generation, partition, topic, witness }: Watched,
    batch: RecordBatch,
    messages: readonly Message[],
    { firstOffset, exceptions }: BatchAnswer,
  ): void {
    const offsets = messages.map(({ id }) => topic.log.offsetsOf(id, partition));
    // A replay may carry it anew, and of a message that stands there twice each is carried.
    if (exceptions.length > 0 || witness.wasMoved || offsets.some(({ length }) => length !== 1)) return;
    const name = [
      generation,
      partition,
      batch.generation,
      batch.partition,
      batch.partitions,
      ...offsets,
    ].join(" ");
    const first = this.stored.get(name) ?? firstOffset;
    if (first !== firstOffset)
      throw new Error(`${name} was forwarded to ${first}, and again to ${firstOffset}`);
    this.stored.set(name, first);
  }

  /** The first place of the message in the source's partition. It is what was published there, and one hop more. */
  private originOf({ topic, partition }: Watched, message: Message): number {
    const log = topic.log.log(partition);
    const offsets = topic.log.offsetsOf(message.id, partition);
    const origin = offsets.find((offset) => isSame(log[offset], message));
    if (origin === undefined) throw new Error(`${message.id} was forwarded as nobody published it`);
    if ((message.hops ?? 0) > limits.forwardHops) throw new Error(`${message.id} made ${message.hops} hops`);
    return origin;
  }

  /** Whatever stands before it in its key is there before it, or never comes. */
  private checkOrder(
    source: Watched,
    target: TopicLife,
    {
      message,
      first,
      place,
      isKnown,
      at,
    }: Readonly<{ message: Message; first: number; place: Place; isKnown: boolean; at: number }>,
  ): void {
    const { orderingKey } = message;
    if (orderingKey === undefined || source.witness.wasMoved) return;
    const isThere = ({ id }: Logged) => {
      const other = target.log.placeOf(id);
      return other && (isKnown || other.partition !== place.partition || other.offset <= place.offset);
    };
    const check = ({ witness, partition, topic }: Watched, end: number) => {
      for (const [offset, logged] of topic.log.log(partition).slice(0, end).entries()) {
        if (logged.key !== orderingKey || isThere(logged) || witness.wasRedriven(offset)) continue;
        if (!witness.isPast(offset, at))
          throw new Error(`${message.id} of key ${orderingKey} came to ${target.name} before ${logged.id}`);
      }
    };
    check(source, first);
    for (const former of this.parts.above(source)) {
      if (!former.witness.wasMoved) check(former, Number.POSITIVE_INFINITY);
    }
    this.parts.counts.forwardsInOrder += 1;
  }
}

/** It comes to where a publish of its key would. */
function checkPartition({ id, orderingKey }: Message, { partition, partitions = 1 }: RecordBatch): void {
  if (orderingKey !== undefined && partition !== partitionOf(orderingKey, partitions))
    throw new Error(`${id} of key ${orderingKey} came to partition ${partition} of ${partitions}`);
}

function isSame(
  logged: Logged | undefined,
  { orderingKey, subject, expiresAt, publishedAt, hops = 0 }: Message,
) {
  return (
    logged?.key === orderingKey &&
    logged?.subject === subject &&
    logged?.expiresAt === expiresAt &&
    logged?.publishedAt === publishedAt &&
    (logged?.hops ?? 0) + 1 === hops
  );
}
