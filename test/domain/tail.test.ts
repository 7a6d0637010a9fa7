// A stream without a network: what a reader is told in which order, when it ends, and what a slow one costs.

import { describe, expect, test } from "vitest";
import { ok, type Result, refuse } from "../../src/errors";
import { readStreamPlace, streamPlaceText } from "../../src/http/stream-place";
import { streamBody, TailStore } from "../../src/http/tail-store";
import { readTicket, ticketText } from "../../src/http/ticket";
import { limits } from "../../src/limits";
import { packRecords } from "../../src/record-batch";
import type { ReadAnswer } from "../../src/topic-calls";
import { refusalOf, value } from "../support/result";

const GENERATION = "0198f0a2-4c1e-7d3a-9b57-3f1c2a5d6e7f";
const utf8 = new TextEncoder();

function records(count: number) {
  return packRecords(
    Array.from({ length: count }, (_, at) => ({
      ...{ id: `m${at}`, publishedAt: 1, contentType: "text/plain", body: utf8.encode("x") },
    })),
  );
}

/** Partitions of which each holds `held` messages from `earliest` on; a wait for more takes its time. */
function partitionsOf(partitions: number, { earliest = 0, held = 0 } = {}) {
  let now = 0;
  const calls: { partition: number; from: number; waitMs: number }[] = [];
  let refusal: Result<never> | undefined;
  const head = earliest + held;
  const tail = (from: readonly number[]) =>
    new TailStore(
      {
        ...{ generation: GENERATION, partitions, now: () => now },
        follow: async (partition, { from: first, waitMs }): Promise<Result<ReadAnswer>> => {
          calls.push({ partition, from: first, waitMs });
          if (refusal) return refusal;
          if (first >= head) now += waitMs;
          const run = { firstOffset: earliest, storedAt: 5, records: records(held) };
          return ok({ runs: first < head ? [run] : [], earliest, head });
        },
      },
      from,
    );
  return { tail, calls, refuse: (with_: Result<never>) => (refusal = with_), passed: () => now };
}

describe("the tail of a log", () => {
  test("tells each message with the place behind it, and of what retention took before", async () => {
    const { tail } = partitionsOf(1, { earliest: 10, held: 2 });
    const text = (await tail([3]).take()) ?? "";
    const blocks = text.trim().split("\n\n");
    expect(blocks.map((block) => block.split("\n")[0])).toEqual([
      "event: gap",
      "event: message",
      "event: message",
    ]);
    expect(blocks[0]).toContain('{"partition":0,"from":3,"to":9}');
    const last = /^id: (.*)$/m.exec(blocks[2] ?? "")?.[1] ?? "";
    expect(readStreamPlace(last, { generation: GENERATION, partitions: 1 })).toEqual(ok([12]));
  });

  test("sends a heartbeat when nothing comes, and ends after its time", async () => {
    const { tail, passed } = partitionsOf(1);
    const reader = tail([0]);
    const said: (string | undefined)[] = [];
    while (said.at(-1) !== undefined || said.length === 0) said.push(await reader.take());
    expect(new Set(said)).toEqual(new Set([":\n\n", undefined]));
    expect(passed()).toBe(limits.streamMs);
  });

  test("hears each of many partitions within a heartbeat, with few calls at once", async () => {
    const { tail, calls } = partitionsOf(64);
    await tail(Array(64).fill(0)).take();
    expect(calls.every(({ waitMs }) => waitMs === limits.streamTurnMs)).toBe(true);
    const begun = new Set(calls.map(({ partition }) => partition));
    expect(calls.length).toBeLessThanOrEqual(limits.streamHeartbeatMs / limits.streamTurnMs + 6);
    expect(begun.size).toBe(calls.length);
  });
});

describe("a stream's body", () => {
  const timers: (() => void)[] = [];
  const timer = {
    after: (_: number, act: () => void) => {
      timers.push(act);
      return () => void timers.splice(timers.indexOf(act), 1);
    },
  };
  const read = async (body: ReadableStream<Uint8Array>) => new Response(body).text();

  test("ends with the reason and the place to come back with", async () => {
    const { tail, refuse: refuseAll } = partitionsOf(1);
    refuseAll(refuse("gone", "It was deleted."));
    const text = await read(streamBody("begin\n\n", tail([7]), timer));
    const place = streamPlaceText(GENERATION, [7]);
    expect(text).toBe(`begin\n\nevent: end\nid: ${place}\ndata: {"reason":"gone"}\n\n`);
    expect(timers).toEqual([]);
  });

  test("reads nothing that its reader has not asked for, and cuts one that takes nothing", async () => {
    const { tail, calls } = partitionsOf(1, { held: 1 });
    const reader = streamBody("begin", tail([0]), timer).getReader();
    await reader.read();
    expect(calls).toEqual([]);
    for (const ring of [...timers]) ring();
    await expect(reader.read()).rejects.toThrow("stalled");
    expect(calls).toEqual([]);
  });
});

describe("a place in a stream", () => {
  const at = { generation: GENERATION, partitions: 2 };
  test("comes back as it went, and a partition that is new since begins at its beginning", () => {
    const place = streamPlaceText(GENERATION, [5, Number.MAX_SAFE_INTEGER - 1]);
    expect(readStreamPlace(place, at)).toEqual(ok([5, Number.MAX_SAFE_INTEGER - 1]));
    expect(readStreamPlace(place, { ...at, partitions: 4 })).toEqual(
      ok([5, Number.MAX_SAFE_INTEGER - 1, 0, 0]),
    );
  });

  test("of another topic is gone; of none it is refused", () => {
    expect(refusalOf(readStreamPlace(streamPlaceText("other", [1]), at)).code).toBe("gone");
    for (const text of ["", "1", "1.x", "1.2a5d6e7f.", `1.3f1c2a5d6e7f.${"z".repeat(11)}`, "2.a.0"]) {
      expect([text, refusalOf(readStreamPlace(text, at)).code]).toEqual([text, "invalid-request"]);
    }
  });
});

describe("a ticket", () => {
  const ticket = { principal: "p", path: "/v1/topics/a", expiresAt: 100 };
  test("says what it said until it ends, and only under the root token that signed it", async () => {
    const text = await ticketText(ticket, "root");
    expect(value(await readTicket(text, "root", 99))).toEqual(ticket);
    const [claims, signature = ""] = text.split(".");
    const forged = `${btoa(JSON.stringify({ ...ticket, path: "/v1/topics/b" }))}.${signature}`;
    for (const [token, root, now] of [
      [text, "root", 100],
      [text, "other", 99],
      [forged, "root", 99],
      [`${claims}.`, "root", 99],
      ["", "root", 99],
      ["?.?", "root", 99],
      ["x".repeat(5_000), "root", 99],
    ] as const) {
      expect(refusalOf(await readTicket(token, root, now)).code).toBe("unauthenticated");
    }
  });
});
