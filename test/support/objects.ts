// A topic and a subscription on the real objects, with a clock that the test moves.
import { runDurableObjectAlarm, runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import type { Env } from "../../src/env";
import type { Message } from "../../src/message";
import { objectName } from "../../src/object-name";
import { packRecords, type RecordBatch, unpackRecords } from "../../src/record-batch";
import type { Runtime } from "../../src/runtime";
import {
  defaultSubscriptionSettings,
  defaultTopicSettings,
  type StartAt,
  type SubscriptionSettings,
  type TopicSettings,
} from "../../src/settings";
import type { LeaseAnswer, SubscriptionCalls, SubscriptionProvision } from "../../src/subscription-calls";
import type { TopicCalls } from "../../src/topic-calls";
import { value } from "./result";

export { value } from "./result";

export const bindings = env as unknown as Env;
const text = new TextEncoder();
let serial = 0;

/** A clock the test moves; chance is always `jitter`. */
export function testRuntime(start = Date.now(), jitter = 0.5): Runtime & { advance(ms: number): void } {
  let now = start;
  return {
    now: () => now,
    random: () => jitter,
    newId: () => `id-${++serial}`,
    advance: (ms) => {
      now += ms;
    },
  };
}

export function message(id: string, more: Partial<Message> = {}): Message {
  return { id, publishedAt: 1, contentType: "text/plain", body: text.encode(`body of ${id}`), ...more };
}

/** A record batch of `messages`; those with an entry in `fingerprints` count as client ids. */
export function recordBatch(
  generation: string,
  messages: readonly Message[],
  fingerprints: Readonly<Record<string, string>> = {},
  batchId = `batch-${++serial}`,
): RecordBatch {
  const clientIds = messages.flatMap(({ id }, index) => {
    const fingerprint = fingerprints[id];
    return fingerprint === undefined ? [] : [{ index, id, fingerprint }];
  });
  const scheduled = messages.flatMap(({ id, deliverAt }, index) =>
    deliverAt === undefined ? [] : [{ index, id, deliverAt }],
  );
  return {
    batchId,
    generation,
    partition: 0,
    count: messages.length,
    clientIds,
    ...(scheduled.length > 0 && { scheduled }),
    records: packRecords(messages),
  };
}

export function idsOf(lease: LeaseAnswer): string[] {
  return unpackRecords(lease.records).map(({ id }) => id);
}

export async function newTopic(settings: Partial<TopicSettings> = {}) {
  const generation = `topic-${++serial}-${crypto.randomUUID()}`;
  const name = objectName(generation, 0);
  const topic = bindings.TOPIC.getByName(name) as TopicCalls & DurableObjectStub;
  value(
    await topic.provision({
      topic: "orders",
      generation,
      partition: 0,
      settings: { ...defaultTopicSettings, ...settings },
      version: 1,
    }),
  );
  const publish = async (...ids: (string | Message)[]) => {
    const messages = ids.map((id) => (typeof id === "string" ? message(id) : id));
    const [answer] = value(await topic.append({ batches: [recordBatch(generation, messages)] }));
    return answer;
  };
  return { generation, topic, publish };
}

export async function newSubscription(
  { generation: topicGeneration, topic }: { generation: string; topic: TopicCalls },
  settings: Partial<SubscriptionSettings> = {},
  startAt: StartAt = { at: "earliest" },
  /** Happens while the topic knows of the subscription, which does not exist yet. */
  halfWay: () => Promise<unknown> = async () => undefined,
) {
  const generation = `sub-${++serial}-${crypto.randomUUID()}`;
  const subscription = bindings.SUBSCRIPTION.getByName(objectName(generation, 0)) as SubscriptionCalls &
    DurableObjectStub;
  const clock = testRuntime();
  await useRuntime(subscription, clock);
  const { startOffset } = value(await topic.attach({ generation, startAt }));
  await halfWay();
  const provision: SubscriptionProvision = {
    topic: "orders",
    topicGeneration,
    subscription: "billing",
    generation,
    partition: 0,
    startOffset,
    settings: { ...defaultSubscriptionSettings, ...settings },
    version: 1,
  };
  value(await subscription.provision(provision));
  let leases = 0;
  const pull = async (max = 100, leaseId = `lease-${++leases}`) =>
    value(await subscription.pull({ leaseId, max, maxBytes: 4_000_000, waitMs: 0 }));
  const alarm = () => runDurableObjectAlarm(subscription);
  return { generation, subscription, clock, pull, alarm, provision };
}

export async function useRuntime(stub: DurableObjectStub, runtime: Runtime): Promise<void> {
  await runInDurableObject(stub, (instance) => {
    (instance as unknown as { runtime: Runtime }).runtime = runtime;
  });
}

export function refs(lease: LeaseAnswer) {
  return lease.deliveries.map(({ offset }) => ({ offset, leaseId: lease.leaseId }));
}

/** The law: what was taken from the log, or from dead letters of before a seek, is accounted for, term by term. */
export async function conservation(subscription: SubscriptionCalls): Promise<number> {
  const s = value(await subscription.stats());
  const sum = s.settled + s.filtered + s.expired + s.dead + s.purged + s.moved + s.leased + s.waiting;
  return s.nextOffset - s.startOffset + s.readmitted - sum;
}
