// What an object learns from another it tells as its own. Handed on as it came, an answer brings the call that it is of: the
// platform holds that open until somebody disposes of it, and complains when nobody does.

import { runInDurableObject } from "cloudflare:test";
import { expect, test } from "vitest";
import type { Result } from "../../src/errors";
import { objectName } from "../../src/object-name";
import { defaultTopicSettings } from "../../src/settings";
import type { SubscriptionCalls } from "../../src/subscription-calls";
import type { TopicCalls } from "../../src/topic-calls";
import { bindings, message, newSubscription, newTopic, recordBatch, value } from "../support/objects";

/** Calls an object from within: what it answers, before that crosses the call. */
async function answered<C>(stub: unknown, call: (calls: C) => Promise<Result<unknown>>) {
  return runInDurableObject(stub as DurableObjectStub, async (instance) => {
    const answer = await call(instance as unknown as C);
    return {
      ok: answer.ok,
      code: answer.ok ? undefined : answer.error.code,
      brings: Symbol.dispose in answer,
    };
  });
}

/** A partition, the one that a raise made of it, and what makes either. */
async function family() {
  const generation = `handed-${crypto.randomUUID()}`;
  const at = (partition: number) => bindings.TOPIC.getByName(objectName(generation, partition));
  const make = async (partition: number, parent?: number) => {
    const life = { topic: "orders", generation, partition, settings: defaultTopicSettings, version: 1 };
    value(await at(partition).provision({ ...life, ...(parent !== undefined && { parent }) }));
    return at(partition);
  };
  return { generation, at, make };
}

test("an answer that crossed a call brings that call, which is what no object's own may do", async () => {
  const { topic } = await newTopic();
  expect(Symbol.dispose in (await topic.stats())).toBe(true);
  expect(await answered<TopicCalls>(topic, (calls) => calls.stats())).toMatchObject({
    ok: true,
    brings: false,
  });
});

test("how far a producer came before a raise is told by its new partition as its own", async () => {
  const { make } = await family();
  const [parent, child] = [await make(0), await make(1, 0)];
  value(await parent.beginProducer({ name: "relay", lastSequence: 7 }));
  value(await parent.cut({ partitions: 2 }));
  const told = await answered<TopicCalls>(child, (calls) => calls.producer({ name: "relay" }));
  expect(told).toEqual({ ok: true, code: undefined, brings: false });
});

test("that the partition of before is gone is told by a publish as its own, and so are ids and producers", async () => {
  const { make, generation } = await family();
  const [parent, child] = [await make(0), await make(1, 0)];
  value(await parent.remove());
  const batch = {
    ...recordBatch(generation, [message("a")], { a: "print of a" }),
    partition: 1,
    partitions: 2,
  };
  for (const call of [
    (calls: TopicCalls) => calls.append({ batches: [batch] }),
    (calls: TopicCalls) => calls.knows({ ids: ["a"], child: 3 }),
    (calls: TopicCalls) => calls.producer({ name: "relay" }),
  ]) {
    expect(await answered<TopicCalls>(child, call)).toEqual({ ok: false, code: "gone", brings: false });
  }
});

test("that delayed messages could not be handed over is told by a raise as its own", async () => {
  const { make, generation } = await family();
  const parent = await make(0);
  const keyed = ["a", "b", "c", "d"].map((id) =>
    message(id, { orderingKey: id, deliverAt: Date.now() + 1e8 }),
  );
  const scheduled = keyed.map(({ id, deliverAt = 0 }, index) => ({ index, id, deliverAt }));
  value(await parent.append({ batches: [{ ...recordBatch(generation, keyed), scheduled }] }));
  const told = await answered<TopicCalls>(parent, (calls) => calls.cut({ partitions: 2 }));
  expect(told).toEqual({ ok: false, code: "gone", brings: false });
});

test("that the log is gone is told by a seek as its own", async () => {
  const published = await newTopic();
  const { subscription } = await newSubscription(published);
  value(await published.topic.remove());
  const seek = { seekId: "s", to: { at: "earliest" }, reprocess: false, dryRun: true } as never;
  const told = await answered<SubscriptionCalls>(subscription, (calls) => calls.seek(seek));
  expect(told).toEqual({ ok: false, code: "gone", brings: false });
});
