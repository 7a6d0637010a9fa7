// Messages that nobody matched, on the real objects: looked at once, when they are stored, and told again after a restart.

import { evictDurableObject } from "cloudflare:test";
import { expect, test } from "vitest";
import type { Filter } from "../../src/filter-form";
import { unpackRecords } from "../../src/record-batch";
import {
  message,
  newSubscription,
  newTopic,
  recordBatch,
  testRuntime,
  useRuntime,
  value,
} from "../support/objects";

const of = (subject: string): Filter => ({ subject: [subject] });
const about = (subject: string, more: object = {}) => message(subject, { subject, ...more });

async function world() {
  const made = await newTopic();
  const { topic } = made;
  let readers = 0;
  const attach = async (filter: Filter | null) => {
    const generation = `reader-${++readers}`;
    const startAt = { at: "latest" } as const;
    value(await topic.attach({ generation, startAt, wanted: { version: 1, filter } }));
    return generation;
  };
  const describe = async (generation: string, filter: Filter | null, version = 2) =>
    value(await topic.describe({ readers: [{ generation, filter, version }] }));
  const marked = async () => {
    const { runs } = value(await topic.read({ from: 0, maxBytes: 1_000_000 }));
    const all = runs.flatMap(({ records }) => unpackRecords(records));
    return all.filter(({ unmatched }) => unmatched).map(({ id }) => id);
  };
  return { ...made, attach, describe, marked };
}

test("what nobody matches is marked from when an alternate reads, by the filters of then, also after a restart", async () => {
  const { topic, attach, describe, publish, marked } = await world();
  const reader = await attach(of("a"));
  await publish(about("before"));
  await attach({ unmatched: true });
  await publish(about("a"), about("b"));
  expect(await marked()).toEqual(["b"]);
  await evictDurableObject(topic);
  await publish(about("c"));
  await describe(reader, of("d"));
  await publish(about("a"), about("d"));
  await describe(reader, of("a"), 1);
  await publish(about("d"));
  expect(await marked()).toEqual(["b", "c", "a"]);
});

test("a reader that ends, and an alternate that does, count no more", async () => {
  const { topic, attach, publish, marked } = await world();
  const [reader, alternate] = [await attach(null), await attach({ unmatched: true })];
  await publish(about("1"));
  value(await topic.detach({ generation: reader }));
  await publish(about("2"));
  value(await topic.detach({ generation: alternate }));
  await publish(about("3"));
  expect(await marked()).toEqual(["2"]);
});

test("a delayed message is looked at when it is due", async () => {
  const { topic, generation, attach, describe, marked } = await world();
  const clock = testRuntime();
  await useRuntime(topic, clock);
  const reader = await attach(of("later"));
  await attach({ unmatched: true });
  const deliverAt = clock.now() + 1_000;
  value(await topic.append({ batches: [recordBatch(generation, [about("later", { deliverAt })])] }));
  await describe(reader, of("other"));
  clock.advance(2_000);
  expect(await marked()).toEqual(["later"]);
});

test("an alternate takes what is marked, and the law and its audit hold", async () => {
  const made = await world();
  await made.attach(of("a"));
  const filter: Filter = { unmatched: true };
  const alternate = await newSubscription(made, { filter });
  await made.describe(alternate.generation, filter);
  await made.publish(about("a"), about("b"), about("a"), about("c"));
  const lease = await alternate.pull();
  expect(lease.deliveries.map(({ offset }) => offset)).toEqual([1, 3]);
  expect(value(await alternate.subscription.stats())).toMatchObject({ filtered: 2, leased: 2 });
  expect(value(await alternate.subscription.audit({ from: 0 }))).toMatchObject({ holds: true });
  expect(value(await alternate.subscription.whereabouts({ offset: 0 })).where).toMatchObject({
    state: "filtered",
  });
});
