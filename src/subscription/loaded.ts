// What is in memory of a subscription while it exists, put together: what it has in hand, what it reads, and the desks
// that work on both. The store and the log can tell all of it again.

import type { DispatchCalls } from "../dispatch-calls";
import type { Env } from "../env";
import { limits } from "../limits";
import { objectName } from "../object-name";
import type { Runtime } from "../runtime";
import type { TopicCalls } from "../topic-calls";
import type { VerifyCalls } from "../verify-calls";
import type { Waiters } from "../waiters";
import { Backlog } from "./backlog";
import { DeadLetterDesk } from "./dead-letter-desk";
import type { EndpointDesk } from "./endpoint-desk";
import { ExpiryDesk } from "./expiry-desk";
import { LaneGate } from "./lane-gate";
import { type DeskParts, LeaseDesk } from "./lease-desk";
import { LogReader } from "./log-reader";
import { LongPoll } from "./long-poll";
import { ParentDesk } from "./parent-desk";
import { PullDesk } from "./pull-desk";
import { PushPump } from "./push-pump";
import { RecordBuffer } from "./record-buffer";
import { SeekDesk } from "./seek-desk";
import { SettleDesk } from "./settle-desk";
import type { Socket } from "./socket";
import type { SocketDoor } from "./socket-door";
import { SocketPump } from "./socket-pump";
import type { SubscriptionRow, SubscriptionStore } from "./subscription-store";
import { TimelineDesk } from "./timeline-desk";
import { VerifyDesk } from "./verify-desk";

export type Loaded = {
  row: SubscriptionRow;
  readonly backlog: Backlog;
  readonly buffer: RecordBuffer;
  readonly reader: LogReader;
  readonly parents: ParentDesk;
  readonly endpoint: EndpointDesk;
  readonly desk: LeaseDesk;
  readonly deadLetters: DeadLetterDesk;
  readonly timeline: TimelineDesk;
  readonly expiry: ExpiryDesk;
  readonly seeks: SeekDesk;
  readonly pulls: PullDesk;
  readonly settles: SettleDesk;
  readonly pump: PushPump;
  readonly live: SocketPump;
  readonly verifier: VerifyDesk;
};

/** What it is put together from, and how it is changed. */
export type Surroundings = Readonly<{
  env: Pick<Env, "TOPIC" | "SUBSCRIPTION">;
  dispatcher: DispatchCalls & VerifyCalls;
  store: SubscriptionStore;
  waiters: Waiters;
  sockets: () => readonly Socket[];
  /** Dispatches under way: they outlive what is in memory. */
  underway: { count: number };
  /** Until when the endpoint is not asked, and how it fares: that outlives it too. */
  asking: { until: number };
  endpoint: EndpointDesk;
  door: SocketDoor;
  runtime: () => Runtime;
  waitUntil: (work: Promise<void>) => void;
  /** False once the subscription was removed or read afresh. */
  isLive: (state: Loaded) => boolean;
  change: <T>(state: Loaded, decide: () => T) => T;
  pause: (state: Loaded, reason: string) => void;
  beginAnew: (state: Loaded, write: () => void) => void;
  /** Something has ended: whatever is in memory by now goes on. */
  goOn: () => void;
  /** The alarm may have to be armed for something else. */
  arm: (state: Loaded) => void;
}>;

/** Reads from the store what is in hand, and puts everything together around it. */
export function assemble(row: SubscriptionRow, around: Surroundings): Loaded {
  const { env, store, runtime } = around;
  const topic: TopicCalls = env.TOPIC.getByName(objectName(row.topicGeneration, row.partition));
  const gate = new LaneGate(row.parent === undefined || row.parentCleared === true);
  const backlog = new Backlog(store.load(), gate);
  const buffer = new RecordBuffer(backlog.counters.nextOffset, limits.bufferBytes);
  const isLive = () => around.isLive(state);
  const change = <T>(decide: () => T) => around.change(state, decide);
  const reader = new LogReader(topic, backlog, buffer, store.waiting, change);
  const parents = new ParentDesk({
    ...{ backlog, buffer, reader, topic, isLive, partition: row.partition },
    parent: parentOf(row, env),
    now: () => runtime().now(),
    opened: () => store.noteParentCleared(),
  });
  const settings = () => state.row.settings;
  const parts = { backlog, buffer, reader, parents, runtime, settings, isLive, change };
  const desks = furnish(parts, { topic, partition: row.partition, state: () => state }, around);
  const { endpoint } = around;
  const state: Loaded = { row, backlog, buffer, reader, parents, endpoint, ...desks };
  return state;
}

function parentOf({ generation, parent }: SubscriptionRow, env: Surroundings["env"]) {
  return parent === undefined ? undefined : env.SUBSCRIPTION.getByName(objectName(generation, parent));
}

/** `state` is there once all is put together. */
type Place = Readonly<{ topic: TopicCalls; partition: number; state: () => Loaded }>;

function furnish(shared: DeskParts, { topic, partition, state }: Place, around: Surroundings) {
  const { store, waiters, dispatcher, underway, asking, endpoint, waitUntil } = around;
  const { backlog, parents, runtime, isLive } = shared;
  const desk = new LeaseDesk(shared);
  const parts = { ...shared, partition, desk, store, endpoint, row: () => state().row };
  const settles = new SettleDesk({ ...parts, pause: (reason) => around.pause(state(), reason) });
  const lookAgainMs = () => {
    if (desk.hasMore) return 0;
    return parents.isAwaiting ? backlog.gate.waitMs(runtime().now()) : Number.POSITIVE_INFINITY;
  };
  return {
    desk,
    deadLetters: new DeadLetterDesk(parts),
    timeline: new TimelineDesk(parts),
    expiry: new ExpiryDesk({ ...parts, topic, waiting: store.waiting }),
    seeks: new SeekDesk({ ...parts, beginAnew: (write) => around.beginAnew(state(), write) }),
    pulls: new PullDesk({ ...parts, polls: new LongPoll({ waiters, runtime, isLive, lookAgainMs }) }),
    settles,
    live: new SocketPump({ ...parts, settles, sockets: around.sockets, door: around.door }),
    verifier: new VerifyDesk({ ...parts, dispatcher, asking, waitUntil, asked: () => around.arm(state()) }),
    pump: new PushPump({
      ...{ ...parts, dispatcher, underway, waitUntil },
      began: () => around.arm(state()),
      ended: around.goOn,
    }),
  };
}
