// A socket on the real object: it hibernates, costs nothing while it does, and goes on where it was.

import { evictDurableObject } from "cloudflare:test";
import { describe, expect, test } from "vitest";
import type { SubscriptionSettings } from "../../src/settings";
import { frameReader } from "../support/contract-live";
import { newSubscription, newTopic, useRuntime, value } from "../support/objects";

type Pulled = Readonly<{ id: string; ackId: string; attempt: number }>;

async function listening(credit: number, settings: Partial<SubscriptionSettings> = {}) {
  const topic = await newTopic();
  const made = await newSubscription(topic, settings);
  await useRuntime(made.subscription, { ...made.clock, newId: () => crypto.randomUUID() });
  const response = await made.subscription.fetch(`https://subscription/?credit=${credit}`, {
    headers: { upgrade: "websocket" },
  });
  if (!response.webSocket) throw new Error("a socket came");
  response.webSocket.accept();
  const socket = frameReader(response.webSocket);
  await socket.next("open");
  return { topic, socket, ...made };
}

describe("a socket", () => {
  test("sleeps through an eviction, and is sent what comes after it as far as its credit goes", async () => {
    const { topic, socket, subscription } = await listening(3);
    await topic.publish("a");
    expect((await socket.messages<Pulled>(1)).map(({ id }) => id)).toEqual(["a"]);
    await evictDurableObject(subscription);
    await topic.publish("b", "c", "d");
    expect((await socket.messages<Pulled>(2)).map(({ id }) => id)).toEqual(["b", "c"]);
    expect(value(await subscription.stats())).toMatchObject({ leased: 3, unread: 1 });
    await evictDurableObject(subscription);
    socket.say({ type: "credit", messages: 1 });
    expect((await socket.messages<Pulled>(1)).map(({ id }) => id)).toEqual(["d"]);
  });

  test("gives back what it held when it closes, also after an eviction in between", async () => {
    const { topic, socket, subscription, pull } = await listening(5);
    await topic.publish("a", "b");
    await socket.messages<Pulled>(2);
    await evictDurableObject(subscription);
    socket.close();
    await socket.closed;
    const stats = async () => value(await subscription.stats());
    while ((await stats()).leased > 0);
    const lease = await pull();
    expect(lease.deliveries.map(({ attempt }) => attempt)).toEqual([1, 1]);
  });

  test("leaves no timer and no alarm behind while nothing is leased", async () => {
    const { topic, socket, subscription } = await listening(5);
    await topic.publish("a");
    const [message] = await socket.messages<Pulled>(1);
    socket.say({ type: "ack", ackIds: message ? [message.ackId] : [] });
    await socket.next("results");
    await evictDurableObject(subscription);
    socket.say("ping");
    await socket.next("pong");
    // The answer to a ping comes from the runtime: an object that it had woken could be evicted once more.
    await expect(evictDurableObject(subscription)).rejects.toThrow();
  });

  test("under at-most-once is sent what needs no ack", async () => {
    const { topic, socket, subscription } = await listening(5, { guarantee: "at-most-once" });
    await topic.publish("a");
    const [message] = await socket.messages<Pulled>(1);
    expect(message).not.toHaveProperty("ackId");
    expect(value(await subscription.stats())).toMatchObject({ settled: 1, leased: 0 });
  });

  test("whose hour is over is sent nothing any more, and told to open another", async () => {
    const { topic, socket, subscription, clock } = await listening(5);
    clock.advance(60 * 60 * 1000 - 1);
    await topic.publish("a");
    const [message] = await socket.messages<Pulled>(1);
    socket.say({ type: "ack", ackIds: message ? [message.ackId] : [] });
    await socket.next("results");
    clock.advance(1);
    await topic.publish("b");
    expect(await socket.closed).toEqual({ code: 4000 });
    expect(value(await subscription.stats())).toMatchObject({ settled: 1, leased: 0, unread: 1 });
  });

  test("that is not heard is sent a bounded number of bytes, and the rest once it says something", async () => {
    const { topic, socket, subscription } = await listening(1_000);
    const body = new Uint8Array(250_000);
    for (let batch = 0; batch < 6; batch++) {
      await topic.publish(
        ...[0, 1, 2, 3, 4].map((at) => ({
          ...{ id: `${batch}-${at}`, publishedAt: 1, contentType: "application/octet-stream", body },
        })),
      );
    }
    await socket.messages<Pulled>(17);
    expect(value(await subscription.stats())).toMatchObject({ leased: 17 });
    socket.say({ type: "credit", messages: 1 });
    await socket.messages<Pulled>(13);
  });
});
