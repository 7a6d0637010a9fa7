// What a subscription answers when retention overtakes, while other things happen to it between its looks at the log.

import { expect, test } from "vitest";
import { Backlog } from "../../src/subscription/backlog";
import { newCounters } from "../../src/subscription/counters";
import { firstLease, giveBack, type Leased } from "../../src/subscription/delivery";
import { ExpiryDesk, type ExpiryParts } from "../../src/subscription/expiry-desk";
import { RecordBuffer } from "../../src/subscription/record-buffer";

const NOW = 1_000;

/** A desk over one leased delivery, at offset 0. `meanwhile` happens while the dying are buried. */
function deskWith(meanwhile: (backlog: Backlog, leased: Leased) => void) {
  const counters = { ...newCounters(0), nextOffset: 1 };
  const backlog = new Backlog({
    ...{ knownHead: 1, counters, leases: [], deliveries: [], lanes: [], parked: [] },
  });
  const leased = firstLease(0, undefined, "lease");
  backlog.put(leased);
  backlog.leases.open("lease", NOW + 1, [leased]);
  const buryDying = async () => meanwhile(backlog, leased);
  const parts = {
    ...{ backlog, buffer: new RecordBuffer(1, 1_000), desk: { buryDying }, topic: {} },
    waiting: { carriedOffsets: () => new Set<number>() },
    runtime: () => ({ now: () => NOW }),
    change: <T>(decide: () => T) => decide(),
    isLive: () => true,
  } as unknown as ExpiryParts;
  return { backlog, desk: new ExpiryDesk(parts) };
}

test("a lease that has not ended is let end", async () => {
  const { desk } = deskWith(() => undefined);
  expect(await desk.expire(1)).toEqual({ done: false, againAt: NOW + 1 });
});

test("what is given back while the topic is answered still needs the log: it is told again, and dies with its message", async () => {
  const { backlog, desk } = deskWith((backlog, leased) => {
    if (backlog.deliveries.get(0)?.state === "leased") backlog.put(giveBack(leased, NOW));
  });
  expect(await desk.expire(1)).toEqual({ done: false, againAt: NOW });
  expect(backlog.dying.size).toBe(0);
  await desk.expire(1);
  expect([...backlog.dying]).toEqual([0]);
});

test("what dies while the topic is answered still needs the log, until it is buried", async () => {
  const { backlog, desk } = deskWith((backlog, { attempts, history }) => {
    const death = { diedAt: NOW, reason: "attempts-spent" as const };
    backlog.put({ offset: 0, attempts, history, state: "dying", death });
  });
  expect(await desk.expire(1)).toEqual({ done: false, againAt: NOW });
  expect([...backlog.dying]).toEqual([0]);
});
