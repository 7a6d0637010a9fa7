// A socket on the real object: it hibernates, costs nothing while it does, and goes on where it was.

import { evictDurableObject } from "cloudflare:test";
import { describe, expect, test } from "vitest";
import type { Admission } from "../../src/admission-calls";
import { TokenStore } from "../../src/catalog/token-store";
import { limits } from "../../src/limits";
import type { SubscriptionSettings } from "../../src/settings";
import { writeSocketAsk } from "../../src/socket-calls";
import { frameReader } from "../support/contract-live";
import { bindings, newSubscription, newTopic, testRuntime, useRuntime, value } from "../support/objects";

type Pulled = Readonly<{ id: string; ackId: string; attempt: number }>;

async function listening(
  credit: number,
  settings: Partial<SubscriptionSettings> = {},
  admission?: Admission,
) {
  const topic = await newTopic();
  const made = await newSubscription(topic, settings);
  await useRuntime(made.subscription, { ...made.clock, newId: () => crypto.randomUUID() });
  const ask = writeSocketAsk({ credit, ...(admission && { admission }) });
  const response = await made.subscription.fetch(`https://subscription/?${ask}`, {
    headers: { upgrade: "websocket" },
  });
  if (!response.webSocket) throw new Error("a socket came");
  response.webSocket.accept();
  const socket = frameReader(response.webSocket);
  const { until } = await socket.next("open");
  return { topic, socket, until, ...made };
}

/** A token in the catalog, by its hash or its id. */
async function newAdmission(by: Admission["by"]) {
  const [id, hash] = [crypto.randomUUID(), crypto.randomUUID().replaceAll("-", "").repeat(2)];
  const store = new TokenStore(bindings.CATALOG, testRuntime(), () => undefined);
  value(await store.insert({ id, name: "reader", hash, scopes: ["consume:*"], expiresAt: null }));
  const admission: Admission = { by, token: by === "hash" ? hash : id };
  return { admission, revoke: async () => value(await store.delete(id)) };
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

describe("a socket that a token opened", () => {
  test("goes on for as long as the token is there, also through an eviction", async () => {
    const { admission } = await newAdmission("hash");
    const { topic, socket, subscription, clock } = await listening(3, {}, admission);
    clock.advance(limits.socketCheckMs);
    await topic.publish("a");
    expect((await socket.messages<Pulled>(1)).map(({ id }) => id)).toEqual(["a"]);
    await evictDurableObject(subscription);
    await topic.publish("b");
    expect((await socket.messages<Pulled>(1)).map(({ id }) => id)).toEqual(["b"]);
  });

  test.each(["hash", "id"] as const)(
    "by its %s, is sent nothing a minute after it was taken away",
    async (by) => {
      const { admission, revoke } = await newAdmission(by);
      const { topic, socket, subscription, clock } = await listening(3, {}, admission);
      await topic.publish("a");
      await socket.messages<Pulled>(1);
      await revoke();
      clock.advance(limits.socketCheckMs);
      await topic.publish("b");
      expect(await socket.closed).toEqual({ code: 4401 });
      expect(value(await subscription.stats())).toMatchObject({ nextOffset: 1, unread: 1 });
    },
  );

  test("is not heard either, and what it holds goes to the next", async () => {
    const { admission, revoke } = await newAdmission("hash");
    const { topic, socket, subscription, clock, pull } = await listening(1, {}, admission);
    await topic.publish("a");
    const [message] = await socket.messages<Pulled>(1);
    await revoke();
    clock.advance(limits.socketCheckMs);
    socket.say({ type: "ack", ackIds: message ? [message.ackId] : [] });
    expect(await socket.closed).toEqual({ code: 4401 });
    while (value(await subscription.stats()).leased > 0);
    expect(value(await subscription.stats())).toMatchObject({ settled: 0, waiting: 1 });
    expect((await pull()).deliveries).toHaveLength(1);
  });

  test("says when it ends if the token does sooner, and ends then", async () => {
    const { admission } = await newAdmission("hash");
    const soon = Date.now() + 20_000;
    const { topic, socket, until, clock } = await listening(2, {}, { ...admission, until: soon });
    expect(until).toBe(soon);
    await topic.publish("a");
    await socket.messages<Pulled>(1);
    clock.advance(30_000);
    await topic.publish("b");
    expect(await socket.closed).toEqual({ code: 4401 });
  });
});
