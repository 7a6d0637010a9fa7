// A search of the log for a lane's followers, outrun by what happens while it is under way.

import { expect, test } from "vitest";
import { ok } from "../../src/errors";
import { Backlog } from "../../src/subscription/backlog";
import { newCounters } from "../../src/subscription/counters";
import { loseFollowers, skipUnread } from "../../src/subscription/expiry";
import { LogReader } from "../../src/subscription/log-reader";
import { RecordBuffer } from "../../src/subscription/record-buffer";
import type { LaneAnswer, TopicCalls } from "../../src/topic-calls";

/** A lane with one follower at offset 8 whose place is not known any more, and 18 messages taken. */
function afterRestart(): Backlog {
  const counters = { ...newCounters(0), nextOffset: 18 };
  const lanes = [{ key: "k", followers: 1, followersFrom: 8 }];
  return new Backlog({ knownHead: 29, counters, leases: [], deliveries: [], lanes, parked: [] });
}

test("a follower that retention overtakes while it is looked for is counted where it lay", async () => {
  const backlog = afterRestart();
  const [asked, found] = [Promise.withResolvers<void>(), Promise.withResolvers<LaneAnswer>()];
  const readLanes = async () => {
    asked.resolve();
    return ok(await found.promise);
  };
  const topic = { readLanes } as unknown as TopicCalls;
  const buffer = new RecordBuffer(18, 1_000_000);
  const nothing = { carriedRecord: () => undefined };
  const reader = new LogReader(topic, backlog, buffer, nothing, (decide) => decide());
  const search = reader.readMissing({ offsets: [], lanes: [{ key: "k", from: 8 }] });
  await asked.promise;
  // The topic has retired all there is: it shows none of it, and the subscription is told of it before the answer comes.
  skipUnread(backlog, 29);
  found.resolve({ runs: [], scannedTo: 18 });
  await search;
  loseFollowers(backlog, 29, new Map([["k", [8, 18, 24]]]));
  const ended = backlog.changes.endings.map(({ first, count }) => [first, count]);
  expect(ended).toEqual([
    [18, 11],
    [8, 1],
  ]);
  expect(backlog.waitingCount).toBe(0);
});
