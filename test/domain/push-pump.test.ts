// What is leased for one endpoint is not sent to another that comes in its place meanwhile and is not verified.

import { expect, test } from "vitest";
import type { DispatchCall } from "../../src/dispatch-calls";
import { newVerification } from "../../src/endpoint-verification";
import {
  defaultSubscriptionSettings,
  type PushSettings,
  type SubscriptionSettings,
} from "../../src/settings";
import { type PumpParts, PushPump } from "../../src/subscription/push-pump";

const settingsOf = (push: Partial<PushSettings>): SubscriptionSettings => ({
  ...defaultSubscriptionSettings,
  type: "push",
  push: {
    ...{ url: "https://old.example.com/", headers: {}, timeoutMs: 1_000, secrets: [] },
    ...{ batchMaxMessages: 1, batchMaxWaitMs: 0 },
    ...push,
  },
});
const unverified = settingsOf({
  url: "https://new.example.com/",
  verification: newVerification("challenge", "https://broker.example.com", 0),
});

/** A pump whose subscription gets other settings while it cuts its first lease. */
async function pumpedTo(next: SubscriptionSettings): Promise<readonly (string | undefined)[]> {
  let settings = settingsOf({});
  let leases = 0;
  const called: DispatchCall[] = [];
  const sending = { connections: 6, stopAfter: 10 };
  const parts = {
    backlog: { counters: { replay: 0, nextOffset: 0 }, leases: [] },
    buffer: { get: () => undefined },
    endpoint: {
      allowance: () => ({ send: true, alone: false, requests: 10, dispatches: 4, sending }),
      probesLog: false,
      began: () => undefined,
    },
    desk: {
      lease: async () => {
        settings = next;
        leases += 1;
        return { leaseId: "l", deadlineAt: 1, deliveries: leases === 1 ? [{ offset: 0, attempt: 1 }] : [] };
      },
    },
    dispatcher: { deliver: async (call: DispatchCall) => void called.push(call) },
    runtime: () => ({ now: () => 0, random: () => 0.5, newId: () => "l" }),
    row: () => ({ settings, partition: 0 }),
    underway: { count: 0 },
    isLive: () => true,
    waitUntil: () => undefined,
    began: () => undefined,
    ended: () => undefined,
  } as unknown as PumpParts;
  const pump = new PushPump(parts);
  await pump.pump();
  expect(pump.isActive).toBe(next !== unverified);
  return called.map((call) => call.settings.push?.url);
}

test("an endpoint that is not verified is sent nothing that was leased before it came", async () => {
  expect(await pumpedTo(unverified)).toEqual(["https://old.example.com/"]);
});

test("any other change is in force at once", async () => {
  expect(await pumpedTo(settingsOf({ url: "https://new.example.com/" }))).toEqual([
    "https://new.example.com/",
  ]);
});
