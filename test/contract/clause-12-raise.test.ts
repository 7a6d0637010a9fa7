// Clause 12 across a raise of a topic's partitions, while it is published to and read.

import { describe, expect, test } from "vitest";
import type { Delivered } from "../support/contract-client";
import { brokerUnderTest } from "../support/contract-target";

const broker = await brokerUnderTest();
const KEYS = Array.from({ length: 12 }, (_, i) => `key-${i}`);
/** One message of each key, the `round`th. */
const round = (n: number) => KEYS.map((key) => ({ id: `${key}-${n}`, orderingKey: key, data: n }));

/** Takes and settles all that comes until `count` messages have come. */
async function drain(reader: Awaited<ReturnType<typeof broker.queue>>, count: number): Promise<Delivered[]> {
  const all: Delivered[] = [];
  // Other isolates of a deployment may know the new partitions half a minute later.
  for (let empty = 0; all.length < count; ) {
    const some = await reader.pull({ max: 7, waitMs: 10_000 });
    if (some.length === 0 && ++empty > 4) throw new Error(`only ${all.length} of ${count} messages came`);
    all.push(...some);
    expect(await reader.ack(some)).toEqual(some.map(() => "acked"));
  }
  return all;
}

describe("clause 12", () => {
  test("clause 12: a raise from 1 to 4 partitions under way of publishes keeps every key in order and loses nothing", async () => {
    const queue = await broker.queue({ ackDeadlineMs: 120_000 });
    for (let n = 0; n < 3; n++) await queue.publish(...round(n));
    const publishing = (async () => {
      for (let n = 3; n < 8; n++) await queue.publish(...round(n));
    })();
    await broker.call("PUT", queue.path, { json: { partitions: 4, ackDeadlineMs: 120_000 } });
    await publishing;
    for (let n = 8; n < 10; n++) await queue.publish(...round(n));
    const delivered = await drain(queue, KEYS.length * 10);
    expect(delivered).toHaveLength(KEYS.length * 10);
    for (const key of KEYS) {
      const seen = delivered.filter(({ orderingKey }) => orderingKey === key).map(({ data }) => data);
      expect([key, seen]).toEqual([key, Array.from({ length: 10 }, (_, n) => String(n))]);
    }
    expect(new Set(delivered.map(({ partition }) => partition)).size).toBeGreaterThan(1);
    const partitions = await queue.stats();
    expect(partitions).toHaveLength(4);
    for (const each of partitions) {
      expect(each.unread + each.leased + each.waiting).toBe(0);
      expect(each.nextOffset - each.startOffset).toBe(each.settled);
    }
  });

  test("clause 12: after a raise a key's next message waits for the one before it, in its former partition", async () => {
    const queue = await broker.queue({ ackDeadlineMs: 120_000 });
    await queue.publish(...round(0));
    const before = await queue.pullAll(KEYS.length);
    await broker.call("PUT", queue.path, { json: { partitions: 4, ackDeadlineMs: 120_000 } });
    const after = await queue.publish(...round(1), { id: "free", data: "free" });
    const moved = KEYS.filter((_, i) => after[i]?.partition !== 0);
    expect(moved.length).toBeGreaterThan(0);
    const early = await queue.pullAll(1);
    expect(early.map(({ id }) => id)).toEqual(["free"]);
    const [first] = before.filter(({ orderingKey }) => orderingKey === moved[0]);
    if (!first) throw new Error("the key was not delivered");
    await queue.ack([first]);
    expect((await queue.pullAll(1)).map(({ id }) => id)).toEqual([`${moved[0]}-1`]);
  });

  test("clause 12: a delayed message of before a raise takes its turn among those of after it", async () => {
    const queue = await broker.queue({ ackDeadlineMs: 120_000 });
    const some = KEYS.slice(0, 4);
    await queue.publish(
      ...some.map((key) => ({ id: `${key}-late`, orderingKey: key, data: "late", delayMs: 4_000 })),
    );
    await broker.call("PUT", queue.path, { json: { partitions: 4, ackDeadlineMs: 120_000 } });
    await queue.publish(...some.map((key) => ({ id: `${key}-early`, orderingKey: key, data: "early" })));
    await broker.lapse(5_000);
    await queue.publish(...some.map((key) => ({ id: `${key}-last`, orderingKey: key, data: "last" })));
    const delivered = await drain(queue, some.length * 3);
    for (const key of some) {
      const seen = delivered.filter(({ orderingKey }) => orderingKey === key);
      expect([key, seen.map(({ data }) => data)]).toEqual([key, ["early", "late", "last"]]);
      expect(new Set(seen.map(({ partition }) => partition)).size).toBe(1);
    }
  });

  test("clause 12: the number of partitions is raised to a multiple of what it is, and to nothing else", async () => {
    const topic = await broker.topic({ partitions: 2 });
    for (const partitions of [1, 3, 7]) {
      const { status, body } = await broker.send("PUT", topic.path, { json: { partitions } });
      expect([status, body]).toMatchObject([409, { field: "partitions", limit: 2 }]);
    }
    const tooMany = await broker.send("PUT", topic.path, { json: { partitions: 66 } });
    expect(tooMany).toMatchObject({ status: 400, body: { field: "partitions", limit: 64 } });
    expect(await broker.call("PUT", topic.path, { json: { partitions: 6 } })).toMatchObject({
      partitions: 6,
    });
    expect(await broker.call("PUT", topic.path, { json: {} })).toMatchObject({ partitions: 6 });
  });

  test("clause 12: a replay after a raise has every key in order again, through both of its partitions", async () => {
    const queue = await broker.queue({ ackDeadlineMs: 120_000 });
    for (let n = 0; n < 3; n++) await queue.publish(...round(n));
    await broker.call("PUT", queue.path, { json: { partitions: 4, ackDeadlineMs: 120_000 } });
    for (let n = 3; n < 6; n++) await queue.publish(...round(n));
    await drain(queue, KEYS.length * 6);
    await broker.call("POST", `${queue.path}/seek`, { json: { to: "earliest", reprocess: true } });
    const again = await drain(queue, KEYS.length * 6);
    for (const key of KEYS) {
      const seen = again.filter(({ orderingKey }) => orderingKey === key).map(({ data }) => data);
      expect([key, seen]).toEqual([key, ["0", "1", "2", "3", "4", "5"]]);
    }
  });
});
