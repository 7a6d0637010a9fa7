// Where a message is, in a sentence: everything that can hold it up is named.

import { expect, test } from "vitest";
import { showTrace } from "../../src/http/whereabouts";
import type { Trace, Whereabouts } from "../../src/timeline-calls";

const AT = Date.UTC(2026, 0, 2, 3, 4, 5);
const show = (where: Whereabouts, more: Partial<Trace> = {}) =>
  showTrace({ where, paused: false, stalled: false, inFlightFull: false, ...more });

test.each<[Whereabouts, string]>([
  [
    { state: "settled", how: "delivered", at: AT, attempts: 3, status: 204 },
    "Delivered to the endpoint, which answered 204, at attempt 3, 2026-01-02T03:04:05.000Z.",
  ],
  [
    { state: "settled", how: "already-completed", at: AT, attempts: 1 },
    "Not sent: the ledger had it as completed, at attempt 1, 2026-01-02T03:04:05.000Z.",
  ],
  [
    { state: "leased", leaseId: "l", deadlineAt: AT, attempt: 2, history: [] },
    "Handed out for attempt 2, until 2026-01-02T03:04:05.000Z.",
  ],
  [
    { state: "waiting", availableAt: AT, attempts: 1, history: [], behind: { offset: 7, state: "dead" } },
    "Waits for attempt 2, due 2026-01-02T03:04:05.000Z, and stands behind offset 7 of its ordering key, which is dead.",
  ],
  [
    { state: "waiting", availableAt: AT, attempts: 0, history: [], reason: "the ledger is away" },
    "Waits for attempt 1, due 2026-01-02T03:04:05.000Z. It was not sent: the ledger is away.",
  ],
  [
    { state: "blocked", behind: { offset: 7, state: "dead" }, parked: true },
    "Stands behind offset 7 of its ordering key, which is dead. The line is parked: redrive or purge its dead letter.",
  ],
  [{ state: "blocked", parked: false }, "Stands in the line of its ordering key."],
  [
    { state: "dead", diedAt: AT, reason: "rejected", attempts: 1, history: [] },
    "A dead letter since 2026-01-02T03:04:05.000Z: rejected.",
  ],
  [{ state: "unread", ahead: 12 }, "Not taken from the log yet; 12 before it."],
  [{ state: "forgotten" }, "It is done with; how it ended is no longer kept."],
])("%o", (where, sentence) => {
  expect(show(where)).toMatchObject({ ...where, why: sentence });
});

test("what keeps the whole subscription from taking anything is said of what it has not taken", () => {
  const unread = { state: "unread", ahead: 0 } as const;
  expect(show(unread, { paused: true, pausedReason: "endpoint-gone" }).why).toContain(
    "paused: endpoint-gone",
  );
  expect(show(unread, { stalled: true }).why).toContain("stalled");
  expect(show(unread, { inFlightFull: true }).why).toContain("in flight");
  const acked = { state: "settled", how: "acked", at: AT, attempts: 1 } as const;
  expect(show(acked, { paused: true }).why).not.toContain("paused");
});

test("an instant that no calendar has is shown as its number", () => {
  expect(show({ state: "leased", leaseId: "l", deadlineAt: 1e17, attempt: 1, history: [] }).why).toContain(
    "100000000000000000",
  );
});
