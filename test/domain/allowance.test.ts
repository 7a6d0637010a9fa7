// What may be sent now, and how far apart: shares of a rate and of a concurrency, and what an endpoint's health leaves.

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { limits } from "../../src/limits";
import { type Pace, paced, paceWaitMs } from "../../src/pace";
import { allowance } from "../../src/subscription/allowance";
import { newHealth } from "../../src/subscription/endpoint-health";

const NOW = 1_800_000_000_000;
const asked = { health: newHealth, partitions: 1, nextSendAt: 0, now: NOW };

describe("a pace", () => {
  it("lets no window of its length hold more requests than its rate", () => {
    const property = fc.property(
      fc.integer({ min: 1, max: 1000 }),
      fc.constantFrom(1_000, 60_000, 3_600_000),
      fc.array(fc.integer({ min: 0, max: 5_000 }), { minLength: 1, maxLength: 200 }),
      (requests, perMs, idles) => {
        let pace: Pace = { perSecond: (requests * 1000) / perMs, nextSendAt: 0 };
        let now = NOW;
        const sent: number[] = [];
        for (const idleMs of idles) {
          now += idleMs;
          now += paceWaitMs(pace, now);
          pace = paced(pace, now);
          sent.push(now);
        }
        for (const [i, from] of sent.entries()) {
          const within = sent.slice(i).filter((at) => at < from + perMs - 1).length;
          expect(within).toBeLessThanOrEqual(requests);
        }
      },
    );
    fc.assert(property, { numRuns: 200 });
  });
});

describe("what may be sent", () => {
  it("is free of any pace unless something is set", () => {
    expect(allowance({ ...asked, push: {} })).toEqual({
      ...{
        send: true,
        alone: false,
        requests: limits.dispatchMessages,
        dispatches: limits.dispatchesPerSubscription,
      },
      sending: { connections: limits.dispatchConnections, stopAfter: limits.tripRequests },
    });
  });

  it("is the partition's share of the rate, one dispatch at a time", () => {
    const push = { rate: { requests: 240, perMs: 60_000 } };
    expect(allowance({ ...asked, push, partitions: 4 })).toMatchObject({
      ...{ alone: true, dispatches: 1, requests: 10 },
      sending: { pace: { perSecond: 1 } },
    });
  });

  it("is the whole pace where it is shared, and what of it the dispatch will probably send", () => {
    const push = { rate: { requests: 240, perMs: 60_000 }, drainPerSecond: 2 };
    const requestsAfter = (perSecond: number) => {
      const allowed = allowance({ ...asked, push, partitions: 4, shared: { perSecond } });
      expect(allowed).toMatchObject({
        ...{ send: true, alone: true, dispatches: 1 },
        sending: { pace: { perSecond: 4 }, shared: { partitions: 4, paces: { rate: 4 }, isBehind: false } },
      });
      return allowed.send && allowed.requests;
    };
    // Its equal part in 10 seconds, then twice what the last one sent, and no more than there is.
    expect([0, 0.5, 1, 3].map(requestsAfter)).toEqual([10, 10, 20, 40]);
  });

  it("is held to the drain rate of all only while its endpoint recovers", () => {
    const health = { state: "ramping", since: 0, opens: 1, reason: "", ceiling: 2, perSecond: 2 } as const;
    const tally = { failing: 0, deliveries: [] };
    const of = { ...asked, push: { drainPerSecond: 2 }, partitions: 4, shared: { perSecond: 0 } };
    const allowed = allowance({ ...of, health: { ...health, tally } });
    expect(allowed).toMatchObject({ sending: { pace: { perSecond: 2 }, shared: { paces: { drain: 2 } } } });
    expect(allowance(of)).toEqual(allowance({ ...asked, push: {} }));
  });

  it("waits for a slow pace without a dispatch", () => {
    const push = { rate: { requests: 1, perMs: 3_600_000 } };
    const nextSendAt = NOW + 1_800_000;
    expect(allowance({ ...asked, push, nextSendAt })).toEqual({ send: false, until: nextSendAt });
  });

  it("is never more at once than the concurrency, or than one a partition", () => {
    const property = fc.property(
      fc.integer({ min: 1, max: 100 }),
      fc.constantFrom(1, 2, 4, 64),
      (maxConcurrency, partitions) => {
        const allowed = allowance({ ...asked, push: { maxConcurrency }, partitions });
        if (!allowed.send) throw new Error("it may send");
        const atOnce = allowed.dispatches * allowed.sending.connections * partitions;
        expect(atOnce).toBeLessThanOrEqual(Math.max(maxConcurrency, partitions));
        expect(atOnce).toBeGreaterThanOrEqual(partitions);
      },
    );
    fc.assert(property);
  });

  it("is all that may be at once where that is shared, and an equal part while nobody divides it", () => {
    const of = (maxConcurrency: number, perSecond: number) => {
      const shared = { perSecond };
      return allowance({ ...asked, push: { maxConcurrency }, partitions: 4, shared });
    };
    expect(of(12, 0)).toMatchObject({
      ...{ send: true, alone: false, dispatches: 2, requests: 60 },
      sending: { connections: 6, shared: { partitions: 4, paces: {}, slots: { max: 12, own: 3 } } },
    });
    expect(of(2, 0)).toMatchObject({
      dispatches: 1,
      sending: { connections: 2, shared: { slots: { own: 1 } } },
    });
    // It carries what the last one sent in ten seconds, twice.
    expect([of(12, 10), of(12, 1_000)]).toMatchObject([{ requests: 200 }, { requests: 400 }]);
  });

  it("is one request when the circuit is open and due", () => {
    const health = { state: "open", since: 0, opens: 1, reason: "", ceiling: 20, until: NOW } as const;
    expect(allowance({ ...asked, push: {}, health })).toMatchObject({
      ...{ send: true, alone: true, requests: 1, dispatches: 1 },
      sending: { connections: 1, stopAfter: 1 },
    });
    expect(allowance({ ...asked, push: {}, health: { ...health, until: NOW + 1 } })).toMatchObject({
      send: false,
    });
  });
});
