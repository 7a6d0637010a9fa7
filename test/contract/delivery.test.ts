// Clauses 8 to 10 and 16: leases, attempts, and who gets what.

import { describe, expect, test } from "vitest";
import { ARRIVES_MS, codeOf } from "../support/contract-client";
import { brokerUnderTest } from "../support/contract-target";

const broker = await brokerUnderTest();
const ids = (messages: readonly { id: string }[]) => messages.map(({ id }) => id);
const named = (...names: string[]) => names.map((id) => ({ id, data: id }));
/** A deadline as short as it may be, and a wait in which it certainly passes. */
const SHORT_MS = 1_000;
const PAST_SHORT_MS = 2_500;
/** What fails waits so long that no test sees it again by chance. */
const PATIENT = { retry: { minDelayMs: 3_600_000, maxDelayMs: 3_600_000 } };
const EAGER = { retry: { minDelayMs: 0, maxDelayMs: 0 } };

describe("clause 8", () => {
  test("clause 8: a message that was not acked comes again when its deadline has passed", async () => {
    const queue = await broker.queue(EAGER);
    await queue.publish({ id: "m", data: "x" });
    const [first] = await queue.pullAll(1, { ackDeadlineMs: SHORT_MS });
    const [second] = await queue.pullAll(1);
    expect(second).toMatchObject({ id: "m", offset: first?.offset, attempt: 2, data: "x" });
    expect(second?.ackId).not.toBe(first?.ackId);
  });

  test("clause 8: a message that was acked does not come again", async () => {
    const queue = await broker.queue(EAGER);
    await queue.publish(...named("a"));
    expect(await queue.ack(await queue.pullAll(1, { ackDeadlineMs: SHORT_MS }))).toEqual(["acked"]);
    expect(await queue.pull({ waitMs: PAST_SHORT_MS })).toEqual([]);
  });

  test("clause 8: every message of every partition arrives", async () => {
    const topic = await broker.topic({ partitions: 5 });
    const subscription = await topic.subscribe();
    const published = await topic.publish(...named(...Array.from({ length: 60 }, (_, i) => `m-${i}`)));
    expect(new Set(published.map(({ partition }) => partition)).size).toBeGreaterThan(1);
    const arrived = await subscription.pullAll(60, { max: 7 });
    expect(ids(arrived).sort()).toEqual(ids(published).sort());
  });

  test("clause 8: a long poll answers as soon as a message is published, in whatever partition", async () => {
    const topic = await broker.topic({ partitions: 4 });
    const subscription = await topic.subscribe();
    for (const id of ["a", "b", "c"]) {
      const polling = subscription.pull({ waitMs: ARRIVES_MS });
      await topic.publish({ id, data: id });
      const delivered = await polling;
      expect(ids(delivered)).toEqual([id]);
      await subscription.ack(delivered);
    }
  });
});

describe("clause 9", () => {
  test("clause 9: two pulls at once never get the same delivery", async () => {
    const queue = await broker.queue();
    await queue.publish(...named(...Array.from({ length: 50 }, (_, i) => `m-${i}`)));
    const pulls = await Promise.all(Array.from({ length: 10 }, () => queue.pull({ max: 5 })));
    const leased = pulls.flatMap(ids);
    expect(new Set(leased).size).toBe(leased.length);
    expect(leased).toHaveLength(50);
  });

  test("clause 9: a late ack that nobody overtook is honoured, though its deadline has passed", async () => {
    const queue = await broker.queue(PATIENT);
    await queue.publish(...named("m"));
    const late = await queue.pullAll(1, { ackDeadlineMs: SHORT_MS });
    expect(await queue.pull({ waitMs: PAST_SHORT_MS })).toEqual([]);
    expect(await queue.stats()).toMatchObject([{ leased: 0, waiting: 1 }]);
    expect(await queue.ack(late)).toEqual(["acked"]);
    expect(await queue.stats()).toMatchObject([{ leased: 0, waiting: 0, settled: 1 }]);
  });

  test("clause 9: a late ack that was overtaken is refused as lease-lost", async () => {
    const queue = await broker.queue(EAGER);
    await queue.publish(...named("m"));
    const overtaken = await queue.pullAll(1, { ackDeadlineMs: SHORT_MS });
    const newest = await queue.pullAll(1);
    expect(await queue.ack(overtaken)).toEqual(["lease-lost"]);
    expect(await queue.nack(overtaken)).toEqual(["lease-lost"]);
    expect(await queue.extend(overtaken, 60_000)).toEqual(["lease-lost"]);
    expect(await queue.ack(newest)).toEqual(["acked"]);
  });

  test("clause 9: an ack of what became a dead letter is refused as lease-lost", async () => {
    const queue = await broker.queue();
    await queue.publish(...named("m"));
    const leased = await queue.pullAll(1);
    expect(await queue.nack(leased, { deadLetter: true })).toEqual(["dead"]);
    expect(await queue.ack(leased)).toEqual(["lease-lost"]);
  });

  test("clause 9: each ack id is answered for itself, in the order asked", async () => {
    const queue = await broker.queue();
    await queue.publish(...named("a", "b", "c"));
    const [a, b, c] = await queue.pullAll(3);
    if (!a || !b || !c) throw new Error("three were leased");
    await queue.ack([b]);
    expect(await queue.ack([a, b, c])).toEqual(["acked", "lease-lost", "acked"]);
  });

  test("clause 9: extending moves the deadline of what is still leased", async () => {
    const queue = await broker.queue(EAGER);
    await queue.publish(...named("m"));
    const leased = await queue.pullAll(1, { ackDeadlineMs: SHORT_MS });
    expect(await queue.extend(leased, 600_000)).toEqual(["extended"]);
    expect(await queue.pull({ waitMs: PAST_SHORT_MS })).toEqual([]);
    expect(await queue.ack(leased)).toEqual(["acked"]);
  });

  test("clause 9: an ack id of one queue settles nothing in another", async () => {
    const [queue, other] = [await broker.queue(), await broker.queue()];
    await queue.publish(...named("m"));
    await other.publish(...named("m"));
    const leased = await queue.pullAll(1);
    await other.pullAll(1);
    expect(await other.ack(leased)).toEqual(["lease-lost"]);
    expect(await other.stats()).toMatchObject([{ settled: 0, leased: 1 }]);
  });

  test("clause 9: what is no ack id is refused, and nothing beside it is settled", async () => {
    const queue = await broker.queue();
    await queue.publish(...named("m"));
    const [leased] = await queue.pullAll(1);
    const json = { ackIds: [leased?.ackId, "no-ack-id"] };
    const { status, body } = await broker.send("POST", `${queue.path}/ack`, { json });
    expect([status, codeOf(body), body.field]).toEqual([400, "invalid-request", "ackIds[1]"]);
    expect(await queue.stats()).toMatchObject([{ settled: 0, leased: 1 }]);
  });
});

describe("clause 10", () => {
  test("clause 10: a nack ends an attempt, and said twice it ends one", async () => {
    const queue = await broker.queue(PATIENT);
    await queue.publish(...named("m"));
    const leased = await queue.pullAll(1);
    expect(await queue.nack(leased, { delayMs: 0 })).toEqual(["released"]);
    expect(await queue.nack(leased, { delayMs: 0 })).toEqual(["released"]);
    expect(await queue.pullAll(1)).toMatchObject([{ id: "m", attempt: 2 }]);
  });

  test("clause 10: what is given back with a delay comes when it is over, and not before", async () => {
    const queue = await broker.queue(EAGER);
    await queue.publish(...named("m"));
    await queue.nack(await queue.pullAll(1), { delayMs: PAST_SHORT_MS });
    expect(await queue.pull()).toEqual([]);
    expect(await queue.pullAll(1)).toMatchObject([{ id: "m", attempt: 2 }]);
  });

  test("clause 10: what is not handed out counts no attempt", async () => {
    const queue = await broker.queue(EAGER);
    await queue.publish(...named("a", "b"));
    await queue.nack(await queue.pullAll(1));
    expect(await queue.pullAll(2)).toMatchObject([
      { id: "a", attempt: 2 },
      { id: "b", attempt: 1 },
    ]);
  });

  test("clause 10: unless it is set otherwise, attempts go on for days", async () => {
    const queue = await broker.queue();
    type Shown = { maxAttempts: number; retry: { minDelayMs: number; maxDelayMs: number } };
    const { maxAttempts, retry } = await broker.call<Shown>("GET", queue.path);
    const ceilings = Array.from({ length: maxAttempts - 1 }, (_, failed) =>
      Math.min(retry.maxDelayMs, retry.minDelayMs * 2 ** failed),
    );
    // Full jitter takes half of each ceiling on average.
    const days = ceilings.reduce((sum, ceiling) => sum + ceiling / 2, 0) / 86_400_000;
    expect(days).toBeGreaterThan(1);
  });
});

describe("clause 16", () => {
  test("clause 16: a topic hands every message to every subscription", async () => {
    const topic = await broker.topic();
    const subscriptions = [await topic.subscribe(), await topic.subscribe(), await topic.subscribe()];
    await topic.publish(...named("a", "b"));
    for (const subscription of subscriptions) {
      const delivered = await subscription.pullAll(2);
      expect(ids(delivered)).toEqual(["a", "b"]);
      expect(await subscription.ack(delivered)).toEqual(["acked", "acked"]);
    }
  });

  test("clause 16: a queue hands each message to one of its consumers", async () => {
    const queue = await broker.queue({ partitions: 2 });
    const published = await queue.publish(...named(...Array.from({ length: 40 }, (_, i) => `m-${i}`)));
    const consume = async () => {
      const mine: string[] = [];
      for (let some = await queue.pull({ max: 4 }); some.length > 0; some = await queue.pull({ max: 4 })) {
        mine.push(...ids(some));
        await queue.ack(some);
      }
      return mine;
    };
    const shares = await Promise.all([consume(), consume(), consume()]);
    expect(shares.flat().sort()).toEqual(ids(published).sort());
  });
});
