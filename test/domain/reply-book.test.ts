// The replies to one request, as the pure core keeps them; and what goes with it: where a reply goes, and how long is waited.

import { describe, expect, test } from "vitest";
import { fingerprintBytes } from "../../src/fingerprint";
import { replyWaitMs } from "../../src/http/reply-wait";
import { limits } from "../../src/limits";
import type { Message } from "../../src/message";
import { packRecords, unpackRecords } from "../../src/record-batch";
import {
  endWait,
  judgeReply,
  keptUntil,
  openBook,
  type ReplyBook,
  replyOfBook,
} from "../../src/reply/reply-book";
import { parseReplyTo, replyToText, type Said } from "../../src/reply-calls";
import { value } from "../support/result";

const secret = "0123456789abcdefABCD_-";
const utf8 = new TextEncoder();
const call = { id: "q", fingerprint: "f", waitMs: 1_000 };
const open = (now: number, book?: ReplyBook, more: Partial<typeof call> = {}) =>
  openBook(book, { ...call, ...more }, { now, secret });
const said = (text: string, more: Partial<Said> = {}) => ({
  ...{ secret, subscription: "s", contentType: "text/plain", body: utf8.encode(text) },
  ...more,
});
const delivery = (offset: number, leaseId = "l") => ({ delivery: { partition: 0, offset, leaseId } });

/** Gives each reply to the book in turn; answers the book, and what became of each. */
function replyAll(book: ReplyBook, now: number, ...all: readonly ReturnType<typeof said>[]) {
  const became: string[] = [];
  let held = book;
  for (const each of all) {
    const { replied, reply } = judgeReply(held, each, now);
    became.push(replied);
    if (reply) held = { ...held, replies: [...held.replies, reply] };
  }
  return { book: held, became };
}

describe("the book of a request", () => {
  test("the first reply is the asker's, and further ones are kept beside it as second", () => {
    const { book, became } = replyAll(
      value(open(0)),
      10,
      said("a"),
      said("b"),
      said("c", { subscription: "t" }),
    );
    expect(became).toEqual(["first", "second", "second"]);
    expect(replyOfBook(book)).toMatchObject({ standing: "first", at: 10, subscription: "s" });
    expect(book.replies).toHaveLength(3);
  });

  test("a first reply after the wait is late, and is what the asker gets all the same", () => {
    const { book, became } = replyAll(value(open(0)), 1_001, said("a"), said("b"));
    expect(became).toEqual(["late", "second"]);
    expect(replyOfBook(book)?.standing).toBe("late");
    expect(replyAll(value(open(0)), 1_000, said("a")).became).toEqual(["first"]);
  });

  test("a reply that arrives twice changes nothing and has the standing that it was given first", () => {
    const once = said("a", delivery(7));
    const { book, became } = replyAll(value(open(0)), 10, said("x"), once, {
      ...once,
      body: utf8.encode("other"),
    });
    expect(became).toEqual(["first", "second", "second"]);
    expect(book.replies).toHaveLength(2);
    expect(replyAll(book, 20, said("x")).became).toEqual(["first"]);
  });

  test("the same delivery under another lease replies anew, and so does another subscription", () => {
    const all = [
      said("a", delivery(7)),
      said("a", delivery(7, "m")),
      said("a", { ...delivery(7), subscription: "t" }),
    ];
    expect(replyAll(value(open(0)), 10, ...all).book.replies).toHaveLength(3);
  });

  test("so many replies are kept, and what comes after them is dropped", () => {
    const all = Array.from({ length: limits.repliesKept + 2 }, (_, index) => said(`r${index}`));
    const { book, became } = replyAll(value(open(0)), 10, ...all);
    expect(book.replies).toHaveLength(limits.repliesKept);
    expect(became.slice(-2)).toEqual(["dropped", "dropped"]);
  });

  test("without the request's secret, or its book, nobody replies", () => {
    const wrong = said("a", { secret: "x" } as Partial<Said>);
    expect(judgeReply(value(open(0)), wrong, 1)).toEqual({ replied: "forgotten" });
    expect(judgeReply(undefined, said("a"), 1)).toEqual({ replied: "forgotten" });
  });

  test("asked again, the wait is the longer of both, and the secret stays", () => {
    const first = value(open(0));
    const again = value(openBook(first, { ...call, waitMs: 5_000 }, { now: 100, secret: "another" }));
    expect(again).toEqual({ ...first, askedUntil: 5_100 });
    expect(value(open(100, again, { waitMs: 0 }))).toBe(again);
  });

  test("asked again with other content, it is refused", () => {
    expect(open(1, value(open(0)), { fingerprint: "g" })).toMatchObject({ error: { code: "id-reused" } });
  });

  test("it is kept for a week, and for a day after a late reply", () => {
    const book = value(open(5));
    expect(keptUntil(book)).toBe(5 + limits.replyKeptMs);
    const late = limits.replyKeptMs - 10;
    expect(keptUntil(replyAll(book, late, said("a")).book)).toBe(late + limits.lateReplyKeptMs);
    expect(keptUntil(replyAll(book, 10, said("a")).book)).toBe(5 + limits.replyKeptMs);
  });
});

describe("where a reply goes", () => {
  const to = { generation: "0198f0a2-4c1e-7d3a-9b57-3f1c2a5d6e7f", id: "a:b/%41", secret };

  test("is read back from what a request carries, whatever its message id", () => {
    expect(parseReplyTo(replyToText(to))).toEqual(to);
    for (const text of ["", "a.b", `a.b.${secret}x`, `.b.${secret}`, `a.b.c.${secret}`, `a b.c.${secret}`]) {
      expect(parseReplyTo(text)).toBeUndefined();
    }
  });

  test("travels in the record", () => {
    const message: Message = { id: "m", publishedAt: 1, contentType: "text/plain", body: utf8.encode("x") };
    const request = { ...message, replyTo: replyToText(to) };
    expect(unpackRecords(packRecords([message, request])).map(({ replyTo }) => replyTo)).toEqual([
      undefined,
      replyToText(to),
    ]);
  });

  test("is no part of the content, but that it is a request is", () => {
    const message: Message = { id: "m", publishedAt: 1, contentType: "text/plain", body: utf8.encode("x") };
    const [plain, one, other] = [message, { ...message, replyTo: "a" }, { ...message, replyTo: "b" }].map(
      (each) => fingerprintBytes(each),
    );
    expect(one).toEqual(other);
    expect(one).not.toEqual(plain);
  });
});

describe("how long an asker waits", () => {
  test.each([
    [null, 30_000],
    ["wait", 30_000],
    ["wait=10", 10_000],
    ["respond-async, wait=0", 0],
    ['wait="60"; x=1', 60_000],
    ["wait=-1", 30_000],
    ["wait=1.5", 30_000],
    ["await=3", 30_000],
  ])("%s is %d ms", (prefer, ms) => {
    expect(replyWaitMs(prefer)).toEqual({ ok: true, value: ms });
  });

  test("longer than a minute is refused with the limit", () => {
    for (const prefer of ["wait=61", "wait=99999999999999999999"]) {
      expect(replyWaitMs(prefer)).toMatchObject({ ok: false, error: { field: "Prefer", limit: 60 } });
    }
  });
});

test("what comes after the asker was told that nothing came is late, though the object's clock was behind", () => {
  const opened = openBook(undefined, { id: "r", fingerprint: "f", waitMs: 1_000 }, { now: 0, secret: "s" });
  if (!opened.ok) throw new Error(opened.error.detail);
  expect(endWait(opened.value, 990).askedUntil).toBe(989);
  expect(endWait(opened.value, 1_010)).toBe(opened.value);
});
