// The replies to one request. The first is the asker's, whenever it comes; all others are kept beside it.
//
//   open ──reply, while somebody waits──▶ answered: `first`
//     └────reply, after the wait────────▶ answered: `late`      any further reply is `second`
//
// Every function is pure: it takes a book and answers the next one.

import { ok, type Result, refuse } from "../errors";
import { limits } from "../limits";
import type { OpenCall, Replied, Reply, RequestView, Said } from "../reply-calls";
import { sameText } from "../same-text";

export type ReplyBook = Readonly<{
  id: string;
  fingerprint: string;
  secret: string;
  openedAt: number;
  askedUntil: number;
  replies: readonly Reply[];
}>;

/**
 * The book of a request that is made now, for the first time or again: then its wait is the longer of both. Refused as
 * `id-reused` when the id was asked with other content.
 */
export function openBook(
  book: ReplyBook | undefined,
  { id, fingerprint, waitMs }: OpenCall,
  { now, secret }: Readonly<{ now: number; secret: string }>,
): Result<ReplyBook> {
  const askedUntil = now + waitMs;
  if (book === undefined) return ok({ id, fingerprint, secret, openedAt: now, askedUntil, replies: [] });
  if (book.fingerprint !== fingerprint) {
    return refuse("id-reused", `The request "${id}" was made before with other content.`, { field: "id" });
  }
  if (book.replies.length > 0 || askedUntil <= book.askedUntil) return ok(book);
  return ok({ ...book, askedUntil });
}

/** The last asker was told that none came: whatever comes from `now` on is late, whoever's clock was ahead. */
export function endWait(book: ReplyBook, now: number): ReplyBook {
  return book.replies.length > 0 || now > book.askedUntil ? book : { ...book, askedUntil: now - 1 };
}

/** What becomes of a reply; `reply` is there when it is to be kept. Of what arrives twice, what became of it first. */
export function judgeReply(
  book: ReplyBook | undefined,
  { secret, ...said }: Said & Readonly<{ secret: string }>,
  now: number,
): Readonly<{ replied: Replied; reply?: Reply }> {
  if (book === undefined || !sameText(secret, book.secret)) return { replied: "forgotten" };
  const before = book.replies.find((kept) => isRepeat(kept, said));
  if (before) return { replied: before.standing };
  if (book.replies.length >= limits.repliesKept) return { replied: "dropped" };
  const standing = book.replies.length > 0 ? "second" : now <= book.askedUntil ? "first" : "late";
  return { replied: standing, reply: { ...said, standing, at: now } };
}

/** The reply that the asker gets, once there is one. */
export function replyOfBook(book: ReplyBook | undefined): Reply | undefined {
  return book?.replies[0];
}

/** When all of it is forgotten, in epoch milliseconds. */
export function keptUntil({ openedAt, replies }: ReplyBook): number {
  const last = replies.at(-1);
  const forOpening = openedAt + limits.replyKeptMs;
  return last ? Math.max(forOpening, last.at + limits.lateReplyKeptMs) : forOpening;
}

export function viewOf(book: ReplyBook): RequestView {
  const { id, openedAt, askedUntil, replies } = book;
  return { id, openedAt, askedUntil, keptUntil: keptUntil(book), replies };
}

/** One delivery under one lease replies once. Who names none is known by what it says. */
function isRepeat(kept: Said, said: Said): boolean {
  if (kept.subscription !== said.subscription) return false;
  const [one, other] = [kept.delivery, said.delivery];
  if (one && other) {
    return one.partition === other.partition && one.offset === other.offset && one.leaseId === other.leaseId;
  }
  return !one && !other && kept.contentType === said.contentType && isSame(kept.body, said.body);
}

function isSame(one: Uint8Array, other: Uint8Array): boolean {
  return one.byteLength === other.byteLength && one.every((byte, at) => byte === other[at]);
}
