// Where a publish is written: the Cloudflare Queue, which answers before any topic has seen it, or the topic's
// partitions. It repeats what failed on the way, always with the same record batch id, so nothing is written twice.

import { appendInParts } from "../catalog/append-store";
import type { TopicEntry } from "../catalog/catalog-entry";
import { inParallel } from "../catalog/entry-lifecycle";
import { fullForMs } from "../catalog/full-store";
import type { Env } from "../env";
import { type BrokerError, ok, type Refused, type Result, refuse } from "../errors";
import { fingerprintBytes } from "../fingerprint";
import { limits } from "../limits";
import { toBase64 } from "../message-json";
import { objectName } from "../object-name";
import type { ProducerMark, RecordBatch } from "../record-batch";
import type { BatchAnswer } from "../topic-calls";
import { sha256 } from "./auth";
import type { Broker } from "./broker";
import {
  type Bound,
  bind,
  cutToRows,
  type Entry,
  mayAccept,
  noteAll,
  noteStored,
  type Outcome,
  type Outcomes,
  packAll,
  refuseTogether,
} from "./publish";
import type { Draft } from "./publish-items";
import { asksForDelay } from "./timing";

/**
 * The items of a publish, in the order they were sent, and how they are to be published. One of a `producer` is atomic.
 */
export type Publish = Readonly<{
  items: readonly Result<Draft>[];
  atomic: boolean;
  wait: boolean;
  producer?: ProducerMark;
}>;

type How = Readonly<{
  atomic: boolean;
  wait: boolean;
  producer?: ProducerMark | undefined;
  /** The topic was read again because what the isolate knew of it was gone. */
  afresh: boolean;
}>;
type Sent = Awaited<ReturnType<Env["INGRESS"]["send"]>> | Awaited<ReturnType<Env["INGRESS"]["sendBatch"]>>;

/** Publishes what can be published, and says for each item what became of it. */
export async function publishItems(
  broker: Broker,
  topic: TopicEntry,
  { items, atomic, wait, producer }: Publish,
): Promise<Outcomes> {
  const refused = atomic ? refuseTogether(items) : undefined;
  if (refused) return refused;
  const outcomes: Outcomes = new Map();
  const entries: Promise<Entry>[] = [];
  items.forEach((item, index) => {
    if (item.ok) entries.push(toEntry(item.value, index));
    else outcomes.set(index, { status: "refused", error: item.error });
  });
  await write(broker, topic, await Promise.all(entries), { atomic, wait, producer, afresh: false }, outcomes);
  return outcomes;
}

async function toEntry({ message, isClientId, timing }: Draft, index: number): Promise<Entry> {
  const mustStore = asksForDelay(timing);
  if (!isClientId) return { index, message, mustStore };
  const digest = await sha256(fingerprintBytes(message, timing));
  return { index, message, mustStore, fingerprint: toBase64(new Uint8Array(digest)) };
}

async function write(
  broker: Broker,
  topic: TopicEntry,
  entries: readonly Entry[],
  how: How,
  outcomes: Outcomes,
): Promise<void> {
  const newId = () => broker.runtime.newId();
  const { producer } = how;
  const bounds = bind(entries, topic, {
    choice: broker.runtime.random(),
    newId,
    ...(producer && { producer }),
  });
  if (!how.atomic && !how.wait && mayAccept(bounds, entries)) {
    const packed = packAll(bounds);
    if (packed) return accept(broker, topic, bounds, packed, outcomes);
  }
  await (how.atomic ? storeAtomically(broker, bounds, outcomes) : store(broker, bounds, outcomes));
  const gone = entries.filter(({ index }) => isGone(outcomes.get(index)));
  if (gone.length > 0 && !how.afresh) await writeAfresh(broker, topic, gone, how, outcomes);
}

function isGone(outcome: Outcome | undefined): boolean {
  return outcome?.status === "refused" && outcome.error.code === "gone";
}

async function accept(
  broker: Broker,
  topic: TopicEntry,
  bounds: readonly Bound[],
  packed: readonly Uint8Array[],
  outcomes: Outcomes,
): Promise<void> {
  const now = broker.runtime.now();
  const full = bounds.map(({ batch }) => fullError(topic, batch.partition, now));
  const errors = await sendAccepted(
    broker,
    packed.filter((_, place) => !full[place]),
  );
  let sent = 0;
  bounds.forEach((bound, place) => {
    noteAll(outcomes, bound, full[place] ?? errors[sent++]);
  });
}

/** What the catalog says of a partition that refused for space: what is accepted now would only wait for it. */
function fullError(topic: TopicEntry, partition: number, now: number): BrokerError | undefined {
  const retryAfterMs = fullForMs(topic, partition, now);
  if (retryAfterMs === 0) return undefined;
  const detail = `Partition ${partition} is full. A stored publish says which subscription holds the space.`;
  return refuse("topic-full", detail, { retryAfterMs }).error;
}

/** Stores record batches, partitions side by side. */
async function store(broker: Broker, bounds: readonly Bound[], outcomes: Outcomes): Promise<void> {
  await inParallel(bounds, async (bound) => {
    // In order, and no further than the first that fails: a key's messages never overtake one another.
    let refusal: BrokerError | undefined;
    for (const cut of cutToRows(bound, () => broker.runtime.newId())) {
      if (refusal) noteAll(outcomes, cut, refusal);
      else refusal = await storeOne(broker, cut, false, outcomes);
    }
  });
}

async function storeAtomically(broker: Broker, bounds: readonly Bound[], outcomes: Outcomes): Promise<void> {
  const fault = atomicFault(bounds);
  for (const bound of bounds) {
    if (fault) noteAll(outcomes, bound, fault);
    else await storeOne(broker, bound, true, outcomes);
  }
}

function atomicFault(bounds: readonly Bound[]): BrokerError | undefined {
  if (bounds.length > 1) return spansPartitions(bounds).error;
  const tooLarge = bounds.some(({ batch }) => batch.records.byteLength > limits.rowBytes);
  if (!tooLarge) return undefined;
  return refuse("payload-too-large", `An atomic publish is at most ${limits.rowBytes} bytes.`, {
    field: "messages",
    limit: limits.rowBytes,
  }).error;
}

function spansPartitions([bound]: readonly Bound[]): Refused {
  if (bound?.batch.producer === undefined) {
    const detail = "The messages of an atomic publish go to one partition: give them one ordering key.";
    return refuse("atomic-spans-partitions", detail, { field: "atomic", limit: 1 });
  }
  const detail =
    "The messages that a producer numbers in one publish go to one partition: give them one ordering key, or none.";
  return refuse("producer-spans-partitions", detail, { field: "Pennypost-Producer", limit: 1 });
}

/** Stores one record batch, in parts if its partition was raised meanwhile. Answers the first refusal, if any. */
async function storeOne(
  broker: Broker,
  whole: Bound,
  atomic: boolean,
  outcomes: Outcomes,
): Promise<BrokerError | undefined> {
  const { batch, indexes } = whole;
  const append = (part: RecordBatch) => appendStored(broker, part, atomic);
  const parts = await appendInParts(batch, append, atomic ? spansPartitions([whole]) : undefined);
  let refusal: BrokerError | undefined;
  for (const part of parts) {
    const bound = { batch: part.batch, indexes: part.indexes.map((place) => indexes[place] ?? place) };
    if (part.answered.ok) noteStored(outcomes, bound, part.answered.value);
    else noteAll(outcomes, bound, part.answered.error);
    if (!part.answered.ok) refusal ??= part.answered.error;
  }
  return refusal;
}

/** What the isolate knew of the topic was out of date: it is read afresh, once. */
async function writeAfresh(
  broker: Broker,
  { name, generation }: TopicEntry,
  entries: readonly Entry[],
  how: How,
  outcomes: Outcomes,
): Promise<void> {
  broker.catalog.store.forget(name);
  const fresh = await broker.catalog.store.topic(name);
  if (fresh.ok && fresh.value.generation === generation) return;
  if (fresh.ok) return write(broker, fresh.value, entries, { ...how, afresh: true }, outcomes);
  for (const { index } of entries) outcomes.set(index, { status: "refused", error: fresh.error });
}

// ── the Cloudflare Queue and the topic ───────────────────────────────────────────────────────────────

/** Sends packed record batches to the Cloudflare Queue. Answers, for each, the refusal it met, if any. */
async function sendAccepted(
  broker: Broker,
  packed: readonly Uint8Array[],
): Promise<readonly (BrokerError | undefined)[]> {
  const errors: (BrokerError | undefined)[] = [];
  for (const group of sendGroups(packed)) {
    // After one refusal the rest would meet the same: they are not sent.
    const error = errors.find((met) => met !== undefined) ?? (await sendGroup(broker, group));
    for (const _ of group) errors.push(error);
  }
  return errors;
}

async function sendGroup(broker: Broker, group: readonly Uint8Array[]): Promise<BrokerError | undefined> {
  const { INGRESS } = broker.env;
  const [only, ...others] = group;
  const send = (): Promise<Sent> =>
    only && others.length === 0
      ? INGRESS.send(only, { contentType: "bytes" })
      : INGRESS.sendBatch(group.map((body) => ({ body, contentType: "bytes" as const })));
  const sent = await trying(broker, send, isTooFast);
  return sent.ok ? undefined : sent.error;
}

function isTooFast(fault: unknown): BrokerError | undefined {
  if (!/too many requests/i.test(String(fault))) return undefined;
  return refuse("too-many-requests", "Publishes arrive faster than the Cloudflare Queue takes them.", {
    retryAfterMs: limits.queueRetryAfterMs,
  }).error;
}

/** Cuts record batches into what one send to the Cloudflare Queue may carry. */
function sendGroups(packed: readonly Uint8Array[]): readonly (readonly Uint8Array[])[] {
  const groups: Uint8Array[][] = [];
  let bytes = Number.POSITIVE_INFINITY;
  for (const body of packed) {
    const group = groups.at(-1);
    bytes += body.byteLength;
    if (group && bytes <= limits.queueSendBytes && group.length < limits.queueSendMessages) group.push(body);
    else {
      groups.push([body]);
      bytes = body.byteLength;
    }
  }
  return groups;
}

/** Appends one record batch to its partition of the topic. */
async function appendStored(
  broker: Broker,
  batch: RecordBatch,
  atomic: boolean,
): Promise<Result<BatchAnswer>> {
  const name = objectName(batch.generation, batch.partition);
  const append = () => broker.env.TOPIC.getByName(name).append({ batches: [batch], atomic });
  const tried = await trying(broker, append, isOverloaded);
  if (!tried.ok) return tried;
  if (!tried.value.ok) return tried.value;
  const [answer] = tried.value.value;
  if (!answer) throw new Error("the topic answered no record batch");
  return ok(answer);
}

function isOverloaded(fault: unknown): BrokerError | undefined {
  if ((fault as { overloaded?: unknown } | null)?.overloaded !== true) return undefined;
  return refuse("overloaded", "The partition is overloaded.", { retryAfterMs: limits.catalogRetryMs }).error;
}

/** Tries `write` a few times. `isFinal` knows the faults that another try would only make worse. */
async function trying<T>(
  { runtime, log }: Broker,
  write: () => Promise<T>,
  isFinal: (fault: unknown) => BrokerError | undefined,
): Promise<Result<T>> {
  for (let tries = 1; ; tries++) {
    try {
      return ok(await write());
    } catch (fault) {
      const error = isFinal(fault);
      if (error) return { ok: false, error };
      if (log) console.warn(JSON.stringify({ at: "publish", tries, fault: String(fault) }));
      if (tries === limits.appendTries) return away();
      const waitMs = runtime.random() * limits.appendRetryMs * tries;
      await new Promise((wake) => setTimeout(wake, waitMs));
    }
  }
}

function away(): Result<never> {
  return refuse("unavailable", "The message could not be written; publish it again.", {
    retryAfterMs: limits.catalogRetryMs,
  });
}
