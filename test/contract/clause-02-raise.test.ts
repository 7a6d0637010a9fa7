// Clause 2 across a raise of a topic's partitions: an id belongs to another partition, and is known there.

import { describe, expect, test } from "vitest";
import type { Published } from "../support/contract-client";
import { brokerUnderTest } from "../support/contract-target";

const broker = await brokerUnderTest();

describe("clause 2", () => {
  test("clause 2: an id that was published before a raise and comes again after it is one message, at its first place", async () => {
    const topic = await broker.topic();
    const reader = await topic.subscribe();
    const messages = Array.from({ length: 20 }, (_, i) => ({ id: `order-${i}`, data: i }));
    const first = await topic.publish(...messages);
    await broker.call("PUT", topic.path, { json: { partitions: 8 } });
    const again = await topic.publish(...messages, { id: "new", data: "new" });
    const place = ({ partition, offset }: Published) => [partition, offset];
    expect(again.slice(0, 20).map(place)).toEqual(first.map(place));
    expect(again.map(({ duplicate }) => duplicate)).toEqual([...messages.map(() => true), false]);
    expect(await reader.pullAll(21)).toHaveLength(21);
    const changed = await topic.batch({ messages: [{ id: "order-3", data: "other" }] }, { prefer: "wait" });
    expect(changed.status).toBe(422);
  });

  test("clause 2: ids that are published again and again while the partitions are raised twice are stored once", async () => {
    const topic = await broker.topic();
    const reader = await topic.subscribe();
    const messages = Array.from({ length: 10 }, (_, i) => ({ id: `m-${i}`, data: i }));
    const publish = async (times: number) => {
      for (let i = 0; i < times; i++) await topic.publish(...messages);
    };
    const raise = async () => {
      await broker.call("PUT", topic.path, { json: { partitions: 3 } });
      await broker.call("PUT", topic.path, { json: { partitions: 12 } });
    };
    await Promise.all([publish(4), raise()]);
    await publish(1);
    expect((await reader.pullAll(10)).map(({ id }) => id).sort()).toEqual(messages.map(({ id }) => id));
    const heads = (await reader.stats()).map(({ head }) => head);
    expect(heads).toHaveLength(12);
    expect(heads.reduce((sum, head) => sum + head, 0)).toBe(10);
  });
});
