// The parts of a topic's partition, put together from what its store holds: its log, and the desks that work on it. They
// are in memory only; the store can tell all of it again, after a restart and after a change of the topic itself.

import type { ObjectNamespace } from "../env";
import { objectName } from "../object-name";
import type { SubscriptionCalls } from "../subscription-calls";
import type { TopicCalls } from "../topic-calls";
import { AppendDesk } from "./append-desk";
import { DelayDesk } from "./delay-desk";
import { DepartureDesk } from "./departure-desk";
import { LineageDesk } from "./lineage-desk";
import { LookupDesk } from "./lookup-desk";
import { MatchDesk } from "./match-desk";
import { Notifier } from "./notifier";
import { ProducerDesk } from "./producer-desk";
import { ReaderDesk } from "./reader-desk";
import { RetentionDesk } from "./retention-desk";
import { SegmentedLog } from "./segmented-log";
import { TopicLog } from "./topic-log";
import type { TopicRow, TopicStore } from "./topic-store";

export type TopicParts = Readonly<{
  topic: TopicRow;
  /** The rows of the log on disk. */
  stored: SegmentedLog;
  log: TopicLog;
  appends: AppendDesk;
  delays: DelayDesk;
  readers: ReaderDesk;
  lookups: LookupDesk;
  notifier: Notifier;
  retention: RetentionDesk;
  lineage: LineageDesk;
  departures: DepartureDesk;
  producers: ProducerDesk;
}>;

/** What the parts need of their object. */
export type TopicHost = Readonly<{
  store: TopicStore;
  subscriptions: ObjectNamespace<SubscriptionCalls>;
  /** The partition of this or another topic that has this name. */
  topicAt(name: string): TopicCalls;
  now(): number;
  /** Runs a change in one transaction. */
  write<T>(decide: () => T): T;
  /** The parts that are in use now; undefined once the topic was removed. */
  current(): TopicParts | undefined;
}>;

/** Puts together the parts of `topic`. */
export function loadParts(topic: TopicRow, host: TopicHost): TopicParts {
  const { store, subscriptions, now, write } = host;
  const { generation, partition } = topic;
  const { retentionMs } = topic.settings;
  const stored = new SegmentedLog(store.segments, topic.settings);
  const matches = new MatchDesk(store);
  const log = new TopicLog(store, stored, matches);
  const notifier = new Notifier(stored, subscriptions, partition);
  const retention: RetentionDesk = new RetentionDesk({
    ...{ log: stored, readers: notifier.readers, subscriptions, partition, now, write },
    isLive: () => host.current()?.retention === retention,
  });
  // A restart forgot who was told: all are taken to know all there was, and are asked by the alarm or the sweep.
  for (const reader of store.subscriptions()) notifier.add(reader.generation, reader.startOffset, log.head);
  const topicAt = (other: number) => host.topicAt(objectName(generation, other));
  const beside = { partition, topicAt, now, write };
  const lineage = new LineageDesk({ ...beside, store: store.lineage, retentionMs, log });
  const producers = new ProducerDesk({ ...beside, store: store.producers, lineage });
  const readers = new ReaderDesk({ store, stored, notifier, partition, lineage, matches });
  const lookups = new LookupDesk({ store, stored, log, notifier, partition });
  const appends = new AppendDesk({ topic, store, stored, log, lineage, retention, now, write });
  const delays = new DelayDesk(log, lineage);
  const departures: DepartureDesk = new DepartureDesk({
    ...{ generation, partition, delays: log.delays, lineage, topicAt, write },
    isLive: () => host.current()?.departures === departures,
  });
  return {
    topic,
    stored,
    log,
    appends,
    delays,
    departures,
    readers,
    lookups,
    notifier,
    retention,
    lineage,
    producers,
  };
}
