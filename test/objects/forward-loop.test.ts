// A loop among topics that nobody could see when it was configured: what goes round ends as a dead letter, with its message.

import { expect, test } from "vitest";
import { CatalogStore, type TopicEntry } from "../../src/catalog/catalog-store";
import { putSubscription } from "../../src/catalog/subscription-lifecycle";
import { putTopic } from "../../src/catalog/topic-lifecycle";
import { objectName } from "../../src/object-name";
import { unpackRecords } from "../../src/record-batch";
import { systemRuntime } from "../../src/runtime";
import { defaultSubscriptionSettings, defaultTopicSettings } from "../../src/settings";
import { api } from "../support/api";
import { bindings, message, recordBatch, value } from "../support/objects";

const store = new CatalogStore(bindings.CATALOG, systemRuntime, () => undefined);
const catalog = { env: bindings, store, runtime: systemRuntime };
const OF_THE_BROKER = systemRuntime.newId();

async function topic() {
  const wanted = {
    name: `loop-${crypto.randomUUID()}`,
    kind: "topic",
    settings: defaultTopicSettings,
  } as const;
  return value(await putTopic(catalog, wanted)).entry;
}

/** Past the routes, which would refuse the second of two. */
async function forward(from: TopicEntry, to: TopicEntry) {
  const settings = {
    ...defaultSubscriptionSettings,
    type: "forward" as const,
    forward: { topic: to.name, generation: to.generation },
  };
  const wanted = { topic: from, name: "on", settings, startAt: { at: "earliest" } } as const;
  const { generation } = value(await putSubscription(catalog, wanted)).entry;
  return bindings.SUBSCRIPTION.getByName(objectName(generation, 0));
}

test("a message that goes round two topics is forwarded eight times, and then dead with reason loop", async () => {
  const [a, b] = [await topic(), await topic()];
  const [there, back] = [await forward(a, b), await forward(b, a)];
  const batch = recordBatch(a.generation, [message(OF_THE_BROKER, { subject: "round" })]);
  value(await bindings.TOPIC.getByName(objectName(a.generation, 0)).append({ batches: [batch] }));
  const letters = await api.eventually("it is dead", async () => {
    const letters = value(await there.deadLetters({ after: -1, limit: 10 }));
    return letters.length > 0 ? letters : undefined;
  });
  expect(letters).toMatchObject([{ offset: 4, reason: "loop", attempts: 1 }]);
  const [last] = letters.flatMap(({ record }) => (record ? unpackRecords(record) : []));
  expect(last).toMatchObject({ id: OF_THE_BROKER, subject: "round", hops: 8 });
  expect(value(await there.stats())).toMatchObject({ settled: 4, dead: 1, nextOffset: 5 });
  expect(value(await back.stats())).toMatchObject({ settled: 4, dead: 0, nextOffset: 4 });
  for (const each of [there, back])
    expect(value(await each.audit({ from: 0 }))).toMatchObject({ holds: true });
});
