// A subscription whose endpoint is not verified hands out nothing, has it asked when it is time, and asks again when that
// call is lost; what was published goes as soon as it is verified.

import { evictDurableObject, runInDurableObject } from "cloudflare:test";
import { expect, test, vi } from "vitest";
import { newVerification } from "../../src/endpoint-verification";
import { limits } from "../../src/limits";
import type { SubscriptionSettings } from "../../src/settings";
import { newSubscription, newTopic, useRuntime, value } from "../support/objects";

const url = "https://unverified.receiver.example/";
const PUSH = {
  ...{ url, headers: {}, timeoutMs: 1_000, secrets: [] },
  ...{ batchMaxMessages: 1, batchMaxWaitMs: 0 },
};
const settingsAt = (now: number, verifiedAt?: number): Partial<SubscriptionSettings> => {
  const verification = newVerification("challenge", "https://pennypost.example", now);
  return {
    type: "push",
    push: { ...PUSH, verification: { ...verification, ...(verifiedAt !== undefined && { verifiedAt }) } },
  };
};

test("nothing is leased until the endpoint is verified, and then all that waited in the log", async () => {
  const topic = await newTopic();
  const { subscription, clock, provision } = await newSubscription(topic, settingsAt(Date.now()));
  await topic.publish("a", "b");
  value(await subscription.notify({ head: 2, runs: [] }));
  value(await subscription.wake());
  expect(value(await subscription.stats())).toMatchObject({
    ...{ leased: 0, waiting: 0, unread: 2, nextOffset: 0 },
    endpoint: { state: "unverified" },
  });
  const { where, endpoint } = value(await subscription.whereabouts({ offset: 0 }));
  expect([where.state, endpoint?.state]).toEqual(["unread", "unverified"]);
  const { settings } = provision;
  const verified = { ...settings, ...settingsAt(clock.now(), clock.now()), ackDeadlineMs: 60_000 };
  vi.spyOn(globalThis, "fetch").mockImplementation(async () => new Response(null, { status: 204 }));
  value(await subscription.configure({ settings: verified, version: 2 }));
  let stats = value(await subscription.stats());
  for (let looks = 0; looks < 1_000 && stats.settled < 2; looks++) stats = value(await subscription.stats());
  expect(stats).toMatchObject({ settled: 2, unread: 0, endpoint: { state: "closed" } });
  vi.restoreAllMocks();
});

test("the alarm asks, and is armed again for when the call was lost, also after a restart", async () => {
  const { subscription, clock, alarm } = await newSubscription(await newTopic(), settingsAt(Date.now()));
  const armedFor = () => runInDurableObject(subscription, (_, { storage }) => storage.getAlarm());
  expect(await armedFor()).toBeLessThanOrEqual(clock.now() + limits.verifyAfterMs);
  clock.advance(limits.verifyAfterMs);
  // No catalog knows this subscription: the dispatcher's answer is a refusal.
  await alarm();
  const again = (await subscription.verify({})).ok ? "ok" : "refused";
  expect(again).toBe("refused");
  const rearmed = await armedFor();
  expect(rearmed).toBeGreaterThan(clock.now());
  expect(rearmed).toBeLessThanOrEqual(clock.now() + limits.lookAgainMs);
  await evictDurableObject(subscription);
  await useRuntime(subscription, clock);
  value(await subscription.wake());
  expect(await armedFor()).toBeLessThanOrEqual(clock.now() + limits.lookAgainMs);
});

test("only the first partition asks", async () => {
  const { subscription } = await newSubscription(await newTopic(), settingsAt(Date.now()), undefined);
  const asks = await runInDurableObject(subscription, (instance) => {
    const { memory } = instance as unknown as {
      memory: { loaded: { row: { partition: number }; verifier: { dueAt(): number | undefined } } };
    };
    const first = memory.loaded.verifier.dueAt();
    memory.loaded.row = { ...memory.loaded.row, partition: 1 };
    return [first !== undefined, memory.loaded.verifier.dueAt()];
  });
  expect(asks).toEqual([true, undefined]);
});
