// What a subscription's object knows of its endpoint: it outlives a restart and a seek, and a report that comes twice
// says it once.

import { evictDurableObject } from "cloudflare:test";
import { expect, test } from "vitest";
import { limits } from "../../src/limits";
import { newSubscription, newTopic, value } from "../support/objects";

const PUSH = {
  ...{ url: "https://hooks.example.com/", headers: {}, timeoutMs: 1_000, secrets: [] },
  ...{ batchMaxMessages: 1, batchMaxWaitMs: 0 },
};
const settings = { type: "push", push: PUSH } as const;
const NO_SIGNS = { worked: 0, ailed: 0, failing: 0, deliveries: [] };

test("an endpoint that asked for a pause is left alone after a restart and a seek too, until the operator looks at it", async () => {
  const { subscription, clock } = await newSubscription(await newTopic(), settings);
  const pausedUntil = clock.now() + 60_000;
  const signs = { ...NO_SIGNS, ailed: 1, failing: 1, deliveries: [0], pausedUntil, reason: "503" };
  value(await subscription.report({ leaseId: "a", outcomes: [], done: true, signs }));
  await evictDurableObject(subscription);
  const open = { state: "open", until: pausedUntil, reason: "503" };
  expect(value(await subscription.stats()).endpoint).toMatchObject(open);
  const to = { at: "earliest" } as const;
  value(await subscription.seek({ seekId: "s", to, reprocess: true, dryRun: false }));
  expect(value(await subscription.stats()).endpoint).toMatchObject(open);
  value(await subscription.probe());
  expect(value(await subscription.stats()).endpoint).toMatchObject({ state: "probing" });
});

test("a report of failures that arrives twice counts once", async () => {
  const { subscription } = await newSubscription(await newTopic(), settings);
  const deliveries = [0, 1, 2, 3, 4];
  const report = async (leaseId: string, failing: number) => {
    const signs = { ...NO_SIGNS, ailed: failing, failing, deliveries, reason: "502" };
    value(await subscription.report({ leaseId, outcomes: [], done: true, signs }));
    return value(await subscription.stats()).endpoint?.state;
  };
  const half = limits.tripRequests / 2;
  expect(await report("a", half)).toBe("closed");
  expect(await report("a", half)).toBe("closed");
  expect(await report("b", half)).toBe("open");
});
