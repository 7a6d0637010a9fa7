// When a subscription that pushes has to look again, with something unread and nothing leased.

import { expect, test } from "vitest";
import { limits } from "../../src/limits";
import { defaultSubscriptionSettings } from "../../src/settings";
import { Backlog } from "../../src/subscription/backlog";
import { newCounters } from "../../src/subscription/counters";
import { dueAt, type Timed } from "../../src/subscription/due";

const NOW = 1_000_000;
const { ackDeadlineMs } = defaultSubscriptionSettings;

/** One that has read and not sent what is unread; `pump` says what keeps it. */
function due(pump: Partial<Timed["pump"]>, isBehind = false): number | undefined {
  const counters = newCounters(0);
  const idle = {
    ...{ desk: { hasMore: false }, live: { isActive: false }, parents: { isAwaiting: false } },
    ...{ verifier: { dueAt: () => undefined }, row: { settings: defaultSubscriptionSettings } },
    pump: {
      ...{ isActive: true, hasRoom: true, heldUntil: () => undefined, gathersUntil: () => undefined },
      ...pump,
    },
  };
  const backlog = new Backlog({
    ...{ counters, knownHead: 3, leases: [], deliveries: [], lanes: [], parked: [] },
  });
  return dueAt({ ...idle, backlog, reader: { isBehind } }, NOW);
}

test("while a dispatch is waited for, it is after an ack deadline: a restart would wait for nothing", () => {
  expect(due({ hasRoom: false })).toBe(NOW + ackDeadlineMs);
});

test("while the endpoint is left alone, it is when that ends, and no sooner", () => {
  const until = NOW + 100 * ackDeadlineMs;
  expect(due({ hasRoom: false, heldUntil: () => until })).toBe(until);
});

test("while the log has more than is held, it is soon; paused, never", () => {
  expect(due({}, true)).toBe(NOW + limits.lookAgainMs);
  expect(due({ isActive: false, hasRoom: false }, true)).toBeUndefined();
});
