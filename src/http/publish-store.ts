// Where a publish is written: the Cloudflare Queue, which answers before any topic has seen it (accepted-store.ts), or
// the topic's partitions (stored-store.ts).

import type { TopicEntry } from "../catalog/catalog-entry";
import type { BrokerError, Result } from "../errors";
import { fingerprintBytes } from "../fingerprint";
import { toBase64 } from "../message-json";
import type { ProducerMark } from "../record-batch";
import { accept } from "./accepted-store";
import { sha256 } from "./auth";
import type { Broker } from "./broker";
import { usesPriority } from "./priorities";
import { bind, type Entry, mayAccept, type Outcome, type Outcomes, packAll, refuseTogether } from "./publish";
import type { Draft } from "./publish-items";
import { store, storeAtomically } from "./stored-store";
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

/** How many messages it may come to: with one refused item, an atomic publish stores none. */
export function countToStore({ items, atomic, producer }: Publish): number {
  const count = items.filter((item) => item.ok).length;
  const isWhole = count === items.length || (!atomic && producer === undefined);
  return isWhole ? count : 0;
}

/** Messages that were not refused, duplicates included, and those of which nobody knows: they may have been stored. */
export function countTaken(outcomes: ReadonlyMap<number, Outcome>): number {
  return [...outcomes.values()].filter((outcome) => outcome.status !== "refused" || mayBeTaken(outcome.error))
    .length;
}

/** Whether what was refused may have been stored all the same: it was sent, and its answer never came. */
export function mayBeTaken({ code }: BrokerError): boolean {
  return code === "unavailable";
}

type How = Readonly<{
  atomic: boolean;
  wait: boolean;
  producer?: ProducerMark | undefined;
  /** The topic was read again because what the isolate knew of it was gone. */
  afresh: boolean;
}>;
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

/**
 * The topic; read afresh when an item names a priority that it does not use as far as the isolate knows: it may have
 * been added since.
 */
export async function knowingPriorities(
  { catalog: { store } }: Broker,
  topic: TopicEntry,
  items: readonly Result<Draft>[],
): Promise<TopicEntry> {
  if (items.every((item) => !item.ok || usesPriority(topic, item.value.priority))) return topic;
  store.forget(topic.name);
  const fresh = await store.topic(topic.name);
  return fresh.ok ? fresh.value : topic;
}

async function toEntry({ message, isClientId, timing, priority }: Draft, index: number): Promise<Entry> {
  const entry = {
    index,
    message,
    mustStore: asksForDelay(timing),
    ...(priority !== undefined && { priority }),
  };
  if (!isClientId) return entry;
  const digest = await sha256(fingerprintBytes(message, timing));
  return { ...entry, fingerprint: toBase64(new Uint8Array(digest)) };
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
