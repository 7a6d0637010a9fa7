// The broker is killed with -9 again and again while messages are published (stored), pulled and acked. What was
// confirmed to a client holds: a stored message is there, once, and an acked one never comes again.

import { afterAll, beforeAll, expect, test } from "vitest";
import { type Broker, startBroker } from "../support/broker.ts";
import { ack, call, caughtUp, publishStored, pull, stats } from "../support/client.ts";
import { pause, until } from "../support/until.ts";

const QUEUE = "/v1/queues/crash";
const KILLS = 6;
const PUBLISHERS = 6;
const PULLERS = 4;
const PER_PUBLISH = 5;
/** Confirmed publishes and acked messages between one start and the next kill. */
const PROGRESS = 60;

let broker: Broker;
beforeAll(async () => {
  broker = await startBroker();
});
afterAll(() => broker?.stop());

/** What the clients were told. */
const stored = new Map<string, string>();
const delivered = new Set<string>();
const acked = new Set<string>();
const deliveredAfterAck: string[] = [];
const movedBetweenAnswers: string[] = [];
let publishing = true;
let pulling = true;

/** Repeats a request until it is answered: the broker may be dead, or dying under it. */
async function stubbornly<T>(request: () => Promise<T>): Promise<T> {
  while (true) {
    try {
      return await request();
    } catch {
      await pause(50);
    }
  }
}

async function publisher(name: number): Promise<void> {
  for (let round = 0; publishing; round++) {
    const ids = Array.from({ length: PER_PUBLISH }, (_, index) => `p${name}-${round}-${index}`);
    const messages = ids.map((id) => ({ id, data: `message ${id}` }));
    // Confirmed or not, it is sent again now and then, as a client does that lost the answer.
    for (const _ of round % 4 === 0 ? [1, 2] : [1]) {
      for (const { id, partition, offset } of await stubbornly(() =>
        publishStored(broker, QUEUE, messages),
      )) {
        const place = `${partition}:${offset}`;
        if ((stored.get(id) ?? place) !== place) movedBetweenAnswers.push(id);
        stored.set(id, place);
      }
    }
  }
}

async function puller(): Promise<void> {
  while (pulling) {
    try {
      const messages = await pull(broker, QUEUE, { max: 20, waitMs: 500, ackDeadlineMs: 2_000 });
      deliveredAfterAck.push(...messages.map(({ id }) => id).filter((id) => acked.has(id)));
      if (messages.length === 0) continue;
      for (const { id } of messages) delivered.add(id);
      const results = await ack(broker, QUEUE, messages);
      const done = new Set(results.filter(({ status }) => status === "acked").map(({ ackId }) => ackId));
      for (const { id, ackId } of messages) if (done.has(ackId)) acked.add(id);
    } catch {
      await pause(50);
    }
  }
}

test("nothing confirmed is lost and nothing acked is delivered again, however often the broker is killed", async () => {
  await call(broker, "PUT", QUEUE, {
    json: { partitions: 2, maxAttempts: 100, retry: { minDelayMs: 0, maxDelayMs: 50 } },
  });
  const publishers = Array.from({ length: PUBLISHERS }, (_, name) => publisher(name));
  const pullers = Array.from({ length: PULLERS }, () => puller());
  for (let kill = 1; kill <= KILLS; kill++) {
    const goal = { stored: stored.size + PROGRESS, acked: acked.size + PROGRESS };
    await until(
      `${PROGRESS} more stored and acked`,
      () => stored.size >= goal.stored && acked.size >= goal.acked,
      {
        everyMs: 5,
      },
    );
    await broker.kill9();
    await broker.restart();
  }
  publishing = false;
  await Promise.all(publishers);
  await until("every stored message is settled", () => caughtUp(broker, QUEUE, stored.size));
  pulling = false;
  await Promise.all(pullers);

  expect([...stored.keys()].filter((id) => !delivered.has(id))).toEqual([]);
  expect(deliveredAfterAck).toEqual([]);
  expect(movedBetweenAnswers).toEqual([]);
  expect(await stats(broker, QUEUE)).toMatchObject({ settled: stored.size, dead: 0, unread: 0 });
  expect(new Set(stored.values()).size).toBe(stored.size);
});
