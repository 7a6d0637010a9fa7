// From the messages of one publish request to its record batches, one per partition, and from what became of
// those back to one result per message, in the order they were sent.

import { type BrokerError, type Result, refuse } from "../errors";
import { limits } from "../limits";
import type { Message } from "../message";
import { DEFAULT_PRIORITY, type Laid, layoutOf, partitionIn } from "../priority";
import {
  type ProducerMark,
  packRecordBatch,
  packRecords,
  partitionOf,
  type RecordBatch,
  recordSpans,
  type ScheduledItem,
} from "../record-batch";
import type { AppendException, BatchAnswer } from "../topic-calls";
import { problemOf } from "./problem";
import type { Draft } from "./publish-items";

/**
 * A message on its way: its place in the request, and its fingerprint when the publisher chose its id. `mustStore`: it
 * may not be answered before its topic has it.
 */
export type Entry = Readonly<{
  index: number;
  message: Message;
  mustStore?: boolean;
  fingerprint?: string;
  priority?: number;
}>;

/** A record batch, and the place in the request of each of its messages. */
export type Bound = Readonly<{ batch: RecordBatch; indexes: readonly number[] }>;

/** What became of one message. */
export type Outcome = Readonly<
  | { status: "accepted" }
  | { status: "stored"; partition: number; offset: number; duplicate: boolean }
  /** Stored, without an offset until then. */
  | { status: "scheduled"; partition: number; scheduledFor: number; duplicate: boolean }
  /** It met its first publish, which was cancelled. */
  | { status: "cancelled"; partition: number; duplicate: true; cancelled: true }
  /** Its producer's number was accepted before; where it lies is not known. */
  | { status: "known"; partition: number; sequence: number; duplicate: true }
  | { status: "refused"; error: BrokerError }
>;
export type Outcomes = Map<number, Outcome>;

type Target = Readonly<{ generation: string }> & Laid;

/**
 * One record batch per partition. Among the partitions of its priority a message goes by its ordering key, else by its producer's name, which keeps what the
 * producer numbers together, else by its client's id, so that a retry
 * meets its first publish; else by `choice` in [0, 1), the same for the whole request.
 */
export function bind(
  entries: readonly Entry[],
  { generation, ...target }: Target,
  { choice, newId, producer }: Readonly<{ choice: number; newId(): string; producer?: ProducerMark }>,
): readonly Bound[] {
  const layout = layoutOf(target);
  const partitions = layout.each;
  const spread = Math.floor(choice * partitions);
  const placeOf = ({ message, fingerprint }: Entry) => {
    if (message.orderingKey !== undefined) return partitionOf(message.orderingKey, partitions);
    if (producer !== undefined) return partitionOf(producer.name, partitions);
    return fingerprint === undefined ? spread : partitionOf(message.id, partitions);
  };
  const byPartition = Map.groupBy(entries, (entry) => {
    const place = placeOf(entry);
    // Another life of the topic may not use the priority: what is published is stored all the same.
    return partitionIn(layout, entry.priority ?? DEFAULT_PRIORITY, place) ?? place;
  });
  return [...byPartition].map(([partition, bound]) => {
    const head = { batchId: newId(), generation, partition, partitions, count: bound.length };
    const clientIds = bound.flatMap(({ message: { id }, fingerprint }, index) =>
      fingerprint === undefined ? [] : [{ index, id, fingerprint }],
    );
    const records = packRecords(bound.map(({ message }) => message));
    const mark = producer && { producer };
    const batch = { ...head, clientIds, ...delayedAmong(bound), ...mark, records };
    return { batch, indexes: bound.map(({ index }) => index) };
  });
}

function delayedAmong(bound: readonly Entry[]): { scheduled?: readonly ScheduledItem[] } {
  const scheduled = bound.flatMap(({ message: { id, deliverAt } }, index) =>
    deliverAt === undefined ? [] : [{ index, id, deliverAt }],
  );
  return scheduled.length > 0 ? { scheduled } : {};
}

/** Whether the messages may be answered before their topic has them: no order and no instant is promised, and they fit. */
export function mayAccept(bounds: readonly Bound[], entries: readonly Entry[]): boolean {
  return (
    bounds.every(({ batch }) => batch.records.byteLength <= limits.acceptedRecordsBytes) &&
    entries.every(({ message, mustStore }) => message.orderingKey === undefined && !mustStore)
  );
}

/** The record batches as the Cloudflare Queue takes them; undefined when one is too large for it. */
export function packAll(bounds: readonly Bound[]): readonly Uint8Array[] | undefined {
  const packed = bounds.map(({ batch }) => packRecordBatch(batch));
  return packed.every((bytes) => bytes.byteLength <= limits.queueMessageBytes) ? packed : undefined;
}

/** Cuts a record batch into ones that fit a row of the topic, in order. */
export function cutToRows(bound: Bound, newId: () => string): readonly Bound[] {
  const { batch, indexes } = bound;
  if (batch.records.byteLength <= limits.rowBytes) return [bound];
  const cuts: Bound[] = [];
  const spans = recordSpans(batch.records);
  for (let first = 0; first < spans.length; ) {
    const start = spans[first]?.start ?? 0;
    let end = first + 1;
    while (end < spans.length && (spans[end]?.end ?? 0) - start <= limits.rowBytes) end += 1;
    const records = batch.records.slice(start, spans[end - 1]?.end);
    const clientIds = between(batch.clientIds, first, end);
    const scheduled = batch.scheduled && { scheduled: between(batch.scheduled, first, end) };
    const cut = { ...batch, batchId: newId(), count: end - first, clientIds, ...scheduled, records };
    cuts.push({ batch: cut, indexes: indexes.slice(first, end) });
    first = end;
  }
  return cuts;
}

function between<T extends { index: number }>(items: readonly T[], first: number, end: number): readonly T[] {
  return items
    .filter(({ index }) => index >= first && index < end)
    .map((item) => ({ ...item, index: item.index - first }));
}

/** Notes what the topic answered: what is no exception took the next offset. */
export function noteStored(outcomes: Outcomes, { batch, indexes }: Bound, answer: BatchAnswer): void {
  const exceptions = new Map(answer.exceptions.map((exception) => [exception.index, exception]));
  let next = answer.firstOffset;
  indexes.forEach((index, place) => {
    const exception = exceptions.get(place);
    const partition = exception?.partition ?? batch.partition;
    if (exception) outcomes.set(index, exceptional(exception, partition));
    else outcomes.set(index, { status: "stored", partition, offset: next++, duplicate: false });
  });
}

function exceptional(exception: AppendException, partition: number): Outcome {
  if ("error" in exception) return { status: "refused", error: exception.error };
  if ("cancelled" in exception) return { status: "cancelled", partition, duplicate: true, cancelled: true };
  if ("knownSequence" in exception) {
    return { status: "known", partition, sequence: exception.knownSequence, duplicate: true };
  }
  if ("scheduledFor" in exception) {
    const { scheduledFor, duplicate = false } = exception;
    return { status: "scheduled", partition, scheduledFor, duplicate };
  }
  return { status: "stored", partition, offset: exception.duplicateOf, duplicate: true };
}

/** Notes that a whole record batch was accepted, or refused with `error`. */
export function noteAll(outcomes: Outcomes, { indexes }: Bound, error?: BrokerError): void {
  for (const index of indexes) {
    outcomes.set(index, error ? { status: "refused", error } : { status: "accepted" });
  }
}

/** With `atomic`, one refused item refuses all: the others say so, and undefined means that none is refused. */
export function refuseTogether(items: readonly Result<Draft>[]): Outcomes | undefined {
  if (items.every((item) => item.ok)) return undefined;
  const other = refuse("atomic-refused", "Another item of this atomic publish was refused.").error;
  return new Map(
    items.map((item, index) => [index, { status: "refused", error: item.ok ? other : item.error }]),
  );
}

// ── the answer ───────────────────────────────────────────────────────────────────────────────────────

/** How a message is found again: at its place, or by its id while it has none. */
export type FoundAt = Readonly<{ partition: number } & ({ offset: number } | { id: string })>;
export type ItemResult = Readonly<Record<string, unknown>>;

/**
 * One result per message: its id where it has one, and its place, or its problem. A duplicate has the path of the
 * timeline of its first publish, as `timelineOf` says it.
 */
export function itemResults(
  items: readonly Result<Draft>[],
  outcomes: ReadonlyMap<number, Outcome>,
  timelineOf?: (first: FoundAt) => string,
): readonly ItemResult[] {
  return items.map((item, index) => {
    const outcome = outcomes.get(index);
    const id = item.ok ? { id: item.value.message.id } : {};
    if (!outcome || outcome.status === "accepted") return id;
    if (outcome.status === "refused") return { ...id, error: problemOf(outcome.error) };
    const { status: _, ...place } = outcome;
    // Under which id it was stored is not known either, unless its publisher chose it.
    if ("sequence" in place) return item.ok && item.value.isClientId ? { ...id, ...place } : place;
    if (!place.duplicate || !timelineOf || !item.ok) return { ...id, ...place };
    const { partition } = place;
    const first =
      "offset" in place ? { partition, offset: place.offset } : { partition, ...item.value.message };
    return { ...id, ...place, timeline: timelineOf(first) };
  });
}

/** What a request came to: the best that one of its messages came to. What waits for its instant is stored. */
export function statusOf(outcomes: ReadonlyMap<number, Outcome>): "accepted" | "stored" | "refused" {
  const statuses = new Set([...outcomes.values()].map(({ status }) => status));
  if (STORED.some((status) => statuses.has(status))) return "stored";
  return statuses.has("accepted") ? "accepted" : "refused";
}

const STORED = ["stored", "scheduled", "cancelled", "known"] as const;

/**
 * The refusal of a request of which every message was refused. One reason shared by all, like a broker that is
 * busy, is the request's own; otherwise the items have theirs.
 */
export function refusalOf(outcomes: ReadonlyMap<number, Outcome>, atomic: boolean): BrokerError {
  const errors = [...outcomes.values()].flatMap((outcome) =>
    outcome.status === "refused" ? [outcome.error] : [],
  );
  const [first] = errors;
  const isShared = errors.every(({ code }) => code === first?.code);
  if (first && isShared && SHARED.has(first.code)) return first;
  return atomic
    ? refuse("atomic-refused", "One item was refused, so all are: nothing was stored.").error
    : refuse("all-refused", "Every message was refused: nothing was stored.").error;
}

const SHARED: ReadonlySet<string> = new Set([
  "too-many-requests",
  "unavailable",
  "overloaded",
  "topic-full",
  "topic-not-found",
  "gone",
  "atomic-spans-partitions",
  "producer-spans-partitions",
  "sequence-gap",
  "too-many-producers",
]);
