// Finds a message among the partitions of its topic, and asks its subscriptions where it is on its way to them.

import type { SubscriptionEntry, TopicEntry } from "../catalog/catalog-entry";
import { inParallel } from "../catalog/entry-lifecycle";
import { ok, type Result, refuse } from "../errors";
import { layoutOf } from "../priority";
import { partitionOf } from "../record-batch";
import type { TraceCall } from "../timeline-calls";
import type { Finding, Rejection } from "../topic-calls";
import type { Broker } from "./broker";
import { checkPartition, subscriptionAt, topicAt } from "./partition-routes";
import { problemOf } from "./problem";
import { refusalOfFault } from "./request-routes";
import { type Place, placeText } from "./schemas";
import { showTrace } from "./whereabouts";

/** What names a message: its place, or its id; with the partition, and how far an earlier look came. */
export type Sought = Readonly<
  { place: Place } | { id: string; partition?: number | undefined; from?: number | undefined }
>;
export type Rejected = Readonly<{ partition: number; rejection: Rejection }>;
export type Located = Readonly<{
  /** Absent when it has none, or only rejections are known of the id. */
  place?: Place;
  run?: NonNullable<Finding["place"]>["run"];
  /** In the place of a place: it is delayed, or was cancelled while it was. */
  delayed?: NonNullable<Finding["delayed"]> & Readonly<{ partition: number }>;
  rejections: readonly Rejected[];
}>;
type Asked = Readonly<{ partition: number; finding: Finding }>;

/** Where the message is stored. Refused when nothing is known of it, saying how far was looked. */
export async function locate(broker: Broker, topic: TopicEntry, sought: Sought): Promise<Result<Located>> {
  if ("place" in sought) return locatePlace(broker, topic, sought.place);
  const { id, partition, from } = sought;
  const checked = partition === undefined ? ok(null) : checkPartition(partition, topic.partitions);
  if (!checked.ok) return checked;
  const home = partition ?? partitionOf(id, layoutOf(topic).each);
  const call = { id, ...(from !== undefined && { from }) };
  const asked: Asked[] = [];
  const refusals: Result<never>[] = [];
  const ask = async (at: number) => {
    const finding = await topicAt(broker, topic, at).find(call);
    if (finding.ok) asked.push({ partition: at, finding: finding.value });
    else refusals.push(finding);
  };
  // Where the id itself leads comes first: ids that clients choose are there, unless they have an ordering key.
  await ask(home);
  const others = [...Array(topic.partitions).keys()].filter((at) => at !== home);
  const { place, delayed } = asked[0]?.finding ?? {};
  if (partition === undefined && !place && !delayed) await inParallel(others, ask);
  return refusals[0] ?? conclude(id, asked);
}

async function locatePlace(broker: Broker, topic: TopicEntry, place: Place): Promise<Result<Located>> {
  const unknown = `There is no message at ${placeText(place)}.`;
  if (place.partition >= topic.partitions) return refuse("message-not-found", unknown);
  const finding = await topicAt(broker, topic, place.partition).find({ offset: place.offset });
  if (!finding.ok) return finding;
  const { place: found, head } = finding.value;
  if (found) return ok({ place, ...(found.run && { run: found.run }), rejections: [] });
  return refuse("message-not-found", `${unknown} The next message there will be at ${head}.`);
}

function conclude(id: string, asked: readonly Asked[]): Result<Located> {
  const rejections = asked.flatMap(({ partition, finding }) =>
    finding.rejections.map((rejection) => ({ partition, rejection })),
  );
  const found = asked.find(({ finding }) => finding.place);
  if (found?.finding.place) {
    const { offset, run } = found.finding.place;
    return ok({ place: { partition: found.partition, offset }, ...(run && { run }), rejections });
  }
  const [delayed] = asked.flatMap(({ partition, finding }) =>
    finding.delayed ? [{ ...finding.delayed, partition }] : [],
  );
  if (delayed) return ok({ delayed, rejections });
  if (rejections.length > 0) return ok({ rejections });
  return refuse("message-not-found", `No message "${id}" was found. ${howFar(asked)}`);
}

function howFar(asked: readonly Asked[]): string {
  const partial = asked.find(({ finding }) => finding.searched && finding.searched.to < finding.head);
  if (!partial?.finding.searched) {
    return "If its publish was answered 202, it may still be on its way, or stranded.";
  }
  const { partition, finding } = partial;
  const { from, to } = finding.searched ?? { from: 0, to: 0 };
  return (
    `Partition ${partition} was looked through from offset ${from} to ${to} of ${finding.head}: ` +
    `go on with ?partition=${partition}&from=${to}.`
  );
}

/** Where the message is on its way to each subscription; one that cannot be asked says why in its place. */
export async function traceAll(
  broker: Broker,
  subscriptions: readonly SubscriptionEntry[],
  partition: number,
  call: TraceCall,
): Promise<readonly unknown[]> {
  const shown = new Map<string, unknown>();
  await inParallel(subscriptions, async (entry) => {
    shown.set(entry.name, { subscription: entry.name, ...(await traceOne(broker, entry, partition, call)) });
  });
  return subscriptions.map(({ name }) => shown.get(name));
}

async function traceOne(broker: Broker, entry: SubscriptionEntry, partition: number, call: TraceCall) {
  try {
    const trace = await subscriptionAt(broker, entry, partition).whereabouts(call);
    return trace.ok ? showTrace(trace.value) : { error: problemOf(trace.error) };
  } catch (fault) {
    return { error: problemOf(refusalOfFault(fault)) };
  }
}
