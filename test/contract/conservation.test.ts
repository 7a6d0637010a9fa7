// Clauses 18 to 20: retention, pausing and deleting, and the law that nothing gets lost in between.

import { describe, expect, test } from "vitest";
import { ARRIVES_MS, codeOf, type PartitionStats } from "../support/contract-client";
import { brokerUnderTest } from "../support/contract-target";

const broker = await brokerUnderTest();
const EAGER = { retry: { minDelayMs: 0, maxDelayMs: 0 } };
const ids = (messages: readonly { id: string }[]) => messages.map(({ id }) => id);
const named = (...names: string[]) => names.map((id) => ({ id, data: id }));
const sum = (stats: readonly PartitionStats[], term: keyof PartitionStats) =>
  stats.reduce((total, partition) => total + partition[term], 0);

describe("clause 18", () => {
  test("clause 18: messages are kept for seven days unless the topic says otherwise", async () => {
    const topic = await broker.topic();
    expect(await broker.call("GET", topic.path)).toMatchObject({ retentionMs: 7 * 86_400_000 });
  });

  test("clause 18: a retention that no clock could keep is refused", async () => {
    const topic = await broker.topic();
    for (const retentionMs of [0, 59_999, 366 * 86_400_000]) {
      const { status, body } = await broker.send("PUT", topic.path, { json: { retentionMs } });
      expect([status, codeOf(body), body.field]).toEqual([400, "invalid-request", "retentionMs"]);
    }
  });
});

describe("clause 19", () => {
  test("clause 19: while it is paused nothing is handed out, and nothing is lost", async () => {
    const queue = await broker.queue(EAGER);
    await queue.publish(...named("a", "b"));
    const leased = await queue.pullAll(1, { max: 1 });
    await queue.pause();
    expect(await queue.pull({ waitMs: 300 })).toEqual([]);
    await queue.publish(...named("c"));
    expect(await queue.ack(leased)).toEqual(["acked"]);
    await queue.resume();
    expect(ids(await queue.pullAll(2))).toEqual(["b", "c"]);
  });

  test("clause 19: whoever polls while it is paused is answered when it resumes", async () => {
    const queue = await broker.queue(EAGER);
    await queue.publish(...named("a"));
    await queue.pause();
    const polling = queue.pull({ waitMs: ARRIVES_MS });
    await queue.resume();
    expect(ids(await polling)).toEqual(["a"]);
  });

  test("clause 19: a pause of push sends nothing, and what was published meanwhile is sent after", async () => {
    const [topic, receiver] = [await broker.topic(), await broker.receiver()];
    const subscription = await topic.subscribe({ type: "push", endpoint: { url: receiver.url } });
    await subscription.pause();
    await topic.publish(...named("a", "b"));
    const [other] = [await topic.subscribe()];
    await other.pullAll(2);
    expect(receiver.hooks).toHaveLength(0);
    await subscription.resume();
    expect((await receiver.first(2)).map(({ headers }) => headers.get("webhook-id")).sort()).toEqual([
      "a",
      "b",
    ]);
  });

  test("clause 19: what was in flight of a deleted subscription is answered as gone, and others go on", async () => {
    const topic = await broker.topic();
    const [deleted, other] = [await topic.subscribe(), await topic.subscribe()];
    await topic.publish(...named("a"));
    const leased = await deleted.pullAll(1);
    await broker.call("DELETE", deleted.path);
    await broker.call("DELETE", deleted.path);
    for (const [verb, json] of [
      ["ack", { ackIds: leased.map(({ ackId }) => ackId) }],
      ["pull", {}],
    ] as const) {
      const { status, body } = await broker.send("POST", `${deleted.path}/${verb}`, { json });
      expect([status, codeOf(body)]).toEqual([404, "subscription-not-found"]);
    }
    expect(ids(await other.pullAll(1))).toEqual(["a"]);
  });

  test("clause 19: a subscription that is made again under its name starts anew", async () => {
    const topic = await broker.topic();
    const first = await topic.subscribe(EAGER, "billing");
    await topic.publish(...named("a", "b"));
    const leased = await first.pullAll(1, { max: 1 });
    await broker.call("DELETE", first.path);
    const second = await topic.subscribe(EAGER, "billing");
    expect(await second.ack(leased)).toEqual(["lease-lost"]);
    expect(ids(await second.pullAll(2))).toEqual(["a", "b"]);
  });

  test("clause 19: a topic that is made again under its name has none of its messages", async () => {
    const topic = await broker.topic();
    const name = topic.path.slice("/v1/topics/".length);
    await topic.publish(...named("a"));
    await broker.call("DELETE", topic.path);
    const missing = await topic.publishRaw("x", { prefer: "wait" });
    expect([missing.status, codeOf(missing.body)]).toEqual([404, "topic-not-found"]);
    const again = await broker.topic({}, name);
    expect(await (await again.subscribe()).pull()).toEqual([]);
    expect(await again.publish(...named("a"))).toMatchObject([{ offset: 0, duplicate: false }]);
  });

  test("clause 19: a long poll of a deleted queue ends, and says why", async () => {
    const queue = await broker.queue();
    const polling = broker.send("POST", `${queue.path}/pull`, { json: { waitMs: ARRIVES_MS } });
    await broker.call("DELETE", queue.path);
    expect([404, 410]).toContain((await polling).status);
  });
});

describe("clause 20", () => {
  /** In every partition, what was taken from the log is accounted for, term by term. */
  const holds = (stats: readonly PartitionStats[]) => {
    for (const s of stats) {
      const terms = s.settled + s.filtered + s.expired + s.dead + s.purged + s.moved + s.leased + s.waiting;
      expect(s.nextOffset - s.startOffset, JSON.stringify(s)).toBe(terms);
      expect(s.unread).toBe(s.head - s.nextOffset);
    }
  };

  test("clause 20: what was taken from the log is acked, dead, purged, leased or waiting, and nothing else", async () => {
    const topic = await broker.topic({ partitions: 3 });
    const subscription = await topic.subscribe({ retry: { minDelayMs: 3_600_000, maxDelayMs: 3_600_000 } });
    await topic.publish(...named(...Array.from({ length: 60 }, (_, i) => `m-${i}`)));
    const leased = await subscription.pullAll(40, { max: 40 });
    holds(await subscription.stats());
    await subscription.ack(leased.slice(0, 10));
    await subscription.nack(leased.slice(10, 20));
    await subscription.nack(leased.slice(20, 30), { deadLetter: true });
    const letters = await subscription.deadLetters();
    const path = `${subscription.path}/dead-letters`;
    await broker.call("DELETE", path, { json: { ids: letters.slice(0, 4).map(({ id }) => id) } });
    await broker.call("POST", `${path}/redrive`, { json: { ids: letters.slice(4, 7).map(({ id }) => id) } });
    const stats = await subscription.stats();
    holds(stats);
    const total = Object.fromEntries(
      (["settled", "dead", "purged", "leased", "waiting", "unread"] as const).map((t) => [t, sum(stats, t)]),
    );
    expect(total).toEqual({ settled: 10, dead: 3, purged: 4, leased: 10, waiting: 13, unread: 20 });
  });

  test("clause 20: followers behind a lane count as waiting", async () => {
    const queue = await broker.queue(EAGER);
    await queue.publish(
      ...["a1", "a2", "a3", "b1"].map((id) => ({ id, orderingKey: id.slice(0, 1), data: id })),
    );
    await queue.pullAll(1, { max: 1 });
    await queue.pullAll(1, { max: 1 });
    const stats = await queue.stats();
    holds(stats);
    expect(stats).toMatchObject([{ leased: 2, waiting: 2, nextOffset: 4 }]);
  });

  test("clause 20: what lies before its start is none of a subscription's business", async () => {
    const topic = await broker.topic();
    await topic.publish(...named("a", "b", "c"));
    const subscription = await topic.subscribe({ startAt: { offsets: { 0: 2 } } });
    await subscription.ack(await subscription.pullAll(1));
    const stats = await subscription.stats();
    holds(stats);
    expect(stats).toMatchObject([{ startOffset: 2, nextOffset: 3, settled: 1, unread: 0 }]);
  });
});
