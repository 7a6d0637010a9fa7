// An isolate that has not heard of a raise yet: what it publishes reaches the new partitions, and what other isolates
// handed out of them can be settled here.

import { env } from "cloudflare:workers";
import { expect, test } from "vitest";
import { CatalogStore } from "../../src/catalog/catalog-store";
import { putTopic } from "../../src/catalog/topic-lifecycle";
import type { Env } from "../../src/env";
import { objectName } from "../../src/object-name";
import { partitionOf } from "../../src/record-batch";
import { systemRuntime } from "../../src/runtime";
import { defaultTopicSettings, type TopicSettings } from "../../src/settings";
import { fakeD1, must } from "../catalog/fakes";
import { type Published, unique } from "../support/contract-client";
import { brokerUnderTest } from "../support/contract-target";

const api = await brokerUnderTest();

/** Raises a topic as another isolate does: this one's memory of it stays as it is. */
const raiseElsewhere = (name: string, partitions: number) => putElsewhere(name, { partitions });

async function putElsewhere(name: string, put: { partitions?: number; settings?: TopicSettings }) {
  const elsewhere: Env = { ...(env as unknown as Env), CATALOG: fakeD1() };
  const store = new CatalogStore(elsewhere.CATALOG, systemRuntime);
  const catalog = { env: elsewhere, store, runtime: systemRuntime };
  const wanted = { name, kind: "topic", settings: defaultTopicSettings, ...put } as const;
  must(await putTopic(catalog, wanted));
  return { store, topic: must(await store.topic(name)) };
}

test("what an isolate binds by the old number of partitions is stored by the new one, and an atomic publish stays whole", async () => {
  const name = unique("topic");
  const topic = await api.topic({}, name);
  await topic.subscribe({}, "audit");
  await topic.publish({ id: "before", data: 0 });
  const raised = await raiseElsewhere(name, 4);
  const keys = Array.from({ length: 12 }, (_, i) => `key-${i}`);
  const published = await topic.publish(
    ...keys.map((key) => ({ id: `m-${key}`, orderingKey: key, data: key })),
  );
  expect(published.map(({ id, partition }) => [id, partition])).toEqual(
    keys.map((key) => [`m-${key}`, partitionOf(key, 4)]),
  );
  const again = await topic.publish(...keys.map((key) => ({ id: `m-${key}`, orderingKey: key, data: key })));
  expect(again).toMatchObject(published.map((each) => ({ ...each, duplicate: true })));

  const [one, other] = [
    keys.find((key) => partitionOf(key, 4) === 1),
    keys.find((key) => partitionOf(key, 4) === 2),
  ];
  const atomic = (...orderingKeys: (string | undefined)[]) =>
    topic.batch({ atomic: true, messages: orderingKeys.map((orderingKey) => ({ orderingKey, data: 1 })) });
  expect(await atomic(one, one)).toMatchObject({ status: 201, body: { messages: [{ partition: 1 }, {}] } });
  const spanning = await atomic(one, other);
  expect(spanning).toMatchObject({ status: 422 });
  expect(spanning.body.type).toContain("atomic-spans-partitions");

  const subscription = must(await raised.store.subscription(raised.topic, "audit"));
  const { SUBSCRIPTION } = env as unknown as Env;
  const leaseId = crypto.randomUUID();
  const object = SUBSCRIPTION.getByName(objectName(subscription.generation, 1));
  const lease = must(await object.pull({ leaseId, max: 1, maxBytes: 1_000, waitMs: 0 }));
  const ackIds = lease.deliveries.map(({ offset }) => `1.${offset}.${leaseId}`);
  const acked = await api.call<{ results: { status: string }[] }>(
    "POST",
    `${topic.path}/subscriptions/audit/ack`,
    {
      json: { ackIds: [...ackIds, ...[3, 9, 99].map((partition) => `${partition}.0.${leaseId}`)] },
    },
  );
  expect(acked.results.map(({ status }) => status)).toEqual([
    ...lease.deliveries.map(() => "acked"),
    ...["lease-lost", "lease-lost", "lease-lost"],
  ]);
});

test("an accepted publish that an isolate binds by the old number is stored once, where it belongs", async () => {
  const name = unique("topic");
  const topic = await api.topic({}, name);
  await topic.publish({ id: "before", data: 0 });
  const { topic: raised } = await raiseElsewhere(name, 4);
  const ids = Array.from({ length: 12 }, (_, i) => `m-${i}`);
  const accepted = await topic.batch({ messages: ids.map((id) => ({ id, data: id })) });
  expect(accepted.status).toBe(202);
  const { TOPIC } = env as unknown as Env;
  const found = await api.eventually("every message is stored", async () => {
    const heads = [0, 1, 2, 3].map(async (partition) => {
      return must(await TOPIC.getByName(objectName(raised.generation, partition)).stats()).head;
    });
    const sum = (await Promise.all(heads)).reduce((total, head) => total + head, 0);
    return sum === ids.length + 1 ? sum : undefined;
  });
  expect(found).toBe(13);
  const again = await topic.publish(...ids.map((id) => ({ id, data: id })));
  expect(again.map(({ partition, duplicate }: Published) => [partition, duplicate])).toEqual(
    ids.map((id) => [partitionOf(id, 4), true]),
  );
});

test("a priority that was added elsewhere is not refused: an isolate that does not know it looks again", async () => {
  const name = unique("topic");
  const topic = await api.topic({}, name);
  await topic.publish({ id: "before", data: 0 });
  await putElsewhere(name, { settings: { ...defaultTopicSettings, priorities: [0, 9] } });
  const raw = await topic.publishRaw("x", { "Pennypost-Priority": "9", prefer: "wait" });
  expect(raw).toMatchObject({ status: 201, body: { messages: [{ partition: 1 }] } });
  const [again, high] = await topic.publish({ id: "before", data: 0 }, { id: "high", data: 1, priority: 9 });
  expect([again, high]).toMatchObject([
    { partition: 0, duplicate: true },
    { partition: 1, offset: 1 },
  ]);
});

test("dead letters of a partition that an isolate has not heard of are shown, redriven and purged by their ids", async () => {
  const name = unique("topic");
  const topic = await api.topic({}, name);
  await topic.subscribe({}, "audit");
  const raised = await raiseElsewhere(name, 2);
  const keys = Array.from({ length: 12 }, (_, i) => `key-${i}`);
  const orderingKey = keys.find((each) => partitionOf(each, 2) === 1) ?? "";
  await topic.publish(...["a", "b"].map((id) => ({ id, data: id, orderingKey })));
  const subscription = must(await raised.store.subscription(raised.topic, "audit"));
  const { SUBSCRIPTION } = env as unknown as Env;
  const object = SUBSCRIPTION.getByName(objectName(subscription.generation, 1));
  const leaseId = crypto.randomUUID();
  const lease = must(await object.pull({ leaseId, max: 1, maxBytes: 1_000, waitMs: 0 }));
  const refs = lease.deliveries.map(({ offset }) => ({ offset, leaseId }));
  const die = () => object.nack({ refs, deadLetter: true });
  must(await die());
  const letters = `${topic.path}/subscriptions/audit/dead-letters`;
  expect(await api.call("GET", `${letters}/1.0.0`)).toMatchObject({ id: "1.0.0", message: { id: "a" } });
  const elsewhere = ["1.0.0", "5.0.0", "900.0.0"];
  const redriven = await api.call("POST", `${letters}/redrive`, { json: { ids: elsewhere } });
  expect(redriven).toMatchObject({ redriven: 1, refused: 0, more: false });
  const again = must(await object.pull({ leaseId: crypto.randomUUID(), max: 1, maxBytes: 1_000, waitMs: 0 }));
  expect(again.deliveries.map(({ offset }) => offset)).toEqual([0]);
  must(await object.nack({ refs: [{ offset: 0, leaseId: again.leaseId }], deadLetter: true }));
  expect(await api.call("DELETE", letters, { json: { ids: elsewhere } })).toEqual({ purged: 1, more: false });
  expect((await api.send("GET", `${letters}/5.0.0`)).status).toBe(404);
});
