// Retention overtakes a lane whose followers a restart forgot, and messages that were never read, of the same key. What
// is told of both must come out right whatever joins the lane meanwhile.

import { expect, test } from "vitest";
import { ok, refuse } from "../../src/errors";
import { limits } from "../../src/limits";
import { Backlog } from "../../src/subscription/backlog";
import { newCounters } from "../../src/subscription/counters";
import { ExpiryDesk, type ExpiryParts } from "../../src/subscription/expiry-desk";
import { LogReader } from "../../src/subscription/log-reader";
import { RecordBuffer } from "../../src/subscription/record-buffer";
import type { TopicCalls } from "../../src/topic-calls";

/** Of key `k`, 8 follows, and 19 was never read. Everything below 21 is retired. */
const OF_KEY = [8, 19];
const EARLIEST = 21;
type KeyedOffsets = TopicCalls["keyedOffsets"];

const all: KeyedOffsets = async ({ to }) =>
  ok({ offsets: [["k", OF_KEY]] as [string, number[]][], scannedTo: to });
/** Looks at one offset a call. */
const oneByOne: KeyedOffsets = async ({ from }) =>
  ok({ offsets: OF_KEY.includes(from) ? [["k", [from]]] : [], scannedTo: from + 1 });

/** A subscription read back after a restart: 18 messages taken, and a lane with one follower from `followersFrom` on. */
function afterRestart(keyedOffsets: KeyedOffsets, { followersFrom = 8, meanwhile = () => {} } = {}) {
  const counters = { ...newCounters(0), nextOffset: 18 };
  const lanes = [{ key: "k", followers: 1, followersFrom }];
  const backlog = new Backlog({ knownHead: 30, counters, leases: [], deliveries: [], lanes, parked: [] });
  const buffer = new RecordBuffer(18, 1_000_000);
  const read = async () => ok({ runs: [], earliest: EARLIEST, head: 30 });
  const topic = { keyedOffsets, read } as unknown as TopicCalls;
  const change = <T>(decide: () => T) => decide();
  const reader = new LogReader(topic, backlog, buffer, { carriedRecord: () => undefined }, change);
  const parts = {
    ...{ backlog, buffer, topic, change, desk: { buryDying: async () => meanwhile() } },
    waiting: { carriedOffsets: () => new Set<number>() },
    runtime: () => ({ now: () => 1_000 }),
    isLive: () => true,
  } as unknown as ExpiryParts;
  return { backlog, buffer, reader, desk: new ExpiryDesk(parts) };
}

const joins = (backlog: Backlog, offset: number) => {
  backlog.follow("k", offset);
  backlog.counters.nextOffset = offset + 1;
};

/** 8 followed, and 18 to 20 were never read; 22, which came after, is still to be delivered. */
function expectCountedOnce(backlog: Backlog) {
  expect(backlog.counters.expired).toBe(4);
  expect(backlog.lanes.get("k")?.followers).toBe(1);
  expect(backlog.waitingCount).toBe(1);
}

test("a message that joins a lane while the topic is answered is not lost for one that was passed unread", async () => {
  const { backlog, desk } = afterRestart(all, { meanwhile: () => joins(backlog, 22) });
  expect(await desk.expire(EARLIEST)).toEqual({ done: true });
  expectCountedOnce(backlog);
});

test("nor one that joins after a read found that the log begins later, before the topic tells of it", async () => {
  const { backlog, buffer, reader, desk } = afterRestart(all);
  await reader.readAhead();
  expect(buffer.end).toBe(EARLIEST);
  joins(backlog, 22);
  expect(await desk.expire(EARLIEST)).toEqual({ done: true });
  expectCountedOnce(backlog);
});

test("a search that takes more reads than one call may make goes on where it stopped", async () => {
  const { backlog, desk } = afterRestart(oneByOne, { followersFrom: 8 - limits.expiryReads });
  expect(await desk.expire(EARLIEST)).toEqual({ done: false, againAt: 1_000 });
  expect(backlog.counters).toMatchObject({ expired: 0, nextOffset: 18 });
  expect(await desk.expire(EARLIEST)).toEqual({ done: true });
  joins(backlog, 22);
  expectCountedOnce(backlog);
});

test("a read that could not look for followers passes nothing, and is made again", async () => {
  let isRefused = true;
  const { backlog, reader } = afterRestart(async (call) =>
    isRefused ? refuse("unavailable", "Not now.") : all(call),
  );
  expect(await reader.readAhead()).toBe(false);
  expect([backlog.counters.nextOffset, reader.isBehind]).toEqual([18, true]);
  isRefused = false;
  await reader.readAhead();
  joins(backlog, 22);
  expectCountedOnce(backlog);
});

test("followers that the log holds no more are not sought for ever", async () => {
  const { backlog, desk } = afterRestart(async ({ from }) => ok({ offsets: [], scannedTo: from }));
  expect(await desk.expire(EARLIEST)).toEqual({ done: true });
  expect(backlog.counters).toMatchObject({ expired: 3, nextOffset: EARLIEST });
});
