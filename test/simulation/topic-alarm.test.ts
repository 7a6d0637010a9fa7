// A topic's alarm stays armed until every reader has said that it knows: on the real object, with subscriptions that
// answer late, or not at all.
import { expect, test } from "vitest";
import type { Result } from "../../src/errors";
import { ok } from "../../src/errors";
import { limits } from "../../src/limits";
import { packRecords } from "../../src/record-batch";
import { defaultTopicSettings } from "../../src/settings";
import type { NotifyCall } from "../../src/subscription-calls";
import { TopicObject } from "../../src/topic/topic-object";
import { ObjectStorage } from "./object-storage";

type Notify = (call: NotifyCall) => Promise<Result<{ informedTo: number }>>;
type Topic = InstanceType<typeof TopicObject>;

const GENERATION = "g";
const knows: Notify = async ({ head }) => ok({ informedTo: head });
const fails: Notify = () => Promise.reject(new Error("Network connection lost."));
const TopicClass = TopicObject as unknown as new (ctx: unknown, env: unknown) => Topic;

/** A topic's object over `storage`, whose one subscription answers as `answer.notify` does at the time. */
function topicOver(storage: ObjectStorage, clock: { now: number }, answer: { notify: Notify }) {
  const pending: Promise<unknown>[] = [];
  const ctx = {
    ...{ storage, blockConcurrencyWhile: (work: () => Promise<void>) => work() },
    waitUntil: (work: Promise<unknown>) => void pending.push(work.catch(() => undefined)),
  };
  const subscription = { notify: (call: NotifyCall) => answer.notify(call) };
  const topic = new TopicClass(ctx, { SUBSCRIPTION: { getByName: () => subscription } });
  topic.runtime = { now: () => clock.now, random: () => 0, newId: () => "id" };
  /** Lets 5 s pass and rings the alarm, which must be due. */
  const ring = async () => {
    clock.now += limits.notifyAgainMs;
    expect(storage.alarmAt).toBeLessThanOrEqual(clock.now);
    storage.alarmAt = undefined;
    await topic.alarm();
  };
  return { topic, ring, idle: () => Promise.all(pending) };
}

async function publish(topic: Topic): Promise<void> {
  const message = { id: "m", publishedAt: 1, contentType: "text/plain", body: new Uint8Array(1) };
  const head = { batchId: "b", generation: GENERATION, partition: 0, count: 1, clientIds: [] };
  await topic.append({ batches: [{ ...head, records: packRecords([message]) }] });
}

async function create(topic: Topic): Promise<void> {
  const settings = defaultTopicSettings;
  await topic.provision({ topic: "t", generation: GENERATION, partition: 0, settings, version: 1 });
  await topic.attach({ generation: "s", startAt: { at: "latest" } });
}

test("a notify that is still under way when the alarm rings, and then fails, is repeated", async () => {
  const storage = new ObjectStorage();
  let fail: (fault: Error) => void = () => undefined;
  const hangs: Notify = () => new Promise((_, reject) => (fail = reject));
  const answer = { notify: hangs };
  const { topic, ring, idle } = topicOver(storage, { now: 1_000_000 }, answer);
  await create(topic);
  await publish(topic);
  await ring();
  expect(storage.alarmAt, "nobody knows whether the notify will arrive").toBeDefined();
  answer.notify = knows;
  fail(new Error("Network connection lost."));
  await idle();
  await ring();
  await idle();
  expect(storage.alarmAt).toBeDefined();
  await ring();
  expect(storage.alarmAt, "everybody knows").toBeUndefined();
});

test("a notify that fails after a restart is repeated", async () => {
  const storage = new ObjectStorage();
  const clock = { now: 1_000_000 };
  const answer = { notify: fails };
  const before = topicOver(storage, clock, answer);
  await create(before.topic);
  await publish(before.topic);
  await before.idle();
  const { ring, idle } = topicOver(storage, clock, answer);
  await ring();
  await idle();
  expect(storage.alarmAt, "the reader has not said that it knows").toBeDefined();
  answer.notify = knows;
  await ring();
  await idle();
  await ring();
  expect(storage.alarmAt, "everybody knows").toBeUndefined();
});
