// Clause 16 for a topic with priorities, beside pulls: what each priority is to ids, producers, atomic batches, events and
// bounds, and what has the default.

import { describe, expect, test } from "vitest";
import { codeOf, type Delivered, unique } from "../support/contract-client";
import { ids } from "../support/contract-scenes";
import { brokerUnderTest } from "../support/contract-target";

const broker = await brokerUnderTest();
const event = { specversion: "1.0", source: "/shop", type: "order" };
const shares = (deliveries: readonly Delivered[]) => deliveries.map(({ id, priority }) => [id, priority]);

describe("clause 16", () => {
  test("clause 16: an atomic batch is of one priority", async () => {
    const queue = await broker.queue({ priorities: [0, 9] });
    const of = (...priorities: number[]) => ({
      atomic: true,
      messages: priorities.map((priority) => ({ data: priority, priority })),
    });
    const refused = await queue.batch(of(0, 9));
    expect([refused.status, codeOf(refused.body)]).toEqual([422, "atomic-spans-partitions"]);
    expect((await queue.batch(of(9, 9))).status).toBe(201);
    expect((await queue.stats()).map(({ head }) => head)).toEqual([0, 2]);
  });

  test("clause 16: a producer counts in each priority by itself", async () => {
    const queue = await broker.queue({ priorities: [0, 9] });
    const publish = (priority: string, sequence: string) =>
      queue.publishRaw("x", {
        ...{ "pennypost-producer": "relay", "pennypost-sequence": sequence },
        "pennypost-priority": priority,
      });
    expect((await publish("9", "1")).status).toBe(201);
    expect((await publish("0", "1")).body.messages).toMatchObject([{ partition: 0, offset: 0 }]);
    expect(codeOf((await publish("0", "3")).body)).toBe("sequence-gap");
    expect((await publish("9", "2")).status).toBe(201);
  });

  test("clause 16: an event takes the header, and what comes in a batch of events or was moved has the default", async () => {
    const queue = await broker.queue({ priorities: [0, 9] });
    const headers = { "content-type": "application/cloudevents+json", "pennypost-priority": "9" };
    await queue.publishRaw(JSON.stringify({ ...event, id: "one" }), headers);
    await queue.publishRaw(JSON.stringify([{ ...event, id: "many" }]), {
      ...headers,
      "content-type": "application/cloudevents-batch+json",
    });
    const other = await broker.queue({ priorities: [0, 5] });
    await other.publish({ id: "moved", data: 1, priority: 5 });
    await other.nack(await other.pullAll(1), { deadLetter: true });
    const json = { all: true, toTopic: queue.path.split("/").at(-1) };
    await broker.call("POST", `${other.path}/dead-letters/redrive`, { json });
    expect(shares(await queue.pullAll(3)).sort()).toEqual([
      ["many", 0],
      ["moved", 0],
      ["one", 9],
    ]);
  });

  test("clause 16: a consumer that holds all it may of one priority is still handed another", async () => {
    const queue = await broker.queue({ priorities: [0, 9], maxInFlight: 1 });
    await queue.publish(
      { id: "high", data: 1, priority: 9 },
      { id: "higher", data: 2, priority: 9 },
      { id: "low", data: 3 },
    );
    expect(ids(await queue.pullAll(2)).sort()).toEqual(["high", "low"]);
    expect(await queue.pull()).toEqual([]);
  });

  test("clause 16: partitions and priorities make 64 partitions at the most", async () => {
    const put = (json: object) => broker.send("PUT", `/v1/topics/${unique("topic")}`, { json });
    const { status, body } = await put({ partitions: 33, priorities: [0, 1] });
    expect([status, body.field]).toEqual([400, "priorities"]);
    const full = await broker.topic({ partitions: 32, priorities: [0, 1] });
    const refused = await broker.send("PUT", full.path, { json: { partitions: 32, priorities: [0, 1, 2] } });
    expect([refused.status, refused.body.field]).toEqual([400, "priorities"]);
  });

  test("clause 16: a topic and its subscription say which partition is of which priority", async () => {
    const topic = await broker.topic({ partitions: 2, priorities: [0, 9] });
    const subscription = await topic.subscribe();
    const priorities = [0, 0, 9, 9].map((priority, partition) => ({ partition, priority }));
    for (const { path } of [topic, subscription]) {
      expect(await broker.call("GET", `${path}/stats`)).toMatchObject({ partitions: priorities });
    }
  });
});
